"""A figure made to fit a column of a paper: its width, letters that can be read there, and none of them cut off."""

import textwrap
from typing import TYPE_CHECKING, Any

from results.figures.panels import styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Inches between two columns of a paper; a figure wider than this much spans both.
GUTTER, ONE_COLUMN = 0.25, 5.0
# Points of the smallest letters; inches that one takes, about, and that the mark before a name in a legend takes.
SMALLEST, LETTER, MARK = 8.0, 0.07, 0.45


@styled
def on_paper(figure: "Figure", column: float) -> None:
    """Sizes a figure for a paper of this column width, in inches; its letters stay 8 pt and more at that width."""
    from matplotlib.text import Text

    width, height = figure.get_size_inches()
    wanted = column if width <= ONE_COLUMN else 2 * column + GUTTER
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if any(float(label.get_fontsize()) < SMALLEST for label in axis.get_ticklabels()):
                axis.set_tick_params(labelsize=SMALLEST)
    for text in figure.findobj(Text):
        text.set_fontsize(max(SMALLEST, text.get_fontsize()))
    more = sum(_narrow(figure, i, wanted) for i in range(len(figure.legends)))
    figure.set_size_inches(wanted, height * min(1.0, max(wanted / width, 0.75)) + more)
    figure.draw_without_rendering()  # now each of the axes has its place
    for axes in figure.axes:
        room = axes.get_window_extent()
        for text, inches in ((axes.yaxis.label, room.height), (axes._left_title, room.width)):  # type: ignore[attr-defined]
            text.set_text(_wrapped(text.get_text(), inches / figure.dpi))


def _wrapped(words: str, inches: float) -> str:
    return textwrap.fill(words, max(8, int(inches / LETTER)), break_long_words=False)


def _narrow(figure: "Figure", which: int, wanted: float) -> float:
    """Puts as many names of a legend beside each other as fit, and breaks those that are too long for a line.

    Returns:
        Inches that it is higher by.
    """
    old = figure.legends[which]
    names = [_wrapped(text.get_text(), wanted - MARK) for text in old.get_texts()]
    handles: list[Any] = old.legend_handles
    keys = [text.get_gid() for text in old.get_texts()]
    before = old.get_window_extent().height
    # Only a new legend is laid out in another number of columns.
    for columns in range(4, 0, -1):
        figure.legends[which].remove()
        new = figure.legend(handles, names, loc="outside upper left", ncols=columns, columnspacing=1.2)
        figure.legends.insert(which, figure.legends.pop())
        if new.get_window_extent().width <= wanted * figure.dpi:
            break
    for text, key in zip(new.get_texts(), keys, strict=True):
        text.set_gid(key)
    return max(0.0, float(new.get_window_extent().height - before)) / figure.dpi
