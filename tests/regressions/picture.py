"""The figure of a comparison: the ratio of each benchmark and slope with its interval, and the slopes themselves."""

from typing import TYPE_CHECKING, Any

from results.figures import reading, style
from tests.regressions.rows import MEASURES, Comparison, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOKS = dict(zip(MEASURES, (style.STYLES[name] for name in ("resnet", "plain", "preact")), strict=True))


def svg(found: Comparison, base: str, threshold: float) -> str:
    """A file that needs nothing else; marks say their values where a pointer rests on them."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(style.rc()):
        slopes = [row for row in found.rows if len(row.parts) > 1]
        names = list(dict.fromkeys(row.name for row in found.rows))
        figure = Figure(figsize=(9.0 if slopes else 6.0, 1.6 + 0.24 * len(names)))
        left, *right = figure.subplots(1, 1 + bool(slopes), squeeze=False)[0]
        _ratios(left, found.rows, names, 1 + threshold)
        for axes in right:
            _slopes(axes, slopes)
        figure.suptitle(f"against {base}", x=0.01, ha="left", fontsize=9)
        handles = left.get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower left", ncols=len(MEASURES))
        return style.svg(figure, ground=style.GROUND)


def _ratios(axes: "Axes", rows: list[Row], names: list[str], limit: float) -> None:
    axes.axvline(1, color=style.MUTED, linewidth=0.8)
    axes.axvline(limit, color=style.MUTED, linewidth=0.8, linestyle="--")
    for i, (measure, look) in enumerate(LOOKS.items()):
        shown = [row for row in rows if row.measure == measure]
        places = [names.index(row.name) + 0.25 * (i - 1) for row in shown]
        axes.hlines(places, [r.low for r in shown], [r.high for r in shown], color=look.color, linewidth=1.2)
        _marks(axes, [row.ratio for row in shown], places, measure, shown, filled=True)
    # Every mark is in sight; an interval may be cut off at the edge.
    marks = [row.ratio for row in rows if row.ratio == row.ratio]
    axes.set_xlim(min([0.8, *(ratio - 0.1 for ratio in marks)]), max([1.3, *(ratio + 0.1 for ratio in marks)]))
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel(f"now over before (dashed: limit {limit:g})")


def _slopes(axes: "Axes", rows: list[Row]) -> None:
    """Hollow before, filled now."""
    labels = [f"{row.name.removesuffix(' per layer')}, {row.unit} ({row.measure})" for row in rows]
    for i, row in enumerate(rows):
        axes.hlines(i, row.before, row.now, color=LOOKS[row.measure].color, linewidth=1.2)
        for value, filled in ((row.before, False), (row.now, True)):
            _marks(axes, [value], [i], row.measure, [row], filled)
    axes.set_xscale("log")
    style.plain_log_ticks(axes.xaxis)
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("slope (hollow: before)")


def _marks(axes: "Axes", x: list[float], y: list[Any], measure: str, rows: list[Row], filled: bool) -> None:
    look = LOOKS[measure]
    face = look.color if filled else style.GROUND
    lot = axes.scatter(x, y, s=18, marker=look.marker, facecolor=face, edgecolor=look.color, label=measure, zorder=3)
    said = [
        f"{row.before:.4g} to {row.now:.4g} {row.unit}, {row.ratio:.3f} times [{row.low:.3f}, {row.high:.3f}]"
        for row in rows
    ]
    reading.tell(
        lot, *(reading.Row("", row.name, "", measure, words, "", "") for row, words in zip(rows, said, strict=True))
    )
