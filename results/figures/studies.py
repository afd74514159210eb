"""Figures of what single studies vary: learning rates, placements of the shortcut, random labels.

`table.FIGURES` lists them. Each returns None for a study that does not
vary its field.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from results.figures import reading, style
from results.figures.panels import (
    canvas,
    error_line,
    error_scale,
    failures,
    labels_of,
    legend,
    looks_of,
    marks,
    rounded,
    styled,
    thin,
)
from results.search import recipe_rates
from results.tables import Frames, with_random_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 6


@styled
def learning_rates(frames: Frames) -> "Figure | None":
    """Training error against learning rate, a panel per depth: where each network trains, and where none does."""
    cells = frames.cells[~with_random_labels(frames.cells) & (frames.cells["clip_norm"] == 0)]
    cells = cells[cells["lr_from"] == "study"]
    tried = cells.groupby(["study", "architecture", "depth"])["lr"].transform("nunique")
    cells = cells[tried > 1]
    if cells.empty:
        return None
    depths = sorted(cells["depth"].unique())
    depths = [depths[i] for i in thin(len(depths), MOST_PANELS)]
    columns = min(3, len(depths))
    rows = math.ceil(len(depths) / columns)
    figure, axes = canvas(rows, columns, 2.5 * columns + 0.6, 2.2 * rows + 0.6, sharey=True)
    looks = looks_of(cells)
    for place, depth in zip(axes.flat, depths, strict=False):
        _rate_panel(place, cells[cells["depth"] == depth], looks)
        place.set_title(f"{depth} layers", loc="left", fontsize=8.5)
    for place in axes.flat[len(depths) :]:
        place.set_axis_off()
    figure.supxlabel("learning rate", fontsize=9)
    figure.supylabel("training error (%)", fontsize=9)
    legend(figure, cells, failed=bool((cells["n_failed"] > 0).any()))
    return figure


def _rate_panel(axes: "Axes", cells: pd.DataFrame, looks: dict[str, style.Style]) -> None:
    axes.set_xscale("log")
    drawn = cells.assign(x=cells["lr"], y=(100 * cells["train_error_mean"]).map(rounded)).sort_values("lr")
    known = drawn[drawn["n_ok"] > 0]
    for name, group in known.groupby("architecture", sort=True):
        error_line(axes, group, looks[str(name)])
    marks(axes, known, looks, 24)
    error_scale(axes)
    # Networks that failed at the same rate stand one above the other.
    gone = drawn[drawn["n_failed"] > 0]
    place = gone.groupby("lr").cumcount() if len(gone) else pd.Series(dtype=float)
    failures(axes, gone.assign(y=108 + 5 * (place % 3)), looks, 20)
    rates = style.spaced(sorted(cells["lr"].unique()), 5)
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes.set_xticks([], minor=True)


@styled
def placements(frames: Frames) -> "Figure | None":
    """Error of every residual network by depth, as a heat map: where the shortcut stands matters only when deep."""
    import seaborn as sns

    cells = frames.cells[frames.cells["residual"] & ~with_random_labels(frames.cells)]
    cells = cells.assign(lr=recipe_rates(cells))
    counts = cells.groupby(["study", "lr"], sort=True)["architecture"].nunique()
    if counts.empty or counts.max() < 3:
        return None
    study, lr = counts.idxmax()
    cells = cells[(cells["study"] == study) & (cells["lr"] == lr)].drop_duplicates(["architecture", "depth"])
    names = list(looks_of(cells))
    if cells["depth"].nunique() < 2 or len(names) < 3:
        return None
    labels = labels_of(cells)
    table = cells.pivot(index="architecture", columns="depth", values="train_error_mean").reindex(names)
    known = cells.pivot(index="architecture", columns="depth", values="n_ok").reindex(names)
    values = (100 * table).map(lambda v: rounded(v, 3) if math.isfinite(v) else np.nan)
    words = values.map(lambda v: f"{v:.1f}" if math.isfinite(v) else "")
    # A mean over the seeds that ended must not pass for one over all.
    counts = cells.pivot(index="architecture", columns="depth", values=["n_failed", "n"]).reindex(names)
    partly = (counts["n_failed"] > 0) & (known > 0)
    of = counts["n_failed"].map("{:.0f} of ".format) + counts["n"].map("{:.0f} failed".format)
    words = words.mask(partly, words + "\n" + of)
    words = words.mask(known == 0, "failed").mask(known.isna(), "not run")
    figure, axes = canvas(1, 1, 7.2, 0.42 * len(names) + 1.1)
    place = axes[0, 0]
    sns.heatmap(
        values, annot=words.to_numpy(), fmt="", cmap="cividis_r", vmin=0, vmax=90, ax=place, linewidths=1,
        linecolor=style.GROUND, annot_kws={"fontsize": 8.5}, cbar_kws={"label": "training error (%)"},
    )  # fmt: skip
    down, across = np.indices(values.shape) + 0.5
    said = [
        f"{labels[name]}, depth {depth}, {words.loc[name, depth]}".replace("\n", ", ")
        + " %" * math.isfinite(values.loc[name, depth])
        for name in names for depth in values.columns
    ]  # fmt: skip
    reading.unseen(place, across.ravel(), down.ravel(), style.INK, 500, said)
    for i, name in enumerate(names):
        for j, depth in enumerate(values.columns):
            if not math.isfinite(values.loc[name, depth]):
                place.text(
                    j + 0.5, i + 0.5, words.loc[name, depth], ha="center", va="center", fontsize=8, color=style.MUTED
                )
    place.set_yticks(np.arange(len(names)) + 0.5, [labels[name] for name in names], rotation=0, fontsize=8)
    place.set(xlabel="depth (weighted layers)", ylabel="")
    place.tick_params(length=0)
    place.grid(visible=False)
    return figure


@styled
def steps_to_fit(frames: Frames) -> "Figure | None":
    """Steps that it took to fit random labels, against depth; a trial that never did is a failure mark."""
    trials = frames.trials[with_random_labels(frames.trials) & frames.trials["comparable"]]
    trials = trials[trials["stop_at_train_error"] > 0]
    if trials.empty:
        return None
    fitted = (trials["status"] == "ok") & (trials["train_error_running"] <= trials["stop_at_train_error"])
    looks = looks_of(trials)
    figure, axes = canvas(1, 1, 4.8, 3.5)
    place = axes[0, 0]
    place.set_yscale("log")
    drawn = trials.assign(x=trials["depth"], y=trials["steps"])
    for name, group in drawn[fitted].groupby("architecture", sort=True):
        look = looks[str(name)]
        middle = group.groupby("depth")["y"].median()
        place.plot(middle.index, middle, color=look.color, linestyle=look.dash, linewidth=1.2)
    marks(place, drawn[fitted], looks, 24)
    if not fitted.all():
        top = float(trials["steps_planned"].max()) * 1.15
        style.failure_band(place, top, top * 1.6, "never fitted")
        failures(place, drawn[~fitted].assign(y=top * 1.26), looks)
        place.set_ylim(top=top * 1.6)
    style.depth_axis(place, trials["depth"])
    style.plain_log_ticks(place.yaxis)
    place.set_ylabel("steps until the labels are fitted")
    legend(figure, trials, failed=not fitted.all())
    return figure
