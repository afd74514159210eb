"""Seeds of a net at once in a worker: who may, what becomes of the others when one fails, and what is said."""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_sweep import FAST, Told, files, run

from bench.plan.trial import Trial, architecture
from bench.store import record
from bench.store.record import Record, Status
from bench.sweep import run as sweep
from bench.sweep.forecast import Forecast
from bench.sweep.queue import Queue, order
from bench.sweep.worker import Job
from tests.harness import rehearsal
from tests.harness.faults import Fault
from tests.harness.rehearsal import RehearsalMachine, small_study, table

HERE = "tests.bench.sweep.test_at_once"
SEEDS = 3
# The deepest residual net of the second seed is the one to which things happen.
STUDY = replace(small_study(SEEDS), seeds_at_once=SEEDS)


def ill(trial: Trial) -> bool:
    return (trial.architecture.name, trial.depth, trial.seed, trial.purpose) == ("resnet", 34, 1, "train")


def by_turns(trial: Trial, machine: RehearsalMachine, tell: Callable[[Mapping[str, Any]], None]) -> Record:
    """The rehearsal's trial, which gives way after each step as training does, and says how many ran at once."""

    def step(message: Mapping[str, Any]) -> None:
        tell(message)
        if machine.seeds_at_once > 1:  # else no torch is loaded, which takes longer than the limits here
            from bench.train.turns import give_way

            give_way()

    found = rehearsal.run_trial(trial, machine, step)
    return replace(found, environment={**found.environment, "seeds_at_once": machine.seeds_at_once})


def killed(trial: Trial, machine: RehearsalMachine, tell: Callable[[Mapping[str, Any]], None]) -> Record:
    """In company, one seed's process is killed when it is half done."""

    def step(message: Mapping[str, Any]) -> None:
        if ill(trial) and machine.seeds_at_once > 1 and message["step"] == 10:
            os.kill(os.getpid(), signal.SIGKILL)
        tell(message)

    return by_turns(trial, machine, step)


def starved(trial: Trial, machine: RehearsalMachine, tell: Callable[[Mapping[str, Any]], None]) -> Record:
    """In company, one seed finds no memory."""
    if ill(trial) and machine.seeds_at_once > 1:
        raise MemoryError("planted")
    return by_turns(trial, machine, tell)


def hangs(trial: Trial, machine: RehearsalMachine, tell: Callable[[Mapping[str, Any]], None]) -> Record:
    """One seed never ends."""

    def step(message: Mapping[str, Any]) -> None:
        while ill(trial) and message["step"] == 10:
            signal.pause()
        tell(message)

    return by_turns(trial, machine, step)


def run_on_a_gpu(folder: Path, told: Told | None = None, function: str = "by_turns", **changes: Any) -> sweep.Summary:
    """As far as the sweep knows: it takes this CPU for one."""
    given = {"executor": "process", "workers": 1, "function": f"{HERE}:{function}", "gpus": ("cpu",), **changes}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "GPUS", given.pop("gpus"))
        return run(folder, given.pop("study", STUDY), told, **given)


def seeds_at_once(folder: Path) -> dict[Trial, int]:
    return {found.trial: found.environment["seeds_at_once"] for _, found in record.load(folder / "rehearsal")[0]}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("alone")
    assert run_on_a_gpu(folder, study=small_study(SEEDS)).code == 0
    assert set(seeds_at_once(folder).values()) == {1}
    return table(folder)


def test_trials_train_at_once_with_the_other_seeds_of_their_net_and_end_as_alone(
    alone: dict[str, str], tmp_path: Path
) -> None:
    told = Told()
    assert run_on_a_gpu(tmp_path, told).code == 0
    assert table(tmp_path) == alone
    assert seeds_at_once(tmp_path) == {trial: SEEDS if trial.trains else 1 for trial in STUDY.trials}
    running: set[Trial] = set()
    for event, trial in told.events:
        if event == "started":
            assert not running or {replace(each, seed=0) for each in running} == {replace(trial, seed=0)}
            running.add(trial)
        else:
            running.remove(trial)


@pytest.mark.parametrize(("function", "lost"), [("killed", SEEDS), ("starved", 1)])
def test_what_fails_beside_others_runs_once_more_alone(
    function: str, lost: int, alone: dict[str, str], tmp_path: Path
) -> None:
    """A killed process takes with it what it had in hand, a failure only itself."""
    told = Told()
    summary = run_on_a_gpu(tmp_path, told, function)
    assert (summary.code, summary.left, summary.ended) == (0, 0, {Status.OK: len(STUDY.trials)})
    assert table(tmp_path) == alone
    again = [trial for trial, seeds in seeds_at_once(tmp_path).items() if trial.trains and seeds == 1]
    assert len(again) == lost
    assert any(map(ill, again))
    assert (
        sum(line.startswith("failed beside other seeds, will run again alone: resnet 34") for line in told.lines)
        == lost
    )


def test_one_that_hangs_is_ended_alone_and_the_others_have_their_records(alone: dict[str, str], tmp_path: Path) -> None:
    summary = run_on_a_gpu(tmp_path, None, "hangs", trial_time_limit_s=3.0, study=replace(
        STUDY, trials=tuple(t for t in STUDY.trials if t.depth == 34 and t.trains and t.architecture.residual)
    ))  # fmt: skip
    assert (summary.code, summary.ended) == (sweep.EXIT_FAILED, {Status.OK: 2, Status.TIMEOUT: 1})
    ours = table(tmp_path)
    assert sum(alone[name] == row for name, row in ours.items()) == 2


def test_a_stopped_group_leaves_no_record_and_the_next_sweep_does_the_rest(
    alone: dict[str, str], tmp_path: Path
) -> None:
    slow = RehearsalMachine(step_s=0.02)
    summary = run_on_a_gpu(tmp_path, machine=slow, time_limit_s=6.0)
    assert summary.code == sweep.EXIT_TIME_LIMIT
    assert 0 < summary.left == len(STUDY.trials) - len(files(tmp_path))
    assert run_on_a_gpu(tmp_path).code == 0
    assert table(tmp_path) == alone


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"gpus": sweep.GPUS}, "for a GPU"), ({"executor": "inline"}, "'process'")],
)
def test_where_seeds_cannot_run_at_once_it_is_said_and_they_do_not(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    told = Told()
    assert run_on_a_gpu(tmp_path, told, **changes).code == 0
    assert sum("one seed at a time" in line and words in line for line in told.lines) == 1
    assert set(seeds_at_once(tmp_path).values()) == {1}


def test_the_option_goes_before_the_study(tmp_path: Path) -> None:
    few = replace(STUDY, trials=tuple(t for t in STUDY.trials if t.depth == 18 and t.trains))
    assert run_on_a_gpu(tmp_path, study=few, seeds_at_once=2).code == 0
    assert sorted(seeds_at_once(tmp_path).values()) == [1, 1, 2, 2, 2, 2]
    with pytest.raises(ValueError, match="--seeds-at-once must be a whole number, 0 to 32, not 33"):
        run(tmp_path, seeds_at_once=33)


# ---- the queue


def jobs(*trials: Trial, **changes: Any) -> list[Job]:
    return [Job(number, trial, FAST, "", **changes) for number, trial in enumerate(trials, 1)]


def trials(row: str = "resnet", **fields: Any) -> list[Trial]:
    return [Trial("s", architecture(row), 18, seed, **fields) for seed in range(4)]


def taken(queue: Queue, left_s: float = float("inf"), workers: int = 1, running: Sequence[Job] = ()) -> list[int]:
    return [job.trial.seed for job in queue.take(running, workers, left_s)]


def test_nets_that_draw_and_users_own_blocks_run_alone() -> None:
    own = [replace(t, architecture=replace(t.architecture, factory="m:f")) for t in trials()]
    for alone in (trials("resnet-dropout"), trials("stochastic-depth"), own, trials(purpose="cost")):
        assert taken(Queue(jobs(*alone), Forecast(), 4)) == [0]
    assert taken(Queue(jobs(*trials(), faults=(Fault("kill", 1, 1),)), Forecast(), 4)) == [0]
    assert taken(Queue(jobs(*trials()), Forecast(), 4)) == [0, 1, 2, 3]
    assert taken(Queue(jobs(*trials()), Forecast())) == [0]


def test_only_the_seed_may_differ() -> None:
    first, *others = trials()
    mixed = jobs(first, replace(others[0], lr=0.2), replace(others[1], depth=34), replace(others[2], epochs=7))
    assert taken(Queue(order(mixed), Forecast(), 4)) in ([0], [2])


def test_a_group_is_one_process_and_no_larger_than_the_time_that_is_left() -> None:
    queue = Queue(jobs(*trials(), *trials(lr=0.2)), Forecast(), 4)
    group = queue.take((), 2, float("inf"))
    assert [job.trial.seed for job in group] == [0, 1, 2, 3]
    assert taken(queue, workers=1, running=group) == []
    assert taken(queue, workers=2, running=group) == [0, 1, 2, 3]
    forecast = Forecast()
    forecast.learn(Record(trials()[0], Status.OK, seconds=10.0))
    assert taken(Queue(jobs(*trials()), forecast, 4), left_s=25.0) == [0, 1]
    # Of three at once in 30 s, each had the card for 10 s.
    shared = Forecast()
    shared.learn(Record(trials()[0], Status.OK, environment={"seeds_at_once": 3}, seconds=30.0))
    assert shared.seconds(trials()[1]) == pytest.approx(10.0)
