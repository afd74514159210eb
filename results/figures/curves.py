"""Training curves, small multiples by depth.

`table.FIGURES` lists them.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from results.figures import reading, style
from results.figures.panels import (
    MOST_CURVES,
    MOST_EPOCHS,
    canvas,
    failures,
    legend,
    looks_of,
    main_part,
    not_drawn,
    note,
    styled,
    thin,
)
from results.figures.style import Style
from results.tables import Frames

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# One row of panels.
MOST_DEPTHS = 5


@styled
def loss_curves(frames: Frames) -> "Figure | None":
    """Training loss by epoch, a panel per depth, plain and residual side by side in it."""
    from matplotlib.ticker import MaxNLocator

    part = main_part(frames)
    if part is None or frames.epochs.empty:
        return None
    _, trials, _ = part
    depths = sorted(trials["depth"].unique())
    depths = [depths[i] for i in thin(len(depths), MOST_DEPTHS)]
    figure, axes = canvas(1, len(depths), 1.75 * len(depths) + 0.6, 2.5, sharex=True, sharey=True)
    looks = looks_of(trials)
    losses = frames.epochs[frames.epochs["digest"].isin(trials["digest"])]
    finite = losses["train_loss"].where(np.isfinite(losses["train_loss"]) & (losses["train_loss"] > 0)).dropna()
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.1, 10.0)
    # A loss that ran off to 1e30 before it was NaN would flatten every other curve.
    high = min(high, 50 * max(low, 1.0))
    for place, depth in zip(axes.flat, depths, strict=False):
        _curve_panel(place, trials[trials["depth"] == depth], losses, looks, (low, high))
        place.set_title(f"{depth} layers", loc="left", fontsize=8.5)
    axes[0, 0].set_ylim(low * 0.8, high * 3.2)
    style.plain_log_ticks(axes[0, 0].yaxis)
    figure.supylabel("training loss (nat)", fontsize=9)
    axes[0, 0].xaxis.set_major_locator(MaxNLocator(4, integer=True))
    figure.supxlabel("epoch", fontsize=9)
    failed = bool((trials["status"] != "ok").any())
    legend(figure, trials, failed=failed, marked=False)
    note(figure, "A curve that ends in a crossed-out mark stopped there: its loss was not a number." if failed else "")
    note(figure, not_drawn(frames, trials))
    return figure


def _curve_panel(
    axes: "Axes", trials: pd.DataFrame, losses: pd.DataFrame, looks: dict[str, Style], span: tuple[float, float]
) -> None:
    """One depth: a line per seed; a trial that failed ends in a failure mark in the band."""
    low, high = span
    axes.set_yscale("log")
    if (trials["status"] != "ok").any():
        style.failure_band(axes, high * 1.3, high * 3.2, "")
    for name, group in trials.groupby("architecture", sort=True):
        look = looks[str(name)]
        ordered = group.sort_values(["train_loss_running", "seed"], kind="stable")
        for _, trial in ordered.iloc[thin(len(ordered), MOST_CURVES)].iterrows():
            curve = losses[losses["digest"] == trial["digest"]].sort_values("epoch")
            curve = curve.iloc[thin(len(curve), MOST_EPOCHS)]
            y = curve["train_loss"].where(np.isfinite(curve["train_loss"])).clip(low, high).round(5)
            mark = look.marker if len(curve) == 1 else None
            axes.plot(curve["epoch"], y, color=look.color, linestyle=look.dash, linewidth=1.2, alpha=0.85, marker=mark)
            reading.on_line(axes, curve["epoch"], y, look.color)
            if trial["status"] != "ok":
                last = float(curve["epoch"].max()) if len(curve) else 1.0
                end = pd.DataFrame({"architecture": [name], "x": [last], "y": [high * 2.05]})
                failures(axes, end, looks, 22)


@styled
def document_curve(frames: Frames) -> "Figure | None":
    """The document's plot: loss, training and test accuracy by epoch, a thin line per seed, a thick one their mean."""
    found = frames.epochs[(frames.epochs["architecture"] == "document") & frames.epochs["test_error"].notna()]
    if found.empty:
        return None
    figure, axes = canvas(1, 1, 7.2, 3.4)
    place = axes[0, 0]
    look = style.STYLES["document"].color
    lines = (("train_loss", "training loss (nat)", "-"), ("train_error", "training accuracy", (0, (4, 1.5))),
             ("test_error", "test accuracy", (0, (1.2, 1.4))))  # fmt: skip
    for column, label, dash in lines:
        value = found[column] if column == "train_loss" else 1 - found[column]
        shown = found.assign(value=value.round(5))
        for _, seed in shown.groupby("digest", sort=True):
            place.plot(
                seed["epoch"], seed["value"], color=look, linestyle=dash, linewidth=0.7, alpha=0.45, label=f"_{label}"
            )
        mean = shown.groupby("epoch")["value"].mean().round(5)
        place.plot(mean.index, mean, color=look, linestyle=dash, linewidth=1.8, label=label)
    place.set_xlabel("epoch")
    place.set_ylabel("loss, and accuracy as a fraction")
    place.set_ylim(bottom=0)
    figure.legend(loc="outside upper left", ncols=3)
    return figure
