"""Figures of what happens inside the networks: gradients by layer, branches by block and epoch, lesions.

`table.FIGURES` lists them. Drawn shallow and deep: the depths are
thinned, the ends kept.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from results.figures import reading, style
from results.figures.panels import (
    MOST_CURVES,
    canvas,
    labels_of,
    legend,
    looks_of,
    main_part,
    note,
    rounded,
    styled,
    thin,
)
from results.figures.style import Style
from results.tables import Frames

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_DEPTHS = 4
MOST_POINTS = 64


def _probe(frames: Frames, probe: str) -> pd.DataFrame:
    """A probe's readings: those of the main part of the ladder where it has any, so that no two recipes are mixed."""
    found = frames.probes[(frames.probes["probe"] == probe) & frames.probes["comparable"]]
    part = main_part(frames)
    main = found if part is None else found[found["digest"].isin(part[1]["digest"])]
    return found if main.empty else main


def _of(frames: Frames, probe: str, quantity: str) -> pd.DataFrame:
    found = _probe(frames, probe)
    return found[found["quantity"] == quantity]


def _initial(frames: Frames) -> pd.DataFrame:
    """Gradients before the first step: of the main part's study, one net a seed, since no recipe has touched them."""
    found = frames.probes[(frames.probes["probe"] == "gradient_norms") & frames.probes["comparable"]]
    main = _probe(frames, "gradient_norms")
    if main.empty:
        return main
    found = found[found["study"].isin(main["study"]) & found["dataset"].isin(main["dataset"])]
    first = found.drop_duplicates(["architecture", "depth", "seed"])
    return found[found["digest"].isin(first["digest"])]


def _depths(found: pd.DataFrame, most: int = MOST_DEPTHS) -> list[int]:
    depths = sorted(found["depth"].unique())
    return [depths[i] for i in thin(len(depths), most)]


def _nets(found: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """(architecture, its readings) of each net, a few an architecture."""
    nets = []
    for name, rows in found.groupby("architecture", sort=True):
        digests = list(dict.fromkeys(rows.sort_values("seed", kind="stable")["digest"]))
        nets += [(str(name), rows[rows["digest"] == digests[i]]) for i in thin(len(digests), MOST_CURVES)]
    return nets


@styled
def gradient_norms(frames: Frames) -> "Figure | None":
    """Gradient norm of each layer's weights at the initial weights, a panel per depth."""
    probed = _initial(frames)
    found, places = (probed[probed["quantity"] == quantity] for quantity in ("norm", "position"))
    if found.empty:
        return None
    places = places[["digest", "index", "value"]]
    found = found.merge(places.rename(columns={"value": "position"}), on=["digest", "index"], how="left")
    found["position"] = found["position"].fillna(found["index"] + 1)
    # Depths that show plain and residual nets side by side, where there are two of them.
    arms = found.groupby("depth")["architecture"].nunique()
    whole = found[found["depth"].isin(arms.index[arms == arms.max()])]
    depths = _depths(whole if whole["depth"].nunique() > 1 else found)
    figure, axes = canvas(1, len(depths), 1.75 * len(depths) + 0.7, 2.5, sharey=True)
    looks = looks_of(found)
    for place, depth in zip(axes.flat, depths, strict=True):
        place.set_yscale("log")
        for name, net in _nets(found[(found["depth"] == depth) & (found["value"] > 0)]):
            look = looks[name]
            net = net.sort_values("index").iloc[thin(len(net), MOST_POINTS)]
            y = net["value"].map(rounded)
            place.plot(net["position"], y, color=look.color, linestyle=look.dash, linewidth=1.1)
            reading.on_line(place, net["position"], y, look.color)
        place.set_title(f"{depth} layers", loc="left", fontsize=8.5)
    style.plain_log_ticks(axes[0, 0].yaxis)
    axes[0, 0].set_ylabel("gradient norm")
    figure.supxlabel("layer, from the input", fontsize=9)
    legend(figure, found, marked=False)
    if not np.isfinite(found["value"]).all():
        note(figure, "A line that ends early: from there to the input the gradient exceeds float32's range.")
    return figure


@styled
def branch_ratio(frames: Frames) -> "Figure | None":
    """Norm of the branch over norm of the shortcut, by block and epoch, as heat maps, shallow to deep."""
    from matplotlib.colors import LogNorm

    found = _of(frames, "branch_ratio", "ratio")
    found = found[found["value"] > 0]
    if found.empty:
        return None
    depths, names = _depths(found, 3), list(looks_of(found))
    low, high = float(found["value"].quantile(0.01)), float(found["value"].quantile(0.99))
    scale = LogNorm(vmin=rounded(low, 2), vmax=rounded(max(high, low * 1.01), 3))
    rows, columns = len(names), len(depths)
    figure, axes = canvas(rows, columns, 2.2 * columns + 1.0, 1.45 * rows + 0.8)
    image = None
    for i, name in enumerate(names):
        for j, depth in enumerate(depths):
            cell = found[(found["architecture"] == name) & (found["depth"] == depth)]
            axes[i, j].set_title(f"{labels_of(found)[name]}, {depth}", loc="left", fontsize=7.5)
            if cell.empty:
                axes[i, j].set_axis_off()
                continue
            image = _heat(axes[i, j], cell, scale)
    if image is not None:
        figure.colorbar(image, ax=axes, label="branch / shortcut", shrink=0.8, format="%g")
    figure.supxlabel("block, from the input", fontsize=9)
    figure.supylabel("epoch", fontsize=9)
    return figure


def _heat(axes: "Axes", cell: pd.DataFrame, scale: Any) -> Any:
    """The median over seeds, epochs upward."""
    table = cell.assign(block=pd.to_numeric(cell["name"], errors="coerce").fillna(cell["index"])).pivot_table(
        index="epoch", columns="block", values="value", aggfunc="median"
    )
    values = np.vectorize(lambda v: rounded(v, 3) if math.isfinite(v) else v)(table.to_numpy())
    image = axes.imshow(values, norm=scale, cmap="cividis", aspect="auto", origin="lower", interpolation="nearest")
    axes.set_yticks(range(len(table.index)), [f"{epoch:g}" for epoch in table.index], fontsize=7)
    kept = thin(len(table.columns), 4)
    axes.set_xticks(kept, [f"{table.columns[i]:g}" for i in kept], fontsize=7)
    axes.grid(visible=False)
    told = [
        (j, i) for i in thin(len(table.index), 5) for j in thin(len(table.columns), 12) if np.isfinite(values[i, j])
    ]
    said = [f"block {table.columns[j]:g}, epoch {table.index[i]:g}: {values[i, j]:g}" for j, i in told]
    reading.unseen(axes, [j for j, _ in told], [i for _, i in told], style.INK, say=said)
    return image


@styled
def lesions(frames: Frames) -> "Figure | None":
    """Test error after single blocks, and after more and more random ones, are deleted; shallow to deep."""
    found = _probe(frames, "lesions")
    singles, random = found[found["quantity"] == "errors"], found[found["quantity"] == "random.errors"]
    if singles.empty and random.empty:
        return None
    depths = _depths(pd.concat([singles, random]), 3)
    figure, axes = canvas(2, len(depths), 2.2 * len(depths) + 0.7, 4.2, sharey=True)
    looks = looks_of(found[found["quantity"].isin(["errors", "random.errors"])])
    for j, depth in enumerate(depths):
        here = found[found["depth"] == depth]
        for name, net in _nets(here):
            if name in looks:
                _lesion_net(axes[0, j], axes[1, j], net, looks[name])
        axes[0, j].set_title(f"{depth} layers", loc="left", fontsize=8.5)
        axes[0, j].set_xlabel("the block deleted", fontsize=8)
        axes[1, j].set_xlabel("random blocks deleted", fontsize=8)
    axes[0, 0].set_ylim(-3, 103)
    axes[0, 0].set_ylabel("test error (%)")
    axes[1, 0].set_ylabel("test error (%)")
    legend(figure, found[found["architecture"].isin(list(looks))])
    return figure


def _lesion_net(above: "Axes", below: "Axes", net: pd.DataFrame, look: Style) -> None:
    """One net: single deletions above, random ones below, both from its own intact error on."""
    by = dict(iter(net.groupby("quantity", sort=True)))
    line = {"color": look.color, "linestyle": look.dash, "linewidth": 1.1, "markersize": 3}
    intact = 100 * float(by["intact_error"]["value"].iloc[0]) if "intact_error" in by else math.nan
    if "errors" in by:
        single = by["errors"].set_index("index")["value"]
        blocks = (
            by["blocks"].set_index("index")["value"] if "blocks" in by else pd.Series(single.index, index=single.index)
        )
        kept = single.index[thin(len(single), MOST_POINTS)]
        mark = look.marker if len(kept) < 20 else ""
        x, y = blocks.reindex(kept), (100 * single[kept]).round(2)
        above.plot(x, y, marker=mark, **line)
        reading.on_line(above, x, y, look.color)
        above.axhline(round(intact, 2), color=look.color, linewidth=0.8, linestyle=":")
    if "random.errors" in by:
        errors = 100 * by["random.errors"].groupby("index")["value"].mean()
        cut, left = [0, *errors.index], [round(intact, 2), *errors.round(2)]
        below.plot(cut, left, marker=look.marker, **line)
        reading.on_line(below, cut, left, look.color)
