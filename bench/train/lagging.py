"""Whether what a user's own network is judged by follows from its weights, or from an average that lags behind them.

Before a network is judged, its normalisation statistics are made anew (`loop.reestimate`). Averages of other kinds stay
as training left them, and after a short training they belong to weights of long ago.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.train.loop import reestimate_on

OUTPUT = "the output in evaluation"


def lagging(make: Callable[[], nn.Module], x: Tensor) -> str:
    """What depends on the images that training saw, with weights as they were and after statistics were re-estimated.

    Args:
        make: Builds the network, each time with the same weights.
        x: Images to re-estimate on.

    Returns:
        The name of the first such buffer, or words for the output in evaluation; empty where that output, by which
        the network is judged, depends on none.
    """
    first, again, other = (_settled(make(), seen, x) for seen in (x, x, torch.rand_like(x)))
    if _same(first[OUTPUT], other[OUTPUT]):
        return ""
    # What is never the same twice tells nothing.
    return next((n for n in first if _same(first[n], again.get(n)) and not _same(first[n], other.get(n))), "")


@torch.no_grad()
def _settled(network: nn.Module, seen: Tensor, x: Tensor) -> dict[str, Tensor]:
    """Buffers and output of a network that has seen these images in training, and was then prepared to be judged."""
    torch.manual_seed(0)
    network.train()(seen)
    reestimate_on(network, [x])
    output = network.eval()(x)
    return {**dict(network.named_buffers()), OUTPUT: output}


def _same(a: Tensor, b: Tensor | None) -> bool:
    if b is None or a.shape != b.shape:
        return False
    return torch.allclose(a, b, rtol=1e-5, atol=1e-7, equal_nan=True) if a.is_floating_point() else torch.equal(a, b)
