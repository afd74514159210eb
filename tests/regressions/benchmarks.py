"""What is benchmarked: forward pass, step, build and first step by depth and family; and the verdicts of 84 records.

Each benchmark is a context: it makes what is measured and gives the call that is one round of it.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import made_up
import torch

from bench.data import datasets as data
from bench.data.images import Images
from bench.plan.trial import Trial
from bench.train.execution import numerics, usual
from bench.train.loop import mode
from bench.train.network import network_of
from bench.train.step import Step
from models.spec import ARCHITECTURES

DEPTHS = (18, 130, 1002)
FAMILIES = ("plain", "preact")
Call = Callable[[], object]


def _images(family: str, depth: int, device: str) -> tuple[Trial, Images]:
    trial = Trial("bench", ARCHITECTURES[family], depth, 0, epochs=100, lr=1e-4, schedule="constant")
    return trial, Images(data.load(trial.dataset).to(device), trial)


@contextmanager
def forward(family: str, depth: int, device: str) -> Iterator[Call]:
    trial, images = _images(family, depth, device)
    network = network_of(trial, images)
    x = images.prepare(images.data.train_images[: trial.batch_size])
    with mode(network, training=False), torch.inference_mode():
        yield lambda: network(x)


@contextmanager
def step(family: str, depth: int, device: str) -> Iterator[Call]:
    trial, images = _images(family, depth, device)
    execution = usual(trial, device)
    with numerics(trial.precision, execution.exact):
        made = Step(network_of(trial, images), images, trial, device, execution)
        yield made
        made.close()


@contextmanager
def construction(family: str, depth: int, device: str) -> Iterator[Call]:
    trial, images = _images(family, depth, device)
    yield lambda: network_of(trial, images)


@contextmanager
def first_step(family: str, depth: int, device: str) -> Iterator[Call]:
    trial, images = _images(family, depth, device)
    execution = usual(trial, device)

    def first() -> None:
        made = Step(network_of(trial, images), images, trial, device, execution)
        made()
        made.close()

    with numerics(trial.precision, execution.exact):
        yield first


STUDY = """
title = "Made-up records"
architecture = ["plain", "resnet", "preact"]
depth = [18, 34, 66, 130, 258, 514, 1002]
seed = [0, 1, 2]
epochs = 5
lr = 0.05
warmup_epochs = 1.0
"""


@contextmanager
def verdicts(device: str) -> Iterator[Call]:
    """Three seeds of three arms at seven depths, and their costs: read and judged, not drawn."""
    from reports import __main__ as reports

    records = made_up.study_records(seeds=[0, 1, 2], study="made")
    assert len(records) == 84
    with tempfile.TemporaryDirectory() as folder:
        made_up.write(Path(folder) / "records" / "made", records)
        study = Path(folder) / "made.toml"
        study.write_text(STUDY)
        yield lambda: reports.gather(str(study), Path(folder) / "records")


BENCHMARKS: Mapping[str, Callable[[str], AbstractContextManager[Call]]] = {
    **{
        f"{name} {depth} {family}": partial(benchmark, family, depth)
        for name, benchmark in (
            ("forward", forward),
            ("step", step),
            ("build", construction),
            ("first step", first_step),
        )
        for depth in DEPTHS
        for family in FAMILIES
    },
    "verdicts of 84 records": verdicts,
}
