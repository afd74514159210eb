"""Images and folders of images, written as tests need them."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE = 8


def pixels(seed: int, shape: tuple[int, ...] = (SIDE, SIDE, 3), high: int = 256, dtype: Any = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, high, shape).astype(dtype)


def image(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def tree(place: Path, parts: tuple[str, ...] = ("train", "test"), classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    seed = 0
    for part in parts:
        for name in classes:
            for number in range(5):
                seed += 1
                image(place / part / name / f"{number}.png", pixels(seed))
    return place


def flat(place: Path, classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    return tree(place, ("",), classes)


def png(path: Path, head: tuple[int, int, int, int, int], packed: bytes) -> None:
    """A PNG of this header (width, height, bits, kind of colour, compression) and packed content, sound or not."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *head, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", packed) + chunk(b"IEND", b""))
