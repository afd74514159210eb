"""What the figures share: an empty canvas, parts that may be drawn together, thinning, failure marks, legend.

Plain matplotlib and pandas; draws no data of its own.
"""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from models.layouts import CONVOLUTIONAL
from models.spec import ARCHITECTURES
from results.columns import ARCHITECTURE, SETTING
from results.figures import reading, style
from results.figures.style import Style
from results.search import recipe_rates
from results.tables import Frames, with_random_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Where failures are drawn, in percent: a band above all errors, its marks in the middle.
BAND = (104.0, 122.0)
LOST = 113.0

# What is drawn is thinned, never what is judged: of more than these, evenly spaced ones are drawn, with the extremes.
MOST_SEEDS = 12
MOST_CURVES = 5
MOST_PANELS = 8
MOST_EPOCHS = 120
# More networks than this cannot be told apart by colour.
MOST_COLOURS = 10
# Rows of a legend that the usual height of a figure has room for.
FEW_ROWS = 5


def canvas(rows: int, columns: int, width: float, height: float, **more: Any) -> "tuple[Figure, np.ndarray]":
    """An empty figure of rows x columns axes, inches, for what is `styled` (no pyplot: no global state)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **more)


def note(figure: "Figure | None", words: str) -> None:
    """Adds a sentence to the figure's caption: what is drawn in some figures only is explained where it is drawn."""
    if figure is None or not words:
        return
    known = notes(figure)
    if words not in known:
        figure.set_label("\n".join([*known, words]))


def notes(figure: "Figure | None") -> list[str]:
    """The sentences that `note` added, in their order."""
    return [] if figure is None else [line for line in str(figure.get_label()).split("\n") if line]


def not_drawn(frames: Frames, trials: pd.DataFrame) -> str:
    """Which networks of the study a figure of these trials leaves out, and why; empty where none."""
    used = frames.trials[frames.trials["comparable"] & frames.trials["study"].isin(trials["study"])]
    # Nothing but the length or the rate may set them apart: other data sets and layouts are other figures.
    alike = used[used["dataset"].isin(trials["dataset"]) & used["layout"].isin(trials["layout"])]
    left = labels_of(alike[~alike["architecture"].isin(trials["architecture"])])
    return f"Not drawn, since trained by another recipe: {', '.join(left.values())}." if left else ""


def styled(draw: Callable[..., "Figure | None"]) -> Callable[..., "Figure | None"]:
    """The function under `style.rc`, whatever the caller's matplotlib settings are."""

    def under(*arguments: Any) -> "Figure | None":
        import matplotlib

        with matplotlib.rc_context({"backend": "agg", **style.rc()}):
            return draw(*arguments)

    under.__doc__ = draw.__doc__
    return under


def facets(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Splits a frame into parts in which (architecture, depth) names one setting.

    Returns:
        (what sets the part apart, in words; its rows), the main one first: on true labels and with convolutions, with
        plain and residual nets side by side, with most of the ladder. Only the fields that differ between rows of
        equal architecture and depth are named; data set and layout always split, rates that a search chose never.
    """
    whole, frame = frame, frame.assign(lr=recipe_rates(frame))
    fields = [f for f in SETTING if f not in ("architecture", "depth", "grow_to", *ARCHITECTURE) and f in frame]
    several = [f for f in fields if frame[f].nunique() > 1]
    grouped = frame.groupby(["architecture", "depth"], observed=True)
    split = [f for f in several if f in ("dataset", "layout", "study") or bool((grouped[f].nunique() > 1).any())]
    if not split:
        return [("", whole)] if len(whole) else []
    parts, labels = [], labels_of(frame)
    for values, part in frame.groupby(split, observed=True, sort=True):
        known = dict(zip(split, values, strict=True))
        # Said is what sets a part apart from the others of its study: the study's name stands for the rest.
        own = frame[frame["study"] == known["study"]] if "study" in known else frame
        said = [_said(f, value, labels) for f, value in known.items() if f == "study" or own[f].nunique() > 1]
        parts.append((", ".join(filter(None, said)), whole.loc[part.index]))
    return sorted(parts, key=lambda part: (*_rank(part[1]), part[0]))


def _rank(part: pd.DataFrame) -> tuple[bool, bool, int]:
    aside = bool((~part["layout"].isin(CONVOLUTIONAL)).all() or with_random_labels(part).all())
    return aside, part["residual"].nunique() < 2, -len(part.groupby(["architecture", "depth"]))


def _said(field: str, value: Any, labels: dict[str, str]) -> str:
    if field == "lr_from":
        if value == "study":
            return ""
        other = str(value).partition(" of ")[2]
        return f"best lr of {labels.get(other, other)}" if other else "each net at its own best learning rate"
    if (field, value) == ("lr", -1.0):
        return ""
    word = f"{value:g}" if isinstance(value, float) else str(value)
    return word if field in ("study", "dataset", "layout") else f"{field.replace('_', ' ')} {word}"


def thin(count: int, most: int) -> list[int]:
    """Positions of at most so many of `count` sorted things, evenly spaced, first and last among them."""
    if count <= most:
        return list(range(count))
    if most < 2:
        return list(range(most))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def looks_of(frame: pd.DataFrame) -> dict[str, Style]:
    """How each network of the frame is drawn. Of more than `MOST_COLOURS` only some have a colour of their own.

    These are the document's networks, and a user's own.
    """
    looks = style.styles(frame["architecture"].unique())
    if len(looks) <= MOST_COLOURS:
        return looks
    kept = {"plain", "resnet", "preact", "document", *(name for name in looks if name not in ARCHITECTURES)}
    color, dash = style.OTHERS.color, style.OTHERS.dash
    return {name: look if name in kept else replace(look, color=color, dash=dash) for name, look in looks.items()}


def labels_of(frame: pd.DataFrame) -> dict[str, str]:
    known = frame.drop_duplicates("architecture").set_index("architecture")["label"].to_dict()
    return {name: short(label or name) for name, label in known.items()}


def short(label: str) -> str:
    """A network's label in a word: "residual (post-activation)" is "post-activation"."""
    found = re.fullmatch(r"residual \((.+)\)", label)
    return found[1] if found else label


def error_line(axes: "Axes", cells: pd.DataFrame, look: Style, alpha: float = 1.0) -> None:
    """Mean training errors joined by a line, with their intervals: columns x and y of `cells`, y in percent."""
    axes.plot(cells["x"], cells["y"], color=look.color, linestyle=look.dash, linewidth=1.2, alpha=alpha)
    low, high = (100 * cells[f"train_error_{side}"] for side in ("low", "high"))
    both = low.notna() & high.notna()
    ends = low[both].clip(0, 100).map(rounded), high[both].clip(0, 100).map(rounded)
    axes.vlines(cells["x"][both], *ends, color=look.color, linewidth=3, alpha=0.3)


def error_scale(axes: "Axes") -> None:
    """Errors in percent from bottom to top, and above them the band of nets without a number."""
    style.failure_band(axes, *BAND, "")
    axes.set_ylim(-3, BAND[1])
    axes.set_yticks([0, 20, 40, 60, 80, 100])


def legend(
    figure: "Figure",
    frame: pd.DataFrame,
    line: bool = True,
    marked: bool = True,
    failed: bool = False,
    published: bool = False,
    notes: dict[str, str] | None = None,
    bars: str = "",
) -> None:
    """Above the axes: every network's line and mark, as drawn, a few words after its name where `notes` has them."""
    from matplotlib.lines import Line2D

    labels = {
        name: f"{label}: {note}" if (note := (notes or {}).get(name)) else label
        for name, label in labels_of(frame).items()
    }
    looks = looks_of(frame)
    named = {name: look for name, look in looks.items() if look.color != style.OTHERS.color}
    others = {name: look for name, look in looks.items() if name not in named}
    if others:
        first = next(iter(others))
        named[first], labels[first] = others[first], f"{len(others)} other networks"
    handles = [
        Line2D(
            [],
            [],
            color=look.color,
            marker=look.marker if marked else "",
            linestyle=look.dash if line else "none",
            label=labels[name],
        )
        for name, look in named.items()
    ]
    if failed:
        handles.append(Line2D(
            [], [], linestyle="none", label="failed: no number", color=style.MUTED, marker="X",
            markerfacecolor=style.GROUND,
        ))  # fmt: skip
    if published:
        handles.append(Line2D(
            [], [], linestyle="none", label="published", color=style.MUTED, marker="*", markersize=8,
            markerfacecolor="none",
        ))  # fmt: skip
    if bars:
        handles.append(Line2D([], [], color=style.MUTED, linewidth=1.6, label=bars))
    # About 0.055 inch a letter at 8 pt, and the mark: as many columns as fit.
    widest = max((len(str(handle.get_label())) for handle in handles), default=1) * 0.055 + 0.45
    columns = max(1, min(4, int(figure.get_figwidth() / widest)))
    # Beyond a few rows the legend would eat the axes.
    figure.set_figheight(figure.get_figheight() + 0.17 * max(0, math.ceil(len(handles) / columns) - FEW_ROWS))
    made = figure.legend(handles=handles, loc="outside upper left", ncols=columns, columnspacing=1.2)
    for text, look in zip(made.get_texts(), named.values(), strict=False):
        key(text, look)


def key(text: Any, look: Style) -> None:
    """Makes a text the one that switches its network on and off, on a page."""
    text.set_gid(f"key-{look.color[1:]}")


def failures(axes: "Axes", points: pd.DataFrame, looks: dict[str, Style], size: float = 30) -> None:
    """Trials without a number: the architecture's mark, hollow and crossed out."""
    for name, group in points.groupby("architecture", sort=True):
        look = looks[str(name)]
        at = (group["x"], group["y"])
        axes.scatter(
            *at, marker=look.marker, s=size, facecolors=style.GROUND, edgecolors=look.color, linewidths=1, zorder=4,
            label=reading.FAILED,
        )  # fmt: skip
        axes.scatter(*at, marker="x", s=size * 0.45, color=look.color, linewidths=1, zorder=5, label=reading.CROSS)


def dodged(depth: pd.Series, architecture: pd.Series, looks: dict[str, Style]) -> pd.Series:
    """Depths moved apart by architecture, so that marks of equal height do not hide each other."""
    names = list(looks)
    spread = math.log(depth.max() / depth.min()) if depth.nunique() > 1 else 1.0
    step = min(0.022, 0.08 / max(len(names), 1)) * spread / 2
    place = architecture.map({name: (i - (len(names) - 1) / 2) * step for i, name in enumerate(names)})
    return (depth * np.exp(place.astype(float))).round(3)


def guessing(axes: "Axes", trials: pd.DataFrame, words: bool) -> None:
    """The error of a net that has learnt nothing, where all trials have the same number of classes."""
    classes = trials["classes"].dropna().unique()
    if len(classes) == 1 and classes[0] > 1:
        chance = 100 * (1 - 1 / float(classes[0]))
        axes.axhline(chance, color=style.MUTED, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
        if words:
            axes.text(
                0.008, chance - 1, f"guessing: {chance:.3g} %", va="top", transform=axes.get_yaxis_transform(),
                fontsize=7.5, color=style.MUTED,
            )  # fmt: skip


def main_part(frames: Frames) -> tuple[str, pd.DataFrame, pd.DataFrame] | None:
    """The part of the trials with most of the ladder, and its cells."""
    used = frames.trials[frames.trials["comparable"]]
    parts = facets(used)
    if not parts:
        return None
    said, trials = parts[0]
    return said, trials, cells_of(frames.cells, trials)


def cells_of(cells: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """The cells of these trials' settings."""
    settings = trials[list(SETTING)].drop_duplicates()
    return settings.merge(cells, on=list(SETTING), how="left", validate="one_to_one")


def marks(
    axes: "Axes", points: pd.DataFrame, looks: dict[str, Style], size: float = 26, alpha: float | None = None
) -> None:
    """Points at columns x and y, each as its architecture's mark."""
    for name, group in points.groupby("architecture", sort=True):
        look = looks[str(name)]
        axes.scatter(
            *(group["x"], group["y"]),
            marker=look.marker,
            color=look.color,
            s=size,
            alpha=alpha,
            linewidth=0.5,
            edgecolor=style.GROUND,
            zorder=3,
        )


def rounded(value: float, digits: int = 5) -> float:
    """To so many significant digits: what is drawn must not hang on the last bit."""
    return float(f"{value:.{digits}g}")
