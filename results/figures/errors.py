"""Figures of errors against depth: the hero figure, its like in a card's size, and every other setting of a study.

`table.FIGURES` lists them.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from results.figures import reading, style
from results.figures.panels import (
    BAND,
    LOST,
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
    marks,
    not_drawn,
    note,
    styled,
    thin,
)
from results.figures.style import Style
from results.metrics import METRICS
from results.tables import Frames

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# By what ratio of depths failures of one cell are moved apart, as a logarithm.
SIDE_BY_SIDE = 0.045


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
        if known.any():
            bars = "Bars are two-sided 95 % intervals"
            test = ", the sampling of the test set included" if column == "test_error" else ""
            note(axes.get_figure(root=True), f"{bars}{test}.")
        axes.vlines(
            x[cell.index][known],
            low[known].clip(0, 100),
            high[known].clip(0, 100),
            color=look.color,
            linewidth=3,
            alpha=0.3,
        )
    if _to_the_band(axes, cells, looks, column):
        note(axes.get_figure(root=True), "A dotted line leads to a depth at which every seed failed.")
    points = _drawn_seeds(trials, column)
    points = points.assign(x=dodged(points["depth"], points["architecture"], looks), y=100 * points[column].round(5))
    failed = points["status"] != "ok"
    marks(axes, points[~failed], looks, 12 if small else 26, alpha=0.75)
    gone = points[failed].assign(y=LOST)
    # Failures of one cell side by side, so that three of three are three marks.
    cells_failed = gone.groupby(["architecture", "depth"])["y"]
    aside = cells_failed.cumcount() % 6 - (cells_failed.transform("size").clip(upper=6) - 1) / 2
    failures(axes, gone.assign(x=gone["x"] * np.exp(SIDE_BY_SIDE * aside)), looks, 12 if small else 30)
    if len(looks) > 1 and not small:
        note(axes.get_figure(root=True), "Marks are moved sideways a little so that they do not hide each other.")
    top = 101.0
    if failed.any():
        note(axes.get_figure(root=True), "A crossed-out mark is a net without a number: it diverged or failed.")
        top = BAND[1]
        style.failure_band(axes, *BAND, "" if small else "no number: diverged or failed")
    axes.set_ylim(-3, top)
    axes.set_yticks([0, 50, 100] if small else [0, 20, 40, 60, 80, 100])
    style.depth_axis(axes, trials["depth"], label=not small)
    guessing(axes, trials, not small)
    if not small:
        axes.set_ylabel(f"{METRICS[column].label} (%)")


def _to_the_band(axes: "Axes", cells: pd.DataFrame, looks: dict[str, Style], column: str) -> bool:
    """Where all seeds of a depth failed, a dotted line leads up to their marks: the curve does not just end.

    Returns:
        Whether there is such a depth beside one with a number.
    """
    any_drawn = False
    ordered = cells.assign(x=dodged(cells["depth"], cells["architecture"], looks)).sort_values("depth")
    for name, group in ordered.groupby("architecture", sort=True):
        y = (100 * group[f"{column}_mean"].round(5)).fillna(LOST).to_numpy()
        x, gone = group["x"].to_numpy(), (group["n_ok"] == 0).to_numpy()
        for i in range(len(group) - 1):
            if gone[i] != gone[i + 1]:
                axes.plot(
                    x[i : i + 2], y[i : i + 2], zorder=2, color=looks[str(name)].color, linestyle=(0, (1, 2)),
                    linewidth=1.2, alpha=0.8, label=reading.ASIDE,
                )  # fmt: skip
                any_drawn = True
    return any_drawn


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


def error_chart(column: str) -> Callable[[Frames], "Figure | None"]:
    @styled
    def draw(frames: Frames) -> "Figure | None":
        part = main_part(frames)
        if part is None or (part[1][column].isna().all() and column == "test_error"):
            return None
        said, trials, cells = part
        figure, axes = canvas(1, 1, 4.8, 3.5)
        error_panel(axes[0, 0], trials, cells, column)
        axes[0, 0].set_title(said, loc="left")
        stars = column == "test_error" and _published(axes[0, 0], trials)
        note(figure, "Stars: published points on the same data." if stars else "")
        note(figure, not_drawn(frames, trials))
        legend(figure, trials, failed=bool((trials["status"] != "ok").any()), published=stars)
        return figure

    return draw


def drawn_part(frames: Frames, architectures: Sequence[str] = ()) -> tuple[str, pd.DataFrame, pd.DataFrame] | None:
    """What an error figure draws: the main part, of it these architectures (all, where none of them is there).

    Returns:
        As `main_part`: what sets the part apart, its trials, its cells. What is said of a figure is said of these.
    """
    part = main_part(frames)
    if part is None or not part[1]["architecture"].isin(architectures).any():
        return part
    said, trials, cells = part
    return said, *(rows[rows["architecture"].isin(architectures)] for rows in (trials, cells))


def small_errors(frames: Frames, architectures: Sequence[str], column: str = "train_error") -> "Figure | None":
    """The hero figure in a card's size, with the architectures that `drawn_part` keeps."""
    part = drawn_part(frames, architectures)
    return None if part is None else _small_errors(part, column)


@styled
def _small_errors(part: Any, column: str) -> "Figure | None":
    _, trials, cells = part
    figure, axes = canvas(1, 1, *style.SMALL)
    error_panel(axes[0, 0], trials, cells, column, small=True)
    style.small_names(axes[0, 0], f"{METRICS[column].label} (%)")
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
