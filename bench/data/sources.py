"""Data sets that are files in a data root, in the form that torchvision downloads: found, checked, read.

Every file is checked against its published MD5 before it is opened as data: a truncated or changed file is named, and
nothing of it is unpickled. Downloads happen only when asked for.
"""

import math
import struct
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.plan.errors import reason

Split = tuple[Tensor, Tensor]

# Of the four files when unpacked; torchvision lists only those of the archives. Compared with two public lists.
FASHION_MNIST = {
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}


def fashion_mnist(root: str, download: bool) -> tuple[Split, Split, int]:
    """Xiao et al. 2017: 70,000 grey images of clothes, 28x28, 10 classes; 60,000 of them to train.

    Args:
        root: Data root; the files are ROOT/FashionMNIST/raw/*-ubyte, or the same with .gz.
        download: Fetch them when they are missing.

    Returns:
        Training and test images (N x 1 x 28 x 28, uint8) and labels, and the number of classes.

    Raises:
        ValueError: A file is missing or damaged; one line that names it.
    """
    from torchvision.datasets import FashionMNIST
    from torchvision.datasets.utils import check_integrity

    raw = Path(root) / "FashionMNIST" / "raw"
    missing = [name for name in FASHION_MNIST if not (raw / name).is_file()]
    packed = {name.removesuffix(".gz"): (raw / name, md5) for name, md5 in FashionMNIST.resources}
    for name in missing:
        path, md5 = packed[name]
        if path.is_file() and not check_integrity(str(path), md5):
            raise ValueError(f"{path} is damaged: its MD5 is not {md5}; delete it and get it again")
    if missing and (download or all(packed[name][0].is_file() for name in missing)):
        _fetch(FashionMNIST, root, "fashion-mnist")
    elif missing:
        raise ValueError(_absent("fashion-mnist", raw / missing[0], "its four idx files, as torchvision keeps them"))
    for part in ("train", "t10k"):
        check_idx(raw / f"{part}-images-idx3-ubyte", raw / f"{part}-labels-idx1-ubyte", classes=10)
    for name, md5 in FASHION_MNIST.items():
        _check_md5(raw / name, md5)
    parts = [FashionMNIST(root, train=train) for train in (True, False)]
    train, test = [(part.data[:, None].contiguous(), part.targets.long()) for part in parts]
    return train, test, 10


def cifar(root: str, download: bool, classes: int) -> tuple[Split, Split, int]:
    """Krizhevsky 2009: 60,000 colour images of things, 32x32, 10 or 100 classes; 50,000 of them to train.

    Args:
        root: Data root; the files are ROOT/cifar-10-batches-py/* (cifar-100-python/*).
        download: Fetch them when they are missing.
        classes: 10 or 100.

    Returns:
        Training and test images (N x 3 x 32 x 32, uint8) and labels, and the number of classes.

    Raises:
        ValueError: A file is missing or damaged; one line that names it.
    """
    from torchvision import datasets

    kind: Any = datasets.CIFAR10 if classes == 10 else datasets.CIFAR100
    folder = Path(root) / kind.base_folder
    entries = [*kind.train_list, *kind.test_list, [kind.meta["filename"], kind.meta["md5"]]]
    missing = [folder / name for name, _ in entries if not (folder / name).is_file()]
    if missing and download:
        _fetch(kind, root, f"cifar{classes}")
    elif missing:
        raise ValueError(_absent(f"cifar{classes}", missing[0], f"the files of {kind.filename}"))
    for name, md5 in entries:
        _check_md5(folder / name, md5)
    parts = [kind(root, train=train) for train in (True, False)]
    train, test = [
        (torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(part.targets)) for part in parts
    ]
    check_labels(f"cifar{classes}", train[1], classes)
    check_labels(f"cifar{classes}", test[1], classes)
    return train, test, classes


def _absent(name: str, path: Path, what: str) -> str:
    return (
        f"data set {name!r} is not in the data root: {path} is missing ({what});"
        " get it with --download (make: DOWNLOAD=1), or name its folder's parent with --data-root (DATA_ROOT=)"
    )


def _fetch(kind: Any, root: str, name: str) -> None:
    try:
        kind(root, download=True)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"cannot get data set {name!r} into {root}: {reason(error)}") from None


def _check_md5(path: Path, md5: str) -> None:
    from torchvision.datasets.utils import check_integrity

    if not check_integrity(str(path), md5):
        raise ValueError(f"{path} is damaged: its MD5 is not {md5}; delete it and get it again")


def check_labels(source: object, labels: Tensor, classes: int) -> None:
    """Refuses labels that are no class.

    Raises:
        ValueError: One line with the source, the first such label and its place.
    """
    wrong = ((labels < 0) | (labels >= classes)).nonzero()
    if len(wrong):
        at = int(wrong[0])
        raise ValueError(f"{source}: label {int(labels[at])} of image {at} is not in 0 to {classes - 1}")


def check_idx(images: Path, labels: Path, classes: int) -> None:
    """Compares what two idx files say in their headers with what they hold, before anything is allocated.

    Raises:
        ValueError: One line that names the file and the fault.
    """
    shape, count = _idx_shape(images, 3), _idx_shape(labels, 1)
    if shape[0] != count[0]:
        raise ValueError(f"{labels} has {count[0]} labels, but {images.name} has {shape[0]} images")
    if shape[0] == 0:
        raise ValueError(f"{images} holds no images")
    check_labels(labels, torch.frombuffer(bytearray(labels.read_bytes()[8:]), dtype=torch.uint8).long(), classes)


def _idx_shape(path: Path, dimensions: int) -> tuple[int, ...]:
    size, start = path.stat().st_size, 4 + 4 * dimensions
    with path.open("rb") as file:
        head = file.read(start)
    if len(head) < start or head[:4] != bytes([0, 0, 8, dimensions]):
        raise ValueError(f"{path} is no idx file of {dimensions}-dimensional bytes: it begins with {head[:4].hex()!r}")
    shape = struct.unpack(f">{dimensions}I", head[4:])
    expected = start + math.prod(shape)
    if size != expected:
        text = "x".join(map(str, shape))
        raise ValueError(f"{path} says that it holds {text} bytes, which needs a file of {expected}; it has {size}")
    return shape
