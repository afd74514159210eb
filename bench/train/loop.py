"""One loop: network, data, recipe to one row an epoch, and the evaluation that claims judge."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _NormBase

from bench.data.images import Images
from bench.plan.machine import KINDS
from bench.plan.trial import Trial
from bench.store.parts import Epoch
from bench.train.checkpoint import Keeper
from bench.train.execution import numerics, usual
from bench.train.graph import uncompiled
from bench.train.step import Step
from bench.train.turns import give_way

# Images a forward pass of evaluation: fewer launches than a training batch, and no gradients to keep.
EVAL_BATCH = 512

Progress = Callable[[Mapping[str, object]], None]
OnEpoch = Callable[[nn.Module, int], None]


@dataclass
class Run:
    """What training gave: rows by epoch, the step at which it diverged, seconds in the loop, how it was executed.

    And whether its time can be trusted: the longest time between two looks at the loss, and the processor time of
    this process by seconds in the loop (of one thread that nothing disturbs: 1).
    """

    epochs: list[Epoch] = field(default_factory=list)
    steps: int = 0
    steps_planned: int = 0
    diverged_step: int | None = None
    seconds: float = 0.0
    longest_gap_s: float = 0.0
    cpu_share: float = 0.0
    execution: str = "eager"
    execution_note: str = ""


def train(
    network: nn.Module, images: Images, trial: Trial, device: str, progress: Progress,
    on_epoch: OnEpoch | None = None, keeper: Keeper | None = None, micro_batches: int = 1,
) -> Run:  # fmt: skip
    """Trains a network in place.

    Args:
        network: On the device, in training mode.
        images: The data, on the device.
        trial: The recipe.
        device: A key of `KINDS`.
        progress: Told {"epoch", "epochs", "step", "steps", "loss"} after every look at the loss; may raise to stop.
        on_epoch: Called after each epoch with the network and the epoch; must leave the network as it was.
        keeper: Keeps epoch checkpoints of a long trial, and gives back the last one.
        micro_batches: Parts that each batch is run in.

    Returns:
        The run. A loss that is not finite ends it at once: the step is kept, no epoch is made up. Weights that are
        not finite after the last step, whose loss nobody sees any more, are a divergence at that step.
    """
    network.train()
    execution = replace(usual(trial, device), micro_batches=micro_batches)
    with numerics(trial.precision, execution.exact):
        step = Step(network, images, trial, device, execution)
        try:
            run = _loop(step, progress, on_epoch, keeper)
        finally:
            step.close()
    run.execution, run.execution_note = step.execution.name, step.note
    return run


def all_finite(parameters: Sequence[Tensor]) -> bool:
    """Whether no element is infinite or not a number: one look at the device."""
    return bool(torch.stack([parameter.isfinite().all() for parameter in parameters]).all())


def _loop(step: Step, progress: Progress, on_epoch: OnEpoch | None, keeper: Keeper | None) -> Run:
    network, images, trial = step.network, step.images, step.trial
    run = Run(steps_planned=len(step.rates))
    every = KINDS[step.device].look_every
    start, processor = time.perf_counter(), time.process_time()
    begun = start
    if keeper:
        run.epochs, spent = keeper.resume(step)
        start -= spent
    for epoch in range(len(run.epochs) + 1, trial.epochs + 1):
        began, first = time.perf_counter(), step.done
        looked, prepared = began, step.preparing_s
        while step.done < epoch * step.per_epoch:
            step()
            if step.done % every == 0 or step.done == epoch * step.per_epoch:
                away = give_way()
                loss = float(step.loss)
                looked, before = time.perf_counter(), looked
                # Compilation and capture are no stall, nor are the turns of other trials.
                run.longest_gap_s = max(run.longest_gap_s, looked - before - away - (step.preparing_s - prepared))
                prepared = step.preparing_s
                progress({"epoch": epoch, "epochs": trial.epochs, "step": step.done, "steps": run.steps_planned,
                          "loss": loss})  # fmt: skip
                run.diverged_step = step.diverged_step()
                if run.diverged_step:
                    break
        run.steps = run.diverged_step or step.done
        if run.diverged_step:
            break
        loss, error = step.read()
        row: Epoch = {
            "epoch": epoch, "steps": step.done, "train_loss": loss, "train_error": error,
            "lr_first": step.rates[first], "lr_last": step.rates[step.done - 1],
            "seconds": time.perf_counter() - began,
        }  # fmt: skip
        with uncompiled(network):
            if trial.test_each_epoch:
                data = images.data
                row["test_error"] = evaluate(network, images, data.test_images, data.test_labels)[1]
            run.epochs.append(row)
            if on_epoch:
                on_epoch(network, epoch)
        if trial.stop_at_train_error and error <= trial.stop_at_train_error:
            break
        if keeper and epoch < trial.epochs:
            keeper.after_epoch(step, run.epochs, trial.epochs, time.perf_counter() - start)
    if run.diverged_step is None and not all_finite(step.parameters):
        run.diverged_step = run.steps
    ended = time.perf_counter()
    run.seconds, run.cpu_share = ended - start, (time.process_time() - processor) / (ended - begun)
    return run


def chunks(n: int) -> list[slice]:
    """Nearly equal slices of at most `EVAL_BATCH`, so that each weighs the same in re-estimated statistics."""
    count = -(-n // EVAL_BATCH)
    edges = [n * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


@contextmanager
def mode(network: nn.Module, training: bool) -> Iterator[None]:
    """Puts a network into a mode, and every module back as it was."""
    before = {module: module.training for module in network.modules()}
    network.train(training)
    try:
        yield
    finally:
        for module, was in before.items():
            module.training = was


@torch.no_grad()
@numerics("fp32")
def reestimate(network: nn.Module, images: Images) -> None:
    """Re-estimates normalisation statistics by one pass over the training data, weights fixed, no augmentation.

    Running averages lag behind the weights after a short training, and in a deep plain net the lag makes
    losses explode: what is judged must not depend on it. Dropout and the like stay off.
    """
    reestimate_on(network, (images.prepare(images.data.train_images[p]) for p in chunks(len(images.data.train_labels))))


def reestimate_on(network: nn.Module, parts: Iterable[Tensor]) -> None:
    """Re-estimates statistics on these inputs, without gradients; see `reestimate`.

    Norms that training keeps in evaluation mode stay as they are, and so do those that the pass does not call.
    """
    with mode(network, training=True):
        norms = [m for m in network.modules() if isinstance(m, _NormBase) and m.training and m.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    hooks = [norm.register_forward_pre_hook(_MeanOverCalls()) for norm in norms]
    try:
        with mode(network, training=False):
            for norm in norms:
                norm.train()
            for x in parts:
                network(x)
    finally:
        for norm, momentum, hook in zip(norms, momenta, hooks, strict=True):
            norm.momentum = momentum
            hook.remove()


class _MeanOverCalls:
    """Before each call of a norm, sets its momentum so that its statistics become the mean over the calls so far."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, norm: nn.Module, _: object) -> None:
        assert isinstance(norm, _NormBase)
        self.calls += 1
        norm.momentum = 1.0 / self.calls
        for statistic in (norm.running_mean, norm.running_var):
            if self.calls == 1 and statistic is not None:
                statistic.nan_to_num_()  # or what is not finite would stay, times zero


@torch.no_grad()
@numerics("fp32")
def evaluate(network: nn.Module, images: Images, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Mean loss and share wrong in eval mode, in float32.

    Args:
        network: On the device.
        images: How stored images become inputs.
        x: N x C x H x W, uint8.
        y: N labels.
    """
    loss, wrong = torch.zeros((), dtype=torch.float64, device=x.device), torch.zeros((), device=x.device)
    with mode(network, training=False):
        for part in chunks(len(y)):
            logits = network(images.prepare(x[part])).float()
            loss += F.cross_entropy(logits, y[part], reduction="sum").double()
            wrong += (logits.argmax(1) != y[part]).sum()
    return float(loss) / len(y), float(wrong) / len(y)
