"""What the page says in words and numbers: units, open sides, warnings, and only what its figures draw."""

import dataclasses
import math
import re
import shlex
from pathlib import Path

import made_up
from made_page import source
from made_up import cost_record, study_records, train_record, trial

from bench.command import interpreter
from bench.plan import study
from bench.store.record import Status
from reports import __main__ as command_line
from reports.finding import DepthRow, Finding, FitRow, SeedRow, Verdict
from reports.page import beside, care, context, render, verdicts
from reports.page import words as wording
from reports.page.context import Source
from reports.page.inline import visible


def test_the_document_stands_beside_its_own_network() -> None:
    records = []
    for seed in range(3):
        data = {"dataset": "fashion-mnist", "resize": 96, "test_each_epoch": True}
        asked = trial("document", 18, seed, layout="imagenet", width=64, **data)
        record = train_record(asked, 0.004, n_train=60_000, train_loss_running=0.016, train_error_running=0.005)
        first = record.epochs[0]["epoch"]
        epochs = [
            {**row, "test_error": 0.1 - 0.001 * seed, "seconds": 35.0 if row["epoch"] == first else 20.0}
            for row in record.epochs
        ]
        epochs[-2]["test_error"] = 0.2  # a late epoch that jumps
        records.append(dataclasses.replace(record, epochs=epochs))
    made = source(records)
    rows = {row[0]: row for row in beside.document(made.frames).rows}
    assert rows["loss"][1:3] == ["0.015", "0.016"]
    assert rows["training accuracy"][1:3] == ["0.996", "0.995"]
    assert rows["test accuracy"][1:3] == ["0.903", "0.901"]
    assert rows["test accuracy"][3] == "0.9 to 0.902"
    assert rows["test accuracy, late epochs"][3] == "0.8 to 0.902", "a jump of any seed is in the range"
    n = len(epochs)
    assert rows["examples/s"][1:3] == ["1749.4", wording.number(n * 60_000 / (35 + 20 * (n - 1)), 4)]
    assert rows["examples/s, later epochs"][2] == "3000", "without the first epoch's preparation"
    text = render.page(made)
    shapes = rows["stage shapes, 1x224x224"]
    assert shapes[1] == shapes[2], "the trained network has the shapes that the document prints"
    assert "Beside the document" in text
    assert 'id="figure-document-curve"' in text
    assert {row[5] for row in rows.values()} == {"made-up, fp32"}
    once = [r for r in records if r.trial.seed == 0]
    other = [dataclasses.replace(r, trial=dataclasses.replace(r.trial, precision="tf32")) for r in once]
    apart = [row for row in beside.document(source([*records, *other]).frames).rows if row[0] == "loss"]
    assert [row[4:6] for row in apart] == [["3", "made-up, fp32"], ["1", "made-up, tf32"]], "precisions stand apart"
    assert beside.document(source([train_record(trial())]).frames).rows == []


def test_planted_truths_and_published_points_are_in_the_appendix(page: str, made: Source) -> None:
    assert len(beside.planted().rows) > 10
    assert "How often the rules err on made-up data" in page
    published = beside.published(made.frames)
    assert {"post-activation", "pre-activation", "plain"} == {row[0] for row in published.rows}
    assert "instead of CIFAR-10" in published.apart
    assert "He et al. 2015" in page


def test_numbers_are_written_for_people() -> None:
    assert [wording.number(v) for v in (0.123456, 1234567.0, 0.0, 3, None, float("nan"), 1e-9, float("inf"))] == [
        *("0.123", "1230000", "0", "3", "–", "–", "1e-09", "–"),
    ]
    assert wording.percent(0.12345) == "12.35"
    assert wording.listed(range(20), most=6) == "0, 1, 2, … (15 more), 18, 19"


def test_effects_name_their_unit_and_open_sides() -> None:
    base = Finding("c", "resnet", "train_error", Verdict.SUPPORTED, "", effect=-0.0001, high=0.031)
    assert wording.effect(base) == "0.0 [at most 3.1] points"
    assert (
        wording.effect(dataclasses.replace(base, effect=0.45, low=-0.44, high=None)) == "+45.0 [at least −44.0] points"
    )
    cost = dataclasses.replace(base, effect=0.00098, low=0.00097, high=0.00099, unit="s/layer")
    assert wording.effect(cost) == "0.98 [0.97, 0.99] ms per layer"
    assert wording.effect(dataclasses.replace(base, effect=None)) == ""


def test_warnings_name_what_a_reader_must_know() -> None:
    records = [
        train_record(trial("resnet", d, s), environment={"device_name": f"chip {s}"}) for d in (18, 34) for s in (0, 1)
    ]
    said = " ".join([line.full for line in care.warnings(source(records))])
    assert "fewer than 3 seeds" in said
    assert "chip 0, chip 1" in said
    noisy = cost_record(trial(), step_times_s=[1.0, 1.0, 1.4, 1.5, 1.6, 1.0, 1.5, 1.2])
    assert "spread by more than 10 %" in " ".join(line.full for line in care.warnings(source([noisy])))
    busy = cost_record(trial(), cpu_share=0.5)
    (line,) = [line for line in care.warnings(source([busy])) if line.short]
    assert "1 of 1 cost trials were disturbed" in line.full
    assert line.short == "the times of 1 of 1 cost trials were disturbed"
    floors = [cost_record(trial(depth=d), memory_floor_bytes=f) for d, f in ((18, 2**30), (34, 2**30), (66, 2**29))]
    at_once = [
        train_record(trial(seed=s), environment={"device": "cuda", "workers": 1, "seeds_at_once": 3}) for s in range(3)
    ]
    assert "Up to 3 trials shared the GPU" in " ".join(line.full for line in care.warnings(source(at_once)))
    (line,) = [line for line in care.warnings(source(floors)) if line.short]
    assert line.short == "the memory of 1 of 3 cost trials was disturbed"
    assert "(512 MiB, usually 1024 MiB)" in line.full


def test_a_page_of_ones_own_names_the_python_that_made_it(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('architecture = "plain"\ndepth = [18, 34]\nseed = [0]\n')
    made_up.write(tmp_path / "mine", [train_record(t, 0.1) for t in study.load(str(recipe)).trials])
    target, _ = command_line.paged(str(recipe), tmp_path, tmp_path / "html", tmp_path / "out")
    page = target.read_text(encoding="utf-8")
    python = shlex.quote(interpreter())
    assert f"{python} -m bench run {recipe} --only" in page
    published = render.page(command_line.gather(str(recipe), tmp_path))
    assert page == published.replace("python -m bench", f"{python} -m bench")


def test_a_column_without_a_reason_in_it_is_not_shown() -> None:
    assert "reason" not in context.trial_table(source([train_record(trial(), 0.1)])).heads
    assert "reason" in context.trial_table(source([train_record(trial(), None)])).heads


def test_records_that_the_study_does_not_ask_for_are_warned_of_once(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('architecture = "plain"\ndepth = [18, 34]\nseed = [0]\n')
    (known, *_) = study.load(str(recipe)).trials
    made_up.write(tmp_path / "mine", [train_record(dataclasses.replace(known, lr=0.3), 0.1), train_record(known, 0.1)])
    said = [line.full for line in care.warnings(command_line.gather(str(recipe), tmp_path))]
    (line,) = [line for line in said if "ask" in line]
    assert line.startswith("1 record is of trials that this study does not ask for")


def test_hidden_characters_are_written_out() -> None:
    assert visible("a\u202eb\x00\u200d\ud800") == "a‹U+202E›b‹U+0000›‹U+200D›‹U+D800›"
    assert visible("Zürich 深度 ✓") == "Zürich 深度 ✓"


def compared(effect: float, diverged: int = 0) -> tuple[DepthRow]:
    return (
        DepthRow(
            depth=66, effect=effect, low=effect, high=effect, n=3, diverged=diverged, broken=0, convergence="converged"
        ),
    )


def test_the_judged_figure_shows_one_finding_a_network_and_its_failures() -> None:
    supported, refuted = Verdict.SUPPORTED, Verdict.REFUTED
    rows = verdicts.rows_of(
        [
            Finding("c", "plain", "train_error", supported, "", details=compared(0.1)),
            Finding("c", "plain", "train_error", supported, "", setting="lr 1", details=compared(0.9)),
            Finding("c", "plain", "test_error", supported, "", details=compared(0.2)),
            Finding("c", "resnet", "train_error", refuted, "", details=compared(math.nan, diverged=2)),
        ],
        {"plain": "plain nets"},
    )
    assert [(row["label"], row["failed"]) for row in rows] == [("plain nets", False), ("resnet", True)]
    seeds = [SeedRow(subject="plain", depth=66, seed=s, error=e, failed=failed) for s, (e, failed) in
             enumerate(((0.1, False), (math.nan, True), (0.2, True)))]  # fmt: skip
    levels = Finding("c", "plain", "train_error", refuted, "", details=tuple(seeds))
    assert [row["failed"] for row in verdicts.rows_of([levels], {})] == [False, True, True]


def described(page: str, prefix: str) -> str:
    found = re.search(rf'<desc id="{prefix}-d">([^<]*)</desc>', page)
    assert found is not None
    return found[1]


def test_a_figures_words_are_of_what_it_draws_and_of_nothing_else() -> None:
    """A page of many studies: a figure of one draws the study that decides, the cards some of its networks."""
    fields = {"cost": False, "error": lambda name, depth, seed: 0.1 + depth / 10000}
    records = [
        *study_records(("plain", "resnet"), (18, 66, 258), range(3), study="digits"),
        *study_records(("plain", "resnet"), (18, 1002), range(3), study="digits-long", **fields),
        train_record(trial("plain", 514, study="digits-long"), None),
        *study_records(("bn-after-add",), (18, 130), range(2), study="digits-placements", **fields),
    ]
    page = render.page(source(records))
    words = described(page, "fig-test-error-by-depth")
    assert words.startswith("plain: ")
    assert "at 18 layers" in words
    assert "1 of 7 trials failed, the shallowest at 514 layers" in words
    assert "BatchNorm after the addition" not in words
    assert "258" not in words
    card = described(page, "card-plain-degrades")
    assert "plain: " in card
    assert "resnet" not in card


def test_a_cost_figures_words_are_of_the_records_that_it_draws() -> None:
    records = [cost_record(trial("resnet", depth, study="a")) for depth in (18, 34, 66)]
    records += [cost_record(trial("resnet", 130, study="a"), Status.OUT_OF_MEMORY)]
    records += [cost_record(trial("plain", depth, study="b")) for depth in (18, 1002)]
    page = render.page(source(records))
    words = described(page, "fig-step-time")
    assert words.startswith("a. post-activation: ")
    assert "did not finish at 130 layers" in words
    assert "plain" not in words
    assert "1002" not in words
    memory = described(page, "fig-peak-memory")
    found = re.search(r"post-activation: ([0-9.]+) MiB for the net at 18 layers", memory)
    assert found is not None
    assert float(found[1]) < 20
    share = described(page, "fig-roofline")
    assert "% of the ceiling at 18 layers" in share
    assert "130" not in share


def test_the_words_of_a_judged_figure_are_of_the_findings_that_it_draws(page: str, made: Source) -> None:
    findings = made.findings["residual-no-harm"]
    assert {f.measure for f in findings} == {"train_error", "test_error"}
    words = described(page, "fig-judged-residual-no-harm")
    assert "post-activation, training error: " in words
    assert "pre-activation, training error: " in words
    assert "test error" not in words


def test_an_interval_of_errors_stays_within_what_an_error_can_be() -> None:
    records = [train_record(trial("resnet", 18, s), e, e) for s, e in enumerate((0.0, 0.001, 0.1))]
    records += [train_record(trial("resnet", 66, s), e, e) for s, e in enumerate((1.0, 0.999, 0.9))]
    made = source(records)
    rows = context.cell_table(made.frames).rows
    intervals = [cell for row in rows for cell in row if " to " in cell]
    assert len(intervals) == 4
    assert all(0 <= float(end) <= 100 for cell in intervals for end in cell.split(" to "))
    error = Finding("c", "resnet", "train_error", Verdict.SUPPORTED, "", effect=3.4, low=-1.0, high=107.8, unit="%")
    assert wording.effect(error) == "3.4 [0, 100] %"


def test_the_page_says_which_bounds_are_one_sided(page: str, made: Source) -> None:
    """What `stats.difference` and `stats.bounds` give the judges; means are drawn with two-sided intervals."""
    assert "as judged" not in page
    assert "Looks at 3, 5, 8 seeds, at one-sided levels of 2.48, 1.73, 2.08 % (5 % in all)" in page
    assert "the lower and the upper limit over seeds, each one-sided, at the level for that number of seeds" in page
    assert "Mean and two-sided 95 % interval over the seeds that ended" in page
    judged = page[page.index('id="figure-judged-residual-no-harm"') :]
    assert "one-sided bounds" in judged[: judged.index("</svg>")]


def test_a_cards_picture_shows_the_study_that_its_verdict_is_from() -> None:
    """Not another part of a study of many parts, though that may have more of a ladder."""
    records = [
        *study_records(("plain", "resnet"), (18, 258, 1002), range(3), study="digits-long"),
        *study_records(("plain", "resnet"), (18, 34, 66, 130, 258), range(3), study="digits"),
    ]
    here = source(records)
    head = here.findings["residual-no-harm"]
    assert head[0].study == "digits-long"
    judged = render._judged(here.frames, head)
    assert set(judged.trials["study"]) == {"digits-long"}
    assert sorted(judged.cells["depth"].unique()) == [18, 258, 1002]


def test_tables_call_networks_as_the_sentences_do_and_say_their_units(page: str) -> None:
    """Keys are for studies, commands and files: there the table of networks leads."""
    tables = re.findall(r"<table.*?</table>", page, re.DOTALL)
    networks = next(text for text in tables if "in studies and commands" in text)
    assert re.search(r"post-activation\)?</th><td><code>resnet</code>", networks)
    shown = " ".join(re.sub(r"<[^>]*>", " ", text) for text in tables if text is not networks)
    assert not re.findall(r"(?<![\w.-])(?:resnet|preact)(?![\w-])", shown)
    assert "post-activation" in shown
    assert "residual (" not in shown
    heads = {re.sub(r"<[^>]*>", "", head) for head in re.findall(r'<th scope="col"[^>]*>(.*?)</th>', page)}
    assert "p, Holm-corrected" in heads
    assert not {"holm p", "architecture", "subject", "lr", "r2", "value"} & heads
    assert {"value (MiB)", "b (MiB per layer)", "value (s)"} <= heads


def test_no_cell_of_a_table_is_a_number_of_bytes(page: str) -> None:
    numbers = re.findall(r"<td>(\d+)(?:\.\d+)?</td>", page)
    assert numbers
    assert max(map(int, numbers)) < 10**8, "FLOPs and parameters are large, too, but not so large"


def test_a_law_in_logarithms_has_no_unit() -> None:
    rows = (FitRow(fit="a + b x depth", a=3 * 2.0**20, b=2.0**20, r2=0.9), FitRow(fit="log-log", a=1.5, b=0.9, r2=0.9))
    straight, power = verdicts.details(rows, {}, "B")
    assert (straight.heads[1:3], straight.rows[0][1:3]) == (["a (MiB)", "b (MiB per layer)"], ["3", "1"])
    assert (power.heads[1:3], power.rows[0][1:3]) == (["a", "b"], ["1.5", "0.9"])


def test_the_small_charts_name_their_axes(page: str) -> None:
    cards = re.findall(r'<div class="small">(.*?)</svg>', page, re.DOTALL)
    assert len(cards) > 3
    units = ("training error (%)", "test error (%)", "difference (points)", "step time (s)", "layers that count")
    for card in cards:
        said = re.sub(r"<[^>]*>", " ", card.partition("</desc>")[2])
        assert "depth (weighted layers)" in said
        assert any(unit in said for unit in units), said
