"""What probes are made of: the interface, and ways to run a network in parts without touching it.

The probes themselves are in `table`, `lesions`, `paths`, `growth` and `dead`. Nothing here changes a weight, a buffer
or a random stream: a probe that did would change the training that it watches.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bench.data.images import Images
from bench.plan.trial import Trial
from bench.train.loop import mode
from models.blocks import Block
from models.network import Network

# Images that a lesion is judged by: a forward pass of 192 costs half a training step of 64 (measured,
# width 8, 8x8, one thread), and an image is half a point of error.
IMAGES = 192


def _silent(_: Mapping[str, object]) -> None:
    """Tells nobody."""


class Probe:
    """What a probe may do; each does nothing unless the probe says otherwise.

    Attributes:
        found: What it measured, as plain data of the form in bench/store/parts.py; {"skipped": reason} where it could
            not.
        progress: Told how far a long probe is; may raise to stop. The runner sets it.
        micro_batches: Parts that each batch of the training is run in. The runner sets it.
    """

    found: Mapping[str, object]

    def __init__(self, network: nn.Module, images: Images, trial: Trial) -> None:
        self.network, self.images, self.trial = network, images, trial
        self.found = {}
        self.progress: Callable[[Mapping[str, object]], None] = _silent
        self.micro_batches = 1

    def at_start(self) -> None:
        """Before the first step."""

    def after_epoch(self, epoch: int) -> None:
        """After each epoch."""

    def at_end(self) -> None:
        """After training, with BatchNorm statistics re-estimated; not called when training diverged."""


def blocks_of(network: nn.Module) -> list[Block]:
    """The blocks of a network of ours; none when the network or its blocks are a user's own."""
    blocks = list(network.blocks) if isinstance(network, Network) else []
    return [b for b in blocks if isinstance(b, Block)] if all(isinstance(b, Block) for b in blocks) else []


def blockless(trial: Trial) -> str:
    """Why `blocks_of` gives none, in words."""
    return "the blocks are a user's own" if trial.architecture.factory else "the blocks do not add branch and shortcut"


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """BatchNorm normalises by the batch, as in training, and leaves its running statistics alone. No dropout."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    tracked = [m.track_running_stats for m in norms]
    with mode(network, training=False):
        for norm in norms:
            norm.training, norm.track_running_stats = True, False
        try:
            yield
        finally:
            for norm, was in zip(norms, tracked, strict=True):
                norm.track_running_stats = was


def without_branch(block: Block, x: Tensor) -> Tensor:
    """What is left of a block when its branch is cut out (Veit et al. 2016, section 4.1).

    A residual block: its shortcut, and what follows the addition. A plain block has nothing else: x itself.
    """
    if block.shortcut is None:
        return x
    out: Tensor = block.after(block.carried(x))
    return out


def deletable(blocks: Sequence[Block]) -> list[int]:
    """Blocks whose output has the shape of their input: only those can be cut out of a plain net too."""
    found = []
    for i, block in enumerate(blocks):
        layers = [m for m in block.branch if isinstance(m, nn.Conv2d | nn.Linear)]
        # A transformer's sublayer has its layers within it, and keeps the shape.
        alike = not layers or layers[0].weight.shape[1] == layers[-1].weight.shape[0]
        if alike and all(m.stride == (1, 1) for m in layers if isinstance(m, nn.Conv2d)):
            found.append(i)
    return found


def walk(network: Network, x: Tensor, order: Sequence[int], cut: Collection[int] = ()) -> Tensor:
    """Runs x through blocks and head.

    Args:
        network: Whose blocks are all `Block`s.
        x: What the first of these blocks takes: N x C x H x W, or N x units.
        order: Indices of the blocks to run, in this order.
        cut: Those of them that run without their branch.

    Returns:
        Logits, N x classes, float32.
    """
    blocks: list[Any] = list(network.blocks)
    for i in order:
        x = without_branch(blocks[i], x) if i in cut else blocks[i](x)
    return network.read(x).float()


def evenly(items: Sequence[int], most: int) -> list[int]:
    """At most so many of the items, evenly spread, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def error_of(logits: Tensor, labels: Tensor) -> float:
    """Share wrong; a logit that is not a number is wrong."""
    right = (logits.argmax(1) == labels) & torch.isfinite(logits).all(1)
    return 1.0 - float(right.double().mean())


def rounded(value: float, digits: int = 4) -> float:
    """To significant digits: a record of a thousand layers must stay small."""
    return float(f"{value:.{digits}g}")
