"""One training step: batch, forward, backward, update, and the sums that an epoch reports.

All state of the step is tensors on the device (order of the images, position, learning rates, sums), so
that a step takes no arguments and an epoch needs no synchronisation.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.images import Images
from bench.study import Trial
from models.spec import stream


def steps_per_epoch(trial: Trial, n_train: int) -> int:
    """Steps of one epoch; the last, partial batch counts unless the trial drops it."""
    full, rest = divmod(n_train, trial.batch_size)
    return full if trial.drop_last or rest == 0 else full + 1


def learning_rates(trial: Trial, per_epoch: int) -> list[float]:
    """The learning rate of every step, the same for every depth and architecture of a recipe.

    Linear warm-up over `warmup_epochs` (the first step already takes a share), then the schedule over what is left.
    """
    total = trial.epochs * per_epoch
    warmup = round(trial.warmup_epochs * per_epoch)
    rates = []
    for k in range(total):
        if k < warmup:
            rates.append(trial.lr * (k + 1) / warmup)
            continue
        done = (k - warmup) / max(1, total - warmup)
        if trial.schedule == "cosine":
            rates.append(trial.lr * 0.5 * (1 + math.cos(math.pi * done)))
        elif trial.schedule == "step":
            # He et al. 2015, section 4.2: divided by 10 at 32k and 48k of 64k iterations.
            rates.append(trial.lr * (1.0 if k < total // 2 else 0.1 if k < total * 3 // 4 else 0.01))
        else:
            rates.append(trial.lr)
    return rates


class Step:
    """The training of one network, a step at a time.

    Args:
        network: On the device.
        images: Training data on the same device.
        trial: The recipe.
        device: "cpu" or "cuda".

    Attributes:
        rates: Learning rate of each step.
        done: Steps taken.
        loss_sum, wrong_sum, seen: Sums since `read`, over images.
    """

    def __init__(self, network: nn.Module, images: Images, trial: Trial, device: str) -> None:
        self.network, self.images, self.trial, self.device = network, images, trial, device
        self.n = len(images.data.train_labels)
        self.per_epoch = steps_per_epoch(trial, self.n)
        self.rates = learning_rates(trial, self.per_epoch)
        self.optimizer = torch.optim.SGD(
            network.parameters(), lr=self.rates[0], momentum=trial.momentum, weight_decay=trial.weight_decay, fused=True
        )
        self.order_generator = torch.Generator().manual_seed(stream(trial.seed, "order"))
        self.augment_generator = torch.Generator(device=device).manual_seed(stream(trial.seed, "augment"))
        self.done = 0
        self.loss = torch.zeros((), device=device)
        self.loss_sum = torch.zeros((), device=device, dtype=torch.float64)
        self.wrong_sum = torch.zeros((), device=device, dtype=torch.int64)
        self.seen = 0
        self.order = torch.empty(0, dtype=torch.int64)

    def __call__(self) -> None:
        """Takes one step."""
        at = self.done % self.per_epoch
        if at == 0:
            # Drawn on the CPU: the same order on every device.
            self.order = torch.randperm(self.n, generator=self.order_generator).to(self.device)
        indices = self.order[at * self.trial.batch_size : (at + 1) * self.trial.batch_size]
        x, y = self.images.train(indices, self.augment_generator)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rates[self.done]
        self.optimizer.zero_grad(set_to_none=True)
        logits, loss = self.forward(x, y)
        loss.backward()  # type: ignore[no-untyped-call]
        self.loss = loss.detach()
        if self.trial.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.trial.clip_norm, foreach=True)
        self.optimizer.step()
        with torch.no_grad():
            self.loss_sum += self.loss.double() * len(y)
            self.wrong_sum += (logits.detach().argmax(1) != y).sum()
        self.seen += len(y)
        self.done += 1

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Logits in float32 and the mean loss of a batch."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.trial.precision == "bf16", cache_enabled=False):
            logits = self.network(x)
        logits = logits.float()
        return logits, F.cross_entropy(logits, y, label_smoothing=self.trial.label_smoothing)

    def read(self) -> tuple[float, float]:
        """Mean loss and share wrong over the images since the last call; synchronises."""
        loss, wrong = float(self.loss_sum) / max(1, self.seen), float(self.wrong_sum) / max(1, self.seen)
        self.loss_sum.zero_()
        self.wrong_sum.zero_()
        self.seen = 0
        return loss, wrong
