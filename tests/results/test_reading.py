"""A figure read back: what a mark says and what the table holds is what was drawn, failures among it."""

import csv
import io
import re
import xml.etree.ElementTree as ElementTree

import made_up
import pytest
from made_figures import PROBES
from matplotlib.figure import Figure

from results.figures import reading, style
from results.figures import table as figures
from results.figures.panels import short
from results.tables import Frames


@pytest.fixture(scope="module")
def frames() -> Frames:
    return made_up.frames(made_up.study_records(("plain", "resnet"), (18, 66, 258), range(3)))


def rows_of(name: str, frames: Frames) -> list[dict[str, str]]:
    figure = figures.FIGURES[name].draw(frames)
    assert figure is not None
    return list(csv.DictReader(io.StringIO(reading.table(figure))))


def test_the_table_holds_each_trial_at_the_depth_that_it_has(frames: Frames) -> None:
    """Marks stand a little beside their depth, so that none hides another."""
    rows = rows_of("train-error-by-depth", frames)
    marks = [row for row in rows if row["drawn as"] == "mark"]
    done = frames.trials[frames.trials["status"] == "ok"]
    wanted = sorted((short(r.label), int(r.depth), round(100 * r.train_error, 2)) for r in done.itertuples())
    assert sorted((r["network"], int(r["x"]), round(float(r["y"]), 2)) for r in marks) == wanted
    failed = [row for row in rows if row["drawn as"] == "failed"]
    assert [(row["network"], row["x"], row["y"]) for row in failed] == [("plain", "258", "")] * 3


def test_lines_that_are_no_data_stand_in_no_table(frames: Frames) -> None:
    """Neither the law through the costs, nor what leads up to the failures."""
    assert {row["drawn as"] for row in rows_of("step-time", frames)} == {"mark"}
    lines = [row for row in rows_of("train-error-by-depth", frames) if row["drawn as"] == "line"]
    assert all(float(row["y"]) <= 100 for row in lines)


def test_bars_and_curves_are_in_the_table(frames: Frames) -> None:
    bars = rows_of("operators", frames)
    sums: dict[tuple[str, str], float] = {}
    for row in bars:
        key = row["panel"], row["x"]
        sums[key] = sums.get(key, 0.0) + float(row["y"])
    assert all(total == pytest.approx(100, abs=0.1) for total in sums.values())
    curves = rows_of("loss-curves", frames)
    assert {row["panel"] for row in curves} == {"18 layers", "66 layers", "258 layers"}


def test_lines_of_one_colour_keep_their_names() -> None:
    records = [
        made_up.train_record(made_up.trial("document", 18, s, dataset="fashion-mnist", test_each_epoch=True))
        for s in range(2)
    ]
    for found in records:
        for epoch in found.epochs:
            epoch |= {"train_loss": 3.0, "train_error": 0.25, "test_error": 0.5}
    drawn = rows_of("document-curve", made_up.frames(records))
    assert {(row["network"], float(row["y"])) for row in drawn} == {
        ("training loss (nat)", 3.0), ("training accuracy", 0.75), ("test accuracy", 0.5)
    }  # fmt: skip


def titles(figure: Figure) -> list[str]:
    name = "{http://www.w3.org/2000/svg}"
    root = ElementTree.fromstring(style.svg(figure))
    return [str(title.text) for use in root.iter(f"{name}use") for title in use.iter(f"{name}title")]


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("loss-curves", r"plain, epoch [\d.]+, training loss [\d.]+ nat"),
        ("gradient-norms", r"post-activation, layer, from the input [\d.]+, gradient norm [\d.e+-]+"),
        ("lesions", r"post-activation, the block deleted [\d.]+, test error [\d.]+ %"),
        ("lesions", r"post-activation, random blocks deleted [\d.]+, test error [\d.]+ %"),
        ("branch-ratio", r"block [\d.]+, epoch [\d.]+: [\d.]+"),
        ("operators", r"convolution, depth 66, [\d.]+ %"),
        ("placements", r"pre-activation, depth 258, [\d.]+ %"),
    ],
)
def test_lines_bars_and_maps_say_values_too(name: str, like: str) -> None:
    three = made_up.study_records(("plain", "resnet", "preact", "resnet-b"), (18, 66, 258), range(2), probes=PROBES)
    figure = figures.FIGURES[name].draw(made_up.frames(three))
    assert figure is not None
    said = titles(figure)
    assert [words for words in said if re.fullmatch(like, words)]
    assert len(said) < 1000, "a page holds them all"
    # What is unseen adds nothing to the table of what is drawn.
    rows = list(csv.DictReader(io.StringIO(reading.table(figure))))
    assert {row["drawn as"] for row in rows} <= {"line", "bar", "cell", "failed"}


def test_each_mark_of_the_svg_says_its_value(frames: Frames) -> None:
    figure = figures.FIGURES["step-time"].draw(frames)
    assert figure is not None
    said = titles(figure)
    cost = frames.cost[frames.cost["comparable"]]
    assert len(said) == len(cost)
    first = cost[(cost["architecture"] == "plain") & (cost["depth"] == 18)].iloc[0]
    assert f"plain, depth 18, step time {first['step_time_s']:.4g} s" in said
