"""One training step of two nets of equal weights, in float64, where the order of sums leaves next to no trace."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TOLERANCE = {"rtol": 1e-8, "atol": 1e-10}


def stepped(network: nn.Module, x: Tensor, labels: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Logits and gradients in training mode, and what a step of SGD leaves: weights and BatchNorm's statistics."""
    network.double().train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    logits = network(x.double())
    F.cross_entropy(logits, labels).backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    optimizer.step()
    kept = [value for name, value in network.state_dict().items() if "num_batches" not in name]
    return logits.detach(), gradients, kept


def assert_same_step(mine: nn.Module, theirs: nn.Module, x: Tensor) -> None:
    """Both nets, tensor by tensor in order."""
    labels = torch.arange(len(x)) % 10
    (logits, gradients, kept), (their_logits, their_gradients, their_kept) = (
        stepped(network, x, labels) for network in (mine, theirs)
    )
    assert len(gradients) == len(list(mine.parameters()))
    torch.testing.assert_close(logits, their_logits, **TOLERANCE)
    torch.testing.assert_close(gradients, their_gradients, **TOLERANCE)
    torch.testing.assert_close(kept, their_kept, **TOLERANCE)
