"""The reference: a training loop written the way people write it, so that every speed-up quoted is a ratio.

Eager, channels-first, `nn.Conv2d` for every convolution, SGD and a scheduler as they come, a `DataLoader` with
torchvision's transforms image by image, `.item()` in each step, and torch's own number of threads. Same weights, same
recipe, same images as ours; nothing here is used to train a trial.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.data.datasets import Data
from bench.data.images import PAD, Images
from bench.plan.machine import usable_cores
from bench.plan.trial import Trial
from bench.train import device as seam
from bench.train.step import learning_rates, steps_per_epoch
from models.blocks import Conv3x3
from models.network import build
from models.spec import ModelSpec


def network_of(trial: Trial, images: Images, device: str) -> nn.Module:
    """The trial's network, channels-first, its 3x3 convolutions plain ones (ours skip padding on tiny maps)."""
    spec = ModelSpec(trial.architecture, trial.layout, trial.depth, trial.width, images.shape, images.data.classes)
    network = build(spec, trial.seed, device)
    for module in network.modules():
        if isinstance(module, Conv3x3):
            module.__class__ = nn.Conv2d  # type: ignore[assignment]
    return network


class Reference:
    """The reference training of one network.

    Args:
        trial: The recipe.
        data: On the CPU; `steps` needs it on the device.
        device: "cpu" or "cuda".
        loader_workers: Processes of the `DataLoader`; by default torch's own 0 on a CPU, 4 on CUDA.
    """

    def __init__(self, trial: Trial, data: Data, device: str, loader_workers: int | None = None) -> None:
        self.trial, self.device = trial, device
        self.images = Images(data, trial)
        self.network = network_of(trial, self.images, device)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), lr=trial.lr, momentum=trial.momentum, weight_decay=trial.weight_decay
        )
        rates = learning_rates(trial, steps_per_epoch(trial, len(data.train_labels)))
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda k: rates[min(k, len(rates) - 1)] / trial.lr
        )
        workers = (4 if device == "cuda" else 0) if loader_workers is None else loader_workers
        self.loader = torch.utils.data.DataLoader(
            _Pictures(data, trial, self.images), batch_size=trial.batch_size, shuffle=True, drop_last=trial.drop_last,
            num_workers=workers, pin_memory=device == "cuda", persistent_workers=workers > 0,
        )  # fmt: skip

    def step(self, x: Tensor, y: Tensor) -> tuple[float, int]:
        """One step on a batch that is on the device; the loss and the number of wrong answers."""
        output = self.network(x)
        loss = F.cross_entropy(output, y, label_smoothing=self.trial.label_smoothing)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.trial.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.trial.clip_norm)
        self.optimizer.step()
        self.scheduler.step()
        return loss.item(), int((output.argmax(1) != y).sum().item())

    def epoch(self) -> tuple[float, float]:
        """One epoch through the `DataLoader`: mean loss and share wrong."""
        total, wrong, seen = 0.0, 0, 0
        for x, y in self.loader:
            loss, missed = self.step(x.to(self.device), y.to(self.device))
            total, wrong, seen = total + loss * len(y), wrong + missed, seen + len(y)
        return total / seen, wrong / seen


class _Pictures(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """A data set as torchvision's are: a PIL image at a time, through a chain of transforms."""

    def __init__(self, data: Data, trial: Trial, images: Images) -> None:
        from PIL import Image
        from torchvision import transforms

        scaled = (data.train_images.double() * (255 / data.full_scale)).round().to(torch.uint8)
        arrays = scaled.permute(0, 2, 3, 1).contiguous().numpy()
        self.pictures = [Image.fromarray(a[:, :, 0] if a.shape[2] == 1 else a) for a in arrays]
        self.labels = data.train_labels.tolist()
        # images: x * scale + shift on stored integers; Normalize: (x / full scale - mean) / deviation.
        deviation = 1.0 / (images.scale.flatten() * data.full_scale)
        mean = -images.shift.flatten() * deviation
        chain: list[Any] = []
        if trial.augment != "none":
            chain += [transforms.RandomCrop(data.image[1:], padding=PAD), transforms.RandomHorizontalFlip()]
        if trial.resize:
            chain.append(transforms.Resize((trial.resize, trial.resize)))
        chain += [transforms.ToTensor(), transforms.Normalize(mean.tolist(), deviation.tolist())]
        self.transform = transforms.Compose(chain)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.pictures[index]), self.labels[index]


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many torch threads within; 0 is torch's own default, a thread a core."""
    before = torch.get_num_threads()
    cores = usable_cores()
    torch.set_num_threads(count or cores)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def interleaved(
    calls: Mapping[str, Callable[[], object]], rounds: int, device: str, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Times calls in turn, so that what else the machine does meets them all alike.

    Args:
        calls: By name; each is run once before, not timed.
        rounds: Samples of each.
        device: Waited for before and after each call.
        clock: `time.process_time` counts CPU time of all threads instead.

    Returns:
        Seconds of each sample, by name.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for timing in [False] + [True] * rounds:
        for name, call in calls.items():
            seam.synchronize(device)
            began = clock()
            call()
            seam.synchronize(device)
            if timing:
                times[name].append(clock() - began)
    return times
