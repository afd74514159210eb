"""The probe that follows the gradient along single paths: how long are the paths that it comes through?

A residual net of n blocks is a sum over 2^n paths; a path passes each block by its branch or by its shortcut
(Veit et al. 2016, section 3). A plain net has one path only.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.data.images import Images
from bench.plan.trial import Trial
from bench.probes.anatomy import Probe, batch_statistics, blockless, blocks_of, rounded
from bench.store import parts
from models.blocks import Block
from models.network import Network
from models.spec import stream

# Images of the batch, path lengths that are tried, and random paths of each (Veit et al. take 1000: theirs is a
# figure, ours a number beside others, at a few percent of the training's time).
BATCH, LENGTHS, PATHS = 64, 16, 10


class PathGradients(Probe):
    """Gradient at the blocks' first input that arrives through random paths of each length, after training.

    One forward pass of a training batch, normalised by its own statistics; then for each sampled path the gradient
    of the loss is led back through the branches of k random blocks and the shortcuts of all others (Veit et al.
    2016, section 4.3, figure 6). Its norm times the number of paths of that length is what length k contributes.

    Found: "blocks" (n); "lengths" (in branches passed), "log10_norm" (of the sampled paths' mean norm), "log10_norms"
    (each path's); "log10_all" (norm of the gradient through all paths at once); "contribution" (share by length of
    those tried, of a whole of all lengths 0..n, logarithms interpolated between the tried ones); "low", "median",
    "high" (lengths under which 5, 50 and 95 % of the contribution lie), "share_of_paths" (between low and high).
    Or "skipped".
    """

    found: parts.PathGradients

    def __init__(self, network: nn.Module, images: Images, trial: Trial) -> None:
        super().__init__(network, images, trial)
        self.blocks = blocks_of(network)

    def at_end(self) -> None:
        if not self.blocks:
            self.found = {"skipped": blockless(self.trial)}
            return
        if self.blocks[0].shortcut is None:
            self.found = {"skipped": "a plain net has one path only"}
            return
        n = len(self.blocks)
        generator = torch.Generator().manual_seed(stream(self.trial.seed, "paths"))
        lengths = path_lengths(n)
        with batch_statistics(self.network):
            inputs, branches, gradient, whole = self._forward()
            logs = []
            for k in lengths:
                draws = [torch.randperm(n, generator=generator)[:k].tolist() for _ in range(PATHS if 0 < k < n else 1)]
                logs.append([self._back(frozenset(draw), inputs, branches, gradient) for draw in draws])
        self.found = {"blocks": n, "log10_all": rounded(whole), **summarize(n, lengths, logs)}

    def _forward(self) -> tuple[list[Tensor], list[Tensor], Tensor, float]:
        """Each block's input and branch output, the gradient at the last block's output, log10 of that at the first."""
        network = self.network
        assert isinstance(network, Network)
        data = self.images.data
        with torch.no_grad():
            first = network.stem(self.images.prepare(data.train_images[:BATCH]))
        x = first.requires_grad_()
        inputs, branches = [], []
        for block in self.blocks:
            inputs.append(x.detach())
            branch, carried = block.sides(x)
            branches.append(branch.detach())
            assert carried is not None
            x = block.after(branch + carried)
        logits = network.read(x).float()
        loss = F.cross_entropy(logits, data.train_labels[:BATCH])
        last, all_paths = torch.autograd.grad(loss, (x, first))
        return inputs, branches, last, _log10(all_paths.double().norm())

    def _back(self, path: frozenset[int], inputs: list[Tensor], branches: list[Tensor], gradient: Tensor) -> float:
        """log10 of the norm of the gradient at the first block's input, through one path."""
        g, log = gradient, 0.0
        for i in range(len(self.blocks) - 1, -1, -1):
            g = step_back(self.blocks[i], inputs[i], branches[i], g, through_branch=i in path)
            if i in path or i == 0:
                # A long path's gradient leaves the range of a float: its scale is kept apart.
                norm = g.double().norm()
                if not norm > 0:
                    return -math.inf
                g, log = g / norm.float(), log + _log10(norm)
        return log


def step_back(block: Block, x: Tensor, branch: Tensor, gradient: Tensor, through_branch: bool) -> Tensor:
    """The gradient at a block's input, through one side of its addition only.

    Args:
        block: Residual.
        x: Its input.
        branch: What its branch made of x.
        gradient: At the block's output.
        through_branch: Through the branch; else through the shortcut.
    """
    x = x.detach().requires_grad_()
    if through_branch:
        branch, carried = block.sides(x)
        assert carried is not None
        carried = carried.detach()
    else:
        carried = block.carried(x)
    out = block.after(branch + carried)
    found: Tensor = torch.autograd.grad(out, x, gradient)[0]
    return found


def path_lengths(n: int) -> list[int]:
    """Lengths to try: short ones close together, 0 and n among them."""
    return sorted({round(n * (i / (LENGTHS - 1)) ** 2) for i in range(LENGTHS)})


def summarize(n: int, lengths: list[int], logs: list[list[float]]) -> parts.PathGradients:
    """From the norms of sampled paths to the share of each length; see `PathGradients`.

    Args:
        n: Blocks.
        lengths: Tried, ascending, 0 and n among them.
        logs: log10 of the norms of each length's paths.
    """
    means = [_mean(group) for group in logs]
    # Veit et al.: a path's gradient falls exponentially with its length, so logarithms are interpolated.
    weights = [_binomial(n, k) + _interpolate(k, lengths, means) for k in range(n + 1)]
    top = max(weights)
    shares = [10 ** (w - top) for w in weights]
    total = sum(shares)
    shares = [s / total for s in shares]
    low, median, high = (_quantile(shares, q) for q in (0.05, 0.5, 0.95))
    return {
        "lengths": lengths, "log10_norm": [rounded(m) for m in means],
        "log10_norms": [[rounded(v) for v in group] for group in logs],
        "contribution": [rounded(shares[k], 3) for k in lengths], "low": low, "median": median, "high": high,
        "share_of_paths": rounded(sum(10 ** (_binomial(n, k) - n * math.log10(2)) for k in range(low, high + 1)), 3),
    }  # fmt: skip


# What stands for the logarithm of nothing: a path that a dead ReLU closes.
NOTHING = -1e4


def _mean(logs: list[float]) -> float:
    """log10 of the mean of numbers given by their log10."""
    top = max(logs)
    if top == -math.inf:
        return NOTHING
    return top + math.log10(sum(10 ** (v - top) for v in logs) / len(logs))


def _binomial(n: int, k: int) -> float:
    """log10 of the number of paths of length k."""
    return (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)) / math.log(10)


def _interpolate(k: int, lengths: list[int], values: list[float]) -> float:
    for a, b, va, vb in zip(lengths, lengths[1:], values, values[1:], strict=False):
        if a <= k <= b:
            return va + (vb - va) * (k - a) / (b - a)
    return values[0]


def _quantile(shares: list[float], q: float) -> int:
    reached = 0.0
    for k, share in enumerate(shares):
        reached += share
        if reached >= q:
            return k
    return len(shares) - 1


def _log10(value: Tensor) -> float:
    return math.log10(float(value)) if float(value) > 0 else -math.inf
