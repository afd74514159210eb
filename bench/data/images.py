"""From stored integers to network inputs: scaling, resizing and augmentation, batched, on the device."""

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.data.datasets import Data
from bench.plan.machine import KINDS
from bench.plan.trial import Trial

PAD = 4  # He et al. 2015, section 4.2: 4 pixels padded on each side, random crop, random horizontal flip


def mean_and_deviation(images: Tensor, full_scale: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, in parts of the full scale.

    Counted by value, channel by channel: as floating-point numbers a set of images takes eight times its memory, in
    every worker.

    Args:
        images: N x C x H x W, uint8, on any device.
        full_scale: The value that stands for white.

    Returns:
        Two float64 tensors of C values on the CPU. A channel that is the same everywhere has deviation 1: it then
        becomes 0, not a division by nothing.
    """
    values = torch.arange(256, dtype=torch.float64) / full_scale
    means, deviations = [], []
    for channel in images.unbind(1):
        counts = torch.bincount(channel.reshape(-1), minlength=256).double().cpu()
        mean = counts @ values / counts.sum()
        deviation = (counts @ (values - mean) ** 2 / (counts.sum() - 1)).sqrt()
        means.append(mean)
        deviations.append(torch.ones_like(mean) if int(counts.count_nonzero()) == 1 else deviation)
    return torch.stack(means), torch.stack(deviations)


class Images:
    """Turns indices into batches.

    Args:
        data: Resident on the device already.
        trial: Says size, normalisation and augmentation.

    Attributes:
        layout: How inputs lie in memory, and so a network's weights and maps, in the trial's precision.
    """

    def __init__(self, data: Data, trial: Trial) -> None:
        self.data, self.size, self.augment = data, trial.resize, trial.augment != "none"
        if trial.normalize:
            mean, deviation = mean_and_deviation(data.train_images, data.full_scale)
        else:
            mean, deviation = torch.zeros(data.image[0]), torch.ones(data.image[0])
        device = data.train_images.device
        first = trial.precision in KINDS[device.type].channels_first
        self.layout = torch.contiguous_format if first else torch.channels_last
        # One multiply and one add: (x / full - mean) / deviation.
        self.scale = (1.0 / (data.full_scale * deviation)).float().to(device)[None, :, None, None]
        self.shift = (-mean / deviation).float().to(device)[None, :, None, None]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width that the network sees."""
        c, h, w = self.data.image
        return (c, self.size, self.size) if self.size else (c, h, w)

    def prepare(self, images: Tensor) -> Tensor:
        """uint8 N x C x H x W to float32, scaled and resized; in `layout`."""
        x = torch.addcmul(self.shift, images.float(), self.scale)
        if self.size:
            # Antialiased where images shrink, as Pillow and torchvision resize; enlarging, it makes no difference.
            smaller = self.size < max(x.shape[2:])
            size = (self.size, self.size)
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=smaller)
        return x.contiguous(memory_format=self.layout)

    def train(self, indices: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """A training batch: inputs and labels of `indices`, augmented where the trial says so."""
        images = self.data.train_images.index_select(0, indices)
        if self.augment:
            images = crop_flip(images, generator)
        return self.prepare(images), self.data.train_labels.index_select(0, indices)


def crop_flip(images: Tensor, generator: torch.Generator | None) -> Tensor:
    """Pads by 4, crops each image back to its size at a random place, and flips half of them.

    Args:
        images: N x C x H x W, any dtype.
        generator: On the images' device.

    Returns:
        N x C x H x W, one gather for the whole batch.
    """
    n, c, h, w = images.shape
    device = images.device
    padded = F.pad(images, (PAD, PAD, PAD, PAD))
    top = torch.randint(0, 2 * PAD + 1, (n, 1), generator=generator, device=device)
    left = torch.randint(0, 2 * PAD + 1, (n, 1), generator=generator, device=device)
    flip = torch.rand(n, 1, generator=generator, device=device) < 0.5
    rows = top + torch.arange(h, device=device)
    across = torch.arange(w, device=device).expand(n, w)
    columns = left + torch.where(flip, w - 1 - across, across)
    flat = (rows[:, :, None] * (w + 2 * PAD) + columns[:, None, :]).view(n, 1, h * w).expand(n, c, h * w)
    return padded.view(n, c, -1).gather(2, flat).view(n, c, h, w)
