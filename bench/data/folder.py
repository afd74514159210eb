"""Images in folders, a folder per class (torchvision's ImageFolder layout): decoded once, in parallel, and cached.

Every file is looked at before any is decoded, so that a damaged, oversized or odd one is named at once. The cache
is a file named after the content of all images, whose own content carries its SHA-256, written and read under a lock.
Which files are images of which class is told by `listing`.
"""

import contextlib
import hashlib
import io
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.data.listing import Listing, listed
from bench.plan.errors import reason
from bench.plan.machine import usable_cores
from bench.store.record import write

Split = tuple[Tensor, Tensor]

# An image of more pixels is refused before it is decoded: a PNG of a few kB can claim a billion (assumed limit).
MOST_PIXELS = 2**26
# The whole set must fit in memory several times (assumed limit).
MOST_BYTES = 2**34
MOST_SIDE = 4096
_CHUNK = 256
_FORMAT = b"images-4"
# Pillow's modes of at most 8 bits a value, which become grey or RGB as they are; of more, the rest would be cut off.
_EIGHT_BITS = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "LA", "PA", "RGBA")
# Of TIFF: how a value is to be read.
_SAMPLE_FORMAT, _SIGNED = 339, 2
# Of EXIF: how the camera was held, as any viewer turns an image; at the last ones height and width are exchanged.
_ORIENTATION, _UPRIGHT, _ON_ITS_SIDE = 274, 1, (5, 6, 7, 8)


def load(name: str, root: str = "") -> tuple[Split, Split, int, str]:
    """Reads a folder of images.

    Args:
        name: "PATH" or "PATH@SIDE"; of PATH see `listing.listed`. All images must be of one size, or SIDE says to which
            they are brought: the shorter side resized to it, the middle cut out. Each is turned as its EXIF
            orientation says.
        root: Data root, where the cache is kept if it can be written to.

    Returns:
        Training and test images (N x C x H x W, uint8; grey if all of them are) and labels, the number of classes, and
        in words what lies there and was left out.

    Raises:
        ValueError: No such folder, no images, one class, a file that is no whole image of at most 8 bits; one line that
            names it.
    """
    path, side = _path_and_side(name)
    listing = listed(path)
    key = _key(listing, side)
    cache = Path(root or "data") / ".cache" / f"{key}.images"
    with _locked(cache):
        arrays = _cached(cache)
        if arrays is None:
            arrays = _decoded(listing, side)
            _store(cache, arrays)
    n = len(listing.train)
    images, labels = torch.from_numpy(arrays[0]), torch.from_numpy(arrays[1]).long()
    return (images[:n], labels[:n]), (images[n:], labels[n:]), len(listing.classes), listing.left_out


def _path_and_side(name: str) -> tuple[Path, int]:
    """Takes "PATH@SIDE" apart; a folder that is there under the whole name is meant, whatever stands in it."""
    path, at, text = name.rpartition("@")
    if not at or "/" in text or Path(name).is_dir():
        return Path(name), 0
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= MOST_SIDE):
        raise ValueError(f"folder {name!r}: the side after '@' must be a whole number of pixels, 1 to {MOST_SIDE}")
    return Path(path), int(text)


def _key(listing: Listing, side: int) -> str:
    """Of all that the pixels follow from: names, labels and contents of the files, and the decoder's version."""
    from PIL import __version__ as pillow

    files = (*listing.train, *listing.test)
    digest = hashlib.sha256(_FORMAT + f"{side} {pillow}".encode())
    with ThreadPoolExecutor(usable_cores()) as pool:
        contents = pool.map(_content, [path for path, _ in files])
        for (path, label), content in zip(files, contents, strict=True):
            digest.update(repr((path.relative_to(listing.folder).as_posix(), label, content)).encode())
    return digest.hexdigest()[:32]


def _content(path: Path) -> str:
    """Digest of a file; size and times would not do: another may have the same, and editors can keep them."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None


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
    """Size and mode of each image, by its head alone.

    Raises:
        ValueError: One line that names a file that is no image, or one that would not be read whole.
    """
    from PIL import Image

    found = []
    for path in paths:
        try:
            with Image.open(path) as image:
                size, mode = image.size, _mode(image)
                if _orientation(image) in _ON_ITS_SIDE:
                    size = size[::-1]
                # A camera's JPEG may carry a preview as a second picture.
                frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        except Exception as error:  # whatever a decoder raises
            raise ValueError(f"{path} is no image that can be read: {reason(error)}") from None
        if size[0] * size[1] > MOST_PIXELS:
            raise ValueError(f"{path} claims {_text(size)} pixels, more than the {MOST_PIXELS:,} allowed")
        if mode not in _EIGHT_BITS:
            raise ValueError(
                f"{path} is of mode {mode}, which cannot be read without loss: make it grey or RGB of 8 bits"
            )
        if frames > 1:
            raise ValueError(f"{path} holds {frames} pictures: keep the one that is meant")
        found.append((size, mode))
    return found


def _orientation(image: Any) -> int:
    """EXIF's word for how it is to be turned; upright where none can be read."""
    from PIL import Image

    with contextlib.suppress(Exception):  # whatever a damaged EXIF raises: the pixels may be sound
        # Not the method of PNG images, which decodes the whole image, and what that raises is raised only once.
        return int(Image.Image.getexif(image).get(_ORIENTATION, _UPRIGHT))
    return _UPRIGHT


def _mode(image: Any) -> str:
    """Pillow's mode of an image; of one that it would cut down to 8 bits or take for unsigned, that of the file.

    It reads a colour PNG or TIFF of 16 bits a value as "RGB", and keeps the upper 8 bits.
    """
    for *_, arguments in getattr(image, "tile", ()):
        raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
        # "BGR;16" is 16 bits a pixel.
        if isinstance(raw, str) and ";16" in raw and not raw.startswith("BGR"):
            return raw
    if getattr(image, "tag_v2", {}).get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED:
        return f"{image.mode} (signed)"
    return str(image.mode)


def _pixels(paths: Sequence[Path], channels: int, side: int) -> np.ndarray:
    """The pixels of each image, N x C x H x W.

    Raises:
        ValueError: One line that names a damaged file, or one with transparent pixels.
    """
    from PIL import Image, ImageOps

    found = []
    for path in paths:
        try:
            with Image.open(path) as image:
                mode, see_through = image.mode, _see_through(image)
                upright = image if _orientation(image) == _UPRIGHT else ImageOps.exif_transpose(image)
                pixels = upright.convert("L" if channels == 1 else "RGB")
        except MemoryError:
            raise
        except Exception as error:  # whatever a decoder raises
            raise ValueError(f"{path} is damaged: {reason(error)}") from None
        if see_through:
            raise ValueError(f"{path} (mode {mode}) has transparent pixels: put a background behind it")
        if side and pixels.size != (side, side):
            pixels = ImageOps.fit(pixels, (side, side), Image.Resampling.BILINEAR)
        array = np.asarray(pixels)
        found.append(array[None] if channels == 1 else array.transpose(2, 0, 1))
    return np.stack(found)


def _see_through(image: Any) -> bool:
    """Whether any pixel is transparent: its colour would then be whatever lies hidden there."""
    if image.mode not in ("LA", "PA", "RGBA") and "transparency" not in image.info:
        return False
    return bool(image.convert("RGBA").getchannel("A").getextrema()[0] < 255)


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
