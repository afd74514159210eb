"""The picture of README.md, made from the published records: training error against depth on real images."""

from collections.abc import Iterable

from reports.page import first, verdicts
from reports.page.context import Source
from results.figures import style
from results.figures.ladder import ladder

# The study that README's picture shows, and its size in inches.
PICTURED, SIZE = "fashion-mnist-ladder", (7.6, 3.7)


def picture(published: Iterable[tuple[Source, str]]) -> bytes:
    """README's picture as PNG.

    Raises:
        ValueError: No errors of the study that it shows are published.
    """
    for source, _ in published:
        if source.study.name == PICTURED:
            judged, names = verdicts.judged_here(source.study, source.findings), verdicts.labels(source.frames)
            for title, trials, cells in first.panels(source.frames, judged, names):
                figure = ladder(trials, cells, f"{source.study.title}, {title[0].lower()}{title[1:]}", SIZE)
                return style.png(figure) if figure is not None else b""
    raise ValueError(f"no training errors of study {PICTURED!r} are published, which README.md shows")
