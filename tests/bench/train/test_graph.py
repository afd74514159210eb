"""Captured steps. A tape stands in for a CUDA graph: it repeats a step's tensor operations at fixed addresses.

Like a graph it knows no Python: a number read from a tensor, a learning rate kept as a float or a counter in
Python would be frozen or refused. The tests marked gpu ask the same of real graphs.
"""

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.data import datasets as data
from bench.data.images import Images
from bench.plan.trial import Trial
from bench.train.execution import Execution, numerics, usual
from bench.train.graph import check_compiled, compilations, compile_blocks, frozen_statistics, no_waiting, uncompile
from bench.train.loop import _loop
from bench.train.step import Step
from models.network import build
from models.spec import ARCHITECTURES, ModelSpec

GRAPH = Execution(graph=True)
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


class SynchronizationError(RuntimeError):
    """A tensor's value was asked for while recording."""


class Tape(TorchDispatchMode):
    """Records operations while they run; replays them into the same output tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            raise SynchronizationError("operation would wait for the device")
        out = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, out))
        return out

    def replay(self) -> None:
        with torch.no_grad():
            for func, args, kwargs, out in self.calls:
                mine = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
                new = func(*args, **kwargs)
                for old, value in zip(tree_leaves(out), tree_leaves(new), strict=True):
                    # A view, or an operation in place, has written where it belongs already.
                    if isinstance(old, Tensor) and old.untyped_storage().data_ptr() not in mine:
                        old.copy_(value)


def tape(body: Callable[[], None]) -> Callable[[], None]:
    """Captures a body as `CudaCapture` does; what it changed is put back by the step."""
    recorder = Tape()
    with recorder:
        body()
    return recorder.replay


def trial(architecture: str = "preact", depth: int = 10, **fields: Any) -> Trial:
    recipe = {"dataset": "synthetic", "width": 2, "batch_size": 60, "lr": 0.1, "epochs": 2, "warmup_epochs": 1.0}
    return Trial("test", ARCHITECTURES[architecture], depth, 0, **{**recipe, **fields})


def step_of(asked: Trial, execution: Execution, device: str = "cpu", **more: Any) -> Step:
    images = Images(data.load(asked.dataset).to(device), asked)
    spec = ModelSpec(asked.architecture, asked.layout, asked.depth, asked.width, images.shape, images.data.classes)
    network = build(spec, asked.seed, device).to(memory_format=torch.channels_last)
    return Step(network, images, asked, device, execution, **more)


def same(a: Step, b: Step) -> None:
    for x, y in zip(a.state(), b.state(), strict=True):
        assert bool(torch.isfinite(x).all())  # NaN is equal to nothing, and two diverged nets would prove little
        assert torch.equal(x, y)


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


@pytest.mark.filterwarnings("default:The .grad attribute")
def test_compiled_blocks_share_their_variants_whatever_the_depth() -> None:
    """Four stages have at most seven shapes of block; depth adds none (backend "eager": capture without a compiler)."""
    made = []
    for depth in (18, 34):
        step = step_of(trial("resnet", depth), Execution())
        before = compile_blocks(step.network, backend="eager")
        step()
        made.append(check_compiled(before))
        uncompile(step.network)
    assert made[0] == made[1] <= 8
    torch._dynamo.reset()


@pytest.mark.filterwarnings("default:The .grad attribute")
def test_compiled_blocks_may_be_checkpointed_too() -> None:
    """Compiled inside the checkpoint; the repetition, its statistics frozen, is a variant of its own."""
    plain = step_of(trial("resnet"), Execution())
    both = step_of(trial("resnet", checkpoint_blocks=True), Execution())
    before = compile_blocks(both.network, backend="eager")
    for _ in range(2):
        plain()
        both()
    assert 0 < check_compiled(before) <= 16
    same(plain, both)
    both.close()
    assert not any("forward" in vars(m) for m in both.network.modules())
    torch._dynamo.reset()


@pytest.mark.filterwarnings("default:The .grad attribute")
def test_repetition_in_another_thread_is_compiled_as_often_as_it_must_be() -> None:
    """CUDA's backward pass has a thread of its own, torch 2.15 keeps dynamo's limit of 8 variants by thread."""
    made = []
    for apart in (False, True):
        step = step_of(trial("resnet", 18, checkpoint_blocks=True, resize=16), Execution())
        before = compile_blocks(step.network, backend="eager")
        for size in (8, 12, 20):  # new shapes: more variants than dynamo's own limit
            loss = step.forward(*step.images.train(torch.arange(size), step.augment_generator))[1]
            if apart:
                thread = threading.Thread(target=loss.backward)
                thread.start()
                thread.join()
            else:
                loss.backward()  # type: ignore[no-untyped-call]
        made.append(check_compiled(before))
        step.close()
        torch._dynamo.reset()
    assert made[0] == made[1] > 8


@pytest.mark.filterwarnings("default:The .grad attribute")
@pytest.mark.parametrize("checkpointed", [False, True])
def test_evaluation_after_an_epoch_compiles_nothing(monkeypatch: pytest.MonkeyPatch, checkpointed: bool) -> None:
    """Its mode and its batches differ from a step's: each would be compiled, and on CUDA tuned, for itself."""
    monkeypatch.setattr("bench.train.step.compile_blocks", lambda network: compile_blocks(network, backend="eager"))
    made = []
    for each in (False, True):
        asked = trial("resnet", test_each_epoch=each, checkpoint_blocks=checkpointed)
        step = step_of(asked, Execution(compiled=True))
        run = _loop(step, lambda _: None, lambda network, _: made.append(compilations()), None)
        assert ("test_error" in run.epochs[-1]) == each
        assert step.execution.compiled
        step.close()
        torch._dynamo.reset()
    assert len(set(made)) == 1


def test_what_cannot_be_compiled_is_still_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """`check_compiled` refuses: nothing was compiled here. The graph stays, and trains as without a compiler."""
    monkeypatch.setattr("bench.train.step.compile_blocks", lambda network: compilations())
    eager, graphed = (
        step_of(trial(), Execution()), step_of(trial(), Execution(graph=True, compiled=True), capture=tape)
    )  # fmt: skip
    for _ in range(6):
        eager()
        graphed()
    same(eager, graphed)
    assert graphed.execution == GRAPH
    assert graphed.note.startswith("not graph+compile: compiled blocks fell back to eager")


def test_time_of_preparation_is_no_gap_between_steps() -> None:
    def slow(body: Callable[[], None]) -> Callable[[], None]:
        time.sleep(0.3)
        return tape(body)

    asked = trial(drop_last=False)  # a whole batch and a partial one: two captures
    step = step_of(asked, GRAPH, capture=slow)
    run = _loop(step, lambda _: None, None, None)
    assert step.preparing_s > 0.6
    assert run.longest_gap_s < 0.3


def test_blocks_that_fell_back_to_eager_are_reported() -> None:
    with pytest.raises(RuntimeError, match="fell back to eager"):
        check_compiled(compilations())


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
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_fast_modes_train_nearly_alike_on_cuda(precision: str) -> None:
    asked = trial("resnet", 18, width=16, epochs=4, precision=precision)
    losses = []
    for execution, name in ((Execution(), "fp32"), (usual(asked, "cuda"), precision)):
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
