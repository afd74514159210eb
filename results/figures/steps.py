"""The figure of training error against steps: does a net that does badly only need longer?"""

from typing import TYPE_CHECKING

import pandas as pd

from results.columns import SETTING
from results.figures import style
from results.figures.panels import (
    LOST,
    canvas,
    error_line,
    error_scale,
    failures,
    labels_of,
    looks_of,
    marks,
    rounded,
    styled,
)
from results.search import recipe_rates
from results.tables import Frames, with_random_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 3
# What may differ between the points of a line: the length, and a rate that was searched at it.
_LENGTH = ("epochs", "lr")


@styled
def error_by_steps(frames: Frames) -> "Figure | None":
    """Training error against steps of nets trained for several lengths: a line per depth, a panel per architecture."""
    planned = frames.trials.groupby(list(SETTING), as_index=False)["steps_planned"].max()
    cells = _of_several_lengths(frames.cells.merge(planned, on=list(SETTING)))
    if cells.empty:
        return None
    names = list(looks_of(cells))[:MOST_PANELS]
    figure, axes = canvas(1, len(names), 2.9 * len(names) + 1.4, 2.9, sharey=True)
    labels = labels_of(cells)
    for place, name in zip(axes.flat, names, strict=True):
        _panel(place, cells[cells["architecture"] == name])
        place.set_title(labels[name], loc="left", fontsize=8.5)
    axes[0, 0].set_ylabel("training error (%)")
    figure.supxlabel("training steps", fontsize=9)
    return figure


def _of_several_lengths(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells of the study and recipe with the most nets that were trained for several lengths."""
    cells = cells[~with_random_labels(cells) & (cells["steps_planned"] > 0)]
    cells = cells.assign(lr=recipe_rates(cells))
    alike = [name for name in SETTING if name not in ("architecture", "depth", *_LENGTH)]
    net = [*alike, "architecture", "depth", "lr"]
    of_net = cells.groupby(net)
    # A net that fails at every length is no line; one that fails at some is.
    several = cells[(of_net["steps_planned"].transform("nunique") > 1) & (of_net["n_ok"].transform("max") > 0)]
    if several.empty:
        return several
    lots = several.groupby([*alike, "lr"], sort=True)
    return several.loc[max(lots.groups.values(), key=len)]


def _panel(axes: "Axes", cells: pd.DataFrame) -> None:
    axes.set_xscale("log")
    looks = looks_of(cells)
    (look,) = looks.values()
    drawn = cells.assign(x=cells["steps_planned"], y=(100 * cells["train_error_mean"]).map(rounded)).sort_values("x")
    known = drawn[drawn["n_ok"] > 0]
    depths = sorted(drawn["depth"].unique())
    for i, depth in enumerate(depths):
        line = known[known["depth"] == depth]
        if line.empty:
            continue
        error_line(axes, line, look, alpha=1.0 - 0.6 * i / max(1, len(depths) - 1))
        _beside(axes, f"{depth} layers", line["x"].iloc[-1], line["y"].iloc[-1])
    marks(axes, known, looks, 24)
    error_scale(axes)
    gone = drawn[drawn["n_failed"] > 0].assign(y=LOST)
    failures(axes, gone, looks, 20)
    for x, of_length in gone.groupby("x"):
        _beside(axes, ", ".join(map(str, sorted(of_length["depth"].unique()))), x, LOST)
    ticks = sorted(drawn["x"].unique())
    shown = style.spaced(ticks, 4)
    axes.set_xticks(shown, [f"{tick:g}" for tick in shown])
    axes.set_xticks([], minor=True)
    axes.set_xlim(ticks[0] / 1.2, ticks[-1] * 2.0)


def _beside(axes: "Axes", text: str, x: float, y: float) -> None:
    axes.annotate(text, (x, y), xytext=(6, 0), textcoords="offset points", va="center", fontsize=7.5, color=style.MUTED)
