"""The figure of best learning rates against depth, out of the search for them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from results import search
from results.figures import reading, style
from results.figures.panels import canvas, dodged, failures, legend, looks_of, marks, note, short, styled
from results.figures.style import Style
from results.search import Net
from results.tables import Frames, with_random_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Where nets stand that no rate trains: above the highest rate, by these factors.
BAND = (1.6, 3.6)
INTERVAL = " to "
ARROW = {"higher": "^", "lower": "v"}


@styled
def best_rates(frames: Frames) -> "Figure | None":
    """Best learning rate against depth, a line an architecture: what the search found, and the power of depth."""
    rows = search.tried(frames)
    rows = rows[~with_random_labels(rows) & (rows["clip_norm"] == 0)]
    arms = _main(search.ladders(search.nets(rows)))
    if not arms:
        return None
    points = pd.DataFrame([_point(net) for arm in arms for net in arm])
    names = rows.drop_duplicates("architecture").set_index("architecture")["label"]
    points["label"] = points["architecture"].map(names).map(short)
    looks = looks_of(points)
    points["x"] = dodged(points["depth"], points["architecture"], looks)
    figure, axes = canvas(1, 1, 4.8, 3.6)
    place = axes[0, 0]
    place.set_yscale("log")
    laws = {arm[0].architecture: _line(place, arm, looks) for arm in arms}
    if any(laws.values()):
        note(figure, "Lines: the power of depth that fits the marks best.")
    if any(INTERVAL in law for law in laws.values()):
        note(figure, "In round brackets: the exponent's 95 % bootstrap interval over three seeds or more.")
    if len({arm[0].steps for arm in arms}) > 1:
        steps = {arm[0].architecture: f"{arm[0].steps} steps" for arm in arms}
        laws = {name: ", ".join(filter(None, (steps[name], law))) for name, law in laws.items()}
    trains = ~points["state"].isin(["untrained", "hopeless"])
    known = points[trains]
    marks(place, known, looks, 30)
    for state, marker in ARROW.items():
        edge = known[known["state"] == state]
        beyond = edge["y"] * (1.25 if state == "higher" else 0.8)
        place.scatter(edge["x"], beyond, marker=marker, s=14, color=style.MUTED, linewidth=0, zorder=4)
        note(figure, "A small arrow: the best may lie beyond what was tried." if len(edge) else "")
    gone = points[~trains]
    if len(gone):
        top = float(max(net.rates[-1] for arm in arms for net in arm))
        bottom, ceiling = BAND[0] * top, BAND[1] * top
        style.failure_band(place, bottom, ceiling, "no rate tried trains it")
        failures(place, gone.assign(y=float(np.sqrt(bottom * ceiling))), looks, 30)
        place.set_ylim(top=ceiling)
        note(figure, "A crossed-out mark: no rate tried trains the net.")
    low, high = place.get_ylim()
    if high < 10 * low:  # under a decade, a log axis makes much of nothing
        place.set_ylim(low / 3, high * 3)
    style.depth_axis(place, points["depth"])
    style.plain_log_ticks(place.yaxis)
    place.set_ylabel("best learning rate")
    legend(figure, points, notes=laws)
    return figure


def _main(arms: Sequence[Sequence[Net]]) -> list[Sequence[Net]]:
    """Of the study and recipe with the most nets over several depths, the length aside, each architecture's widest arm.

    Of two that are as wide, the longer one.
    """
    lots: dict[tuple[object, ...], dict[str, Sequence[Net]]] = {}
    for arm in arms:
        if len(arm) < 2:
            continue
        recipe = tuple(value for name, value in zip(search.RECIPE, arm[0].recipe, strict=True) if name != "epochs")
        lot = lots.setdefault((arm[0].study, recipe), {})
        other = lot.get(arm[0].architecture, [])
        if not other or (len(arm), arm[0].steps) > (len(other), other[0].steps):
            lot[arm[0].architecture] = arm
    return list(max(lots.values(), key=lambda lot: sum(map(len, lot.values())), default={}).values())


def _point(net: Net) -> dict[str, object]:
    found = net.best()
    return {"architecture": net.architecture, "depth": net.depth, "y": found.lr, "state": found.state}


def _line(axes: "Axes", arm: Sequence[Net], looks: dict[str, Style]) -> str:
    """The power of depth through the best rates inside their grids; and the exponent in words, empty where none."""
    inside = [net for net in arm if net.best().state == "inside"]
    found = search.exponent(arm)
    if not np.isfinite(found.value):
        return ""
    depths = np.array([net.depth for net in inside])
    middle = np.mean([np.log(net.best().lr) for net in inside]) - found.value * np.mean(np.log(depths))
    look = looks[arm[0].architecture]
    law = np.exp(middle + found.value * np.log(depths))
    axes.plot(depths, law, color=look.color, linestyle=look.dash, linewidth=1.2, label=reading.ASIDE)
    interval = f" ({found.low:.2f}{INTERVAL}{found.high:.2f})" if found.estimable else ""
    return f"depth^{found.value:.2f}{interval}"
