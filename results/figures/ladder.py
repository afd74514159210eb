"""The figure of a page's first screen: training error against depth in one setting, with names on the lines.

Own file because it is read at a glance, and on a phone: no legend, the last value beside each name.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from results.figures.errors import SIDE_BY_SIDE, error_panel
from results.figures.panels import BAND, LOST, canvas, key, labels_of, looks_of, short, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Points between the middles of two labels that stand one above the other; from a line to the middle of its label.
LEAST_GAP, OFF_LINE, MOST_OFF = 13.0, 9.0, 60
# Points that a letter of a label takes, about.
LETTER = 5.4
# Of the room that a label has in height, what its letters take.
INK = 0.75


@styled
def ladder(trials: pd.DataFrame, cells: pd.DataFrame, title: str, size: tuple[float, float] = (4.3, 3.9)) -> "Figure":
    """One setting's training errors.

    Args:
        trials: With one setting a network and depth.
        cells: Of these trials.
        title: What the setting is, such as "After 110 steps".
        size: Width and height, inches.
    """
    figure, axes = canvas(1, 1, *size)
    place = axes[0, 0]
    error_panel(place, trials, cells, "train_error")
    place.set_title(title, loc="left", fontsize=11)
    place.set_ylabel("training error (%)")
    _names(place, trials, cells)
    return figure


def _names(axes: "Axes", trials: pd.DataFrame, cells: pd.DataFrame) -> None:
    """Each network's name where its line ends, with the value there, none over another."""
    looks, labels = looks_of(trials), labels_of(trials)
    ends, gone = [], 0
    for name, group in cells.sort_values("depth").groupby("architecture", sort=True):
        last, known = group.iloc[-1], group[group["n_ok"] > 0]
        if last["n_ok"] == 0:
            # "diverged" only where none of them failed in another way.
            own = trials[(trials["architecture"] == name) & (trials["depth"] == last["depth"])]
            word = "diverged" if (own["status"] == "diverged").all() else "failed"
            ends.append((float(last["depth"]), LOST, str(name), f"{short(labels[name])} {word}"))
            gone = max(gone, min(6, len(own)))
        elif len(known):
            value = 100 * float(last["train_error_mean"])
            ends.append((float(last["depth"]), value, str(name), f"{short(labels[name])} {_percent(value)} %"))
    deepest = max((x for x, *_ in ends), default=0.0)
    # Beyond the deepest depth is no room for words: they stand to the left of it. Others stand to the right.
    per_point = (axes.get_ylim()[1] - axes.get_ylim()[0]) / (3.2 * 72)
    lowest, half = axes.get_ylim()[0], LEAST_GAP / 2 * per_point
    span = float(np.diff(np.log(axes.get_xlim()))[0])
    per_point_x = span * axes.figure.dpi / (72 * axes.get_window_extent().width)
    lines = [
        (np.log(group["depth"].to_numpy(dtype=float)), 100 * group["train_error_mean"].to_numpy(dtype=float))
        for _, group in cells[cells["n_ok"] > 0].sort_values("depth").groupby("architecture", sort=True)
    ]
    taken: list[tuple[float, float, float]] = []
    for x, y, name, words in sorted(ends, key=lambda end: end[1]):
        at_end = x == deepest
        near = (OFF_LINE, -OFF_LINE) if at_end else (0.0, -OFF_LINE)
        offsets = (*near, *range(int(OFF_LINE), MOST_OFF)) if y < BAND[0] else (0.0, *range(MOST_OFF))
        places = [y + off * per_point for off in offsets]
        wide = (-1 if at_end else 1) * LETTER * len(words) * per_point_x
        under = np.linspace(np.log(x) + (0 if at_end else 7 * per_point_x), np.log(x) + wide, 20)
        crossing = lines if y < BAND[0] else []  # above them all no line is in the way
        left, right = float(under.min()), float(under.max())
        beside = [height for start, end, height in taken if start < right and left < end]
        free = (p for p in places if p - half * INK > lowest and all(abs(p - other) >= 2 * half for other in beside))
        place = next((p for p in free if not _crossed(crossing, under, p, half)), places[0])
        taken.append((left, right, place))
        # Crossed marks stand side by side, half of them on the side of the words.
        aside = SIDE_BY_SIDE / per_point_x * (gone / 2)
        shift = (-8 if y < BAND[0] else -10 - aside, 0) if at_end else (7, 0)
        text = axes.annotate(
            words, (x, place), shift, textcoords="offset points", ha="right" if at_end else "left", va="center",
            color=looks[name].color, fontsize=9, fontweight="bold",
        )  # fmt: skip
        key(text, looks[name])


def _crossed(lines: list[tuple[Any, Any]], x: Any, middle: float, half: float) -> bool:
    """Whether a line runs through a label that is so high and stands over these places of the axis."""
    nowhere = {"left": np.nan, "right": np.nan}
    return any(bool((np.abs(np.interp(x, *line, **nowhere) - middle) < half).any()) for line in lines)


def _percent(value: float) -> str:
    """As many digits as a reader needs: 88, 5.9, 0.02."""
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 0.1 or value == 0 else f"{value:.2f}"
