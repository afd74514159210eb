"""Graphs on a real card: exact, fast, never waiting, and sound after a failed capture."""

from dataclasses import replace

import pytest
import torch
from made_step import GRAPH, same, step_of, trial
from torch import Tensor, nn

from bench.train.execution import Execution, numerics, usual
from bench.train.graph import no_waiting
from models.spec import ARCHITECTURES
from tests.harness.norms import CASES, Case, errors

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("depth", [10, 130])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_graphed_fp32_steps_equal_eager_ones_on_cuda(kind: str, depth: int) -> None:
    """Exact mode: 100 steps with the schedule active, every kind, shallow and deep, bit for bit."""
    # At 130 layers and 0.1 the plain nets diverge within a few steps.
    lr = 0.1 if depth == 10 else 1e-4
    asked = trial(kind, depth, width=16, epochs=20, augment="crop-flip", drop_last=False, lr=lr)
    ends = []
    with numerics("fp32", exact=True):
        for execution in (Execution(exact=True), Execution(graph=True, exact=True)):
            step = step_of(asked, execution, "cuda")
            for _ in range(100):
                step()
            assert step.note == ""
            ends.append(step)
    same(*ends)


@pytest.mark.gpu
@needs_cuda
@pytest.mark.filterwarnings("default")  # torch's compiler has its own, some of them deprecations
@pytest.mark.parametrize(("precision", "fused"), [("tf32", False), ("bf16", False), ("bf16", True)])
def test_fast_modes_train_nearly_alike_on_cuda(precision: str, fused: bool) -> None:
    asked = trial("resnet", 18, width=16, epochs=4, precision=precision)
    losses = []
    for execution, name in ((Execution(), "fp32"), (replace(usual(asked, "cuda"), fused=fused), precision)):
        with numerics(name):
            step = step_of(asked, execution, "cuda")
            for _ in step.rates:
                step()
            assert step.note == ""
            losses.append(step.read()[0])
            step.close()
    assert losses[1] == pytest.approx(losses[0], rel=0.2)


@pytest.mark.gpu
@needs_cuda
def test_epoch_does_not_wait_for_the_device() -> None:
    step = step_of(trial("resnet", 18, width=16, epochs=3), GRAPH, "cuda")
    step()
    with no_waiting():
        for _ in range(step.per_epoch - 1):
            step()


@pytest.mark.gpu
@needs_cuda
def test_step_that_waits_runs_eagerly_and_the_next_graph_is_sound() -> None:
    """A wait is found before the capture: one inside it would leave torch's allocator and generators broken."""

    class Waits(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * (1.0 if x.sum().item() > 0 else 2.0)

    asked = trial("resnet", 10, width=16, epochs=2, augment="crop-flip")
    step = step_of(asked, GRAPH, "cuda")
    step.network.stem.append(Waits())  # type: ignore[union-attr, operator]
    step()
    assert "not graph" in step.note
    assert step.execution.name == "eager"
    step.close()
    sound = step_of(asked, GRAPH, "cuda")
    sound()
    assert (sound.note, sound.execution.name) == ("", "graph")
    sound.close()


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("case", CASES, ids=map(str, CASES))
def test_fused_norms_are_torchs_in_float64_up_to_rounding_on_cuda(case: Case) -> None:
    assert {name: error for name, error in errors(case, "cuda").items() if not error <= 1} == {}
