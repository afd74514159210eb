"""The figure of designs side by side: each one's error at every depth, and what a layer of it costs."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from results import survival
from results.figures import reading, style
from results.figures.panels import canvas, labels_of, looks_of, note, rounded, short, styled
from results.tables import Frames

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Marks by depth, shallow to deep; of more depths the deepest have the last ones.
MARKERS = ("o", "s", "D", "*")
# Smallest error drawn, in percent, on the logarithmic axis; where failed nets stand.
FLOOR, CEILING, LOST = 0.05, 100.0, 320.0


@styled
def designs(frames: Frames) -> "Figure | None":
    """Training error of every design by depth, best on top, and beside it the time per layer."""
    study = survival.study_of(frames)
    rows = survival.designs(frames, study)
    if not rows:
        return None
    cells = frames.cells[frames.cells["study"] == study]
    rows = survival.ranked(rows, cells)
    names = [row.architecture for row in rows]
    costs = {row.architecture: row.ms_per_layer for row in rows}
    known = [cost for cost in costs.values() if np.isfinite(cost)]
    figure, axes = canvas(1, 2 if known else 1, 7.6 if known else 5.6, 1.2 + 0.24 * len(rows), sharey=True,
                          width_ratios=(3, 1) if known else (1,))  # fmt: skip
    place = axes[0, 0]
    _errors(place, cells, names)
    labels = {name: short(text) for name, text in labels_of(cells).items()}
    place.set_yticks(range(len(names)), [labels[name] for name in names])
    place.set_ylim(len(names) - 0.4, -0.6)
    if known:
        looks = looks_of(cells)
        for i, name in enumerate(names):
            if np.isfinite(costs[name]):
                axes[0, 1].barh(i, rounded(costs[name]), height=0.6, color=looks[name].color, label=f"_{labels[name]}")
        axes[0, 1].set_xlabel("time per layer (ms)")
        axes[0, 1].tick_params(axis="y", length=0)
        note(figure, "Bars: time of a training step per layer, between the shallowest and the deepest net measured.")
    _key(figure, sorted(cells["depth"].unique()))
    return figure


def _errors(axes: "Axes", cells: pd.DataFrame, names: list[str]) -> None:
    looks, marks = looks_of(cells), _markers(sorted(cells["depth"].unique()))
    axes.set_xscale("log")
    axes.set_xlim(FLOOR / 1.4, LOST * 1.5)
    axes.axvspan(CEILING * 1.25, LOST * 1.5, color=style.BAND, linewidth=0, zorder=0)
    for cell in cells.sort_values("depth").to_dict("records"):
        look, y = looks[cell["architecture"]], names.index(cell["architecture"])
        lost = cell["n_failed"] > 0
        x = LOST if lost else max(FLOOR, rounded(100 * cell["train_error_mean"]))
        size = 70 if marks[cell["depth"]] == "*" else 30
        axes.scatter(
            [x], [y], marker=marks[cell["depth"]], s=size, linewidths=0.9, zorder=3, edgecolors=look.color,
            facecolors=style.GROUND if lost else look.color, alpha=None if lost else 0.85,
            label=reading.FAILED if lost else f"_{cell['depth']} layers",
        )  # fmt: skip
    ticks = [FLOOR, 0.2, 1, 5, 20, 100, LOST]
    axes.set_xticks(ticks, ["0.05\nor less", "0.2", "1", "5", "20", "100", "a seed\nfailed"])
    axes.minorticks_off()
    axes.set_xlabel("training error (%)")


def _markers(depths: list[int]) -> dict[int, str]:
    last = MARKERS[-len(depths) :] if 1 < len(depths) < len(MARKERS) else MARKERS
    return {depth: last[min(i, len(last) - 1)] for i, depth in enumerate(depths)}


def _key(figure: "Figure", depths: list[int]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=style.MUTED, marker=marker, linestyle="none", label=f"{depth} layers")
        for depth, marker in _markers(depths).items()
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=4, columnspacing=1.2)
