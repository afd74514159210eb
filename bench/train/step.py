"""One training step: batch, forward, backward, update, and the sums that an epoch reports.

All state of the step is tensors on the device (order of the images, position, learning rates, sums), so
that a step takes no arguments and an epoch needs no synchronisation. On CUDA the whole step is one graph; how it is
captured stands in `graph`.
"""

import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import record_function

from bench.data.images import Images
from bench.plan.errors import first_line
from bench.plan.trial import Trial
from bench.train.casts import CastWeights
from bench.train.device import free, memory_failures, out_of_memory
from bench.train.execution import Execution, usual
from bench.train.graph import (
    Body,
    Capture,
    CudaCapture,
    check_compiled,
    checkpoint_blocks,
    compile_blocks,
    fuse_blocks,
    restored,
    uncheckpoint,
    uncompile,
)
from bench.train.optimizers import OPTIMIZERS
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


def _as_it_is(body: Body) -> Body:
    return body


class Step:
    """The training of one network, a step at a time.

    Args:
        network: On the device.
        images: Training data on the same device.
        trial: The recipe.
        device: A key of `KINDS` in bench/plan/machine.py.
        execution: How; by default what `execution.usual` says.
        capture: Turns the body of a step into its replay; by default a CUDA graph. For tests.

    Attributes:
        rates: Learning rate of each step.
        done: Steps taken.
        loss: Of the last step, on the device.
        execution: How steps are really executed, once one was taken.
        note: Why that is not what was asked; else empty.
        preparing_s: Seconds spent on compilation, warm-up and capture so far.
    """

    def __init__(
        self, network: nn.Module, images: Images, trial: Trial, device: str,
        execution: Execution | None = None, capture: Capture | None = None,
    ) -> None:  # fmt: skip
        self.network, self.images, self.trial, self.device = network, images, trial, device
        self.execution = execution or usual(trial, device)
        self.note, self.preparing_s = "", 0.0
        self.n = len(images.data.train_labels)
        self.per_epoch = steps_per_epoch(trial, self.n)
        self.rates = learning_rates(trial, self.per_epoch)
        self.done, self.seen = 0, 0
        self.order_generator = torch.Generator().manual_seed(stream(trial.seed, "order"))
        self.augment_generator = torch.Generator(device=device).manual_seed(stream(trial.seed, "augment"))
        # What a network itself draws in training (dropout) comes from torch's default generators.
        torch.manual_seed(stream(trial.seed, "network"))

        self.rate_table = torch.tensor(self.rates, dtype=torch.float32, device=device)
        self.offsets = torch.arange(trial.batch_size, device=device)
        self.order = torch.zeros(self.n, dtype=torch.int64, device=device)
        # Learning rate, steps taken in all and in this epoch, first step whose loss was not finite (0: none yet),
        # and the sums over images since `read`.
        self.lr, self.loss = torch.zeros(2, device=device).unbind()
        self.count, self.at, self.bad, self.wrong_sum = torch.zeros(4, dtype=torch.int64, device=device).unbind()
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.lr.fill_(self.rates[0])
        self.optimizer = OPTIMIZERS[trial.optimizer](self.parameters, trial)
        if trial.checkpoint_blocks:
            row = trial.architecture
            checkpoint_blocks(network, row.draws or bool(row.factory))
        self._cast = CastWeights(network) if self.execution.cast_once else None
        self._capture: Capture | None = capture
        self._replays: dict[int, Body] = {}
        left = not self.execution.fused or fuse_blocks(network) > 0
        self._compiled_before = compile_blocks(network) if self.execution.compiled and left else None

    def __call__(self) -> None:
        """Takes one step; nothing in it waits for the device."""
        at = self.done % self.per_epoch
        if at == 0:
            # Drawn on the CPU: the same order on every device.
            self.order.copy_(torch.randperm(self.n, generator=self.order_generator))
            self.at.zero_()
        size = min(self.trial.batch_size, self.n - at * self.trial.batch_size)
        special = self.execution.graph or self.execution.compiled or self.execution.fused
        if special and size not in self._replays:
            began = time.perf_counter()
            self._prepare(size)
            self.preparing_s += time.perf_counter() - began
        self._replays.get(size, partial(self.body, size))()
        self.seen += size
        self.done += 1

    def body(self, size: int) -> None:
        """All that a step does, on tensors that stay where they are: this is what a graph records."""
        x, y = self.batch(size)
        logits, loss = self.gradients(x, y)
        self.update()
        self._tally(logits, loss, y)

    def gradients(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Forward and backward of a batch, in the execution's parts; logits and mean loss."""
        with self.weights():
            return self._gradients(x, y)

    def _gradients(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        # Two images at least: BatchNorm refuses one.
        parts = max(1, min(self.execution.micro_batches, len(y) // 2))
        if parts == 1:
            logits, loss = self.forward(x, y)
            loss.backward()  # type: ignore[no-untyped-call]
            return logits, loss
        outputs, total = [], torch.zeros_like(self.loss)
        for images, labels in zip(x.tensor_split(parts), y.tensor_split(parts), strict=True):
            logits, loss = self.forward(images, labels)
            loss = loss * (len(labels) / len(y))
            loss.backward()  # type: ignore[no-untyped-call]
            outputs.append(logits.detach())
            total += loss.detach()
        return torch.cat(outputs), total

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """The next `size` images and labels; sets the learning rate and drops the last gradients."""
        self.lr.copy_(self.rate_table.index_select(0, self.count.view(1)).view(()))
        self._drop_gradients()
        indices = self.order.index_select(0, self.offsets[:size] + self.at * self.trial.batch_size)
        return self.images.train(indices, self.augment_generator)

    def weights(self) -> AbstractContextManager[None]:
        """Around forward passes and their backward passes: weights are cast at the entry if the execution says so."""
        return self._cast.lent() if self._cast else nullcontext()

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Logits in float32 and the mean loss of a batch."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.trial.precision == "bf16", cache_enabled=False):
            logits = self.network(x)
        logits = logits.float()
        return logits, F.cross_entropy(logits, y, label_smoothing=self.trial.label_smoothing)

    @torch.no_grad()
    def update(self) -> None:
        """Clips where the trial says so, and changes the weights."""
        if self.trial.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.trial.clip_norm, foreach=True)
        used = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        parameters: list[Tensor] = [self.parameters[i] for i in used]
        gradients = [cast(Tensor, p.grad) for p in parameters]
        mark = f"Optimizer.step#{type(self.optimizer).__name__}.step"  # torch's own, which readers of traces know
        with record_function(mark):
            self.optimizer.update(used, parameters, gradients, self.lr)

    def _drop_gradients(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def _tally(self, logits: Tensor, loss: Tensor, y: Tensor) -> None:
        self.loss.copy_(loss)
        self.loss_sum += loss.double() * len(y)
        self.wrong_sum += (logits.argmax(1) != y).sum()
        self.count += 1
        self.at += 1
        first = (self.bad == 0) & ~torch.isfinite(loss)
        self.bad.copy_(torch.where(first, self.count, self.bad))

    def state(self) -> list[Tensor]:
        """Every tensor that a step changes."""
        counters = [self.lr, self.loss, self.count, self.at, self.bad, self.wrong_sum, self.loss_sum]
        return [*self.network.parameters(), *self.network.buffers(), *self.optimizer.state, *counters]

    def _prepare(self, size: int) -> None:
        """Warms up and captures a step of `size` images, and leaves all as it was.

        What cannot be compiled or fused is captured as it is, what cannot be captured is run eagerly, and what has no
        deterministic form without one; `note` says so. Running out of memory is no such case.
        """
        body = partial(self.body, size)
        failures = memory_failures(self.device)
        try:
            with restored(self.state(), [self.augment_generator]):
                self._replays[size] = self._captured(body, size)
        except RuntimeError as error:
            if out_of_memory(error, self.device, failures):
                raise
            reason = first_line(error)[:200]
            self._replays.clear()
            if self.execution.exact and "deterministic" in reason:
                self.note, self.execution = f"not exact: {reason}", replace(self.execution, exact=False)
                torch.use_deterministic_algorithms(False)  # until `numerics` ends
                self._prepare(size)
                return
            self.note = f"{self.note} not {self.execution.name}: {reason}".strip()
            # One problem with a compiler must not cost the graph as well.
            again = self.execution.graph and (self.execution.compiled or self.execution.fused)
            self.execution = replace(self.execution, graph=again, compiled=False, fused=False)
            uncompile(self.network)
            if again:
                self._prepare(size)

    def _captured(self, body: Body, size: int) -> Body:
        if self._capture is None:
            self._capture = CudaCapture([self.augment_generator]) if self.execution.graph else _as_it_is

        def warm() -> None:
            # From an epoch's start: several steps from its end would read past the order's end.
            self.at.zero_()
            self.count.zero_()
            self.body(size)

        getattr(self._capture, "warm_up", lambda it: it())(warm)
        if self._compiled_before is not None and self.execution.compiled:
            check_compiled(self._compiled_before)
        self.at.zero_()
        self.count.zero_()
        return self._capture(body)

    def diverged_step(self) -> int | None:
        """The first step, counted from 1, whose loss was not finite; waits for the device."""
        return int(self.bad) or None

    def read(self) -> tuple[float, float]:
        """Mean loss and share wrong over the images since the last call; waits for the device."""
        loss, wrong = float(self.loss_sum) / max(1, self.seen), float(self.wrong_sum) / max(1, self.seen)
        self.loss_sum.zero_()
        self.wrong_sum.zero_()
        self.seen = 0
        return loss, wrong

    def release(self) -> None:
        """Gives graphs, gradients and their memory back. The next step captures anew."""
        self._replays.clear()
        self._capture = None
        self._drop_gradients()
        free(self.device)

    def close(self) -> None:
        """Gives everything back; the network is a plain module again."""
        self.release()
        uncompile(self.network)
        uncheckpoint(self.network)
