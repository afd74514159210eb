"""The network of a trial, ready to train."""

from torch import nn

from bench.data.images import Images
from bench.plan.trial import Trial, spec_of
from models.network import build


def network_of(trial: Trial, images: Images) -> nn.Module:
    """The trial's network at its initial weights: on the device of its images, and in memory as these lie.

    Args:
        trial: Says architecture, layout, depth, width and seed.
        images: Say the shape of an input, and the number of classes.

    Raises:
        Exception: Whatever a user's own architecture raises.
    """
    spec = spec_of(trial, images.shape, images.data.classes)
    return build(spec, trial.seed, images.data.train_images.device).to(memory_format=images.layout)
