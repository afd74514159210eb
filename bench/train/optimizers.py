"""How gradients change weights: a row per optimizer, each torch's own fused kernel with its state as plain tensors.

Their functional forms: the classes of `torch.optim` import torch's compiler, four seconds per worker, and walk their
states in Python, 2 % of a CPU step at 1002 layers.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from bench.plan.trial import Trial

# Loshchilov and Hutter 2019 (Decoupled weight decay regularization), algorithm 2, and torch's defaults.
BETA2, EPSILON = 0.999, 1e-8


class Optimizer(Protocol):
    """What a step needs of it.

    Attributes:
        state: Every tensor that an update changes beside the weights, on the weights' device.
    """

    state: list[Tensor]

    def update(self, used: Sequence[int], parameters: list[Tensor], gradients: list[Tensor], lr: Tensor) -> None:
        """Changes weights in place.

        Args:
            used: Which of the network's parameters these are: one that took no part in a step has no gradient.
            parameters, gradients: Of these, in the same order.
            lr: Scalar on the device, so that a captured step may read another rate.
        """


class SGD:
    """SGD with momentum and L2 weight decay on all parameters (He et al. 2015, section 3.4)."""

    def __init__(self, parameters: Sequence[Tensor], trial: Trial) -> None:
        self.trial = trial
        # A first step that makes the buffers would be another one than those captured; 0 * m + g is g.
        self.state = [torch.zeros_like(p) for p in parameters] if trial.momentum else []

    def update(self, used: Sequence[int], parameters: list[Tensor], gradients: list[Tensor], lr: Tensor) -> None:
        """See `Optimizer`."""
        sgd(
            parameters, gradients, [self.state[i] if self.state else None for i in used], fused=True, lr=lr,
            momentum=self.trial.momentum, weight_decay=self.trial.weight_decay, dampening=0.0, nesterov=False,
            maximize=False,
        )  # fmt: skip


class AdamW:
    """AdamW: the trial's momentum is its beta1, and weight decay is decoupled from the gradient."""

    def __init__(self, parameters: Sequence[Tensor], trial: Trial) -> None:
        self.trial = trial
        self.means, self.squares = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
        self.steps = [torch.zeros((), dtype=torch.float32, device=p.device) for p in parameters]
        self.state = [*self.means, *self.squares, *self.steps]

    def update(self, used: Sequence[int], parameters: list[Tensor], gradients: list[Tensor], lr: Tensor) -> None:
        """See `Optimizer`."""
        means, squares, steps = ([each[i] for i in used] for each in (self.means, self.squares, self.steps))
        adamw(
            parameters, gradients, means, squares, [], steps, fused=True, amsgrad=False, beta1=self.trial.momentum,
            beta2=BETA2, lr=lr, weight_decay=self.trial.weight_decay, eps=EPSILON, maximize=False,
        )  # fmt: skip


# The names stand in `bench.plan.trial.OPTIMIZERS` too, which is read without torch.
OPTIMIZERS: dict[str, Callable[[Sequence[Tensor], Trial], Optimizer]] = {"sgd": SGD, "adamw": AdamW}
