"""Figures tell the truth: failures are drawn as failures, and what is drawn is what was measured or judged."""

import csv
import io
import itertools

import made_up
import pytest
from made_figures import hollow_marks
from matplotlib.collections import PathCollection

from results.figures import errors as error_figures
from results.figures import judged as judged_figures
from results.figures import reading, style
from results.figures import table as figures
from results.figures.panels import facets
from results.tables import Frames

# Not in a made-up study of one setting on a CPU.
ELSEWHERE = ("energy", "other-settings", "document-curve", "learning-rates", "best-rates", "placements", "steps-to-fit",
             "error-by-steps", "step-time-by-precision", "designs")  # fmt: skip


@pytest.fixture(scope="module")
def nothing() -> Frames:
    return made_up.frames([])


@pytest.mark.parametrize("name", figures.FIGURES)
def test_every_figure_draws_says_its_units_and_needs_records(name: str, frames: Frames, nothing: Frames) -> None:
    chart = figures.FIGURES[name]
    assert chart.draw(nothing) is None
    assert chart.title
    assert chart.caption.endswith(".")
    assert chart.needs
    figure = chart.draw(frames)
    if name in ELSEWHERE:
        assert figure is None
        return
    assert figure is not None
    words = [t for axes in figure.axes for t in (axes.get_xlabel(), axes.get_ylabel())]
    words += [t.get_text() for t in figure.texts]
    words += [t.get_text() for t in (figure._supxlabel, figure._supylabel) if t is not None]  # type: ignore[attr-defined]
    assert any(words), "no axis is named"


def test_failures_are_drawn_as_failures_each_of_them(frames: Frames) -> None:
    """seaborn drops NaN without a word: three plain nets diverge at 258, three marks stand for them."""
    figure = figures.FIGURES["train-error-by-depth"].draw(frames)
    assert figure is not None
    marks = hollow_marks(figure)
    assert len(marks) == 3
    assert all(y > 100 for _, y in marks)
    assert all(240 < x < 320 for x, _ in marks)


def test_no_failure_no_band() -> None:
    good = made_up.frames(made_up.study_records(("preact",), (18, 34), range(2), cost=False))
    figure = figures.FIGURES["train-error-by-depth"].draw(good)
    assert figure is not None
    assert hollow_marks(figure) == []
    assert figure.axes[0].get_ylim()[1] < 104


def test_every_seed_is_a_mark_and_the_interval_is_that_of_the_cells(frames: Frames) -> None:
    figure = figures.FIGURES["train-error-by-depth"].draw(frames)
    assert figure is not None
    drawn = [
        tuple(at)
        for c in figure.axes[0].collections
        if isinstance(c, PathCollection)
        for at in c.get_offsets().tolist()
    ]
    ok = frames.trials[frames.trials["status"] == "ok"]
    for error in ok["train_error"]:
        assert any(abs(y - 100 * error) < 0.01 for _, y in drawn)
    bars = [
        s
        for c in figure.axes[0].collections
        if not isinstance(c, PathCollection)
        for s in getattr(c, "get_segments", list)()
    ]
    cells = frames.cells[frames.cells["train_error_low"].notna()]
    for low, high in zip(cells["train_error_low"], cells["train_error_high"], strict=True):
        ends = (max(100 * low, 0), min(100 * high, 100))
        assert any(abs(s[0][1] - ends[0]) < 0.01 and abs(s[1][1] - ends[1]) < 0.01 for s in bars)


def test_an_out_of_memory_cost_is_a_mark_too() -> None:
    from bench.store.record import Status

    records = [made_up.cost_record(made_up.trial("resnet", depth)) for depth in (18, 34, 66)]
    records.append(made_up.cost_record(made_up.trial("resnet", 1002), Status.OUT_OF_MEMORY))
    figure = figures.FIGURES["step-time"].draw(made_up.frames(records))
    assert figure is not None
    assert [x for x, _ in hollow_marks(figure)] == [1002]


def test_precisions_of_one_network_and_batch_stand_in_one_figure() -> None:
    """At most depths: those of batch 128, one of which goes on to ten thousand layers."""
    factor = {"fp32": 2.5, "tf32": 1.0, "bf16": 0.6}
    asked = [
        made_up.trial("resnet", depth, precision=precision, batch_size=batch)
        for precision, depth, batch in itertools.product(factor, (18, 258, 1002), (128, 512))
    ]
    asked += [made_up.trial("resnet", 10002, precision="bf16", batch_size=128), made_up.trial("plain", 18)]
    times = [factor.get(trial.precision, 1.0) * 0.001 * trial.depth for trial in asked]
    records = [made_up.cost_record(trial, step_times_s=[t] * 5) for trial, t in zip(asked, times, strict=True)]
    figure = figures.FIGURES["step-time-by-precision"].draw(made_up.frames(records))
    assert figure is not None
    rows = list(csv.DictReader(io.StringIO(reading.table(figure))))
    drawn = {(row["network"], float(row["x"])): float(row["y"]) for row in rows if row["drawn as"] == "mark"}
    wanted = {
        (trial.precision, trial.depth): pytest.approx(t, rel=1e-4)
        for trial, t in zip(asked, times, strict=True)
        if trial.batch_size == 128 and trial.architecture.name == "resnet"
    }
    assert drawn == wanted
    assert figure.axes[0].get_title(loc="left") == "post-activation, batch size 128"
    assert figures.FIGURES["step-time-by-precision"].draw(made_up.frames(records[:2])) is None, "one precision"


def test_error_by_steps_joins_the_lengths_of_one_net_and_tells_failures_by_depth() -> None:
    def error(depth: int, epochs: int) -> float | None:
        return {18: 0.08 / epochs, 66: 0.8, 258: 0.7 if epochs == 20 else None, 1002: None}[depth]

    made = [
        made_up.train_record(made_up.trial("plain", depth, seed, epochs=epochs), error(depth, epochs))
        for depth, seed, epochs in itertools.product((18, 66, 258, 1002), range(3), (5, 10, 20))
    ]
    made += [made_up.train_record(made_up.trial("resnet", 18, seed, epochs=5), 0.5) for seed in range(3)]
    figure = figures.FIGURES["error-by-steps"].draw(made_up.frames(made))
    assert figure is not None
    (panel,) = figure.axes  # the net of one length only is in no panel
    steps = tuple(made_up.STEPS_AN_EPOCH * epochs for epochs in (5, 10, 20))
    drawn = [tuple(line.get_ydata()) for line in panel.lines if tuple(line.get_xdata()) == steps]
    assert sorted(drawn) == [pytest.approx((1.6, 0.8, 0.4)), pytest.approx((80, 80, 80))]
    assert [at[0] for at in hollow_marks(figure)] == list(steps[:2])
    words = [text.get_text() for text in panel.texts]
    assert (words.count("258"), words.count("258 layers")) == (2, 1)
    assert not any("1002" in word for word in words)  # it fails at every length


def test_studies_that_vary_more_have_figures_of_it() -> None:
    rates = [
        r
        for lr in (0.1, 0.01)
        for r in made_up.study_records(("plain", "resnet"), (18, 258), range(2), cost=False, lr=lr)
    ]
    figure = figures.FIGURES["learning-rates"].draw(made_up.frames(rates))
    assert figure is not None
    # Plain diverges at 258 at both rates.
    assert sorted(x for x, _ in hollow_marks(figure)) == [0.01, 0.1]
    arms = ("resnet", "preact", "bn-after-add", "relu-before-add")
    records = [
        r for r in made_up.study_records(arms, (18, 258), range(2), cost=False) if r.trial.depth == 18 or r.trial.seed
    ]
    records = [r for r in records if not (r.trial.architecture.name == "preact" and r.trial.depth == 258)]
    records.append(made_up.train_record(made_up.trial("preact", 258), None))
    figure = figures.FIGURES["placements"].draw(made_up.frames(records))
    assert figure is not None
    words = [text.get_text() for text in figure.axes[0].texts]
    assert "failed" in words
    assert len([word for word in words if word]) == 8
    fits = [
        made_up.train_record(
            made_up.trial("resnet", depth, 0, dataset="random-labels:digits", stop_at_train_error=0.1, epochs=50),
            steps=steps, train_error_running=error,
        )
        for depth, steps, error in ((18, 90, 0.09), (66, 60, 0.08), (130, 550, 0.7))
    ]  # fmt: skip
    figure = figures.FIGURES["steps-to-fit"].draw(made_up.frames(fits))
    assert figure is not None
    assert [x for x, _ in hollow_marks(figure)] == [130]


def test_a_partly_failed_setting_is_no_whole_one() -> None:
    """One of two seeds diverged: the mean of the other must not stand there as if it were of both."""
    rates = [
        made_up.train_record(made_up.trial("resnet", 18, seed, lr=lr), None if (lr, seed) == (0.1, 1) else 0.05)
        for lr in (0.1, 0.01)
        for seed in (0, 1)
    ]
    figure = figures.FIGURES["learning-rates"].draw(made_up.frames(rates))
    assert figure is not None
    assert [x for x, _ in hollow_marks(figure)] == [0.1]
    price = figures.FIGURES["accuracy-price"].draw(made_up.frames(rates[:2]))
    assert price is not None
    assert [y for _, y in hollow_marks(price)] == [113.0]

    arms = ("resnet", "preact", "resnet-b")
    records = made_up.study_records(
        arms, (18, 258), range(3), cost=False,
        error=lambda name, depth, seed: None if (name, depth, seed) == ("preact", 258, 2) else 0.25,
    )  # fmt: skip
    figure = figures.FIGURES["placements"].draw(made_up.frames(records))
    assert figure is not None
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words.count("25.0") == 5
    assert words.count("25.0\n1 of 3 failed") == 1


def test_the_line_through_memory_is_the_one_that_is_judged() -> None:
    from reports.claims import judge

    mib = 2**20
    records = [
        made_up.cost_record(
            made_up.trial("plain", d, study="digits"), memory_floor_bytes=f * mib, peak_memory_bytes=int((f + m) * mib)
        )
        for d, f, m in ((18, 891, 6.9), (66, 891, 25.0), (258, 893, 98.2), (1002, 749, 384.0))
    ]
    frames = made_up.frames(records)
    figure = figures.FIGURES["peak-memory"].draw(frames)
    assert figure is not None
    slope = next(
        f.effect
        for f in judge(frames, ("cost-grows",))["cost-grows"]
        if f.measure == "net_memory_bytes" and f.subject == "plain"
    )
    assert slope is not None
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert any(f"{slope / mib:.3g} MiB per layer" in label for label in labels)
    y = [float(at[1]) for drawn in figure.axes[0].collections for at in drawn.get_offsets().tolist()]
    assert max(y) == pytest.approx(384)


def test_the_cost_that_was_measured_is_drawn_not_the_one_that_failed() -> None:
    from bench.store.record import Status

    for good, bad in ((0.05, 0.01), (0.01, 0.05)):
        records = [made_up.cost_record(made_up.trial("resnet", d, lr=good)) for d in (18, 34, 66)]
        records += [made_up.cost_record(made_up.trial("resnet", d, lr=bad), Status.TIMEOUT) for d in (18, 34, 66)]
        figure = figures.FIGURES["step-time"].draw(made_up.frames(records))
        assert figure is not None
        assert hollow_marks(figure) == []


def test_published_points_stand_only_on_their_own_data() -> None:
    fields = {"layout": "cifar", "width": 16, "cost": False}
    cifar = made_up.frames(made_up.study_records(("plain", "resnet"), (20, 110), range(2), dataset="cifar10", **fields))
    digits = made_up.frames(made_up.study_records(("plain", "resnet"), (20, 110), range(2), **fields))

    def stars(frames: Frames) -> list[tuple[float, float]]:
        figure = figures.FIGURES["test-error-by-depth"].draw(frames)
        assert figure is not None
        hollow = [c for c in figure.axes[0].collections if isinstance(c, PathCollection) and not c.get_facecolor().size]
        return [tuple(at) for c in hollow for at in c.get_offsets().tolist()]

    assert (110, 16.44) in stars(cifar)
    assert all(y < 60 for _, y in stars(cifar)), "a lower limit is no point"
    assert stars(digits) == []
    assert "64,000" in error_figures.protocol_note(cifar).replace(" ", ",")
    assert error_figures.protocol_note(digits) == ""


def test_a_judged_difference_outside_the_margin_is_drawn_outside_it() -> None:
    rows = [
        {
            "architecture": "resnet",
            "label": "r",
            "depth": d,
            "effect": e,
            "low": e - 0.01,
            "high": e + 0.01,
            "failed": False,
        }
        for d, e in ((34, 0.0), (66, 0.3))
    ]
    # A depth where every seed failed has no difference, or a judge's worst rank: it is marked above all differences.
    rows.append({"architecture": "resnet", "label": "r", "depth": 130, "effect": 0.98, "failed": True})
    rows.append({"architecture": "resnet", "label": "r", "depth": 258, "effect": float("nan"), "failed": True})
    figure = judged_figures.effects(rows, 0.02)
    assert figure is not None
    assert figure.axes[0].get_yscale() == "symlog"
    assert len(hollow_marks(figure)) == 2
    assert min(y for _, y in hollow_marks(figure)) > 100
    assert judged_figures.effects([], 0.02) is None


def test_log_ticks_read_as_people_write_them() -> None:
    assert [style.log_tick(v) for v in (0.05, 2, 20000, 1e16, 2e-7)] == ["0.05", "2", "20 000", "10¹⁶", "2·10⁻⁷"]


def test_the_main_part_has_twins_on_true_labels_and_convolutions() -> None:
    """However many settings stand beside them: placements without a plain net, dense nets, random labels."""
    records = [
        *made_up.study_records(("plain", "resnet"), (18, 66), range(2), cost=False, study="twins"),
        *made_up.study_records(("resnet", "preact", "resnet-b"), (18, 66, 258), range(2), cost=False, study="kinds"),
        *made_up.study_records(("plain", "resnet"), (18, 34, 66, 258), range(2), cost=False, study="a", layout="dense"),
        *made_up.study_records(
            ("plain", "resnet"), (18, 34, 66), range(2), cost=False, study="b", dataset="random-labels:digits"
        ),
    ]
    assert facets(made_up.frames(records).trials)[0][0] == "twins"


def test_failures_in_any_other_setting_are_inside_the_picture() -> None:
    """The panels share an axis: one without failures must not cut off another's."""
    failing = made_up.study_records(
        ("plain", "resnet"), (18, 66), range(2), cost=False, study="b", error=lambda name, depth, seed: None
    )
    calm = made_up.study_records(("plain", "resnet"), (18, 66), range(2), cost=False, study="c", error=lambda *_: 0.1)
    main = made_up.study_records(("plain", "resnet"), (18, 34, 66), range(2), cost=False, study="a")
    figure = figures.FIGURES["other-settings"].draw(made_up.frames([*main, *failing, *calm]))
    assert figure is not None
    panels = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title("left") for axes in panels] == ["b", "c"]
    assert all(axes.get_ylim()[1] > 113 for axes in panels)


@pytest.mark.parametrize("lost", [0, 1])
def test_a_heat_map_is_a_table_too_whether_a_cell_is_empty_or_none_is(lost: int) -> None:
    arms = ("resnet", "preact", "resnet-b")
    records = made_up.study_records(arms, (18, 258), range(3), cost=False, error=lambda *_: 0.25)
    records = [r for r in records if not (lost and r.trial.architecture.name == "preact" and r.trial.depth == 258)]
    figure = figures.FIGURES["placements"].draw(made_up.frames(records))
    assert figure is not None
    cells = [row for row in csv.DictReader(io.StringIO(reading.table(figure))) if row["drawn as"] == "cell"]
    assert len(cells) == 6
    assert [row["y"] for row in cells].count("25") == 6 - lost
