"""Each architecture has one look, which is seen on light, on dark, and by the colour-blind."""

import itertools
import math

import matplotlib.colors
from matplotlib.markers import MarkerStyle

from models.spec import ARCHITECTURES
from results.figures import style


def luminance(color: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in matplotlib.colors.to_rgb(color)]
    return float(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_each_architecture_has_one_look_of_its_own() -> None:
    assert set(style.STYLES) == set(ARCHITECTURES)
    looks = style.styles([*ARCHITECTURES, "rezero", "another"])
    markers = [str(look.marker) for look in looks.values()]
    assert len(set(markers)) == len(looks)
    assert len({look.color for look in looks.values()}) == len(looks)
    assert all(MarkerStyle(look.marker).is_filled() for look in looks.values())


def test_colours_are_seen_on_light_and_on_dark() -> None:
    for name, look in style.styles([*ARCHITECTURES, "own"]).items():
        assert contrast(look.color, "#fefefe") >= 3, name
        assert contrast(look.dark, "#171d24") >= 3, name


def test_the_ladder_is_told_apart_by_the_colour_blind() -> None:
    """Under deuteranopia and protanopia (Vienot et al. 1999, linear RGB) the three arms stay apart."""
    see = {
        "protan": ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, -0.0), (0.00401, -0.00401, 1.0)),
        "deutan": ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, -0.0), (-0.02234, 0.02234, 1.0)),
    }
    for rows in see.values():
        for a, b in itertools.combinations(("plain", "resnet", "preact"), 2):
            seen = [
                [
                    sum(k * v for k, v in zip(row, matplotlib.colors.to_rgb(style.STYLES[n].color), strict=True))
                    for row in rows
                ]
                for n in (a, b)
            ]
            assert math.dist(*seen) > 0.15, (a, b)
