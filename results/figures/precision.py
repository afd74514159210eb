"""The figure of step time against depth in each precision: what a lower precision saves, at every depth."""

from typing import TYPE_CHECKING

import pandas as pd

from results.figures import style
from results.figures.cost import ALIKE
from results.figures.panels import canvas, labels_of, rounded, styled
from results.tables import Frames, one_each

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Exact first; no colour of a network.
LOOKS = {"fp32": ("o", style.INK), "tf32": ("s", style.SHADES[1]), "bf16": ("^", style.SHADES[3])}


@styled
def by_precision(frames: Frames) -> "Figure | None":
    """A line per precision, of the network and batch that were measured in most of them, at most depths."""
    cost = _most_precisions(frames.cost[frames.cost["comparable"] & (frames.cost["step_time_s"] > 0)])
    if cost.empty:
        return None
    figure, axes = canvas(1, 1, 4.8, 3.5)
    place = axes[0, 0]
    (label,) = labels_of(cost).values()
    place.set_yscale("log")
    for precision, (marker, color) in LOOKS.items():
        line = cost[cost["precision"] == precision].sort_values("depth")
        if line.empty:
            continue
        x, y = line["depth"].tolist(), [rounded(value) for value in line["step_time_s"]]
        place.plot(x, y, color=color, marker=marker, linewidth=1.2, label=precision)
        place.scatter(x, y, 26, color=color, marker=marker)  # a mark says its value; a line does not
    style.depth_axis(place, cost["depth"])
    style.plain_log_ticks(place.yaxis)
    place.set_ylabel("step time (s)")
    place.set_title(f"{label}, batch size {cost['batch_size'].iloc[0]}", loc="left")
    figure.legend(loc="outside upper left", ncols=len(LOOKS))
    return figure


def _most_precisions(cost: pd.DataFrame) -> pd.DataFrame:
    alike = [name for name in ALIKE if name != "precision"]
    lots = [
        one_each(rows, [*ALIKE, "architecture", "depth"])
        for _, rows in cost.groupby([*alike, "architecture"], sort=True)
        if rows["precision"].nunique() > 1
    ]
    return max(lots, key=lambda rows: (rows["precision"].nunique(), len(rows)), default=cost.iloc[:0])
