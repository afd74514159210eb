"""Several seeds by turns in one process: each ends as it would alone, whatever becomes of the others."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from bench import runner
from bench.plan.machine import Machine
from bench.plan.trial import Trial
from bench.store.record import TIMES, Record, Status, encode
from bench.train.loop import Step
from bench.train.turns import give_way, together
from models import settings
from models.spec import ARCHITECTURES

TRIAL = Trial(
    "test", ARCHITECTURES["resnet"], 18, 0, dataset="synthetic", width=4, batch_size=64, lr=0.1, epochs=3,
    test_each_epoch=True, probes=("gradient_norms", "lesions"),
)  # fmt: skip
SEEDS = (0, 1, 2)
DIVERGES, RAISES = 1, 2
SHARED = Machine(seeds_at_once=len(SEEDS))


def content(found: Record) -> dict[str, Any]:
    """A record without its times, and without how many ran at once."""
    body = json.loads(encode(found))["body"]
    body["environment"].pop("seeds_at_once", None)
    for name in ("seconds", "started"):
        body.pop(name)
    for name in TIMES:
        body["result"].pop(name, None)
    for row in body["epochs"]:
        row.pop("seconds")
    return body


def fail(seed: int, message: Mapping[str, Any]) -> None:
    if seed == RAISES and message["step"] == 5:
        raise RuntimeError("planted")


def at_once(trial: Trial, progress: Callable[..., None], machine: Machine = SHARED) -> list[Record]:
    found: dict[int, Record] = {}

    def run(seed: int) -> None:
        found[seed] = runner.run_trial(replace(trial, seed=seed), machine, partial(progress, seed))

    together([partial(run, seed) for seed in SEEDS], "cpu")
    return [found[seed] for seed in SEEDS]


class Sick(Step):
    """One seed's loss is no number at its fourth step."""

    def __call__(self) -> None:
        if self.trial.seed == DIVERGES and self.done == 3:
            with torch.no_grad():
                self.parameters[0].fill_(float("nan"))
        super().__call__()


@pytest.mark.parametrize("recipe", [{}, {"stop_at_train_error": 0.5}], ids=["whole", "stopped early"])
def test_seeds_at_once_end_as_each_alone(recipe: dict[str, Any]) -> None:
    """Results, epochs and probes, bit for bit; and they did take turns, a step each."""
    asked, seen = replace(TRIAL, **recipe), list[tuple[int, int]]()
    shared = at_once(asked, lambda seed, message: seen.append((seed, message["step"])))
    alone = [runner.run_trial(replace(asked, seed=seed), Machine(), lambda _: None) for seed in SEEDS]
    assert [content(found) for found in shared] == [content(found) for found in alone]
    assert [found.status for found in shared] == [Status.OK] * 3
    assert [found.environment.get("seeds_at_once") for found in (shared[0], alone[0])] == [3, None]
    assert len({found.result["train_loss"] for found in shared}) == 3
    assert seen[:6] == [(0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (2, 2)]


def test_one_that_diverges_and_one_that_raises_change_nothing_for_the_third(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.train.loop.Step", Sick)
    shared = at_once(TRIAL, fail)
    alone = [runner.run_trial(replace(TRIAL, seed=seed), Machine(), partial(fail, seed)) for seed in SEEDS]
    assert [content(found) for found in shared] == [content(found) for found in alone]
    assert [found.status for found in shared] == [Status.OK, Status.DIVERGED, Status.ERROR]
    assert shared[DIVERGES].result["diverged_step"] == 4
    assert "planted" in shared[RAISES].message


def test_batch_that_does_not_fit_beside_others_is_not_made_smaller() -> None:
    def starve(seed: int, message: Mapping[str, Any]) -> None:
        if seed == RAISES:
            raise torch.OutOfMemoryError("planted")

    shared = at_once(TRIAL, starve)
    assert [found.status for found in shared] == [Status.OK, Status.OK, Status.OUT_OF_MEMORY]
    assert "did_not_fit" not in shared[RAISES].environment
    lone = runner.run_trial(replace(TRIAL, seed=RAISES), Machine(), partial(starve, RAISES))
    assert len(lone.environment["did_not_fit"]) == 3


def test_each_finds_the_switches_and_random_numbers_as_it_left_them() -> None:
    before, found = settings.read(), dict[int, list[Any]]()

    def play(seed: int) -> None:
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(seed == 1)
        torch.utils.deterministic.fill_uninitialized_memory = seed != 1  # type: ignore[attr-defined]
        torch.backends.cudnn.allow_tf32 = seed == 0
        drawn = []
        for _ in range(3):
            give_way()
            drawn.append(float(torch.rand(())))
        found[seed] = [settings.read(), torch.backends.cudnn.allow_tf32, drawn]
        settings.put_back(before)

    together([partial(play, seed) for seed in SEEDS], "cpu")
    for seed in SEEDS:
        kept, allowed, drawn = found[seed]
        assert kept["deterministic algorithms"] == (seed == 1, False)
        assert kept["memory that is filled"] is (seed != 1)
        assert allowed is (seed == 0)
        torch.manual_seed(seed)
        assert drawn == [float(torch.rand(())) for _ in range(3)]
    assert settings.read() == before


def test_what_a_call_lets_through_is_raised_once_all_have_ended() -> None:
    ended = []

    def play(seed: int) -> None:
        give_way()
        if seed == 0:
            raise KeyboardInterrupt
        ended.append(seed)

    with pytest.raises(KeyboardInterrupt):
        together([partial(play, seed) for seed in SEEDS], "cpu")
    assert ended == [1, 2]
    assert give_way() == 0.0, "whoever is alone has all turns"
