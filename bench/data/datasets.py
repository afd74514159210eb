"""Data sets: whole, as integers, resident on the device. `DATASETS` is the table of them.

`load` gives a `Data`; how images become batches (scaling, resizing, augmentation) is `images`' business.
"""

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from bench.data import folder, repeats, sources
from bench.plan.trial import Trial
from models.layouts import LAYOUTS, blocks_per_stage, patches
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
        left_out: What lies in its folder and was not read, in words.
        repeated: Which images stand in both splits or under two labels, in words.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: int
    full_scale: int
    digest: str = ""
    left_out: str = ""
    repeated: str = ""

    @property
    def image(self) -> tuple[int, int, int]:
        """Channels, height and width as stored."""
        c, h, w = self.train_images.shape[1:]
        return int(c), int(h), int(w)

    def to(self, device: str) -> "Data":
        """The same data, resident on a device."""
        names = ("train_images", "train_labels", "test_images", "test_labels")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


def _digits(_: str, __: bool) -> Data:
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


def _synthetic(_: str, __: bool) -> Data:
    """Sixteen bright pixels a class on noise: learnable in a few steps. For tests; not a result about anything."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.rand(4, 1, 8, 8, generator=generator) < 0.25
    labels = torch.arange(320) % 4
    noise = torch.randint(0, 96, (320, 1, 8, 8), generator=generator)
    images = (noise + 160 * patterns[labels]).to(torch.uint8)
    return Data(images[:256], labels[:256], images[256:], labels[256:], classes=4, full_scale=255)


def _made(parts: tuple[sources.Split, sources.Split, int]) -> Data:
    (images, labels), (test_images, test_labels), classes = parts
    return Data(images, labels, test_images, test_labels, classes, full_scale=255)


def _folder(name: str, root: str) -> Data:
    train, test, classes, left_out = folder.load(name, root)
    return replace(_made((train, test, classes)), left_out=left_out)


def _cifar10_jpeg(root: str, _: bool) -> Data:
    """CIFAR-10 compressed once as JPEG: ROOT/cifar10-jpeg/{train,test}/CLASS/*.jpg. Not to be called CIFAR-10.

    Nets trained on the original lose about 9 points of accuracy on it.
    """
    place = Path(root or "data") / "cifar10-jpeg"
    if not place.is_dir():
        raise ValueError(f"data set 'cifar10-jpeg' is not in the data root: {place}/train/CLASS/*.jpg and test/ are"
                         " missing; it cannot be downloaded; name its folder's parent with --data-root"
                         " (DATA_ROOT=)")  # fmt: skip
    return _folder(str(place), root)


# Name -> function of the data root and of whether a missing set may be downloaded.
DATASETS: dict[str, Callable[[str, bool], Data]] = {
    "digits": _digits,
    "fashion-mnist": lambda root, download: _made(sources.fashion_mnist(root or "data", download)),
    "cifar10": lambda root, download: _made(sources.cifar(root or "data", download, 10)),
    "cifar100": lambda root, download: _made(sources.cifar(root or "data", download, 100)),
    "cifar10-jpeg": _cifar10_jpeg,
    "synthetic": _synthetic,
}


@functools.lru_cache(maxsize=2)
def load(name: str, root: str = "", download: bool = False) -> Data:
    """A data set by name, on the CPU.

    Args:
        name: A key of `DATASETS`; "folder:PATH" for images of one's own (see `folder.load`); with "random-labels:"
            before it, its training labels are shuffled (Zhang et al. 2017).
        root: Folder where data sets that are files lie.
        download: Fetch what is missing there.

    Raises:
        ValueError: Unknown name, or files that are missing or damaged; one line.
    """
    kind, _, inner = name.partition(":")
    if kind == "random-labels" and inner:
        data = load(inner, root, download)
        order = torch.randperm(
            len(data.train_labels), generator=torch.Generator().manual_seed(stream(0, "random labels"))
        )
        data = replace(data, train_labels=data.train_labels[order])
    elif kind == "folder" and inner:
        data = _folder(inner, root)
    elif name in DATASETS:
        data = DATASETS[name](root, download)
    else:
        raise ValueError(unknown("dataset", name, [*DATASETS, "folder:PATH", "random-labels:NAME"]))
    if kind != "random-labels":
        train, test = (data.train_images, data.train_labels), (data.test_images, data.test_labels)
        data = replace(data, repeated=repeats.told(name, train, test))
    digest = hashlib.sha256()
    for tensor in (data.train_images, data.train_labels, data.test_images, data.test_labels):
        digest.update(repr(tuple(tensor.shape)).encode())
        digest.update(tensor.contiguous().numpy().data)
    return replace(data, digest=digest.hexdigest()[:16])


def for_trial(trial: Trial, root: str = "", download: bool = False) -> Data:
    """The data that a trial trains on: its data set, cut to `train_examples` and `test_examples`.

    Raises:
        ValueError: As `load`, and what `check` refuses.
    """
    data = load(trial.dataset, root, download)
    if trial.train_examples:
        n = trial.train_examples
        data = replace(data, train_images=data.train_images[:n], train_labels=data.train_labels[:n])
    if trial.test_examples:
        n = trial.test_examples
        data = replace(data, test_images=data.test_images[:n], test_labels=data.test_labels[:n])
    check(trial, data)
    return data


def check(trial: Trial, data: Data) -> None:
    """Refuses a trial that its data cannot feed.

    Raises:
        ValueError: One class, one colour or one picture only, a batch larger than the data, a last batch that cannot
            be normalised, or images so small that a stage has nothing to halve; one line.
    """
    n, size = len(data.train_labels), trial.batch_size
    if size > n:
        raise ValueError(f"batch_size {size} is larger than the {n} training images of {trial.dataset!r}")
    if bool((data.train_labels == data.train_labels[0]).all()):
        raise ValueError(f"the first {n} training images of {trial.dataset!r} are of one class: nothing to tell apart")
    if bool((data.train_images == data.train_images[:1, :, :1, :1]).all()):
        raise ValueError(f"the first {n} training images of {trial.dataset!r} are of one colour: nothing to tell apart")
    if bool((data.train_images == data.train_images[:1]).all()):
        raise ValueError(f"the first {n} training images of {trial.dataset!r} are all alike: nothing to tell apart")
    last = size if trial.drop_last else n % size or size
    if last == 1 and trial.architecture.norm == "batch":
        raise ValueError(f"batch_size {size} leaves a last batch of one image of {n}, which BatchNorm cannot normalise")
    layout = LAYOUTS[trial.layout]
    sides = (trial.resize, trial.resize) if trial.resize else data.image[1:]
    if layout.stem == "patches":
        patches(trial.layout, (data.image[0], *sides))
    if not layout.convolutional:
        return
    side = min(sides)
    if layout.stem == "7x7":
        side = (side + 3) // 4  # the convolution's stride, then the pool's
    for stage in range(2, len(blocks_per_stage(trial.layout, trial.depth)) + 1):
        if side < 2:
            raise ValueError(
                f"images of {sides[0]}x{sides[1]} in {trial.dataset!r} are too small for layout {trial.layout!r}:"
                f" stage {stage} would halve a map of 1x1; resize them (resize = 32)"
            )
        side = -(-side // 2)
