"""What a figure shows, read back from it: each mark's value in words, and all that is drawn as a table.

Every figure gets both without doing anything for them, and what is read is what was drawn. Knows matplotlib's
artists only; `style.svg` writes the words into the SVG, the page offers the table as CSV.
"""

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from results.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure

# Labels of marks that stand for nets without a number. They begin with "_", which keeps them out of legends.
FAILED, CROSS = "_failed", "_cross"
# Of marks that nobody sees, see `unseen`; so many of them on a line, its ends among them.
UNSEEN, MOST_ON_A_LINE = "_unseen", 9
# Of lines that are no data: a law through marks, what leads up to the failures.
ASIDE = "_aside"
NO_NUMBER = "no number"

HEADS = ("panel", "network", "drawn as", "x", "y", "x is", "y is")


class Row(NamedTuple):
    """One thing drawn; `y` is empty where a net has no number."""

    panel: str
    network: str
    drawn: str
    x: float | str
    y: float | str
    x_is: str
    y_is: str


def tell(lot: "PathCollection", *rows: Row) -> None:
    """Says what marks stand for, one row each, where their place on the axes does not."""
    lot._told = rows  # type: ignore[attr-defined]


def unseen(axes: "Axes", x: Any, y: Any, color: str, size: float = 60, say: Sequence[str] = ()) -> None:
    """Marks that nobody sees, to say values of what has no marks: of a line, a bar, a map.

    Args:
        axes: Where it is drawn.
        x, y: Places, which are the values, too, where `say` is empty.
        color: That of the line, by which its network is known.
        size: As `scatter` takes it.
        say: What each mark says.
    """
    lot = axes.scatter(x, y, s=size, marker="s", color=color, alpha=0, linewidth=0, zorder=6, label=UNSEEN)
    if say:
        tell(lot, *(Row("", words, "mark", "", "", "", "") for words in say))


def on_line(axes: "Axes", x: Any, y: Any, color: str) -> None:
    """Unseen marks on a line of data, a few, ends among them."""
    across, up = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    known = np.flatnonzero(np.isfinite(up))
    kept = known[np.unique(np.linspace(0, len(known) - 1, min(len(known), MOST_ON_A_LINE)).round().astype(int))]
    if len(kept):
        unseen(axes, across[kept], up[kept], color)


def words(figure: "Figure") -> "list[tuple[PathCollection, list[str]]]":
    """Every lot of marks, with what each of its marks says: "plain, depth 66, training error 88.3 %"."""
    return [(lot, [_sentence(row) for row in rows]) for lot, rows in _marks(figure)]


def table(figure: "Figure") -> str:
    """All marks, bars and lines as CSV: in the figure's own units, as it draws them."""
    rows = [row for lot, found in _marks(figure) if lot.get_label() not in (CROSS, UNSEEN) for row in found]
    rows += [*_lines(figure), *_bars(figure), *_heat(figure)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADS)
    writer.writerows([f"{cell:.10g}" if isinstance(cell, float) else cell for cell in row] for row in rows)
    return text.getvalue()


def _sentence(row: Row) -> str:
    x, y = _measured(row.x_is, row.x), _measured(row.y_is, row.y) if row.y != "" else NO_NUMBER * bool(row.y_is)
    return ", ".join(filter(None, (row.network, x, y)))


def _measured(label: str, value: float | str) -> str:
    """ "training error (%)" and 3.2 as "training error 3.2 %"; of a depth, no unit."""
    label = " ".join(label.split())  # it may be broken into lines
    found = re.match(r"(.*?) \(([^)]*)\)", label)
    name, unit = (found[1], found[2]) if found else (label, "")
    said = f"{value:.4g}" if isinstance(value, float) else value
    return f"{name} {said}{f' {unit}' if unit and name != 'depth' else ''}".strip()


def _marks(figure: "Figure") -> "Iterator[tuple[PathCollection, list[Row]]]":
    from matplotlib.collections import PathCollection
    from matplotlib.colors import to_hex

    names = _networks(figure)
    for axes in figure.axes:
        for lot in axes.collections:
            if not isinstance(lot, PathCollection) or not lot.get_visible():
                continue
            if told := getattr(lot, "_told", None):
                yield lot, list(told)
                continue
            inks: Any = lot.get_edgecolor() if lot.get_label() == FAILED else lot.get_facecolor()
            places: Any = lot.get_offsets()
            network = names.get(to_hex(inks[0]), "") if len(inks) else ""
            lost = lot.get_label() in (FAILED, CROSS)
            rows = [
                _row(axes, figure, network, "failed" if lost else "mark", float(x), "" if lost else float(y))
                for x, y in places
            ]
            if rows:
                yield lot, rows


def _row(axes: "Axes", figure: "Figure", network: str, drawn: str, x: float | str, y: float | str) -> Row:
    x_is, y_is = axes.get_xlabel() or figure.get_supxlabel(), axes.get_ylabel() or figure.get_supylabel()
    y_is = y_is or figure.axes[0].get_ylabel()  # panels side by side share it
    if isinstance(x, float):
        x = style.undodged(axes, x)
        # An axis of kinds, not of numbers, has no label: the kind that stands nearest.
        ticks = [] if x_is else [label.get_text() for label in axes.get_xticklabels()]
        if any(ticks) and not any(re.search(r"\d", tick) for tick in ticks):
            x = ticks[min(max(round(x), 0), len(ticks) - 1)]
    return Row(axes.get_title(loc="left"), network, drawn, x, y, x_is, y_is)


def _networks(figure: "Figure") -> dict[str, str]:
    """By colour, what the legend calls it; else the name that the colour is kept for."""
    names = {look.color: name for name, look in style.STYLES.items()}
    for legend in figure.legends:
        for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
            color = getattr(handle, "get_color", lambda: None)()
            if isinstance(color, str) and color != style.MUTED:
                names[color] = text.get_text().partition(": ")[0]
    return names


def _lines(figure: "Figure") -> Iterator[Row]:
    """Lines that join data; bounds and bands, which span the axes, are none.

    Lines of one colour are told apart by their own labels, which may begin with "_" to stay out of the legend.
    """
    names = _networks(figure)
    told = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    for axes in figure.axes:
        for line in axes.lines:
            color = line.get_color()
            known = isinstance(color, str) and color in names
            if not known or line.get_label() == ASIDE or line.get_transform() is not axes.transData:
                continue
            own = str(line.get_label()).removeprefix("_")
            network = own if own in told else names[str(color)]
            across: Any = line.get_xdata()
            up: Any = line.get_ydata()
            for x, y in zip(across, up, strict=True):
                if math.isfinite(float(y)):
                    yield _row(axes, figure, network, "line", float(x), float(y))


def _bars(figure: "Figure") -> Iterator[Row]:
    for axes in figure.axes:
        ticks = [label.get_text() for label in axes.get_xticklabels()]
        for lot in axes.containers:
            for tick, bar in zip(ticks, lot, strict=False):
                if hasattr(bar, "get_height"):
                    yield _row(axes, figure, str(lot.get_label()), "bar", tick, float(bar.get_height()))


def _heat(figure: "Figure") -> Iterator[Row]:
    """Cells of a heat map whose rows and columns are all named."""
    from matplotlib.collections import QuadMesh

    for axes in figure.axes:
        across, up = ([t.get_text() for t in side] for side in (axes.get_xticklabels(), axes.get_yticklabels()))
        for mesh in axes.collections:
            values: Any = mesh.get_array() if isinstance(mesh, QuadMesh) else None
            if values is None or values.ndim != 2 or values.shape != (len(up), len(across)):
                continue
            lost = np.ma.getmaskarray(values) | np.isnan(np.ma.getdata(values))
            for i, name in enumerate(up):
                for j, column in enumerate(across):
                    value = float(values[i, j]) if not lost[i, j] else ""
                    yield _row(axes, figure, name, "cell", column, value)
