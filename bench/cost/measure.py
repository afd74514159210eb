"""The price of a step: time, memory and arithmetic of one network, apart from training.

Timing and tracing never share a pass: whole steps first (as training executes them), then the parts of a step, then
inference, then one profiled step. The network is left as it was.
"""

import functools
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from bench.cost.operators import profiled
from bench.cost.products import IMAGES, Products, of_one_image
from bench.data.datasets import Data
from bench.data.images import Images
from bench.plan.machine import KINDS
from bench.plan.trial import Trial, spec_of
from bench.store.parts import Ceilings, Cost
from bench.train import device as seam
from bench.train.execution import numerics, usual
from bench.train.loop import mode
from bench.train.network import network_of
from bench.train.step import Step
from models.blocks import Block
from models.network import build
from models.spec import ModelSpec

# Nothing else may run meanwhile, so a 1002-layer net, half a second per step on one core, has about ten seconds in all.
WARMUP = 2
MOST_STEPS, LEAST_STEPS, MOST_SECONDS = 20, 5, 3.0
PARTS_STEPS, PARTS_SECONDS = 5, 1.0
INFERENCE_BATCHES, INFERENCE_SECONDS = 5, 0.5
# A GPU's counter of energy moves some ten times per second.
ENERGY_STEPS, ENERGY_SECONDS = 2000, 1.0


def measure(trial: Trial, data: Data, device: str) -> tuple[Cost, str]:
    """Measures a training step of a freshly built network.

    Returns:
        What `price` gives; in it memory_floor_bytes, in use before the network was built, and net_memory_bytes, the
        peak above it; first_step_s, from then to the end of the first step, with all that is done once (compilation
        and capture too).

    Raises:
        Exception: What building or stepping raises; the runner makes a status of it.
    """
    images = Images(data, trial)
    spec = spec_of(trial, images.shape, data.classes)
    floor = seam.reset_peak_memory(device)
    began = time.perf_counter()
    network = network_of(trial, images)
    built = time.perf_counter() - began
    cost, execution = price(network, images, trial, device)
    cost["first_step_s"] += built
    macs, left_out = counted(spec)
    cost |= {"memory_floor_bytes": floor, "net_memory_bytes": cost["peak_memory_bytes"] - floor}
    cost |= {"macs_per_image": macs, "flops_per_image": 2 * macs}
    if left_out:
        cost["flops_leave_out"] = left_out
    return cost, execution


def price(network: nn.Module, images: Images, trial: Trial, device: str) -> tuple[Cost, str]:
    """Measures a network, which is used up by it: no copy is kept, since the peak of memory would hold it.

    Args:
        network: On the device.
        images: Training data on the device.
        trial: Batch size, precision and recipe; the learning rate is taken as zero, so that no step diverges.
        device: A key of `KINDS`.

    Returns:
        Raw samples in seconds (step_times_s, warmup_times_s, forward_times_s, backward_times_s, optimizer_times_s,
        inference_times_s: a batch each); what tells whether they can be trusted (calibration_times_s and
        others_memory_bytes before and after the steps; cpu_share, this process's processor time by their time);
        peak_memory_bytes (on CUDA of the captured steps, without the search for the fastest algorithms before them),
        saved_activation_bytes, first_step_s, operators, ceilings; on CUDA kernels_per_step, and
        energy_j_per_step where NVML is present. And how steps were executed.
    """
    execution = usual(trial, device)
    most = WARMUP + 2 * MOST_STEPS + ENERGY_STEPS * KINDS[device].gpu
    asked = replace(trial, epochs=most, lr=0.0, schedule="constant", warmup_epochs=0.0)
    if len(images.data.train_labels) >= trial.batch_size:
        # An epoch's last, smaller batch is another step: quicker, and compiled and captured for itself.
        asked = replace(asked, drop_last=True)
    network.train()
    with numerics(trial.precision, execution.exact):
        began = time.perf_counter()
        step = Step(network, images, asked, device, execution)
        try:
            first = time.perf_counter() - began
            cost = _steps(step, device)
            cost["first_step_s"] = first + cost["warmup_times_s"][0]
            # The parts run eagerly: beside the graph's memory, a net that fits once would have to fit twice.
            step.release()
            cost |= _parts(step, device)
            cost["inference_times_s"] = _inference(step, device)
            cost["operators"], kernels = profiled(lambda: step.body(trial.batch_size), network, device)[1:]
        finally:
            step.close()
    if KINDS[device].gpu:
        cost["kernels_per_step"] = kernels
    cost["ceilings"] = ceilings(device, trial.precision)
    parameters = sum(p.numel() for p in network.parameters())
    return {"batch_size": trial.batch_size, "parameters": parameters, **cost}, step.execution.name


def _steps(step: Step, device: str) -> Cost:
    """Whole steps, as training takes them, and the memory that they need."""
    warmup = [seam.timed(step, device) for _ in range(WARMUP)]
    peak = seam.peak_memory(device)
    quiet = [calibration(device)]
    others = [seam.memory_of_others(device)]
    processor = time.process_time()
    times = _repeated(lambda: seam.timed(step, device), LEAST_STEPS, MOST_STEPS, MOST_SECONDS)
    spent = time.process_time() - processor
    quiet.append(calibration(device))
    others.append(seam.memory_of_others(device))
    found: Cost = {
        "step_times_s": times, "warmup_times_s": warmup, "peak_memory_bytes": peak,
        "calibration_times_s": quiet, "others_memory_bytes": others, "cpu_share": spent / sum(times),
    }  # fmt: skip
    return found | _energy_per_step(step, device)


def _energy_per_step(step: Step, device: str) -> Cost:
    """Joules of a step, over at least a second of steps; empty where the device does not say."""
    before = seam.energy(device)
    if before is None:
        return {}
    steps, began = 0, time.perf_counter()
    while time.perf_counter() - began < ENERGY_SECONDS and steps < ENERGY_STEPS:
        for _ in range(10):  # between two waits, so that the device is hardly ever idle
            step()
        seam.synchronize(device)
        steps += 10
    after = seam.energy(device)
    return {} if after is None else {"energy_j_per_step": (after - before) / steps}


def _parts(step: Step, device: str) -> Cost:
    """Forward, backward and update apart, ungraphed; the first pass also weighs what is kept for backward."""
    forwards: list[float] = []
    backwards: list[float] = []
    updates: list[float] = []
    saved = Saved(step.network)
    step.at.zero_()  # an epoch may just be over
    loss: list[Tensor] = []

    def once(watch: AbstractContextManager[Any] | None) -> float:
        x, y = step.batch(step.trial.batch_size)
        with ExitStack() as weights:

            def forward() -> None:
                weights.enter_context(step.weights())
                loss[:] = [step.forward(x, y)[1]]

            if watch:
                with watch:
                    forward()
                loss[0].backward()  # type: ignore[no-untyped-call]
            else:
                forwards.append(seam.timed(forward, device))
                backwards.append(seam.timed(loss[0].backward, device))
        if watch:
            step.update()
            return 0.0
        updates.append(seam.timed(step.update, device))
        return forwards[-1] + backwards[-1] + updates[-1]

    once(saved.watching())
    _repeated(lambda: once(None), 2, PARTS_STEPS, PARTS_SECONDS)
    return {
        "forward_times_s": forwards, "backward_times_s": backwards, "optimizer_times_s": updates,
        "saved_activation_bytes": saved.bytes,
    }  # fmt: skip


def _inference(step: Step, device: str) -> list[float]:
    """A batch forward, in eval mode and without gradients, in the trial's precision."""
    x, y = step.batch(step.trial.batch_size)
    with mode(step.network, training=False), torch.inference_mode():
        step.forward(x, y)
        once = functools.partial(step.forward, x, y)
        return _repeated(lambda: seam.timed(once, device), 2, INFERENCE_BATCHES, INFERENCE_SECONDS)


def calibration(device: str) -> float:
    """Seconds of a fixed small piece of work: before and after a measurement they differ if the machine did."""
    side = KINDS[device].calibration_side
    a = torch.ones(side, side, device=device)
    return min(seam.timed(lambda: a @ a, device) for _ in range(5))


def _repeated(once: Callable[[], float], least: int, most: int, seconds: float) -> list[float]:
    times: list[float] = []
    while len(times) < least or (len(times) < most and sum(times) < seconds):
        times.append(once())
    return times


class Saved:
    """Bytes that autograd keeps from forward to backward: each storage once, weights and buffers not counted."""

    def __init__(self, network: nn.Module) -> None:
        self.known = {t.untyped_storage().data_ptr() for t in [*network.parameters(), *network.buffers()]}
        self.bytes = 0

    def watching(self) -> AbstractContextManager[Any]:
        """Within, forward passes are weighed. What is saved stays alive, so no address comes twice."""
        seen = set(self.known)

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in seen:
                seen.add(storage.data_ptr())
                self.bytes += storage.nbytes()
            return tensor

        return torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)


def counted(spec: ModelSpec) -> tuple[int, list[str]]:
    """Multiply-adds of one image's forward pass in training: convolutions and products, padding counted, as is usual.

    On a network without memory; on a CPU, where a user's own code looks at values.

    Returns:
        Their number, and the operators that are left out of it.
    """
    try:
        return _counted(spec, "meta")
    except Exception:  # whatever a user's code raises without values
        if not spec.architecture.factory:
            raise
    return _counted(spec, "cpu")


def _counted(spec: ModelSpec, device: str) -> tuple[int, list[str]]:
    """Of the suite's own blocks, those with the same layers and input count once: a layer takes milliseconds."""
    network = build(spec, device=device).train()
    known: dict[tuple[str, torch.Size], tuple[int, torch.Size]] = {}
    products = Products(device == "meta")

    def once(block: nn.Module, x: Tensor) -> Tensor:
        key = (repr(block), x.shape)
        if key in known:
            products.macs += known[key][0]
            return x.new_empty(known[key][1])
        before = products.macs
        y: Tensor = type(block).forward(block, x)
        known[key] = (products.macs - before, y.shape)
        return y

    for block in network.modules():
        if type(block) is Block:  # a user's own, made from one, may be told apart by more than its layers
            block.forward = functools.partial(once, block)  # type: ignore[method-assign]

    def macs(images: int) -> int:
        nonlocal products
        products = Products(device == "meta", network.parameters())
        with products, torch.no_grad():
            network(torch.zeros(images, *spec.image, device=device))
        return products.macs

    return of_one_image(*map(macs, IMAGES)), sorted(products.left_out)


@functools.cache
def ceilings(device: str, precision: str) -> Ceilings:
    """What this device can do at most: bytes per second of a large copy, read and written, and FLOPs of a product."""
    size, side = KINDS[device].copy_bytes, KINDS[device].product_side
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a = torch.ones(side, side, device=device, dtype=dtype)
    with numerics(precision):
        if precision == "tf32":  # as the convolutions, which are nearly all of a step; `numerics` puts it back
            torch.backends.cuda.matmul.fp32_precision = "tf32"
        copy, product = (
            min(seam.timed(call, device) for _ in range(4)) for call in (lambda: target.copy_(source), lambda: a @ a)
        )
    return {"copy_bytes_per_s": 2 * size / copy, "matmul_flops_per_s": 2 * side**3 / product}
