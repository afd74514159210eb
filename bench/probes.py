"""What happens inside: each probe watches one training and leaves the network as it found it. `PROBES` lists them."""

from typing import Any

from torch import nn
from torch.nn import functional as F

from bench.images import Images
from bench.study import Trial
from models.blocks import weighted


class Probe:
    """What a probe may do; each does nothing unless the probe says otherwise.

    Attributes:
        found: What it measured, as plain data.
    """

    def __init__(self, network: nn.Module, images: Images, trial: Trial) -> None:
        self.network, self.images, self.trial = network, images, trial
        self.found: dict[str, Any] = {}

    def at_start(self) -> None:
        """Before the first step."""

    def after_epoch(self, epoch: int) -> None:
        """After each epoch."""

    def at_end(self) -> None:
        """After training, with BatchNorm statistics re-estimated; not called when training diverged."""


class GradientNorms(Probe):
    """Norm of the loss gradient with respect to each layer's weights, at the initial weights, on one batch.

    In a plain net with BatchNorm it grows by a factor a layer towards the input (Yang et al. 2019, A mean field
    theory of batch normalization): at some depth a first step of any usual size destroys the net.
    """

    def at_start(self) -> None:
        buffers = {name: b.clone() for name, b in self.network.named_buffers()}
        data = self.images.data
        n = min(self.trial.batch_size, len(data.train_labels))
        self.network.zero_grad()
        logits = self.network(self.images.prepare(data.train_images[:n])).float()
        F.cross_entropy(logits, data.train_labels[:n]).backward()
        layers = [(k, m) for k, m in self.network.named_modules() if weighted(m) and "shortcut" not in k.split(".")]
        # In double precision: the squares of a deep plain net's gradients leave the range of a float.
        norms = [float(m.weight.grad.double().norm()) if m.weight.grad is not None else 0.0 for _, m in layers]
        self.network.zero_grad()
        for name, buffer in self.network.named_buffers():
            buffer.copy_(buffers[name])
        self.found = {"layers": [k for k, _ in layers], "norms": [float(f"{n:.4g}") for n in norms],
                      "first": norms[0], "last": norms[-2]}  # fmt: skip


PROBES: dict[str, type[Probe]] = {
    "gradient_norms": GradientNorms,
}
