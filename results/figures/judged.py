"""Figures of what a judge looked at: the differences, intervals and bounds of its findings, as they were judged.

They draw the rows of findings, not frames, and know no claim. Each row is a
dict with the keys that the function names.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from results.figures import style
from results.figures.panels import (
    BAND,
    LOST,
    MOST_SEEDS,
    canvas,
    dodged,
    failures,
    legend,
    marks,
    rounded,
    styled,
    thin,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, object]]


def _table(rows: Rows, *needed: str) -> pd.DataFrame:
    """The rows that have all these numbers."""
    keep = [row for row in rows if all(isinstance(v := row.get(k), int | float) and np.isfinite(v) for k in needed)]
    return pd.DataFrame(keep) if keep else pd.DataFrame(columns=["architecture", "label", *needed])


@styled
def effects(rows: Rows, margin: float, small: bool = False) -> "Figure | None":
    """Differences in points against depth with the bounds that were judged, and the margin fixed beforehand.

    Args:
        rows: "architecture", "label", "depth", "effect", and "low" and "high" where there are any; fractions.
            "failed" where a seed failed: there is no difference to draw, and it is marked above.
        margin: Half the width of the band in which a difference is called none; a fraction.
        small: For a card: no words but the axes'.
    """
    table = _table(rows, "depth")
    if table.empty or "effect" not in table:
        return None
    effect = pd.to_numeric(table["effect"], errors="coerce")
    table = table[effect.notna() | table["failed"].astype(bool)].assign(effect=effect)
    if table["effect"].notna().sum() == 0:
        return None
    looks = style.styles(table["architecture"])
    # Names of many networks stand one below the other, and take no room from the axes.
    figure, axes = canvas(1, 1, *(style.SMALL if small else (4.8, 3.2 + 0.17 * max(0, len(looks) - 3))))
    place = axes[0, 0]
    table["x"] = dodged(table["depth"], table["architecture"], looks)
    table["y"] = (100 * table["effect"]).map(rounded)
    gone = table["failed"].astype(bool)
    known = table[~gone]
    # Linear within the margin, logarithmic beyond it: differences run from a tenth of a point to ninety.
    place.set_yscale("symlog", linthresh=100 * margin, linscale=0.8)
    place.axhspan(-100 * margin, 100 * margin, color=style.GRID, alpha=0.55, zorder=0, linewidth=0)
    place.axhline(0, color=style.MUTED, linewidth=0.8, zorder=1)
    bars = ""
    for name, group in known.sort_values("depth").groupby("architecture", sort=True):
        look = looks[str(name)]
        place.plot(group["x"], group["y"], color=look.color, linestyle=look.dash, linewidth=0.9, alpha=0.6, zorder=2)
        if {"low", "high"} <= set(group.columns) and not small:
            low, high = (100 * pd.to_numeric(group[side], errors="coerce") for side in ("low", "high"))
            both = low.notna() & high.notna()
            bars = "one-sided bounds" if both.any() else bars
            place.vlines(
                group["x"][both], low[both].map(rounded), high[both].map(rounded), color=look.color, linewidth=1.6
            )
    marks(place, known, looks, 14 if small else 28)
    _difference_axis(place, known, margin, small)
    if gone.any():
        # Above all that can be measured: an error is at most 100 points over another.
        style.failure_band(place, 140, 420, "" if small else "no number: diverged or failed")
        failures(place, table[gone].assign(y=242.0), looks, 14 if small else 32)
        place.set_ylim(top=420)
    style.depth_axis(place, table["depth"], label=not small)
    if small:
        style.small_names(place, "difference (points)")
    else:
        legend(figure, table, failed=bool(gone.any()), bars=bars)
    return figure


def _difference_axis(axes: "Axes", known: pd.DataFrame, margin: float, small: bool) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    ends = [known["y"]] + [100 * pd.to_numeric(known[c], errors="coerce") for c in ("low", "high") if c in known]
    low, high = (float(f([float(f(e.dropna())) for e in ends if e.notna().any()])) for f in (min, max))
    band = 100 * margin
    axes.set_ylim(min(low * 1.3, -1.5 * band), max(high * 1.3, 1.5 * band))
    beyond = (10, 50) if small else (5, 10, 20, 50, 100)
    ticks = [tick * sign for tick in (band, *beyond) for sign in (1, -1)]
    axes.yaxis.set_major_locator(FixedLocator(sorted({0.0, *ticks})))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:+g}".replace("-", "−") if v else "0"))
    if not small:
        axes.set_ylabel("difference (points)")
        axes.text(
            0.992, band * 0.9, f"margin: {band:g} points", ha="right", va="top", fontsize=7.5, color=style.MUTED,
            transform=axes.get_yaxis_transform(),
        )  # fmt: skip


@styled
def levels(rows: Rows, lines: dict[str, float]) -> "Figure | None":
    """Errors of single nets in percent, a column a kind of net, against bounds fixed beforehand.

    Args:
        rows: "architecture", "label", "error" (a fraction), "seed", and "failed" for a net that has no error.
        lines: What a bound means, and the bound as a fraction.
    """
    if not rows:
        return None
    table = pd.DataFrame(list(rows))
    table["error"] = pd.to_numeric(table["error"], errors="coerce") if "error" in table else np.nan
    looks = style.styles(table["architecture"])
    place_of = {name: i for i, name in enumerate(looks)}
    figure, axes = canvas(1, 1, 7.2, 2.8)
    place = axes[0, 0]
    parts = []
    for name, group in table.sort_values(["error", "seed"]).groupby("architecture", sort=True):
        group = group.iloc[thin(len(group), MOST_SEEDS)]
        parts.append(group.assign(x=place_of[str(name)] + 0.06 * (np.arange(len(group)) - (len(group) - 1) / 2)))
    drawn = pd.concat(parts).assign(y=lambda f: (100 * f["error"]).map(rounded))
    missing = drawn["failed"].astype(bool)
    marks(place, drawn[~missing], looks, 32)
    top = 101.0
    if missing.any():
        top = BAND[1]
        style.failure_band(place, *BAND, "no number: diverged or failed", right=True)
        failures(place, drawn[missing].assign(y=LOST), looks)
    for words, bound in lines.items():
        place.axhline(100 * bound, color=style.MUTED, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
        place.text(len(looks) - 0.52, 100 * bound + 1, words, ha="right", va="bottom", fontsize=7.5, color=style.MUTED)
    place.set_xlim(-0.5, len(looks) - 0.5)
    place.set_ylim(-3, top)
    names = drawn.drop_duplicates("architecture").set_index("architecture")["label"]
    place.set_xticks(range(len(looks)), [names[name] for name in looks])
    place.grid(visible=False, axis="x")
    place.set_yticks([0, 20, 40, 60, 80, 100])
    place.set_ylabel("training error (%)")
    return figure


@styled
def effective_depth(rows: Rows, small: bool = False) -> "Figure | None":
    """Layers that matter against layers that are there, both on log axes; the diagonal is a net that needs them all.

    Args:
        rows: "architecture", "label", "depth" and "effective_depth", in layers.
        small: For a card: no words but the axes'.
    """
    known = _table(rows, "depth", "effective_depth")
    known = known[known["effective_depth"] > 0] if len(known) else known
    if known.empty:
        return None
    looks = style.styles(known["architecture"])
    known = known.assign(x=known["depth"], y=known["effective_depth"].map(rounded)).sort_values("depth")
    figure, axes = canvas(1, 1, *(style.SMALL if small else (7.2, 3.2)))
    place = axes[0, 0]
    place.set_yscale("log")
    ends = [float(known["depth"].min()), float(known["depth"].max())]
    place.plot(ends, ends, color=style.MUTED, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
    for name, group in known.groupby("architecture", sort=True):
        look = looks[str(name)]
        place.plot(group["x"], group["y"], color=look.color, linestyle=look.dash, linewidth=1.2)
    marks(place, known, looks, 14 if small else 30)
    style.depth_axis(place, known["depth"], label=not small)
    style.plain_log_ticks(place.yaxis)
    if small:
        style.small_names(place, "layers that count")
    else:
        place.set_ylabel("effective depth (layers)")
        place.annotate("every layer matters", (ends[1], ends[1]), (-4, 4), textcoords="offset points", ha="right",
                       fontsize=7.5, color=style.MUTED)  # fmt: skip
        legend(figure, known)
    return figure
