"""Captured steps. A tape stands in for a CUDA graph: it repeats a step's tensor operations at fixed addresses.

Like a graph it knows no Python: a number read from a tensor, a learning rate kept as a float or a counter in
Python would be frozen or refused. The tests marked gpu ask the same of real graphs."""

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from made_step import GRAPH, same, step_of, tape, trial
from torch import Tensor, nn

from bench.data import datasets as data
from bench.data.images import Images
from bench.train.execution import Execution, numerics, usual
from bench.train.graph import frozen_statistics
from bench.train.loop import _loop
from bench.train.step import Step

# One of each placement and of each kind of shortcut; dropout draws random numbers in every step.
KINDS = (
    "plain",
    "resnet",
    "preact",
    "bn-after-add",
    "relu-only-preact",
    "resnet-b",
    "resnet-c",
    "resnet-dropout",
    "plain-orthogonal",
)


@pytest.mark.parametrize("kind", KINDS)
def test_replayed_steps_equal_eager_ones(kind: str) -> None:
    """Two epochs with schedule, augmentation and a partial last batch: 10 steps, bit for bit."""
    asked = trial(kind, drop_last=False, augment="crop-flip")
    eager, graphed = step_of(asked, Execution()), step_of(asked, GRAPH, capture=tape)
    for _ in eager.rates:
        # Dropout draws from torch's own generator, which the two share here and must not share.
        torch.manual_seed(eager.done)
        eager()
        torch.manual_seed(graphed.done)
        graphed()
        same(eager, graphed)
    assert graphed.note == ""
    assert graphed.execution == GRAPH
    assert eager.read() == graphed.read()


def test_replays_follow_the_schedule() -> None:
    """The failure is silent elsewhere: a rate kept as a Python number is frozen into the graph."""
    step = step_of(trial(schedule="step"), GRAPH, capture=tape)
    used = []
    for _ in step.rates:
        step()
        used.append(float(step.lr))
    assert used == pytest.approx(step.rates)
    assert len(set(used)) > 4


def test_clipping_and_checkpointing_are_captured_too() -> None:
    asked = trial(clip_norm=0.5, checkpoint_blocks=True)
    eager, graphed = step_of(asked, Execution()), step_of(asked, GRAPH, capture=tape)
    for _ in range(6):
        eager()
        graphed()
    same(eager, graphed)
    assert graphed.note == ""


def test_capture_leaves_everything_as_it_was() -> None:
    step = step_of(trial("resnet-dropout", augment="crop-flip"), GRAPH, capture=tape)
    before = [t.clone() for t in step.state()]
    random, augmenting = torch.get_rng_state(), step.augment_generator.get_state()
    step._prepare(60)
    assert all(torch.equal(t, old) for t, old in zip(step.state(), before, strict=True))
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(step.augment_generator.get_state(), augmenting)
    assert step.done == 0


def test_first_bad_step_is_found_by_replays_without_looking() -> None:
    step = step_of(trial(schedule="constant", warmup_epochs=0.0), GRAPH, capture=tape)
    for k in range(1, 8):
        if k == 5:
            with torch.no_grad():
                next(step.network.parameters()).fill_(float("nan"))
        step()
    assert step.diverged_step() == 5


class Reads(nn.Module):
    """A user's network that looks at its own output in every step."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.flatten(1))
        return y * 2 if float(y.detach().mean()) > 1e9 else y


def test_what_cannot_be_captured_runs_eagerly_and_says_so() -> None:
    asked = trial(drop_last=False)
    images = Images(data.load("synthetic"), asked)
    ends = []
    for execution in (Execution(), GRAPH):
        torch.manual_seed(3)
        step = Step(Reads(), images, asked, "cpu", execution, tape)
        torch.manual_seed(4)
        for _ in step.rates:
            step()
        ends.append(step)
    assert ends[1].execution == Execution()
    assert "not graph" in ends[1].note
    assert "wait for the device" in ends[1].note
    assert ends[0].read()[1] == pytest.approx(ends[1].read()[1], abs=0.2)


def test_operation_without_deterministic_form_is_named_and_run_all_the_same() -> None:
    said = "cumsum_cuda_kernel does not have a deterministic implementation, but you set ..."
    refused = itertools.count()

    def capture(body: Callable[[], None]) -> Callable[[], None]:
        if next(refused) == 0:
            raise RuntimeError(said)
        return body

    step = step_of(trial(), Execution(graph=True, exact=True), capture=capture)
    with numerics("fp32", exact=True):
        step()
    assert step.note == f"not exact: {said}"
    assert step.execution == GRAPH


def test_running_out_of_memory_is_not_hidden_by_an_eager_retry() -> None:
    def capture(body: Callable[[], None]) -> Callable[[], None]:
        raise torch.OutOfMemoryError("no more")

    with pytest.raises(torch.OutOfMemoryError):
        step_of(trial(), GRAPH, capture=capture)()


@pytest.mark.parametrize(("precision", "convolution"), [("fp32", "ieee"), ("tf32", "tf32"), ("bf16", "tf32")])
def test_numerics_set_the_precision_and_put_every_switch_back(precision: str, convolution: str) -> None:
    backends: Any = torch.backends

    def switches() -> list[Any]:
        return [
            backends.cudnn.conv.fp32_precision, backends.cudnn.rnn.fp32_precision,
            backends.cuda.matmul.fp32_precision, backends.cudnn.benchmark,
            backends.cudnn.deterministic, torch.are_deterministic_algorithms_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        ]  # fmt: skip

    before = switches()
    with numerics(precision, exact=precision == "fp32"):
        assert backends.cudnn.conv.fp32_precision == convolution
        assert backends.cudnn.allow_tf32 == (convolution == "tf32")  # the older switch raises where layers differ
        assert backends.cuda.matmul.fp32_precision == "ieee"
        assert torch.are_deterministic_algorithms_enabled() == (precision == "fp32")
        assert backends.cudnn.benchmark == (precision != "fp32")
    assert switches() == before


def test_trials_are_executed_as_their_precision_allows() -> None:
    assert {p: usual(trial(precision=p), "cuda").name for p in ("fp32", "tf32", "bf16")} == {
        "fp32": "graph+exact", "tf32": "graph", "bf16": "graph+compile"
    }  # fmt: skip
    assert usual(trial(precision="bf16"), "cpu").name == "eager"


def test_time_of_preparation_is_no_gap_between_steps() -> None:
    def slow(body: Callable[[], None]) -> Callable[[], None]:
        time.sleep(0.3)
        return tape(body)

    asked = trial(drop_last=False)  # a whole batch and a partial one: two captures
    step = step_of(asked, GRAPH, capture=slow)
    run = _loop(step, lambda _: None, None, None)
    assert step.preparing_s > 0.6
    assert run.longest_gap_s < 0.3


def test_frozen_statistics_stay_and_come_back_to_life() -> None:
    norm = nn.BatchNorm2d(3)
    x = torch.randn(8, 3, 4, 4)
    free = norm(x)
    before = norm.running_mean.clone()  # type: ignore[union-attr]
    with frozen_statistics(norm):
        assert torch.equal(norm(x + 0), free)
    assert torch.equal(norm.running_mean, before)  # type: ignore[arg-type]
    norm(x)
    assert not torch.equal(norm.running_mean, before)  # type: ignore[arg-type]
