"""Figures of what depth costs: time, memory, energy, operations, and what a point of accuracy costs.

`table.FIGURES` lists them. Lines are fitted by `results.lines`, from the rows
that the claim is judged on.
"""

import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from results import lines
from results.columns import COST_SETTING
from results.figures import reading, style
from results.figures.panels import (
    BAND,
    LOST,
    MOST_PANELS,
    canvas,
    failures,
    labels_of,
    legend,
    looks_of,
    main_part,
    marks,
    not_drawn,
    note,
    rounded,
    styled,
    thin,
)
from results.figures.style import Style
from results.metrics import METRICS
from results.tables import Frames, one_each

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Costs are compared when these agree; what a title names first is the data set.
ALIKE = ("study", *sorted(COST_SETTING, key=lambda name: name != "dataset"))

MOST_DEPTHS = 8
MOST_KINDS = 4


def cost_part(frames: Frames) -> tuple[str, pd.DataFrame] | None:
    """What sets the largest part of comparable costs apart, in words, and its rows: one per network and depth."""
    cost = frames.cost[frames.cost["comparable"]]
    if cost.empty:
        return None
    split = [name for name in ALIKE if cost[name].nunique() > 1]
    unique = one_each(cost, [*ALIKE, "architecture", "depth"])
    if not split:
        return "", unique
    groups = sorted(unique.groupby(split, sort=True), key=lambda group: -len(group[1]))
    words = [f"{n.replace('_', ' ')} {v}" if n != "study" else str(v) for n, v in zip(split, groups[0][0], strict=True)]
    return ", ".join(words), groups[0][1]


def cost_chart(column: str, factor: float, label: str) -> Callable[[Frames], "Figure | None"]:
    """A figure of one measured cost against depth, on log axes with the fitted law."""

    @styled
    def draw(frames: Frames) -> "Figure | None":
        part = cost_part(frames)
        if part is None or not (part[1][column] > 0).any():
            return None
        said, cost = part
        figure, axes = canvas(1, 1, 4.8, 3.5)
        laws = metric_panel(axes[0, 0], cost, column, factor)
        axes[0, 0].set_title(said, loc="left")
        axes[0, 0].set_ylabel(label)
        if column == "step_time_s" and cost["batch_size"].nunique() == 1:
            _rate_axis(axes[0, 0], float(cost["batch_size"].iloc[0]))
        legend(figure, cost, notes=laws)
        return figure

    return draw


def _rate_axis(axes: "Axes", batch: float) -> None:
    """On the right, images per second: the same line read the other way."""

    def turned(value: Any) -> Any:
        with np.errstate(divide="ignore"):
            return batch / value

    right = axes.secondary_yaxis("right", functions=(turned, turned))
    right.set_ylabel("images / s")
    style.plain_log_ticks(right.yaxis)
    right.spines["right"].set_visible(True)


def metric_panel(axes: "Axes", cost: pd.DataFrame, column: str, factor: float, label: bool = True) -> dict[str, str]:
    """A cost against depth on log axes: each record's median, and its law as a line.

    Returns:
        By architecture, the law in words: the power of the depth that the cost grows with.
    """
    looks = looks_of(cost)
    drawn = cost.assign(x=cost["depth"], y=(cost[column] * factor)).sort_values("depth")
    whole = drawn[(drawn["y"] > 0) & (drawn["status"] == "ok")]
    axes.set_yscale("log")
    laws = {}
    for name, group in whole.groupby("architecture", sort=True):
        laws[str(name)] = _law(axes, group, looks[str(name)], straight=column == "net_memory_bytes")
    marks(axes, whole.assign(y=whole["y"].map(rounded)), looks, 30)
    failed = drawn[drawn["status"] != "ok"]
    low, high = axes.get_ylim()
    if len(failed):
        style.failure_band(axes, high, high * (high / low) ** 0.14, "did not finish")
        failures(axes, failed.assign(y=high * (high / low) ** 0.07), looks)
    style.depth_axis(axes, cost["depth"], label)
    style.plain_log_ticks(axes.yaxis)
    return laws


def _law(axes: "Axes", group: pd.DataFrame, look: Style, straight: bool) -> str:
    """Draws the power law through the points (of memory: the straight line, curved on log axes), and says it."""
    depth, cost = group["depth"].to_numpy(dtype=float), group["y"].to_numpy(dtype=float)
    straight_law, power = lines.relative_line(depth, cost), lines.log_line(depth, cost)
    x = np.geomspace(depth.min(), depth.max(), 40)
    if straight and straight_law.slope.estimable:
        y, said = straight_law.intercept + straight_law.slope.value * x, f"{straight_law.slope.value:.3g} MiB per layer"
        # A log axis has no place for what the line falls to near its root.
        x, y = x[y > cost.min() / 2], y[y > cost.min() / 2]
    elif not straight and power.slope.estimable:
        y, said = np.exp(power.intercept) * x**power.slope.value, f"∝ depth^{power.slope.value:.2f}"
    else:
        x, y, said = depth, cost, ""
    drawn = [rounded(value) for value in y]
    axes.plot(x.round(2), drawn, color=look.color, linestyle=look.dash, linewidth=1, alpha=0.7, label=reading.ASIDE)
    return said


def small_cost(frames: Frames) -> "Figure | None":
    """Step time against depth in a card's size."""
    part = cost_part(frames)
    return _small_cost(part[1]) if part is not None and (part[1]["step_time_s"] > 0).any() else None


@styled
def _small_cost(cost: pd.DataFrame) -> "Figure":
    figure, axes = canvas(1, 1, *style.SMALL)
    metric_panel(axes[0, 0], cost, "step_time_s", 1.0, label=False)
    style.small_names(axes[0, 0], "step time (s)")
    return figure


@styled
def operators(frames: Frames) -> "Figure | None":
    """Time of a step by kind of operation, stacked, a bar per depth, a panel per network."""
    part = cost_part(frames)
    if part is None:
        return None
    found = frames.operators[frames.operators["digest"].isin(part[1]["digest"]) & (frames.operators["self_time_s"] > 0)]
    if found.empty:
        return None
    # Stages together: more than five kinds are not told apart by colour.
    found = found.assign(what=found["kind"])
    totals = found.groupby("what")["self_time_s"].sum().sort_values(ascending=False, kind="stable")
    kinds = list(totals.index[:MOST_KINDS])
    found["what"] = found["what"].where(found["what"].isin(kinds), "the rest")
    kinds += ["the rest"] if (found["what"] == "the rest").any() else []
    every = list(looks_of(found))
    names = every[:MOST_PANELS]
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, axes = canvas(rows, columns, 2.5 * columns + 0.5, 2.3 * rows + 0.7, sharey=True)
    for place, name in zip(axes.flat, names, strict=False):
        _stack(place, found[found["architecture"] == name], kinds)
        place.set_title(textwrap.fill(labels_of(found)[name], 26), loc="left", fontsize=8.5)
    for place in axes.flat[len(names) :]:
        place.set_axis_off()
    axes[0, 0].set_ylim(0, 100)
    figure.supylabel("share of the time (%)", fontsize=9)
    figure.supxlabel("depth (weighted layers)", fontsize=9)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=min(3, columns + 1))
    if len(every) > len(names):
        note(figure, f"{len(every) - len(names)} more networks are in operators.csv.")
    return figure


def _stack(axes: "Axes", found: pd.DataFrame, kinds: list[str]) -> None:
    """Shares in percent of each depth's total; an absolute scale would show the deepest net only."""
    table = found.pivot_table(index="depth", columns="what", values="self_time_s", aggfunc="sum").reindex(columns=kinds)
    table = table.fillna(0.0).sort_index()
    table = table.iloc[thin(len(table), MOST_DEPTHS)]
    shares = (100 * table.div(table.sum(axis=1), axis=0)).round(2)
    bottom = np.zeros(len(shares))
    for color, kind in zip(style.SHADES, kinds, strict=False):
        heights = shares[kind].to_numpy()
        place = np.arange(len(shares))
        axes.bar(
            place, heights, bottom=bottom, color=color, width=0.82, label=kind, edgecolor=style.GROUND, linewidth=0.5
        )
        for at, middle, depth, share in zip(place, bottom + heights / 2, shares.index, heights, strict=True):
            # As high as its part of the bar, about: a hundredth is a point.
            said = f"{kind}, depth {depth}, {share:.3g} %"
            reading.unseen(axes, [at], [middle], color, float(np.clip(share, 1, 14)) ** 2, [said])
        bottom = bottom + heights
    axes.set_xticks(np.arange(len(shares)), [str(depth) for depth in shares.index], fontsize=7.5)
    axes.grid(visible=False, axis="x")


@styled
def accuracy_price(frames: Frames) -> "Figure | None":
    """Test error against seconds of training: each trained net, named by depth, and the front that nothing beats."""
    part = main_part(frames)
    if part is None:
        return None
    said, _, cells = part
    timed = cells[cells["train_seconds_mean"] > 0]
    known = timed[timed["test_error_mean"].notna()]
    if known.empty:
        return None
    known = known.assign(x=known["train_seconds_mean"].map(rounded), y=(100 * known["test_error_mean"]).map(rounded))
    looks = looks_of(timed)
    figure, axes = canvas(1, 1, 4.8, 3.5)
    place = axes[0, 0]
    front = known.sort_values(["x", "y"])
    front = front[front["y"] < front["y"].cummin().shift(fill_value=np.inf)]
    place.step(front["x"], front["y"], where="post", color=style.MUTED, linewidth=1, linestyle=(0, (3, 2)), zorder=1)
    marks(place, known, looks, 34)
    failed = timed[timed["n_failed"] > 0]
    place.set_ylim(-3, 101)
    if len(failed):
        style.failure_band(place, *BAND, "")  # the legend names the marks: they may stand anywhere
        failures(place, failed.assign(x=failed["train_seconds_mean"].map(rounded), y=LOST), looks)
        place.set_ylim(-3, BAND[1])
    place.set_yticks([0, 20, 40, 60, 80, 100])
    place.set_xscale("log")
    style.plain_log_ticks(place.xaxis)
    ends = known.sort_values("depth").groupby("architecture")
    _depths(place, pd.concat([ends.tail(1), ends.head(1), front]).drop_duplicates(["architecture", "depth"]))
    place.set_xlabel("training time (s)")
    place.set_ylabel(f"{METRICS['test_error'].label} (%)")
    place.set_title(said, loc="left")
    legend(figure, timed, line=False, failed=len(failed) > 0)
    if len(front) > 1:
        note(figure, "A dashed line joins the settings that no other beats in both.")
    if len(failed):
        note(
            figure,
            "A crossed-out mark means that seeds of that setting failed. If no other mark is below it, all of them "
            "failed, and the time shown is the time until they failed.",
        )
    note(figure, not_drawn(frames, timed))
    return figure


def _depths(axes: "Axes", cells: pd.DataFrame) -> None:
    """The depth beside a mark, where no other stands within a few letters of it."""
    taken: list[tuple[float, float]] = []
    for _, cell in cells.iterrows():
        x, y = axes.transData.transform((cell["x"], cell["y"]))
        if all(abs(x - a) > 26 or abs(y - b) > 11 for a, b in taken):
            taken.append((x, y))
            at = (cell["x"], cell["y"])
            axes.annotate(f"{cell['depth']}", at, (4, 4), textcoords="offset points", fontsize=7.5)


def roofline_part(frames: Frames) -> tuple[str, pd.DataFrame] | None:
    """As `cost_part`, those that stand under a roof, with `roof_share`: their rate as a fraction of the lower ceiling.

    The ceilings are the medians of the records' own.
    """
    part = cost_part(frames)
    if part is None:
        return None
    said, cost = part
    cost = cost[(cost["flops_per_s"] > 0) & (cost["flops_per_byte"] > 0) & (cost["copy_bytes_per_s"] > 0)]
    if cost.empty:
        return None
    bandwidth, product = cost["copy_bytes_per_s"].median(), cost["matmul_flops_per_s"].median()
    roof = np.minimum(product, cost["flops_per_byte"] * bandwidth)
    return said, cost.assign(roof_share=cost["flops_per_s"] / roof)


@styled
def roofline(frames: Frames) -> "Figure | None":
    """A training step's rate as a share of the lower of the device's two ceilings, against depth."""
    part = roofline_part(frames)
    if part is None:
        return None
    said, cost = part
    figure, axes = canvas(1, 1, 4.8, 3.5)
    place = axes[0, 0]
    looks = looks_of(cost)
    known = cost.assign(x=cost["depth"], y=(100 * cost["roof_share"]).map(rounded)).sort_values("depth")
    for name, group in known.groupby("architecture", sort=True):
        look = looks[str(name)]
        place.plot(group["x"], group["y"], color=look.color, linestyle=look.dash, linewidth=1.2)
    marks(place, known, looks, 30)
    place.set_title(said, loc="left")
    style.depth_axis(place, cost["depth"])
    place.set_ylim(0, max(float(100 * cost["roof_share"].max()) * 1.15, 1.0))
    place.set_ylabel("share of the ceiling (%)")
    legend(figure, cost)
    return figure
