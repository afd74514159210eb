"""Units that are off for every image: they pass nothing on and learn nothing any more."""

import torch
from torch import Tensor, nn

from bench.probes.anatomy import IMAGES, Probe, batch_statistics, evenly, rounded
from bench.store import parts
from bench.train.loop import mode

# Activations that are kept of a deep net: enough for a curve.
MOST_ACTIVATIONS = 200


class DeadUnits(Probe):
    """Share of the channels behind each ReLU that are zero on every image and at every place of it (dead units).

    On `IMAGES` training images in eval mode: at the end with re-estimated BatchNorm statistics, at the start with
    those of the batch. Source: Lu et al. 2019 (Dying ReLU and initialization, arXiv 1903.06733), who show that deep
    nets without normalisation are born dead.

    Found: "position" (1-based, of each ReLU that is called, in order; of deep nets `MOST_ACTIVATIONS`, evenly spread),
    "share_at_start" and "share_at_end" (of the same), "mean_at_start" and "mean_at_end" (over all of them).
    """

    found: parts.DeadUnits

    def at_start(self) -> None:
        with batch_statistics(self.network):
            shares = self._shares()
        if not shares:
            self.found = {"skipped": "no ReLU is called"}
            return
        kept = evenly(range(len(shares)), MOST_ACTIVATIONS)
        self.found = {
            "position": [i + 1 for i in kept], "share_at_start": [rounded(shares[i]) for i in kept],
            "mean_at_start": rounded(sum(shares) / len(shares)),
        }  # fmt: skip

    def at_end(self) -> None:
        with mode(self.network, training=False):
            shares = self._shares()
        if not shares:
            self.found = {"skipped": "no ReLU is called"}
            return
        kept = evenly(range(len(shares)), MOST_ACTIVATIONS)
        self.found["share_at_end"] = [rounded(shares[i]) for i in kept]
        self.found["mean_at_end"] = rounded(sum(shares) / len(shares))

    @torch.no_grad()
    def _shares(self) -> list[float]:
        """Of each ReLU that is called, in order."""
        shares: list[Tensor] = []

        def watch(_: nn.Module, __: object, output: Tensor) -> None:
            off = (output <= 0).transpose(0, 1).flatten(1).all(1)
            shares.append(off.double().mean())

        handles = [m.register_forward_hook(watch) for m in self.network.modules() if isinstance(m, nn.ReLU)]
        try:
            self.network(self.images.prepare(self.images.data.train_images[:IMAGES]))
        finally:
            for handle in handles:
                handle.remove()
        values: list[float] = torch.stack(shares).tolist() if shares else []
        return values
