"""The figure of designs side by side: each one's error at every depth, and that of the deepest against its cost."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from results import survival
from results.figures import reading, style
from results.figures.panels import canvas, note, rounded, short, styled
from results.survival import NET, Design
from results.tables import Frames

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Marks by depth, shallow to deep; of more depths the deepest have the last ones.
MARKERS = ("o", "s", "D", "*")
# Smallest error drawn, in percent, on the logarithmic axis; where failed nets stand.
FLOOR, CEILING, LOST = 0.05, 100.0, 320.0
# More marks than this have no room for their names: each has the number of its row.
MOST_NAMES = 6
_TICKS = [FLOOR, 0.2, 1, 5, 20, 100, LOST]
_WORDS = ["0.05\nor less", "0.2", "1", "5", "20", "100", "a seed\nfailed"]


@styled
def designs(frames: Frames) -> "Figure | None":
    """Training error of every design by depth, best on top; beside it, error at the deepest against time per layer."""
    study = survival.study_of(frames)
    rows = survival.designs(frames, study)
    if not rows:
        return None
    cells = frames.cells[frames.cells["study"] == study]
    rows = survival.ranked(rows, cells)
    deepest = cells[cells["depth"] == cells["depth"].max()]
    priced = [(row, survival.cells_of(deepest, row)) for row in rows if np.isfinite(row.ms_per_layer)]
    priced = [(row, cell) for row, cell in priced if not cell.empty]
    size = {"width_ratios": (3, 2)} if priced else {}
    figure, axes = canvas(1, 2 if priced else 1, 10.4 if priced else 5.6, 1.2 + 0.24 * len(rows), **size)
    numbers = {row.net: str(i) for i, row in enumerate(rows, 1)} if len(priced) > MOST_NAMES else {}
    _errors(axes[0, 0], cells, rows, numbers)
    if priced:
        _prices(axes[0, 1], priced, numbers)
        at = deepest["depth"].max()
        said = survival.noise(frames.cost[frames.cost["study"] == study])
        note(figure, f"Right: mean error at {at} layers against the time of a training step per layer, between the"
             f" shallowest and the deepest net measured. {said}{': ranks mean little.' if said else ''}")  # fmt: skip
    _key(figure, sorted(cells["depth"].unique()))
    return figure


def _name(row: Design) -> str:
    return short(row.label) + row.connected


def _looks(rows: list[Design]) -> dict[str, style.Style]:
    return style.styles({row.architecture for row in rows})


def _place(cell: dict[str, Any]) -> float:
    """Where a mean error stands on the axis of errors, in percent."""
    return LOST if cell["n_failed"] > 0 else max(FLOOR, rounded(100 * cell["train_error_mean"]))


def _told(row: Design, cell: dict[str, Any]) -> reading.Row:
    """What a mark says: design and depth, and its error where it has one."""
    lost = cell["n_failed"] > 0
    name, error = f"{_name(row)}, {cell['depth']} layers", "" if lost else float(100 * cell["train_error_mean"])
    return reading.Row("", name, "failed" if lost else "mark", "", error, "", "training error (%)")


def _errors(axes: "Axes", cells: pd.DataFrame, rows: list[Design], numbers: dict[tuple[str, str], str]) -> None:
    looks, marks = _looks(rows), _markers(sorted(cells["depth"].unique()))
    places = {row.net: y for y, row in enumerate(rows)}
    axes.set_xscale("log")
    axes.set_xlim(FLOOR / 1.4, LOST * 1.5)
    axes.axvspan(CEILING * 1.25, LOST * 1.5, color=style.BAND, linewidth=0, zorder=0)
    for cell in cells.sort_values("depth").to_dict("records"):
        look, y = looks[cell["architecture"]], places[tuple(cell[name] for name in NET)]
        lost = cell["n_failed"] > 0
        size = 70 if marks[cell["depth"]] == "*" else 30
        lot = axes.scatter(
            [_place(cell)], [y], marker=marks[cell["depth"]], s=size, linewidths=0.9, zorder=3, edgecolors=look.color,
            facecolors=style.GROUND if lost else look.color, alpha=None if lost else 0.85,
        )  # fmt: skip
        reading.tell(lot, _told(rows[y], cell))
    axes.set_xticks(_TICKS, _WORDS)
    axes.minorticks_off()
    axes.set_xlabel("training error (%)")
    axes.set_yticks(range(len(rows)), [f"{_name(row)} {numbers.get(row.net, '')}".strip() for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)


def _prices(axes: "Axes", priced: list[tuple[Design, pd.DataFrame]], numbers: dict[tuple[str, str], str]) -> None:
    looks = _looks([row for row, _ in priced])
    axes.set_yscale("log")
    axes.set_ylim(FLOOR / 1.4, LOST * 1.9)
    axes.axhspan(CEILING * 1.25, LOST * 1.9, color=style.BAND, linewidth=0, zorder=0)
    placed: list[tuple[float, float]] = []
    costs = [row.ms_per_layer for row, _ in priced]
    across = max(costs) * 1.35
    for row, cell in sorted(priced, key=lambda pair: pair[0].ms_per_layer):
        first = cell.iloc[0].to_dict()
        look, lost = looks[row.architecture], first["n_failed"] > 0
        x, y = rounded(row.ms_per_layer), _place(first)
        lot = axes.scatter(
            [x], [y], marker=look.marker, s=34, linewidths=0.9, zorder=3, edgecolors=look.color,
            facecolors=style.GROUND if lost else look.color,
        )  # fmt: skip
        reading.tell(lot, _told(row, first)._replace(x=x, x_is="time per layer (ms)"))
        # Above the mark, and higher where another name stands there.
        name = numbers.get(row.net, _name(row))
        height, wide = np.log10(y) + 0.13, 0.012 * len(name) * across
        while any(abs(height - other) < 0.12 and abs(x - there) < wide for there, other in placed):
            height += 0.12
        placed.append((x, height))
        axes.text(x, 10**height, name, fontsize=6.5, color=look.color, ha="center", va="center")
    axes.set_xlim(min(0.0, min(costs) * 1.1), across)
    axes.set_yticks(_TICKS, [word.replace("\n", " ") for word in _WORDS])
    axes.minorticks_off()
    axes.set_xlabel("time per layer (ms)")


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
