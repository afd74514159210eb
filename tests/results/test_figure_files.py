"""Figures as files: the same frames give the same bytes, text stays text, and a paper's column fits."""

import dataclasses
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import made_up
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from results import tables
from results.figures import paper, style
from results.figures import table as figures
from results.figures.panels import thin
from results.tables import Frames


def test_thinning_keeps_the_ends() -> None:
    assert thin(3, 12) == [0, 1, 2]
    assert thin(100, 5) == [0, 25, 50, 74, 99]
    assert len(thin(1000, 12)) == 12


def test_svg_is_the_same_twice_is_xml_and_keeps_its_text_as_text(frames: Frames) -> None:
    first, second = (style.svg(figures.FIGURES["train-error-by-depth"].draw(frames)) for _ in range(2))
    assert first == second
    ElementTree.fromstring(first)
    assert "training error (%)" in first
    assert "<dc:date>" not in first


def test_a_hostile_label_is_drawn_as_text(frames: Frames) -> None:
    label = "</svg><script>alert(1)</script> $x^2$"
    trials = frames.trials.assign(label=label)
    frames = dataclasses.replace(frames, trials=trials, cells=frames.cells.assign(label=label))
    svg = style.svg(figures.FIGURES["train-error-by-depth"].draw(frames))
    texts = "".join(ElementTree.fromstring(svg).itertext())
    assert label in texts
    assert "<script>" not in svg


def test_files_are_written_as_svg_pdf_and_png(tmp_path: Path) -> None:
    few = made_up.frames(made_up.study_records(("resnet",), (18, 34, 66), range(2), cost=False))
    written = figures.write_all(few, tmp_path)
    assert written == sorted(tmp_path.iterdir())
    assert {path.suffix for path in written} == {".svg", ".pdf", ".png"}
    for path in written:
        heads = {".svg": b"<?xml", ".pdf": b"%PDF-", ".png": b"\x89PNG\r\n\x1a\n"}
        assert path.read_bytes().startswith(heads[path.suffix])


def test_drawn_numbers_do_not_hang_on_the_last_bit(frames: Frames) -> None:
    wobble = frames.trials.assign(train_error=frames.trials["train_error"] * (1 + 1e-12))
    moved = dataclasses.replace(frames, trials=wobble)
    draw = figures.FIGURES["train-error-by-depth"].draw
    assert isinstance(wobble, pd.DataFrame)
    assert style.svg(draw(moved)) == style.svg(draw(frames))


def test_a_figure_for_a_paper_has_its_columns_width_and_letters_that_can_be_read(frames: Frames) -> None:
    for name, width in (("step-time", 3.25), ("loss-curves", 2 * 3.25 + paper.GUTTER)):
        figure = figures.FIGURES[name].draw(frames)
        assert figure is not None
        paper.on_paper(figure, 3.25)
        assert figure.get_figwidth() == pytest.approx(width)


@pytest.fixture(scope="module")
def published() -> Frames:
    """Every study of the digits, with the lengths that real names and numbers have."""
    return tables.load(sorted(Path("results/published").glob("digits*/*")))


@pytest.mark.parametrize("name", figures.FIGURES)
@pytest.mark.parametrize("made_up", [True, False])
def test_in_a_papers_column_all_words_are_whole_and_can_be_read(
    name: str, made_up: bool, frames: Frames, published: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = figures.FIGURES[name].draw(frames if made_up else published)
    if figure is None:
        pytest.skip("these records hold nothing for it")
    paper.on_paper(figure, 3.25)
    drawn: dict[Text, None] = {}
    draw = Text.draw
    monkeypatch.setattr(
        Text, "draw", lambda text, *rest, **more: (drawn.update({text: None}), draw(text, *rest, **more))
    )
    FigureCanvasAgg(figure).draw()
    written = [text for text in drawn if text.get_visible() and text.get_text().strip()]
    assert len(written) > 5
    assert [text.get_text() for text in written if text.get_fontsize() < 8] == []
    edge = figure.bbox
    boxes = {text: text.get_window_extent() for text in written}
    assert [t.get_text() for t, b in boxes.items() if min(b.x0, b.y0, edge.x1 - b.x1, edge.y1 - b.y1) < -0.5] == []
    for legend in figure.legends:
        above = legend.get_window_extent().y0
        labels = [axes.yaxis.label for axes in figure.axes if axes.yaxis.label in boxes]
        assert [label.get_text() for label in labels if boxes[label].y1 > above + 0.5] == []


def test_a_figure_as_pdf_is_the_same_twice(frames: Frames) -> None:
    first, second = (style.pdf(figures.FIGURES["step-time"].draw(frames)) for _ in range(2))  # type: ignore[arg-type]
    assert first == second
    assert first.startswith(b"%PDF-")
