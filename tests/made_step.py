"""Steps of small nets for tests, and a stand-in for CUDA's capture."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.data import datasets as data
from bench.data.images import Images
from bench.plan.trial import Trial
from bench.train.execution import Execution
from bench.train.network import network_of
from bench.train.step import Step
from models.spec import ARCHITECTURES

GRAPH = Execution(graph=True)


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
    recipe = {"dataset": "synthetic", "width": 8, "batch_size": 60, "lr": 0.1, "epochs": 2, "warmup_epochs": 1.0}
    return Trial("test", ARCHITECTURES[architecture], depth, 0, **{**recipe, **fields})


def step_of(asked: Trial, execution: Execution, device: str = "cpu", **more: Any) -> Step:
    images = Images(data.load(asked.dataset).to(device), asked)
    return Step(network_of(asked, images), images, asked, device, execution, **more)


def same(a: Step, b: Step) -> None:
    for x, y in zip(a.state(), b.state(), strict=True):
        assert bool(torch.isfinite(x).all())  # NaN is equal to nothing, and two diverged nets would prove little
        assert torch.equal(x, y)
