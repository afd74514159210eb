"""Small trained networks for tests of what probes find in them."""

from typing import Any

from torch import Tensor, nn

from bench.data import datasets as data
from bench.data.images import Images
from bench.plan.trial import Trial, architecture
from bench.train.loop import reestimate, train
from bench.train.network import network_of
from models.network import Network


def asked(row: str = "resnet", **fields: Any) -> Trial:
    """A tiny trial on the synthetic set: 4 classes, 256 training images."""
    values = {"depth": 18, "width": 4, "dataset": "synthetic", "batch_size": 64, "lr": 0.1, "epochs": 2, "seed": 1}
    return Trial(study="tiny", architecture=architecture(row), **{**values, **fields})


def ready(trial: Trial) -> tuple[Network, Images]:
    """The trial's network at its initial weights, and its images."""
    images = Images(data.for_trial(trial), trial)
    network = network_of(trial, images)
    assert isinstance(network, Network)
    return network, images


def trained(trial: Trial) -> tuple[Network, Images]:
    """After training, with statistics re-estimated, as the probes' `at_end` finds it."""
    network, images = ready(trial)
    assert train(network, images, trial, "cpu", lambda _: None).diverged_step is None
    reestimate(network, images)
    return network, images


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}
