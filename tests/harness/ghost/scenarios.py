"""What is played on the ghost card (see `stage`): each function runs the suite's own code and returns what happened.

Only plain data goes back. What must have happened stands in `test_ghost`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch._inductor.config  # seconds, which each exact step would spend; more of it would start CUDA
from torch import Tensor, nn

from bench import runner
from bench.cost import measure
from bench.data import datasets
from bench.data.images import Images
from bench.plan.machine import Machine
from bench.plan.trial import Trial
from bench.probes.table import PROBES
from bench.store.record import Record
from bench.sweep.process import _doubtful
from bench.train import device as seam
from bench.train import execution, graph, loop, turns
from bench.train.execution import Execution, numerics, usual
from bench.train.network import network_of
from bench.train.step import Step
from models.layouts import FROM, LAYOUTS
from models.spec import ARCHITECTURES
from tests.harness.ghost import card
from tests.speed.cpu_table import pictures

GIB = 2**30


def trial(architecture: str = "resnet", depth: int = 10, **fields: Any) -> Trial:
    """A small one on 240 images of 8x8 pixels: four batches of 60 an epoch."""
    recipe = {"dataset": "synthetic", "width": 16, "batch_size": 60, "lr": 0.1, "epochs": 20, "augment": "crop-flip"}
    return Trial("ghost", ARCHITECTURES[architecture], depth, 0, **{**recipe, **fields})


def step_of(asked: Trial, execution: Execution | None = None, images: type[Images] = Images) -> Step:
    batches = images(datasets.for_trial(asked).to("cuda"), asked)
    return Step(network_of(asked, batches), batches, asked, "cuda", execution)


def eagerly(asked: Trial) -> Execution:
    """As `usual`, but without a graph."""
    return replace(usual(asked, "cuda"), graph=False, compiled=False)


@contextmanager
def closing(step: Step) -> Iterator[Step]:
    try:
        yield step
    finally:
        step.close()


def captures(fields: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """For each architecture: a captured step beside an eager one, its replays, and those of a partial batch."""
    return {name: _captured(trial(name, layout=_small(name), **fields)) for name in names}


def _small(architecture: str) -> str:
    """A layout for it that has ten layers: its own where it is not convolutional."""
    own = FROM.get(architecture, "four-stage")
    return "four-stage" if LAYOUTS[own].convolutional else own


def _captured(asked: Trial) -> dict[str, Any]:
    execution = usual(asked, "cuda")
    with numerics(asked.precision, execution.exact):
        with closing(step_of(asked, eagerly(asked))) as step:
            for _ in range(3):
                step()
            with card.watched() as eager:
                step()
        with closing(step_of(asked, execution)) as step:
            with card.watched() as capturing:
                step()
            with card.watched() as replaying:
                for _ in range(step.per_epoch - 2):
                    step()
            with card.watched() as partial:
                step()
            found = {"note": step.note, "execution": step.execution.name}
    return found | {
        "eager": eager.launched, "captured": capturing.captured, "waits": replaying.waits,
        "replayed": replaying.calls["graph launch"], "beside": replaying.launched,
        "partial": partial.captured, "problems": capturing.problems + replaying.problems + partial.problems,
    }  # fmt: skip


def drawn(name: str, steps: int) -> list[list[int]]:
    """Where the generators stand after so many steps, eager and captured: the suite's own and torch's default one."""
    asked, ends = trial(name, precision="tf32"), []
    with numerics("tf32"):
        for execution in (eagerly(asked), usual(asked, "cuda")):
            with closing(step_of(asked, execution)) as step:
                for _ in range(steps):
                    step()
                states = (step.augment_generator.get_state(), torch.cuda.get_rng_state())
                ends.append([int(state[8:].view(torch.int64)) for state in states])  # after the seed: the offset
    return ends


# ---- memory and failures


def roomy(**fields: Any) -> Trial:
    """A trial whose activations are most of what it needs."""
    return trial(**{"depth": 34, "batch_size": 64, "resize": 32, "epochs": 1, "precision": "tf32", **fields})


def run_trial(asked: Trial, machine: Machine, tell: Callable[[Any], None]) -> Record:
    """The runner's; but its weights, which no kernel computes, count as finite."""
    loop.all_finite = lambda _: True
    return runner.run_trial(asked, machine, tell)


def outcome(asked: Trial) -> dict[str, Any]:
    """What becomes of a trial, and whether the sweep would go on with this process."""
    record = run_trial(asked, Machine("cuda"), lambda _: None)
    environment = record.environment
    return {
        "status": record.status.value, "message": record.message, "execution": environment["execution"],
        "note": environment.get("execution_note", ""), "did_not_fit": len(environment.get("did_not_fit", [])),
        "kept": not _doubtful(record),
    }  # fmt: skip


def memory_needed() -> int:
    """Bytes that `roomy` takes of a large card."""
    outcome(roomy())
    return card.peak_memory()


class Searching(Images):
    """Takes a GiB outside captures, as a search for the fastest algorithms does."""

    def train(self, indices: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        if not torch.cuda.is_current_stream_capturing():
            torch.empty(GIB, dtype=torch.uint8, device="cuda")
        return super().train(indices, generator)


def peak_of_steps(images: str) -> int:
    """Bytes that a cost record says of a small net's steps."""
    kind = {"Images": Images, "Searching": Searching}[images]
    with closing(step_of(trial(precision="tf32"), images=kind)) as step:
        seam.reset_peak_memory("cuda")
        return measure.price(step.network, step.images, step.trial, "cuda")[0]["peak_memory_bytes"]


def peak_of_training() -> int:
    """Bytes at the peak of the same net's steps as a training takes them, with nothing measured."""
    with closing(step_of(trial(precision="tf32"))) as first:
        seam.reset_peak_memory("cuda")
        step = Step(first.network, first.images, first.trial, "cuda")
        for _ in range(measure.WARMUP):
            step()
        peak = seam.peak_memory("cuda")
        step.close()
        return peak


def layouts(precision: str) -> list[list[bool]]:
    """Of the maps into each convolution whose layout can be told: whether channels come first, and last."""
    asked, found = trial(precision=precision), []

    def told(_: nn.Module, inputs: tuple[Tensor]) -> None:
        (x,) = inputs
        if x.shape[1] > 1 and x.shape[2] > 1:
            found.append([x.is_contiguous(), x.is_contiguous(memory_format=torch.channels_last)])

    with numerics(precision), closing(step_of(asked, eagerly(asked))) as step:
        for module in step.network.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_pre_hook(told)
        step()
    return found


def small_card(size: int) -> list[dict[str, Any]]:
    """`roomy` on a card of so many bytes; then, where the sweep would keep this process, on a large one."""
    card.set_memory(size)
    found = [outcome(roomy())]
    if found[0]["kept"]:
        card.set_memory(80 * GIB)
        found.append(outcome(roomy()))
    return found


def sticky_error(launches: int) -> dict[str, Any]:
    """An illegal access after so many launches: every later call of the process fails."""
    card.fail_after(launches)
    return outcome(roomy())


# ---- several seeds at once


def several(seeds: int, size: int, fields: dict[str, Any]) -> dict[str, Any]:
    """Seeds of a trial by turns in this process, on a card of so many bytes; then one of them alone.

    Of those that failed, if any: the sweep gives them a second try.
    """
    card.set_memory(size)
    shared, records, looks = Machine("cuda", seeds_at_once=seeds), {}, []

    def run(seed: int) -> None:
        def progress(message: Any) -> None:
            looks.append((seed, torch.cuda.current_stream().cuda_stream))

        records[seed] = run_trial(replace(roomy(**fields), seed=seed), shared, progress)

    with card.watched() as report:
        turns.together([partial(run, seed) for seed in range(seeds)], "cuda")
    left = torch.cuda.memory_reserved()
    again = min(records, key=lambda seed: records[seed].status.final)
    with card.watched() as lone:
        alone = run_trial(replace(roomy(**fields), seed=again), Machine("cuda"), lambda _: None)

    def told(record: Any) -> dict[str, Any]:
        names = ("execution", "execution_note", "seeds_at_once", "did_not_fit")
        return {"status": record.status.value, **{name: record.environment.get(name) for name in names}}

    return {
        "records": [told(records[seed]) for seed in range(seeds)], "alone": told(alone), "looks": looks,
        "left": left, "problems": report.problems + lone.problems, "captured": [report.captured, lone.captured],
        "replayed": [report.calls["graph launch"], lone.calls["graph launch"]], "waits": [report.waits, lone.waits],
    }  # fmt: skip


# ---- whole records


def cost(depth: int, batch: int, size: int, precision: str = "tf32", fused: bool = False) -> dict[str, Any]:
    """A cost record of a residual net on 32x32 pixels, on a card of so many bytes."""
    execution.FUSED = fused
    # Not by its name: the images are not there.
    made = replace(pictures(2 * batch, 32), digest="made up")
    datasets.for_trial = lambda *_, **__: made
    card.set_memory(size)
    asked = trial(
        "resnet",
        depth,
        dataset="cifar10",
        layout="cifar",
        batch_size=batch,
        precision=precision,
        purpose="cost",
        epochs=0,
    )
    with card.watched() as report:
        record = run_trial(asked, Machine("cuda"), lambda _: None)
    operators = record.cost.get("operators", [])
    return {
        "status": record.status.value, "message": record.message, "execution": record.environment["execution"],
        "cost": sorted(record.cost), "kernels": record.cost.get("kernels_per_step"), "problems": report.problems,
        "stages": sorted({row["stage"] for row in operators}),
        "norms": {row["stage"]: row["calls"] for row in operators if row["kind"] == "BatchNorm"},
    }  # fmt: skip


def probed(name: str) -> dict[str, Any]:
    """A training with every probe, and an evaluation after each epoch."""
    asked = trial(name, 18, epochs=2, precision="tf32", probes=tuple(PROBES), test_each_epoch=True)
    with card.watched() as report:
        record = run_trial(asked, Machine("cuda"), lambda _: None)
    return {
        "status": record.status.value, "message": record.message, "execution": record.environment["execution"],
        "note": record.environment.get("execution_note", ""), "problems": report.problems,
        "probes": sorted(name for name, found in record.probes.items() if found),
        "tested": ["test_error" in epoch for epoch in record.epochs],
    }  # fmt: skip


# ---- what must be noticed


class Synchronises(nn.Module):
    """A block that waits for the whole device."""

    def forward(self, x: Tensor) -> Tensor:
        torch.cuda.synchronize()
        return x


class Reads(nn.Module):
    """A block that looks at a number of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if float(x.detach().sum()) > 1e30 else x


class LeavesAStream(nn.Module):
    """A block that begins work on another stream and never waits for it."""

    def forward(self, x: Tensor) -> Tensor:
        other = torch.cuda.Stream()
        other.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(other):
            x * 2
        return x


class CopiesFromTheHost(nn.Module):
    """A block that makes a constant on the host in every step."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.tensor([2.0]).to(x.device, non_blocking=True)


BLOCKS = {kind.__name__: kind for kind in (Synchronises, Reads, LeavesAStream, CopiesFromTheHost)}


def awkward_block(name: str) -> list[dict[str, Any]]:
    """A network with such a block, then two sound ones in the same process: what their steps became."""
    found = []
    with numerics("tf32"):
        for kind in (BLOCKS[name], nn.Identity, nn.Identity):
            step = step_of(trial(precision="tf32"))
            step.network.stem.append(kind())
            with closing(step), card.watched() as report:
                step()
                step()
            found.append(
                {"execution": step.execution.name, "note": step.note, "problems": report.problems,
                 "launched": report.launched}
            )  # fmt: skip
    return found


class HalfOnTheHost(Images):
    """Leaves the labels where the loss cannot find them."""

    def train(self, indices: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        x, y = super().train(indices, generator)
        return x, y.cpu()


def _reading_tally(self: Step, logits: Tensor, loss: Tensor, y: Tensor) -> None:
    if loss.item() > 1e30:
        self.count += 1


def _no_generators(self: graph.CudaCapture, _: object) -> None:
    _made(self, [])


_made = graph.CudaCapture.__init__


def planted(fault: str) -> dict[str, Any]:
    """A fault in the suite's own step: what shows it."""
    images: type[Images] = Images
    if fault == "a number read in the step":
        Step._tally = _reading_tally  # type: ignore[method-assign]
    elif fault == "no warm-up":
        graph.CudaCapture.warm_up = lambda *_: None  # type: ignore[method-assign]
    elif fault == "no generator registered":
        graph.CudaCapture.__init__ = _no_generators  # type: ignore[method-assign]
    elif fault == "labels on the host":
        images = HalfOnTheHost
    with numerics("tf32"), card.watched() as report:
        try:
            step = step_of(trial(precision="tf32"), images=images)
            step()
            step()
        except Exception as error:
            return {"raised": str(error), "execution": "", "note": "", "problems": report.problems}
    return {"raised": "", "execution": step.execution.name, "note": step.note, "problems": report.problems}


# ---- launches


def launches(
    precision: str, depths: list[int], architecture: str = "resnet", fused: bool = False, **fields: Any
) -> dict[str, int]:
    """Nodes of a captured step on CIFAR's shapes, batch 128, at each depth.

    Raises:
        RuntimeError: A step was not executed as asked, or the card would have refused something.
    """
    store, found = pictures(256, 32), {}
    datasets.for_trial = lambda *_, **__: store
    recipe: dict[str, Any] = {"dataset": "cifar10", "layout": "cifar", "batch_size": 128, "precision": precision}
    for depth in depths:
        asked = trial(architecture, depth, **{**recipe, **fields})
        execution = replace(usual(asked, "cuda"), fused=fused)
        with numerics(precision, execution.exact), closing(step_of(asked, execution)) as step:
            with card.watched() as report:
                step()
            if step.note or report.problems:
                raise RuntimeError(f"{step.note} {report.problems}")
            found[str(depth)] = report.captured
    return found
