"""More seeds are wanted of what is open for want of them, look after look, and of nothing else."""

import dataclasses
from collections.abc import Sequence

import made_page
import pytest
from made_up import study_records

from bench.store.record import Record
from reports.__main__ import _more_seeds
from reports.page.context import Source
from reports.wanted import options, wanted

# Training error of 258 layers above that of 18, by seed, in points: harmless; and so far on and off that it stays open.
HARMLESS = (0.1, 0.2, 0.0)
OPEN = (2.5, -2.0, 3.0, 2.5, -2.0, 3.0, 1.0, 2.0)


def nets(rises: Sequence[float], architecture: str = "resnet", depths: Sequence[int] = (18, 66, 258)) -> list[Record]:
    """A ladder whose deepest net errs by so much more, a seed each."""

    def error(_: str, depth: int, seed: int) -> float:
        return 0.05 + 0.001 * (seed % 2) + (rises[seed] / 100 if depth == 258 else 0.0003 * (seed % 3) * (depth == 66))

    return study_records([architecture], depths, seeds=range(len(rises)), error=error, cost=False)


def judged(*parts: list[Record]) -> Source:
    """Of a study that plans the first three seeds of these, and is to decide one claim."""
    records = [record for part in parts for record in part]
    source = made_page.source(records, planned=[record for record in records if record.trial.seed < 3])
    return dataclasses.replace(source, study=dataclasses.replace(source.study, claims=("residual-no-harm",)))


def test_a_ladder_that_is_decided_at_three_seeds_asks_for_none():
    trials, why = wanted(judged(nets(HARMLESS)))
    assert (trials, why) == ([], [])
    assert options(trials) == ""


@pytest.mark.parametrize(("seeds", "more"), [(3, (3, 4)), (4, (4,)), (5, (5, 6, 7)), (6, (6, 7)), (8, ())])
def test_an_open_ladder_asks_for_the_seeds_of_its_next_look_and_after_the_last_for_none(
    seeds: int, more: tuple[int, ...]
):
    trials, why = wanted(judged(nets(OPEN[:seeds])))
    assert sorted((trial.depth, trial.seed) for trial in trials) == [(d, s) for d in (18, 66, 258) for s in more]
    assert any("residual-no-harm" in line for line in why) == bool(more)


def test_a_net_that_is_decided_runs_no_more_seeds_beside_one_that_is_open():
    trials, _ = wanted(judged(nets(HARMLESS), nets(OPEN[:3], "preact")))
    assert {trial.architecture.name for trial in trials} == {"preact"}


def test_what_no_seed_can_decide_asks_for_none():
    """Never tried at 258 layers."""
    assert wanted(judged(nets(OPEN[:3], depths=(18, 66)))) == ([], [])


def test_the_options_name_each_trial_and_its_seed():
    trials, _ = wanted(judged(nets(OPEN[:3])))
    seeds, *only = options(trials).split()
    assert seeds == "--seeds=3,4,"
    assert sorted(only) == sorted(f"--only={trial.digest}" for trial in trials)


def test_seeds_of_another_machine_do_not_count_as_there():
    records = [
        dataclasses.replace(r, environment={**r.environment, "device_name": "another"}) if r.trial.seed > 2 else r
        for r in nets(OPEN[:5])
    ]
    trials, _ = wanted(judged(records))
    assert {trial.seed for trial in trials} == {3, 4}


def test_the_terminal_says_what_to_type_where_seeds_may_decide():
    lines = _more_seeds(judged(nets(OPEN[:3])), "my study.toml")
    assert lines[0].endswith("6 more trainings may decide what is open for want of seeds:")
    assert lines[1].endswith("make ablation STUDY='my study.toml' SEEDS=auto")
    assert _more_seeds(judged(nets(HARMLESS)), "digits") == []
