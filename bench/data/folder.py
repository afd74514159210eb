"""Images in folders, a folder per class (torchvision's ImageFolder layout): decoded once, in parallel, and cached.

Every file is looked at before any is decoded, so that a damaged, oversized or odd one is named at once. The cache
is a file whose content carries its own SHA-256, written and read under a lock.
"""

import contextlib
import hashlib
import io
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.plan.errors import reason
from bench.plan.machine import usable_cores
from bench.store.record import write

Split = tuple[Tensor, Tensor]

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # torchvision's own list
# An image of more pixels is refused before it is decoded: a PNG of a few kB can claim a billion (assumed limit).
MOST_PIXELS = 2**26
# The whole set must fit in memory several times (assumed limit).
MOST_BYTES = 2**34
# Every fifth image of a class tests where there is no folder "test": as with the digits.
_TEST_EVERY = 5
_CHUNK = 256
_FORMAT = b"images-2"


@dataclass(frozen=True)
class Listing:
    """The files of a data set, before any is opened.

    Attributes:
        folder: Where they lie.
        classes: Names of the classes, sorted.
        train, test: Files, each with the number of its class.
    """

    folder: Path
    classes: tuple[str, ...]
    train: tuple[tuple[Path, int], ...]
    test: tuple[tuple[Path, int], ...]


def load(name: str, root: str = "") -> tuple[Split, Split, int]:
    """Reads a folder of images.

    Args:
        name: "PATH" or "PATH@SIDE". PATH holds train/CLASS/* and test/CLASS/* (or val/), or CLASS/* alone, of which
            every fifth image then tests. All images must be of one size, or SIDE says to which they are brought:
            the shorter side resized to it, the middle cut out.
        root: Data root, where the cache is kept if it can be written to.

    Returns:
        Training and test images (N x C x H x W, uint8; grey if all of them are) and labels, and the number of classes.

    Raises:
        ValueError: No such folder, no images, one class, a file that is no whole image; one line that names it.
    """
    path, at, text = name.rpartition("@") if "@" in name else (name, "", "")
    if at and not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 4096):
        raise ValueError(f"folder {name!r}: the side after '@' must be a whole number of pixels, 1 to 4096")
    listing = listed(Path(path))
    side = int(text) if at else 0
    key = _key(listing, side)
    cache = Path(root or "data") / ".cache" / f"{key}.images"
    with _locked(cache):
        arrays = _cached(cache)
        if arrays is None:
            arrays = _decoded(listing, side)
            _store(cache, arrays)
    n = len(listing.train)
    images, labels = torch.from_numpy(arrays[0]), torch.from_numpy(arrays[1]).long()
    return (images[:n], labels[:n]), (images[n:], labels[n:]), len(listing.classes)


def listed(folder: Path) -> Listing:
    """Finds classes and files.

    Raises:
        ValueError: One line naming the folder and the fault.
    """
    if not folder.is_dir():
        raise ValueError(f"folder {folder} is not there")
    test_folder = next((folder / n for n in ("test", "val") if (folder / n).is_dir()), None)
    if (folder / "train").is_dir():
        if not test_folder:
            raise ValueError(f"folder {folder} has train/ but neither test/ nor val/")
        classes, train = _files(folder / "train")
        test_classes, test = _files(test_folder)
        if extra := set(test_classes) - set(classes):
            raise ValueError(f"folder {test_folder} has class {min(extra)!r}, which {folder / 'train'} has not")
        test = [(path, classes.index(test_classes[label])) for path, label in test]
    else:
        classes, found = _files(folder)
        place: Counter[int] = Counter()
        train, test = [], []
        for path, label in found:
            (test if place[label] % _TEST_EVERY == 0 else train).append((path, label))
            place[label] += 1
    for label, count in enumerate(np.bincount([label for _, label in train], minlength=len(classes))):
        if not count:
            raise ValueError(f"folder {folder}: class {classes[label]!r} has no training image")
    return Listing(folder, classes, tuple(train), tuple(test))


def _files(folder: Path) -> tuple[tuple[str, ...], list[tuple[Path, int]]]:
    """The names of the classes, and the files with their class, a file of each class in turn."""
    classes = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    found = []
    for label, name in enumerate(classes):
        paths = sorted(p for p in (folder / name).rglob("*") if _is_image(p))
        if not paths:
            raise ValueError(f"folder {folder / name} holds no images ({', '.join(SUFFIXES)})")
        found += [(path, label) for path in paths]
    if not classes:
        raise ValueError(f"folder {folder} holds no images: it must have a folder for each class")
    if len(classes) == 1:
        raise ValueError(f"folder {folder} has one class only, {classes[0]!r}: there is nothing to tell apart")
    # Class after class, the first images of a set would be of one class: one of each in turn.
    place: Counter[int] = Counter()
    turns = []
    for path, label in found:
        turns.append((place[label], label, path))
        place[label] += 1
    return tuple(classes), [(path, label) for _, label, path in sorted(turns)]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _key(listing: Listing, side: int) -> str:
    """Changes whenever a file is added, removed, renamed, or written to."""
    digest = hashlib.sha256(_FORMAT + str(side).encode())
    for path, label in (*listing.train, *listing.test):
        status = path.stat()
        entry = (path.relative_to(listing.folder).as_posix(), label, status.st_size, status.st_mtime_ns)
        digest.update(repr(entry).encode())
    return digest.hexdigest()[:32]


def _decoded(listing: Listing, side: int) -> tuple[np.ndarray, np.ndarray]:
    """All images as one array, and their labels; opened in as many threads as there are cores."""
    paths = [path for path, _ in (*listing.train, *listing.test)]
    labels = np.array([label for _, label in (*listing.train, *listing.test)], dtype=np.int64)
    chunks = [paths[i : i + _CHUNK] for i in range(0, len(paths), _CHUNK)]
    with ThreadPoolExecutor(usable_cores()) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about sizes: ours are errors
        heads = [head for chunk in pool.map(_heads, chunks) for head in chunk]
        channels = 1 if all(mode in ("1", "L") for _, mode in heads) else 3
        sizes = Counter(size for size, _ in heads)
        if not side and len(sizes) > 1:
            (usual, _), (other, _) = sizes.most_common(2)
            odd = paths[[size for size, _ in heads].index(other)]
            raise ValueError(
                f"images differ in size: {odd} is {_text(other)}, others are {_text(usual)};"
                f" name the side to bring them to: folder:{listing.folder}@{min(usual)}"
            )
        width, height = (side, side) if side else next(iter(sizes))
        if len(paths) * channels * width * height > MOST_BYTES:
            raise ValueError(f"folder {listing.folder}: {len(paths)} images of {width}x{height} do not fit in memory")
        parts = pool.map(lambda chunk: _pixels(chunk, channels, side), chunks)
        return np.concatenate(list(parts)), labels


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _heads(paths: Sequence[Path]) -> list[tuple[tuple[int, int], str]]:
    from PIL import Image

    found = []
    for path in paths:
        try:
            with Image.open(path) as image:
                size, mode = image.size, image.mode
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"{path} is no image that can be read: {reason(error)}") from None
        if size[0] * size[1] > MOST_PIXELS:
            raise ValueError(f"{path} claims {_text(size)} pixels, more than the {MOST_PIXELS:,} allowed")
        found.append((size, mode))
    return found


def _pixels(paths: Sequence[Path], channels: int, side: int) -> np.ndarray:
    from PIL import Image, ImageOps

    found = []
    for path in paths:
        try:
            with Image.open(path) as image:
                pixels = image.convert("L" if channels == 1 else "RGB")
        except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
            raise ValueError(f"{path} is damaged: {reason(error)}") from None
        if side and pixels.size != (side, side):
            pixels = ImageOps.fit(pixels, (side, side), Image.Resampling.BILINEAR)
        array = np.asarray(pixels)
        found.append(array[None] if channels == 1 else array.transpose(2, 0, 1))
    return np.stack(found)


@contextlib.contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """One process decodes; the others wait and read what it made. Without a writable place, each decodes."""
    from filelock import FileLock

    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(cache.with_suffix(".lock"))
        lock.acquire()
    except OSError:
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _cached(cache: Path) -> tuple[np.ndarray, np.ndarray] | None:
    try:
        content = cache.read_bytes()
    except OSError:
        return None
    digest, _, body = content.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        return None
    with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
        return arrays["images"], arrays["labels"]


def _store(cache: Path, arrays: tuple[np.ndarray, np.ndarray]) -> None:
    body = io.BytesIO()
    np.savez(body, images=arrays[0], labels=arrays[1])
    content = body.getvalue()
    with contextlib.suppress(OSError):
        write(cache, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
