"""The probe that grows: blocks that change nothing are inserted into a trained network, and both are trained on.

The document: if the new layer learns nothing, x still passes, so a deeper residual net contains the shallower one
(nested function classes). Growth tests that on the net that the study trained; the plain net gets the best insertion
that its form allows (Chen et al. 2016, Net2Net, section 2.3: identity kernels).
"""

import copy
import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bench.data.images import Images
from bench.plan.trial import Trial, spec_of
from bench.probes.anatomy import Probe, blockless, blocks_of, rounded
from bench.store import parts
from bench.train.loop import chunks, evaluate, mode, reestimate, train
from models.blocks import Block, weighted, zero_branch
from models.network import Network, build
from models.parts import RMSNorm
from models.spec import ModelSpec, stream
from models.tokens import Attention

NAN = float("nan")


class Trained(NamedTuple):
    """How training on ended; NaN where it diverged."""

    error: float = NAN
    loss: float = NAN
    test_error: float = NAN
    diverged_step: int | None = None
    steps: int = 0


class Growth(Probe):
    """Grows the trained net to each depth of `trial.grow_to` in turn, and trains grown and ungrown on.

    New blocks stand at the end of each stage. A residual one starts with a branch that is zero in its last factor only
    (a branch that is zero throughout never learns); a plain one as an identity. Then the grown net and a copy of
    the net that it came from are both trained by the trial's own recipe once more: the same learning rates, the same
    order of images, the same steps, momentum from zero. The next growth starts from the grown net.

    Found: "steps", one each: "from", "to"; "max_logit_difference" over all test images in eval mode, before training
    on, and "max_logit", the largest logit, to hold it against; "same_predictions" (share of test images);
    "error_before", "error_after_insertion", "grown_error", "ungrown_error" (training set, statistics re-estimated, as
    all errors that claims judge, but for the second, which is the insertion's own); "grown_loss", "ungrown_loss",
    "grown_test_error", "ungrown_test_error"; "grown_diverged_step", "ungrown_diverged_step" (None, or when; the error
    is then NaN); "steps" (of training on), "lr". Or "skipped": reason.
    """

    found: parts.Growth

    def at_end(self) -> None:
        # Building and training draw random numbers; whoever comes after must not notice.
        with torch.random.fork_rng():
            self._grow()

    def _grow(self) -> None:
        steps: list[parts.GrowthStep] = []
        self.found = {"steps": steps}
        network: nn.Module = self.network
        depth = self.trial.depth
        for to in self.trial.grow_to:
            reason = _refusal(network, self.trial, to)
            if reason:
                self.found["skipped"] = f"{depth} to {to}: {reason}"
                return
            assert isinstance(network, Network)
            grown = grow(network, self._spec(to), self.images, self.trial.seed)
            inserted = self._compare(network, grown)
            old = self._train_on("ungrown", copy.deepcopy(network), depth, to)
            new = self._train_on("grown", grown, depth, to)
            steps.append({
                "from": depth, "to": to, **inserted,
                "ungrown_error": old.error, "ungrown_loss": old.loss, "ungrown_test_error": old.test_error,
                "ungrown_diverged_step": old.diverged_step, "steps": new.steps, "lr": self.trial.lr,
                "grown_error": new.error, "grown_loss": new.loss, "grown_test_error": new.test_error,
                "grown_diverged_step": new.diverged_step,
            })  # fmt: skip
            if new.diverged_step is not None:
                self.found["skipped"] = f"not grown beyond {to}: training on diverged"
                return
            network, depth = grown, to

    def _spec(self, depth: int) -> ModelSpec:
        trial, images = dataclasses.replace(self.trial, depth=depth), self.images
        return spec_of(trial, images.shape, images.data.classes)

    def _compare(self, before: Network, after: Network) -> parts.GrowthStep:
        """Outputs on all test images and errors on the training set, before and after the insertion."""
        data = self.images.data
        old, new = (_logits(net, self.images, data.test_images) for net in (before, after))
        train_set = data.train_images, data.train_labels
        return {
            "max_logit_difference": rounded(float((new - old).abs().max())),
            "max_logit": rounded(float(old.abs().max())),
            "same_predictions": float((new.argmax(1) == old.argmax(1)).double().mean()),
            "error_before": evaluate(before, self.images, *train_set)[1],
            "error_after_insertion": evaluate(after, self.images, *train_set)[1],
        }

    def _train_on(self, name: str, network: nn.Module, depth: int, to: int) -> Trained:
        """Trains one of the two by the trial's recipe; a fresh order of images, the same for both."""
        trial = dataclasses.replace(self.trial, seed=stream(self.trial.seed, f"grown to {to}") % 2**31)

        def progress(message: Mapping[str, object]) -> None:
            self.progress({**message, "phase": f"{depth} to {to}, {name}"})

        where = str(self.images.scale.device.type)
        run = train(network, self.images, trial, where, progress, micro_batches=self.micro_batches)
        if run.diverged_step is not None:
            return Trained(diverged_step=run.diverged_step, steps=run.steps)
        data = self.images.data
        reestimate(network, self.images)
        loss, error = evaluate(network, self.images, data.train_images, data.train_labels)
        test_error = evaluate(network, self.images, data.test_images, data.test_labels)[1]
        return Trained(error, loss, test_error, None, run.steps)


def _refusal(network: nn.Module, trial: Trial, to: int) -> str:
    """Why this net cannot be grown so; empty when it can."""
    blocks = blocks_of(network)
    if not blocks:
        return blockless(trial)
    row = trial.architecture
    if row.shortcut in ("C", "half"):
        return "a shortcut that is no identity changes what passes"
    if row.scale in ("1/sqrt(blocks)", "base/blocks", "survival"):
        return "more blocks would change the factors of the old ones"
    if row.residual and row.placement == "relu-before-add" and row.scale == "none" and row.activation == "relu":
        return "a branch that ends in ReLU learns nothing from zero"
    layers = {sum(weighted(m) for m in b.branch) for b in blocks}
    if len(layers) > 1 or (to - trial.depth) % layers.pop():
        return "the blocks of the two depths differ"
    if blocks[0].shortcut is None and len(blocks[0].branch) and _squeezes(blocks[-1]):
        return "a plain bottleneck cannot be an identity: its middle is narrower"
    if blocks[0].shortcut is None and row.activation != "relu":
        return "a plain block with tanh cannot be an identity"
    undone = [m for b in blocks[:2] for m in _undone(b)]
    if any(isinstance(m, nn.LayerNorm | nn.GroupNorm | nn.RMSNorm | RMSNorm | Attention) for m in undone):
        return "a normalisation of each image for itself, or attention, cannot be an identity"
    return ""


def _undone(block: Block) -> list[nn.Module]:
    """The modules that an input passes on its way through a block that must not change it: all, where it is plain."""
    return list(block.after) if block.shortcut is not None else [*block.before, *block.branch, *block.after]


def _squeezes(block: Block) -> bool:
    layers = [m for m in block.branch if isinstance(m, nn.Conv2d | nn.Linear)]
    return any(m.weight.shape[0] < layers[0].weight.shape[1] for m in layers)


def grow(network: Network, spec: ModelSpec, images: Images, seed: int) -> Network:
    """A deeper copy that computes what the network computes, as exactly as its blocks allow.

    Args:
        network: Trained, with re-estimated BatchNorm statistics; left as it is.
        spec: Of the deeper network: same architecture and layout.
        images: For the statistics that an identity through a BatchNorm needs.
        seed: Of the inserted blocks' other weights.

    Returns:
        The deeper network; stage s holds the old stage's blocks and then the inserted ones.

    Source:
        Residual: He et al. 2015, section 1 ("the added layers are identity mapping"), with the zero of Goyal et al.
        2017, section 5.1. Plain: Chen et al. 2016, Net2Net, section 2.3.
    """
    where = next(network.parameters()).device
    grown = build(spec, seed, where).to(memory_format=images.layout)
    assert isinstance(grown, Network)
    for name in ("stem", "final", "head"):
        getattr(grown, name).load_state_dict(getattr(network, name).state_dict())
    outputs = _stage_outputs(network, images)
    old, new = blocks_of(network), blocks_of(grown)
    at_old = at_new = 0
    for stage, (kept, count) in enumerate(zip(network.stages, grown.stages, strict=True)):
        for i in range(kept):
            new[at_new + i].load_state_dict(old[at_old + i].state_dict())
        for i in range(kept, count):
            make_identity(new[at_new + i], *outputs[stage])
        at_old, at_new = at_old + kept, at_new + count
    grown.train(network.training)
    return grown


@torch.no_grad()
def make_identity(block: Block, mean: Tensor, variance: Tensor) -> None:
    """Sets a block's weights so that it passes on what it gets, as far as its form allows.

    A residual block: the last factor of its branch becomes zero; exact, for the block inputs after a ReLU are not
    negative. A plain block: kernels that pass their input, and each BatchNorm given the statistics of the signal,
    with scale and shift that undo them; exact in eval mode up to rounding.

    Args:
        block: Output shaped as its input.
        mean, variance: Of the block's input, by channel, over the training set.
    """
    if block.shortcut is not None:
        zero_branch(block)
    for module in _undone(block):
        if isinstance(module, nn.Conv2d):
            nn.init.dirac_(module.weight)
        elif isinstance(module, nn.Linear):
            nn.init.eye_(module.weight)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.copy_(mean)
            module.running_var.copy_(variance)
            module.weight.copy_((module.running_var + module.eps).sqrt())
            module.bias.copy_(mean)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            module.bias.zero_()


@torch.no_grad()
def _stage_outputs(network: Network, images: Images) -> list[tuple[Tensor, Tensor]]:
    """Mean and variance by channel of what each stage puts out, over the training set, in eval mode."""
    ends = [sum(network.stages[: s + 1]) for s in range(len(network.stages))]
    sums: list[list[Tensor]] = [[] for _ in ends]
    with mode(network, training=False):
        for part in chunks(len(images.data.train_labels)):
            x = network.stem(images.prepare(images.data.train_images[part]))
            for i, block in enumerate(network.blocks):
                x = block(x)
                if i + 1 in ends:
                    by_channel = x.double().transpose(0, 1).flatten(1)
                    ones = torch.ones_like(by_channel[0]).sum().expand(len(by_channel))
                    sums[ends.index(i + 1)].append(torch.stack([ones, by_channel.sum(1), (by_channel**2).sum(1)]))
    moments = []
    for stage in sums:
        n, total, squares = torch.stack(stage).sum(0)
        mean = total / n
        moments.append((mean.float(), (squares / n - mean**2).clamp(min=0).float()))
    return moments


@torch.no_grad()
def _logits(network: nn.Module, images: Images, x: Tensor) -> Tensor:
    with mode(network, training=False):
        return torch.cat([network(images.prepare(x[part])).float() for part in chunks(len(x))])
