"""How figures look: one colour, marker and dash an architecture, the inks, and the axes all figures share.

Its own file because the page (legend, dark mode) and the figures must agree on it. It draws no data and
imports no seaborn.
"""

import colorsys
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary
from xml.sax.saxutils import escape

from models.spec import ARCHITECTURES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Style:
    """How an architecture looks, everywhere.

    Attributes:
        color: On a light ground; at least 3:1 against it (WCAG 2.2, 1.4.11), as `dark` is against a dark one.
        marker: A filled matplotlib marker; colour is never the only difference.
        dash: A matplotlib line style.
        dark: The same hue on a dark ground.
    """

    color: str
    marker: Any  # a str, or a tuple for a star; matplotlib's own type for these is private
    dash: Any
    dark: str


_DASHED = (0.0, (4.0, 1.5))
_DOTTED = (0.0, (1.2, 1.4))

# Hues of Okabe and Ito 2008 for the default ladder, then Tol 2021 ("muted"), darkened where 3:1 asked for it.
_CHOSEN: dict[str, Style] = {
    "plain": Style("#d55e00", "s", "-", "#ff8a3d"),
    "resnet": Style("#0072b2", "o", "-", "#56b4e9"),
    "preact": Style("#00875f", "^", "-", "#2fcc9b"),
    "bn-after-add": Style("#b8558f", "D", _DASHED, "#e59ac6"),
    "relu-before-add": Style("#96740a", "v", _DASHED, "#e6c229"),
    "relu-only-preact": Style("#3f3aa8", "P", _DASHED, "#9d9bf0"),
    "resnet-b": Style("#2a8c86", "<", _DOTTED, "#5fd0c8"),
    "resnet-c": Style("#7f7f1f", ">", _DOTTED, "#c9c94f"),
    "resnet-half": Style("#c2455e", "p", _DOTTED, "#f0869a"),
    "resnet-dropout": Style("#882255", "h", _DOTTED, "#d87aa8"),
    "resnet-zero": Style("#6a4fb3", "d", _DASHED, "#b39bf5"),
    "plain-orthogonal": Style("#7a4a21", "*", _DASHED, "#d0a070"),
    "document": Style("#4f5b66", "8", "-", "#b6c2cc"),
    "resnet-both-sides": Style("#2f7f86", (5, 1, 0), _DOTTED, "#7fd0d6"),
    "preact-shared": Style("#3d7d2f", (3, 0, 180), _DOTTED, "#8fce7d"),
    "preact-b": Style("#1d6b54", (4, 0, 45), _DOTTED, "#6fd3b4"),
}


def _derived(names: Sequence[str]) -> dict[str, Style]:
    """Looks of architectures for which none was chosen: hues a golden angle apart, polygons and stars."""
    made = {}
    for i, name in enumerate(names):
        hue, sides = (0.12 + i * (math.sqrt(5) - 1) / 2) % 1, 4 + i // 3
        marker = (sides, i % 3 % 2, 20 if i % 3 < 2 else 65)
        dark = 0.72
        light = next(v for v in (0.40, 0.34, 0.28, 0.22) if _luminance(hue, v) < 0.25)
        made[name] = Style(_hex(hue, light), marker, (_DASHED, _DOTTED)[i % 2], _hex(hue, dark))
    return made


def _hex(hue: float, lightness: float) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in colorsys.hls_to_rgb(hue, lightness, 0.55))


def _luminance(hue: float, lightness: float) -> float:
    """Relative luminance, as WCAG 2.2 defines it; under 0.3 it is 3:1 against a light ground."""
    linear = [part**2.2 for part in colorsys.hls_to_rgb(hue, lightness, 0.55)]
    return float(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])


STYLES: dict[str, Style] = {**_CHOSEN, **_derived([name for name in ARCHITECTURES if name not in _CHOSEN])}

# Users' own architectures, in the order of their names.
_SPARE = (
    Style("#5b7a10", "H", _DASHED, "#a8cc55"),
    Style("#a0419a", "X", _DASHED, "#dd8ad7"),
    Style("#1f6f8f", (4, 1, 0), _DASHED, "#6fc3e6"),
    Style("#8a5a5a", (6, 1, 0), _DASHED, "#d0a3a3"),
)

# Of many networks in one figure, those without a colour of their own.
OTHERS = Style("#868e96", "o", "-", "#8b949d")

# The inks are looked for in the SVG and exchanged for the page's own, so none may equal a data colour.
INK = "#1b1f24"
MUTED = "#57606b"
GRID = "#dde2e7"
GROUND = "#fefefe"
BAND = "#f4e7e1"
SHADES = ("#bcd3e8", "#41729f", "#a3b18a", "#9f86c0", "#c9ada7")

_DARK = {INK: "currentColor", MUTED: "var(--muted)", GRID: "var(--grid)", GROUND: "var(--card)", BAND: "var(--band)"}


def styles(architectures: Iterable[str]) -> dict[str, Style]:
    """A style for each name: the row of `STYLES`, or a spare one for a user's own, by order of name."""
    names = sorted(set(architectures))
    own = [name for name in names if name not in STYLES]
    spare = {name: _SPARE[i % len(_SPARE)] for i, name in enumerate(own)}
    order = [name for name in STYLES if name in names] + own
    return {name: STYLES.get(name) or spare[name] for name in order}


def palette_css() -> tuple[dict[str, str], dict[str, str]]:
    """CSS variables of every data colour, light and dark, by the name that `inline_colors` writes."""
    rows = [*STYLES.values(), *_SPARE, OTHERS]
    return {f"--c{s.color[1:]}": s.color for s in rows}, {f"--c{s.color[1:]}": s.dark for s in rows}


def inline_colors(svg: str) -> str:
    """Exchanges inks and data colours for the page's CSS variables, so that dark mode reaches the figures."""
    known = {s.color: f"var(--c{s.color[1:]})" for s in (*STYLES.values(), *_SPARE, OTHERS)} | _DARK
    return re.sub(r"#[0-9a-f]{6}\b", lambda m: known.get(m[0], m[0]), svg)


def rc() -> dict[Any, Any]:
    """matplotlib's settings for every figure; for `matplotlib.rc_context`."""
    return {
        "font.family": "DejaVu Sans",  # matplotlib ships it: the same widths on every machine
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.titleweight": "bold",
        "axes.labelsize": 9,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "legend.handlelength": 1.8,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": MUTED,
        "axes.titlecolor": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": GRID,
        "grid.linewidth": 0.7,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "lines.linewidth": 1.8,
        "lines.markersize": 5,
        "text.parse_math": False,  # a name with dollar signs is a name
        "svg.fonttype": "none",
        "pdf.fonttype": 42,
        "svg.hashsalt": "depth-ablation",
        "figure.constrained_layout.use": True,
        "savefig.dpi": 160,
    }


# By axis of depth, the depths that were tried: marks stand a little beside them.
_TRIED: "WeakKeyDictionary[Axes, list[int]]" = WeakKeyDictionary()


def undodged(ax: "Axes", x: float) -> float:
    """The depth that a mark at x stands for; x itself on any other axis."""
    return float(min(_TRIED[ax], key=lambda depth: abs(math.log(x / depth)))) if _TRIED.get(ax) and x > 0 else x


def depth_axis(ax: "Axes", depths: Iterable[int], label: bool = True) -> None:
    """A log axis of depth with a tick at each depth that was tried, as far as they fit."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    tried = sorted(set(depths))
    _TRIED[ax] = tried
    ax.set_xscale("log")
    if tried:
        ax.set_xlim(tried[0] / 1.25, tried[-1] * 1.25)
        ticks = spaced(tried, 8 if label else 5)
        ax.xaxis.set_major_locator(FixedLocator(ticks))
        ax.xaxis.set_major_formatter(FixedFormatter([f"{depth:g}" for depth in ticks]))
    ax.xaxis.set_minor_locator(NullLocator())
    if label:
        ax.set_xlabel("depth (weighted layers)")


# Inches of a card's figure.
SMALL = (2.7, 1.4)


def small_names(ax: "Axes", y: str) -> None:
    """The names of a card's two axes, as small as its ticks."""
    ax.set_xlabel("depth (weighted layers)", fontsize=6.5, labelpad=1.5)
    ax.set_ylabel(y, fontsize=6.5, labelpad=2.5)


def spaced(depths: Sequence[float], most: int = 8) -> list[float]:
    """At most so many of these sorted places of a log axis, first and last kept, far enough apart for their labels."""
    if len(depths) == 1:
        return list(depths)
    gap = math.log(depths[-1] / depths[0]) / most * 0.8
    kept = [depths[0]]
    for depth in depths[1:-1]:
        if math.log(depth / kept[-1]) >= gap and math.log(depths[-1] / depth) >= gap:
            kept.append(depth)
    return [*kept, depths[-1]]


def plain_log_ticks(axis: Any) -> None:
    """Ticks of a log axis as people write them: 0.05, 20, 10¹⁶; never a handful of bare powers where 2 and 5 fit."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    low, high = axis.get_view_interval()
    decades = math.log10(high / low) if low > 0 else 9.0
    if decades < 0.7:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.5 else (1.0,), numticks=7))
        axis.set_minor_locator(NullLocator() if decades > 8 else LogLocator(subs=tuple(range(1, 10)), numticks=99))
    axis.set_major_formatter(FuncFormatter(lambda value, _: log_tick(value, powers=decades > 6)))
    axis.set_minor_formatter(NullFormatter())


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def log_tick(value: float, powers: bool = False) -> str:
    """A tick's text: plain from 0.001 to 100,000, a power of ten outside, or always."""
    if value <= 0 or (1e-3 <= value < 1e6 and not powers):
        return f"{value:g}" if value < 1e4 else f"{value:,.0f}".replace(",", " ")
    power = math.floor(math.log10(value) + 1e-9)
    head = value / 10**power
    return ("" if abs(head - 1) < 1e-6 else f"{head:g}·") + "10" + str(power).translate(_RAISED)


def failure_band(ax: "Axes", bottom: float, top: float, text: str, right: bool = False) -> None:
    """The strip above the data where trials without a number stand, so that they are seen."""
    ax.axhspan(bottom, top, color=BAND, zorder=0, linewidth=0)
    # In the middle of a log axis by ratio.
    middle = math.sqrt(bottom * top) if ax.get_yscale() == "log" else (bottom + top) / 2
    ax.text(
        0.992 if right else 0.008, middle, text, ha="right" if right else "left", va="center", fontsize=7.5,
        color=MUTED, transform=ax.get_yaxis_transform(),
    )  # fmt: skip


def svg(figure: "Figure", ground: str = "none") -> str:
    """The figure as a standalone SVG: text as text, no date, coordinates at 1/100 pt; the same each time.

    Each mark says its value where a pointer rests on it.
    """
    from results.figures import reading

    told = reading.words(figure)
    for i, (lot, _) in enumerate(told):
        lot.set_gid(f"marks-{i}")
    text = _saved(figure, "svg", ("Date", "Creator", "Format", "Type"), ground).decode()
    text = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", tag[0]), text)
    text = re.sub(r"[ \t]*\n[ \t\n]*", "\n", text)
    for i, (_, words) in enumerate(told):
        text = _titled(text, f"marks-{i}", words)
    return text


def _titled(text: str, group: str, words: list[str]) -> str:
    """The SVG with a title in each mark of the group; unchanged unless it has one mark per text."""
    start = text.find(f'<g id="{group}">')
    end = text.find('<g id="', start + 1)
    body = text[start : end if end > 0 else len(text)]
    if start < 0 or len(re.findall(r"<use [^>]*/>", body)) != len(words):
        return text
    rest = iter(words)
    titled = re.sub(r"(<use [^>]*)/>", lambda m: f"{m[1]}><title>{escape(next(rest))}</title></use>", body)
    return text[:start] + titled + text[start + len(body) :]


def pdf(figure: "Figure") -> bytes:
    """The figure as a PDF with its text as text, no date: the same each time."""
    return _saved(figure, "pdf", ("CreationDate", "Creator", "Producer"))


def png(figure: "Figure") -> bytes:
    """The figure as a PNG on white."""
    return _saved(figure, "png", ("Software",))


def _saved(figure: "Figure", kind: str, unsaid: Sequence[str], ground: str = "white") -> bytes:
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context(rc()):
        figure.savefig(buffer, format=kind, facecolor=ground, metadata=dict.fromkeys(unsaid))
    return buffer.getvalue()
