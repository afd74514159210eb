"""Benchmarks over depth and family: forward pass, training step, build, first step, and a report of 1,000 records.

Run by `python -m tests.regressions.gate`, which gates on the ratio to the calibration workload between the rounds.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import calibration
import made_up
import pytest
import torch
from torch import nn

from bench.data import datasets as data
from bench.data.images import Images
from bench.plan.trial import Trial
from bench.train import device as seam
from bench.train.execution import numerics, usual
from bench.train.loop import mode
from bench.train.step import Step
from models.network import build
from models.spec import ARCHITECTURES, ModelSpec

DEVICE = os.environ.get("DEPTH_BENCH", "cpu")
DEPTHS = (18, 130, 1002)
FAMILIES = ("plain", "preact")
ROUNDS = {18: 20, 130: 8, 1002: 4}

by_depth = pytest.mark.parametrize("depth", DEPTHS)
by_family = pytest.mark.parametrize("family", FAMILIES)
Benchmark = Any


def made(family: str, depth: int) -> tuple[Trial, nn.Module, Images]:
    trial = Trial("bench", ARCHITECTURES[family], depth, 0, epochs=100, lr=1e-4, schedule="constant")
    images = Images(data.load(trial.dataset).to(DEVICE), trial)
    return trial, network_of(trial, images), images


def network_of(trial: Trial, images: Images) -> nn.Module:
    spec = ModelSpec(trial.architecture, trial.layout, trial.depth, trial.width, images.shape, images.data.classes)
    return build(spec, trial.seed, DEVICE).to(memory_format=torch.channels_last)


def timed(benchmark: Benchmark, call: Callable[[], object], rounds: int, warmup_rounds: int = 1) -> None:
    """Rounds of a call with the calibration workload before each and after the last.

    Between them, since the machine's pace changes within seconds: one calibration a run was off by up to twofold.
    """
    paces: list[float] = []

    def calibrate() -> None:
        paces.append(calibration.seconds(DEVICE))

    def waited() -> None:
        call()
        seam.synchronize(DEVICE)

    benchmark.pedantic(waited, setup=calibrate, rounds=rounds, warmup_rounds=warmup_rounds)
    calibrate()
    benchmark.extra_info["calibration_s"] = paces


@by_family
@by_depth
def test_forward(benchmark: Benchmark, depth: int, family: str) -> None:
    trial, network, images = made(family, depth)
    x = images.prepare(images.data.train_images[: trial.batch_size])
    with mode(network, training=False), torch.inference_mode():
        timed(benchmark, lambda: network(x), ROUNDS[depth])


@by_family
@by_depth
def test_step(benchmark: Benchmark, depth: int, family: str) -> None:
    trial, network, images = made(family, depth)
    execution = usual(trial, DEVICE)
    with numerics(trial.precision, execution.exact):
        step = Step(network, images, trial, DEVICE, execution)
        timed(benchmark, step, ROUNDS[depth])
        step.close()


@by_family
@by_depth
def test_build(benchmark: Benchmark, depth: int, family: str) -> None:
    trial, _, images = made(family, depth)
    timed(benchmark, lambda: network_of(trial, images), ROUNDS[depth])


@by_family
@by_depth
def test_first_step(benchmark: Benchmark, depth: int, family: str) -> None:
    trial, _, images = made(family, depth)
    execution = usual(trial, DEVICE)

    def first() -> None:
        step = Step(network_of(trial, images), images, trial, DEVICE, execution)
        step()
        step.close()

    with numerics(trial.precision, execution.exact):
        timed(benchmark, first, ROUNDS[depth])


STUDY = """
title = "A thousand records"
architecture = ["plain", "resnet", "preact"]
depth = [18, 34, 66, 130, 258, 514, 1002]
seed = {seeds}
epochs = 5
lr = 0.05
warmup_epochs = 1.0
"""


def test_report_of_1000_records(benchmark: Benchmark, tmp_path: Path) -> None:
    """47 seeds of three arms at seven depths, and their costs: 1,008 records, read, judged and drawn."""
    from reports import __main__ as reports
    from reports.page import render

    seeds = list(range(47))
    records = made_up.study_records(seeds=seeds, study="thousand")
    made_up.write(tmp_path / "records" / "thousand", records)
    study = tmp_path / "thousand.toml"
    study.write_text(STUDY.format(seeds=seeds))
    assert len(records) == 1008

    def page() -> None:
        assert render.page(reports.gather(str(study), tmp_path / "records"))

    timed(benchmark, page, rounds=2, warmup_rounds=0)
