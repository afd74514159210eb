"""What happens inside: each probe watches one training and leaves the network as it found it. `PROBES` lists them.

Gradient norms and branch ratios are here; lesions, path gradients and growth in modules of their own.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from bench.probes.anatomy import Probe, batch_statistics, blockless, blocks_of, evenly, rounded
from bench.probes.dead import DeadUnits
from bench.probes.growth import Growth
from bench.probes.lesions import Lesions
from bench.probes.paths import PathGradients
from bench.store import parts as form
from models.blocks import weighted
from models.network import Network

__all__ = ["PROBES", "BranchRatio", "GradientNorms", "Probe"]

# Layers, blocks and images that are kept of a deep net: enough for a curve, few enough for a small record.
MOST_LAYERS, MOST_BLOCKS, RATIO_IMAGES = 200, 64, 64


class GradientNorms(Probe):
    """Norm of the loss gradient with respect to each layer's weights, at the initial weights, on one batch.

    In a plain net with BatchNorm it grows by a factor per layer towards the input (Yang et al. 2019, A mean field
    theory of batch normalization): at some depth a first step of any usual size destroys the net.

    Found: "layers" (names; of deep nets `MOST_LAYERS`, evenly spread, with both ends), "position" (1-based, of each
    on the main path; the linear maps within a transformer's sublayer share one), "norms", "first" and "last" (the first
    layer's, the last layer's before the head).
    """

    found: form.GradientNorms

    def at_start(self) -> None:
        data = self.images.data
        n = min(self.trial.batch_size, len(data.train_labels))
        layers = positioned(self.network)
        weights: list[Any] = [m.weight for _, m, _ in layers]
        with batch_statistics(self.network):
            logits = self.network(self.images.prepare(data.train_images[:n])).float()
            loss = F.cross_entropy(logits, data.train_labels[:n])
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        # In double precision: the squares of a deep plain net's gradients leave the range of a float.
        norms = [0.0 if g is None else rounded(float(g.double().norm())) for g in gradients]
        kept = evenly(range(len(layers)), MOST_LAYERS)
        self.found = {
            "layers": [layers[i][0] for i in kept], "position": [layers[i][2] for i in kept],
            "norms": [norms[i] for i in kept], "first": norms[0],
            "last": norms[-2] if len(norms) > 1 else norms[0],
        }  # fmt: skip


def positioned(network: nn.Module) -> list[tuple[str, nn.Conv2d | nn.Linear, int]]:
    """Name, convolution or linear map, and 1-based position of everything on the main path that has a weight."""
    found: list[tuple[str, nn.Conv2d | nn.Linear, int]] = []
    position, outer = 0, ""
    for name, module in network.named_modules():
        if not weighted(module) or "shortcut" in name.split("."):
            continue
        if not (outer and name.startswith(f"{outer}.")):
            position, outer = position + 1, name
        if isinstance(module, nn.Conv2d | nn.Linear):
            found.append((name, module, position))
    return found


class BranchRatio(Probe):
    """How much a block changes what passes through it: norm of the branch's output over norm of the shortcut's.

    On one training batch, normalised by its own statistics, both norms over the whole batch; initially and after
    epochs 1, 2, 4, 8 ... and the last. With it the standard deviation of the branch's output, before the addition
    (He et al. 2015, figure 7, takes it after the normalisation, before other operations, as this is in their block):
    that a plain net has too.

    Found: "block" (indices; of deep nets `MOST_BLOCKS`, evenly spread), "epoch" (of each look), "ratio" (rows are
    looks, columns are blocks; absent for a plain net, which has "skipped" instead), "response_std_by_block" (rows are
    looks, columns are blocks, of residual and plain nets alike; older records have it as "response_std").
    """

    found: form.BranchRatio
    epoch = 0

    def at_start(self) -> None:
        blocks = blocks_of(self.network)
        if not blocks:
            self.found = {"skipped": blockless(self.trial)}
            return
        self.found = {"block": evenly(range(len(blocks)), MOST_BLOCKS), "epoch": [], "response_std_by_block": []}
        if blocks[0].shortcut is None:
            self.found["skipped"] = "a plain net has no shortcut to compare with"
        else:
            self.found["ratio"] = []
        self._measure(self.epoch)

    def after_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        if epoch & (epoch - 1) == 0:
            self._measure(epoch)

    def at_end(self) -> None:
        # Training may have ended before its last epoch, at the error that was asked for.
        self._measure(self.epoch)

    @torch.no_grad()
    def _measure(self, epoch: int) -> None:
        if self.found.get("epoch", [epoch])[-1:] == [epoch]:
            return
        assert isinstance(self.network, Network)
        x = self.images.prepare(self.images.data.train_images[:RATIO_IMAGES])
        at, ratios, deviations = set(self.found["block"]), [], []
        with batch_statistics(self.network):
            x = self.network.stem(x)
            for i, block in enumerate(blocks_of(self.network)):
                if i not in at:
                    x = block(x)
                    continue
                branch, shortcut = block.sides(x)
                deviations.append(rounded(float(branch.std()), 3))
                if shortcut is not None:
                    ratios.append(rounded(float(branch.norm() / shortcut.norm()), 3))
                x = block.after(branch if shortcut is None else branch + shortcut)
        self.found["epoch"].append(epoch)
        self.found["response_std_by_block"].append(deviations)
        if "ratio" in self.found:
            self.found["ratio"].append(ratios)


PROBES: dict[str, type[Probe]] = {
    "gradient_norms": GradientNorms,
    "branch_ratio": BranchRatio,
    "dead_units": DeadUnits,
    "lesions": Lesions,
    "path_gradients": PathGradients,
    "growth": Growth,
}
