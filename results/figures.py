"""Every figure: from frames to a matplotlib Figure. This file and its `*_figures` import seaborn, nothing else does.

`FIGURES` is the table; a function there returns None when the frames hold nothing for it, and `needs` says
what study would. Figures draw numbers that `tables` and `stats` computed; a trial without a number is drawn
as a failure mark, since seaborn drops NaN in silence. Looks and axes are in `style`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench import record
from results import style
from results.cost_figures import accuracy_price, cost_chart, operators, roofline
from results.curve_figures import document_curve, loss_curves
from results.metrics import METRICS
from results.panels import (
    MOST_PANELS,
    MOST_SEEDS,
    canvas,
    cells_of,
    dodged,
    facets,
    failures,
    guessing,
    legend,
    looks_of,
    main_part,
    styled,
    thin,
)
from results.probe_figures import branch_ratio, gradient_norms, lesions
from results.study_figures import learning_rates, placements, steps_to_fit
from results.style import Style
from results.tables import Frames

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Chart:
    """A row of `FIGURES`.

    Attributes:
        section: Part of the page that it stands in.
        title: As the page heads it.
        caption: How to read it, in a sentence or two.
        needs: What would fill it, said where the records do not.
        study: A built-in study that does; empty where it takes another machine.
        draw: Frames -> Figure; None when they hold nothing for it.
    """

    section: str
    title: str
    caption: str
    needs: str
    study: str
    draw: Callable[[Frames], "Figure | None"]


# Where failures are drawn, above 100 %.
BAND = (104.0, 122.0)


def _seeds(axes: "Axes", points: pd.DataFrame, looks: dict[str, Style], size: float = 26) -> None:
    """Every seed as its architecture's mark, at columns x and y."""
    import seaborn as sns

    if points.empty:
        return
    sns.scatterplot(
        data=points, x="x", y="y", hue="architecture", style="architecture", hue_order=list(looks),
        palette={name: look.color for name, look in looks.items()},
        markers={name: look.marker for name, look in looks.items()},
        s=size, alpha=0.75, linewidth=0.5, edgecolor=style.GROUND, legend=False, ax=axes, zorder=3,
    )  # fmt: skip


def _drawn_seeds(trials: pd.DataFrame, column: str) -> pd.DataFrame:
    """At most `MOST_SEEDS` trials an architecture and depth, spread over the column's range."""
    ordered = trials.sort_values(["architecture", "depth", column, "seed"], kind="stable")
    kept = [
        group.iloc[thin(len(group), MOST_SEEDS)] for _, group in ordered.groupby(["architecture", "depth"], sort=True)
    ]
    return pd.concat(kept) if kept else ordered


def error_panel(axes: "Axes", trials: pd.DataFrame, cells: pd.DataFrame, column: str, small: bool = False) -> None:
    """Error in percent against depth: mean and interval of the cells, each seed, failures in a band above."""
    looks = looks_of(trials)
    means = cells[cells["n_ok"] > 0].sort_values("depth")
    x = dodged(means["depth"], means["architecture"], looks)
    for name, cell in means.groupby("architecture", sort=True):
        look = looks[str(name)]
        middle, low, high = (100 * cell[f"{column}_{part}"].round(5) for part in ("mean", "low", "high"))
        axes.plot(x[cell.index], middle, color=look.color, linestyle=look.dash, linewidth=1.6, zorder=2)
        known = low.notna() & high.notna() & (not small)
        axes.vlines(
            x[cell.index][known],
            low[known].clip(0, 101),
            high[known].clip(0, 101),
            color=look.color,
            linewidth=3,
            alpha=0.3,
        )
    _to_the_band(axes, cells, looks, column)
    points = _drawn_seeds(trials, column)
    points = points.assign(x=dodged(points["depth"], points["architecture"], looks), y=100 * points[column].round(5))
    failed = points["status"] != "ok"
    _seeds(axes, points[~failed], looks, 12 if small else 26)
    gone = points[failed].assign(y=113.0)
    # Failures of one cell side by side, so that three of three are three marks.
    cells_failed = gone.groupby(["architecture", "depth"])["y"]
    aside = cells_failed.cumcount() % 6 - (cells_failed.transform("size").clip(upper=6) - 1) / 2
    failures(axes, gone.assign(x=gone["x"] * np.exp(0.045 * aside)), looks, 12 if small else 30)
    top = 101.0
    if failed.any():
        top = BAND[1]
        style.failure_band(axes, *BAND, "" if small else "no number: diverged or failed")
    axes.set_ylim(-3, top)
    axes.set_yticks([0, 50, 100] if small else [0, 20, 40, 60, 80, 100])
    style.depth_axis(axes, trials["depth"], label=not small)
    guessing(axes, trials, not small)
    if not small:
        axes.set_ylabel(f"{METRICS[column].label} (%)")


def _to_the_band(axes: "Axes", cells: pd.DataFrame, looks: dict[str, Style], column: str) -> None:
    """Where all seeds of a depth failed, a dotted line leads up to their marks: the curve does not just end."""
    ordered = cells.assign(x=dodged(cells["depth"], cells["architecture"], looks)).sort_values("depth")
    for name, group in ordered.groupby("architecture", sort=True):
        y = (100 * group[f"{column}_mean"].round(5)).fillna(113.0).to_numpy()
        x, gone = group["x"].to_numpy(), (group["n_ok"] == 0).to_numpy()
        for i in range(len(group) - 1):
            if gone[i] != gone[i + 1]:
                ends: dict[str, Any] = {
                    "color": looks[str(name)].color,
                    "linestyle": (0, (1, 2)),
                    "linewidth": 1.2,
                    "alpha": 0.8,
                }
                axes.plot(x[i : i + 2], y[i : i + 2], zorder=2, **ends)


def _published(axes: "Axes", trials: pd.DataFrame) -> bool:
    """Published test errors of the networks shown, as hollow stars; only on the data that they are about."""
    from results import literature

    if not _of_cifar10(trials):
        return False
    looks = looks_of(trials)
    points = literature.points()
    span = trials["depth"].min() / 1.25, trials["depth"].max() * 1.25
    points = points[
        (points["dataset"] == "cifar10") & points["architecture"].isin(list(looks)) & points["depth"].between(*span)
    ]
    for name, group in points[points["statistic"] != "above"].groupby("architecture", sort=True):
        at = (group["depth"], 100 * group["test_error"])
        axes.scatter(
            *at, marker="*", s=52, facecolors="none", edgecolors=looks[str(name)].color, linewidths=0.9, zorder=4
        )
    return len(points) > 0


def _of_cifar10(trials: pd.DataFrame) -> bool:
    names = trials["dataset"]
    return bool(names.str.contains("cifar10").all() and not names.str.contains("cifar100").any())


def protocol_note(frames: Frames) -> str:
    """Where published points are drawn: how far their protocol is from the study's. Else empty."""
    from results import literature

    part = main_part(frames)
    return literature.distance(part[1]) if part is not None and _of_cifar10(part[1]) else ""


def _error_chart(column: str) -> Callable[[Frames], "Figure | None"]:
    @styled
    def draw(frames: Frames) -> "Figure | None":
        part = main_part(frames)
        if part is None or (part[1][column].isna().all() and column == "test_error"):
            return None
        said, trials, cells = part
        figure, axes = canvas(1, 1, 8.2, 4.2)
        error_panel(axes[0, 0], trials, cells, column)
        axes[0, 0].set_title(said, loc="left")
        stars = column == "test_error" and _published(axes[0, 0], trials)
        legend(figure, trials, failed=bool((trials["status"] != "ok").any()), published=stars)
        return figure

    return draw


def small_errors(frames: Frames, architectures: Sequence[str], column: str = "train_error") -> "Figure | None":
    """The hero figure in a card's size, with these architectures only (all, where none of them is there)."""
    part = main_part(frames)
    return None if part is None else _small_errors(part, architectures, column)


@styled
def _small_errors(part: Any, architectures: Sequence[str], column: str) -> "Figure | None":
    _, trials, cells = part
    if trials["architecture"].isin(architectures).any():
        trials = trials[trials["architecture"].isin(architectures)]
        cells = cells[cells["architecture"].isin(architectures)]
    figure, axes = canvas(1, 1, 2.7, 1.15)
    error_panel(axes[0, 0], trials, cells, column, small=True)
    axes[0, 0].set(xlabel="", ylabel="")
    return figure


@styled
def other_settings(frames: Frames) -> "Figure | None":
    """Training error against depth in every other setting of the study, such as other learning rates."""
    parts = facets(frames.trials[frames.trials["comparable"]])[1:]
    # One setting of depth only is no ladder; each study shows one ladder before any shows a second.
    parts = [part for part in parts if part[1]["depth"].nunique() > 1] or parts
    if not parts:
        return None
    met: dict[str, int] = {}
    turn = [met.setdefault(study, i) == i for i, study in enumerate(str(p["study"].iloc[0]) for _, p in parts)]
    firsts, others = ([p for p, first in zip(parts, turn, strict=True) if first is wanted] for wanted in (True, False))
    drawn = [*firsts[:MOST_PANELS], *(others[i] for i in thin(len(others), max(0, MOST_PANELS - len(firsts))))]
    columns = min(3, len(drawn))
    rows = math.ceil(len(drawn) / columns)
    figure, axes = canvas(rows, columns, 2.5 * columns + 0.3, 1.9 * rows + 0.5, sharey=True)
    for place, (said, trials) in zip(axes.flat, drawn, strict=False):
        error_panel(place, trials, cells_of(frames.cells, trials), "train_error", small=True)
        place.set_title(said, loc="left", fontsize=8)
        place.set(xlabel="", ylabel="")
    if any((trials["status"] != "ok").any() for _, trials in drawn):
        axes[0, 0].set_ylim(-3, BAND[1])  # the panels share it, and each had set its own
    for place in axes.flat[len(drawn) :]:
        place.set_axis_off()
    figure.supylabel("training error (%)", fontsize=9)
    figure.supxlabel("depth (weighted layers)", fontsize=9)
    legend(figure, pd.concat([trials for _, trials in drawn]))
    return figure


_COST = 'cost trials (purpose = "cost")'

FIGURES: dict[str, Chart] = {
    "train-error-by-depth": Chart(
        "hero",
        "Training error against depth",
        "Each mark is one trained network (one seed); lines join means of those that ended; bars are 95 % intervals. "
        "Marks are moved sideways a little so that they do not hide each other.",
        "training trials",
        "digits",
        _error_chart("train_error"),
    ),
    "test-error-by-depth": Chart(
        "errors",
        "Test error against depth",
        "As above, on images that were not trained on. Intervals include the sampling of the test set. Published points"
        " (stars) stand only on plots of the same data.",
        "training trials",
        "digits",
        _error_chart("test_error"),
    ),
    "other-settings": Chart(
        "errors",
        "Training error in the study's other settings",
        "The same axes for each further learning rate, data set or other field that the study varies.",
        "a study that varies more than the depth",
        "digits-lr",
        other_settings,
    ),
    "learning-rates": Chart(
        "errors",
        "Training error against learning rate",
        "Means over seeds with 95 % intervals, a panel a depth. Crossed-out marks: every seed of that setting failed.",
        "trials at several learning rates",
        "digits-lr",
        learning_rates,
    ),
    "placements": Chart(
        "errors",
        "Placements and shortcuts, shallow and deep",
        "Mean training error of each residual network at each depth. A row that darkens to the right is a placement"
        " that works only when shallow.",
        "three or more residual networks at several depths",
        "digits-placements",
        placements,
    ),
    "steps-to-fit": Chart(
        "errors",
        "How fast random labels are fitted",
        "Steps until the running training error is at the bound that the study stops at; lines join medians.",
        "trials on random labels that stop when they are fitted",
        "digits-random-labels",
        steps_to_fit,
    ),
    "loss-curves": Chart(
        "curves",
        "Training loss by epoch, a panel a depth",
        "A line a seed, log axis. A curve that ends in a crossed-out mark stopped there: its loss was not a number.",
        "training trials",
        "digits",
        loss_curves,
    ),
    "document-curve": Chart(
        "document",
        "The document's curve",
        "Loss and accuracies by epoch as the document plots them: training values are running means in train mode.",
        "trials of the document's network that test each epoch",
        "document",
        document_curve,
    ),
    "step-time": Chart(
        "cost", "Time of a training step", "Median of the raw samples, both axes logarithmic.", _COST, "digits",
        cost_chart("step_time_s", 1.0, "step time (s)"),
    ),
    "throughput": Chart(
        "cost", "Training throughput", "Images a second at the study's batch size.", _COST, "digits",
        cost_chart("images_per_s", 1.0, "images / s"),
    ),
    "peak-memory": Chart(
        "cost", "Peak memory", "Of the whole process on a CPU; of the device on CUDA.", _COST, "digits",
        cost_chart("peak_memory_bytes", 1 / 2**20, "peak memory (MiB)"),
    ),
    "energy": Chart(
        "cost", "Energy of a training step", "As the device's own meter reports it.",
        "a run on a device that reports energy (NVML)", "", cost_chart("energy_j_per_step", 1.0, "energy (J / step)"),
    ),
    "operators": Chart(
        "cost",
        "Time by kind of operation",
        "Shares of the profiled operators' own time, a bar a depth. Profiling slows a step: compare shares, not times.",
        _COST,
        "digits",
        operators,
    ),
    "roofline": Chart(
        "cost",
        "Under the machine's two ceilings",
        "Left: FLOPs of a training step (three forward passes) over its time, against FLOPs over the bytes that it must"
        " move at least (what backward needs, written and read once; weights, gradients and momentum). The line is what"
        " a copy and a matrix product reached on the same machine: no step can be above it. Right: how near it is."
        " What is missing goes to launches, dispatch and traffic beyond the least.",
        "cost trials that measure the machine's ceilings",
        "digits",
        roofline,
    ),
    "accuracy-price": Chart(
        "cost",
        "What a point of accuracy costs",
        "Each mark is a setting, with its depth; the dashed line is the front that no other setting beats in both.",
        "training trials",
        "digits",
        accuracy_price,
    ),
    "gradient-norms": Chart(
        "inside",
        "Gradient norm by layer, before the first step",
        "A line a net, log axis. Where the line climbs towards the input, a first step changes the first layers most.",
        'training trials with probes = ["gradient_norms"]',
        "digits",
        gradient_norms,
    ),
    "branch-ratio": Chart(
        "inside",
        "How much each block changes what passes through it",
        "Norm of the branch over norm of the shortcut, by block and epoch, median over seeds. A small number is a block"
        " that nearly passes its input on.",
        'training trials with probes = ["branch_ratio"]',
        "digits",
        branch_ratio,
    ),
    "lesions": Chart(
        "inside",
        "What deleting blocks does to a trained network",
        "Above: one block deleted, dotted line the intact net. Below: more and more random blocks, from none on."
        " Only nets that trained can be cut.",
        'training trials with probes = ["lesions"]',
        "digits",
        lesions,
    ),
}  # fmt: skip


def write_all(frames: Frames, folder: Path) -> list[Path]:
    """Writes every figure that the frames can fill as SVG and PNG.

    Args:
        frames: All tables of a study.
        folder: Exists already.

    Returns:
        The files written, sorted.
    """
    written = []
    for name, chart in FIGURES.items():
        figure = chart.draw(frames)
        if figure is None:
            continue
        for kind, data in (("svg", style.svg(figure, ground="white").encode()), ("png", style.png(figure))):
            path = folder / f"{name}.{kind}"
            record.write(path, data)
            written.append(path)
    return sorted(written)
