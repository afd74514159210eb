"""Tuning: planted best rates are found, beyond the grid too, written beside the study, and read by it."""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.plan import study, tuned
from bench.plan.trial import Trial
from bench.store import record
from bench.store.record import Record, Status
from bench.sweep import run as sweep
from bench.sweep import tune as tuning
from bench.sweep.display import Display
from tests.harness.rehearsal import RehearsalMachine, environments, options

STUDY = """
architecture = ["plain", "resnet"]
depth = [18, 66, 258]
seed = [0, 1, 2]
epochs = 2
lr = "tuned"
probes = ["lesions"]
"""


def optimum(trial: Trial) -> float:
    """Falls with depth: 0.02 at 18 layers, 0.0014 at 258, below the usual grid's end."""
    return 0.02 * 18 / trial.depth


def planted(trial: Trial, machine: RehearsalMachine, tell: Callable[[Mapping[str, Any]], None]) -> Record:
    """A loss that is a parabola in log rate; plain nets of 258 layers diverge at every rate that trains anything."""
    environment = environments(machine, [trial])[trial.dataset]
    if trial.architecture.name == "plain" and trial.depth == 258:
        loss = math.nan if trial.lr > 1e-4 else 2.3 - trial.lr
    else:
        loss = 0.1 + 0.2 * math.log(trial.lr / optimum(trial)) ** 2 + (trial.seed % 7) / 1000
    result = {"train_loss": loss, "train_error": min(0.9, 0.4 * loss), "classes": 10}
    status = Status.OK if math.isfinite(loss) else Status.DIVERGED
    return Record(trial, status, "", environment, result, seconds=1.0)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(STUDY)
    return path


def tune(path: Path, **more: Any) -> tuple[Any, dict[str, tuned.Rates], list[str]]:
    told: list[str] = []
    ways = options(path.parent / "records", executor="inline", function=f"{__name__}:planted", **more)
    summary, found = tuning.tune(study.load(str(path)), ways, Display, told.append)
    return summary, found, told


def test_each_net_is_trained_at_its_own_best_rate(mine: Path) -> None:
    before = study.load(str(mine))
    assert not any(trial.trains for trial in before.trials), "no rate is known yet"
    assert len(before.untuned) == 18
    summary, found, told = tune(mine)
    assert (summary.code, summary.left) == (0, 0)
    assert told, "258 layers want less than the grid's least rate"
    tuned.beside(mine).write_text(tuned.text("mine", found["mine"]))
    after = study.load(str(mine))
    assert not after.untuned
    judged = [trial for trial in after.trials if trial.trains]
    assert {trial.seed for trial in judged} == {0, 1, 2}
    assert {(trial.lr_from, trial.probes) for trial in judged} == {("search", ("lesions",))}
    rates = {(trial.architecture.name, trial.depth): trial.lr for trial in judged}
    assert len({(t.architecture.name, t.depth, t.lr) for t in judged}) == len(rates) == 6
    hopeless = rates.pop(("plain", 258))
    assert hopeless <= 1e-4
    states = {(row.architecture, row.depth): row.state for row in found["mine"].found}
    assert states.pop(("plain", 258)) == "untrained"
    assert set(states.values()) == {"inside"}
    for (_, depth), lr in rates.items():
        assert lr == pytest.approx(0.02 * 18 / depth, rel=0.06)
    again, same, _ = tune(mine)
    assert again.ended == {}, "a second call does nothing twice"
    assert same == found


def test_nets_of_one_depth_may_start_from_rates_of_their_own(mine: Path) -> None:
    mine.write_text(STUDY + "[search.resnet.at_depth]\n258 = [0.004, 0.0013, 0.0004]\n")
    searched = [trial for trial in study.load(str(mine)).search if trial.architecture.name == "resnet"]
    assert {trial.lr for trial in searched if trial.depth == 258} == {0.004, 0.0013, 0.0004}
    assert {trial.lr for trial in searched if trial.depth != 258} == {0.1, 0.032, 0.01, 0.0032}
    _, found, _ = tune(mine)
    deep = next(rate for rate in found["mine"].found if (rate.architecture, rate.depth) == ("resnet", 258))
    assert deep.state == "inside", "the grid is around the best rate: nothing was added to it"
    assert deep.tried == (0.0004, 0.0013, 0.004)


def test_a_search_of_some_depths_is_the_same_search(mine: Path) -> None:
    """What the table [search] says of the depths that are left out is no mistake."""
    mine.write_text(STUDY + "[search.resnet.at_depth]\n258 = [0.004, 0.0013, 0.0004]\n")
    whole = study.load(str(mine)).search
    some = study.load(str(mine), depths=(18, 66)).search
    assert list(some) == [trial for trial in whole if trial.depth in (18, 66)] != []


def test_costs_do_not_wait_for_the_rates_nor_change_with_them(mine: Path) -> None:
    before = {trial for trial in study.load(str(mine)).trials if not trial.trains}
    _, found, _ = tune(mine)
    tuned.beside(mine).write_text(tuned.text("mine", found["mine"]))
    assert {trial for trial in study.load(str(mine)).trials if not trial.trains} == before != set()


def test_a_recipe_that_changed_has_no_rate(mine: Path) -> None:
    """Rates hold at the step count at which they were found."""
    _, found, _ = tune(mine)
    tuned.beside(mine).write_text(tuned.text("mine", found["mine"]))
    mine.write_text(STUDY.replace("epochs = 2", "epochs = 4"))
    assert len(study.load(str(mine)).untuned) == 18
    mine.write_text(STUDY.replace("[18, 66, 258]", "[18, 34]").replace("[0, 1, 2]", "[5]"))
    found_again = study.load(str(mine))
    assert [(t.architecture.name, t.depth) for t in found_again.untuned] == [("plain", 34), ("resnet", 34)]


def test_a_plain_net_can_be_trained_at_its_twins_rate(mine: Path) -> None:
    twins = '\n[[grid]]\n[[grid]]\narchitecture = "plain"\nlr = "tuned:resnet"\n'
    mine.write_text(STUDY + twins)
    _, found, _ = tune(mine)
    assert len(found["mine"].found) == 6, "a twin's rate is not searched again"
    tuned.beside(mine).write_text(tuned.text("mine", found["mine"]))
    judged = [trial for trial in study.load(str(mine)).trials if trial.trains]
    twin = {t.depth: t.lr for t in judged if t.lr_from == "search of resnet"}
    assert twin == {t.depth: t.lr for t in judged if t.architecture.name == "resnet"}
    mine.write_text(STUDY + twins.replace("resnet", "preact"))
    with pytest.raises(ValueError, match="no such architecture; it has plain, resnet"):
        study.load(str(mine))


def test_a_record_says_what_the_search_for_its_rate_found(mine: Path) -> None:
    """Who reads it elsewhere has no records of the search, and must know whether the best rate was inside the grid."""
    _, found, _ = tune(mine)
    tuned.beside(mine).write_text(tuned.text("mine", found["mine"]))
    records = mine.parent / "records"
    sweep.run(study.load(str(mine)), options(records, executor="inline", function=f"{__name__}:planted"), Display())
    judged = [r for _, r in record.load(records / "mine")[0] if r.trial.lr_from == "search"]
    told = {(r.trial.architecture.name, r.trial.depth): r.environment["search"] for r in judged}
    assert len(told) == 6
    assert told["resnet", 258]["state"] == "inside"
    assert min(told["resnet", 258]["tried"]) < optimum(next(r.trial for r in judged if r.trial.depth == 258))
    assert {each["digest"] for each in told.values()} == {found["mine"].search}


@pytest.mark.parametrize("content", ["search = 1", "net = [[", '[[net]]\nnet = "x"', "search = 1\nnet = 3"])
def test_a_damaged_file_of_rates_is_named_in_one_line(mine: Path, content: str) -> None:
    tuned.beside(mine).write_text(content)
    with pytest.raises(ValueError, match=r"mine\.rates\.toml.*make tune") as raised:
        study.load(str(mine))
    assert "\n" not in str(raised.value)


def test_a_search_that_a_time_limit_stops_writes_no_rates(mine: Path) -> None:
    summary, found, _ = tune(mine, time_limit_s=1e-3)
    assert (summary.code, found) == (3, {})


READS: dict[str, Any] = {}


def looked(machine: RehearsalMachine, trials: Sequence[Trial], nets: Sequence[Trial]) -> dict[str, dict[str, Any]]:
    """What the preflight finds, with what the user's block reads."""
    return {name: {**found, **READS} for name, found in environments(machine, trials).items()}


@pytest.mark.parametrize(
    "reads", [{"files_by_factory": {"own_tuned:block": "a"}}, {"variables_by_factory": {"own_tuned:block": {"G": "a"}}}]
)
@pytest.mark.parametrize("lr", ["tuned", "tuned:block"])
def test_a_rate_that_was_searched_with_another_file_or_variable_is_refused(
    lr: str, reads: dict[str, Any], mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (mine.parent / "own_tuned.py").write_text("def block(spec): pass\n")
    mine.write_text(
        'architecture = ["own_tuned:block", "resnet"]\ndepth = 18\nseed = 0\nepochs = 2\npurpose = "train"\n'
        f'[[grid]]\nlr = "tuned"\n[[grid]]\narchitecture = "resnet"\nlr = "{lr}"\n'
    )

    def run() -> sweep.Summary:
        ways = options(mine.parent / "records", executor="inline", function=f"{__name__}:planted")
        return sweep.run(study.load(str(mine)), replace(ways, probe=f"{__name__}:looked"))

    def search() -> None:
        _, found, _ = tune(mine, probe=f"{__name__}:looked")
        tuned.beside(mine).write_text(tuned.text("mine", found["mine"]))

    READS.clear()
    search()
    assert run().code == 0
    READS.update(reads)
    with pytest.raises(ValueError, match=r"rate of block of 18 layers was searched .* make tune STUDY="):
        run()
    search()
    assert run().code == 0
    READS.clear()
    with pytest.raises(ValueError, match="make tune"):
        run()
    # A file of rates of before says nothing of it.
    text = tuned.beside(mine).read_text()
    tuned.beside(mine).write_text("".join(line for line in text.splitlines(True) if not line.startswith("reads")))
    assert run().code == 0
