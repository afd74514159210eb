"""Data sets: whole, as integers, resident on the device. `DATASETS` is the table of them.

`load` gives a `Data`; how images become batches (scaling, resizing, augmentation) is `images`' business.
"""

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench.study import Trial
from models.spec import stream, unknown


@dataclass(frozen=True)
class Data:
    """A data set in memory.

    Attributes:
        train_images: N x C x H x W, uint8.
        train_labels: N, int64, in 0..classes-1.
        test_images, test_labels: Likewise; disjoint from the training images.
        classes: Number of classes.
        full_scale: The value that stands for white: 255, or 16 for scikit-learn's digits.
        digest: SHA-256 of all of it, shortened.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: int
    full_scale: int
    digest: str = ""

    @property
    def image(self) -> tuple[int, int, int]:
        """Channels, height and width as stored."""
        c, h, w = self.train_images.shape[1:]
        return int(c), int(h), int(w)

    def to(self, device: str) -> "Data":
        """The same data, resident on a device."""
        names = ("train_images", "train_labels", "test_images", "test_labels")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


def _digits(_: str) -> Data:
    """scikit-learn's handwritten digits: 1,797 grey 8x8 images of values 0..16, bundled with the package.

    The split is fixed: every fifth image is a test image (360), the rest train (1,437).
    Source: E. Alpaydin and C. Kaynak, UCI, Optical Recognition of Handwritten Digits (test part).
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(bunch.images).to(torch.uint8)[:, None]
    labels = torch.from_numpy(bunch.target).long()
    test = torch.arange(len(labels)) % 5 == 0
    return Data(images[~test], labels[~test], images[test], labels[test], classes=10, full_scale=16)


def _synthetic(_: str) -> Data:
    """Sixteen bright pixels a class on noise: learnable in a few steps. For tests; not a result about anything."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.rand(4, 1, 8, 8, generator=generator) < 0.25
    labels = torch.arange(320) % 4
    noise = torch.randint(0, 96, (320, 1, 8, 8), generator=generator)
    images = (noise + 160 * patterns[labels]).to(torch.uint8)
    return Data(images[:256], labels[:256], images[256:], labels[256:], classes=4, full_scale=255)


DATASETS: dict[str, Callable[[str], Data]] = {
    "digits": _digits,
    "synthetic": _synthetic,
}


@functools.lru_cache(maxsize=2)
def load(name: str, root: str = "") -> Data:
    """A data set by name, on the CPU.

    Args:
        name: A key of `DATASETS`; with "random-labels:" before it, its labels are shuffled (Zhang et al. 2017).
        root: Folder where data sets that are files lie.

    Raises:
        ValueError: Unknown name, or files that are missing or damaged; one line.
    """
    kind, _, inner = name.partition(":")
    if kind == "random-labels":
        data = load(inner or "digits", root)
        order = torch.randperm(
            len(data.train_labels), generator=torch.Generator().manual_seed(stream(0, "random labels"))
        )
        data = replace(data, train_labels=data.train_labels[order])
    elif name in DATASETS:
        data = DATASETS[name](root)
    else:
        raise ValueError(unknown("dataset", name, [*DATASETS, "random-labels:NAME"]))
    digest = hashlib.sha256()
    for tensor in (data.train_images, data.train_labels, data.test_images, data.test_labels):
        digest.update(repr(tuple(tensor.shape)).encode() + tensor.contiguous().numpy().tobytes())
    return replace(data, digest=digest.hexdigest()[:16])


def for_trial(trial: Trial, root: str = "") -> Data:
    """The data that a trial trains on: its data set, cut to `train_examples`.

    Raises:
        ValueError: As `load`, and a batch larger than the data.
    """
    data = load(trial.dataset, root)
    if trial.train_examples:
        n = trial.train_examples
        data = replace(data, train_images=data.train_images[:n], train_labels=data.train_labels[:n])
    if trial.batch_size > len(data.train_labels):
        raise ValueError(
            f"batch_size {trial.batch_size} is larger than the {len(data.train_labels)} training images of {trial.dataset!r}"
        )
    return data
