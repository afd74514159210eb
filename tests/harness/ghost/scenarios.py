"""What is played on the ghost card (see `stage`): each function runs the suite's own code and returns what happened.

Only plain data goes back. What must have happened stands in `test_ghost`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from bench.data import datasets
from bench.data.images import Images
from bench.plan.trial import Trial, spec_of
from bench.train.execution import Execution, numerics, usual
from bench.train.step import Step
from models.network import build
from models.spec import ARCHITECTURES
from tests.harness.ghost import card

GIB = 2**30


def trial(architecture: str = "resnet", depth: int = 10, **fields: Any) -> Trial:
    """A small one on 240 images of 8x8 pixels: four batches of 60 an epoch."""
    recipe = {"dataset": "synthetic", "width": 16, "batch_size": 60, "lr": 0.1, "epochs": 20, "augment": "crop-flip"}
    return Trial("ghost", ARCHITECTURES[architecture], depth, 0, **{**recipe, **fields})


def step_of(asked: Trial, execution: Execution | None = None, images: type[Images] = Images) -> Step:
    batches = images(datasets.for_trial(asked).to("cuda"), asked)
    network = build(spec_of(asked, batches.shape, batches.data.classes), asked.seed, "cuda")
    return Step(network.to(memory_format=torch.channels_last), batches, asked, "cuda", execution)


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
    return {name: _captured(trial(name, **fields)) for name in names}


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
