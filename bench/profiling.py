"""The price of a step: time, memory and arithmetic of one network, apart from training."""

import time
from dataclasses import replace
from typing import Any

import torch

from bench import device as seam
from bench.data import Data
from bench.images import Images
from bench.step import Step
from bench.study import Trial
from models.network import build
from models.spec import ModelSpec

WARMUP = 2
MOST_STEPS, LEAST_STEPS, MOST_SECONDS = 20, 5, 3.0


def measure(trial: Trial, data: Data, device: str) -> dict[str, Any]:
    """Measures a training step of a freshly built network.

    Raises:
        Exception: What building or stepping raises; the runner makes a status of it.
    """
    images = Images(data, trial)
    spec = ModelSpec(trial.architecture, trial.layout, trial.depth, trial.width, images.shape, data.classes)
    floor = seam.reset_peak_memory(device)
    began = time.perf_counter()
    network = build(spec, trial.seed, device).to(memory_format=torch.channels_last)
    # A cost trial has no epochs of its own; its learning rate is constant and has no effect on time.
    step = Step(network, images, replace(trial, epochs=WARMUP + MOST_STEPS, schedule="constant"), device)
    warmup = [_timed(step, device) for _ in range(WARMUP)]
    first = time.perf_counter() - began - warmup[1]
    times: list[float] = []
    while len(times) < LEAST_STEPS or (len(times) < MOST_STEPS and sum(times) < MOST_SECONDS):
        times.append(_timed(step, device))
    return {
        "batch_size": trial.batch_size, "parameters": sum(p.numel() for p in network.parameters()),
        "step_times_s": times, "warmup_times_s": warmup, "first_step_s": first,
        "peak_memory_bytes": seam.peak_memory(device), "memory_floor_bytes": floor,
    }  # fmt: skip


def _timed(step: Step, device: str) -> float:
    seam.synchronize(device)
    start = time.perf_counter()
    step()
    seam.synchronize(device)
    return time.perf_counter() - start
