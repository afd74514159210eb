"""Files of images as people have them: of more than 8 bits, transparent, of several pictures, damaged."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_images import SIDE, flat, image, pixels, png
from PIL import Image

from bench.data.folder import load

# Lossy conversion.


def rgba(alpha: int) -> np.ndarray:
    array = pixels(1, (SIDE, SIDE, 4))
    array[..., 3] = alpha
    return array


def frames(path: Path) -> None:
    first, *others = (Image.fromarray(pixels(k)) for k in range(3))
    first.save(path, save_all=True, append_images=others)


def palette(path: Path) -> None:
    made = Image.new("P", (SIDE, SIDE), 3)
    made.putpalette([k // 3 for k in range(768)])
    made.save(path, transparency=3)


def sixteen_bits(path: Path, kind: int, channels: int) -> None:
    """A PNG of 12 bits in 16: Pillow calls it RGB, or LA, and would keep the upper 8 of the 16."""
    array = pixels(1, (SIDE, SIDE, channels), 4096, np.uint16).astype(">u2")
    png(path, (SIDE, SIDE, 16, kind, 0), zlib.compress(b"".join(b"\0" + row.tobytes() for row in array)))


def tiff(path: Path, array: np.ndarray, kind: int) -> None:
    """An uncompressed TIFF of these values, which are whole numbers (1) or signed ones (2)."""
    height, width, channels = array.shape
    content, bits = array.tobytes(), 8 * array.itemsize
    at = 8 + len(content)
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, channels, at if channels > 2 else bits), (259, 3, 1, 1),
            (262, 3, 1, 2 if channels > 2 else 1), (273, 4, 1, 8), (277, 3, 1, channels), (278, 4, 1, height),
            (279, 4, 1, len(content)), (339, 3, channels, at + 2 * channels if channels > 2 else kind)]  # fmt: skip
    lists = struct.pack(f"<{2 * channels}H", *[bits] * channels, *[kind] * channels)
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    start = struct.pack("<2sHI", b"II", 42, at + len(lists))
    path.write_bytes(start + content + lists + struct.pack("<H", len(tags)) + entries + bytes(4))


LOSSY: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "12 bits in a 16-bit PNG": ("x.png", lambda p: image(p, pixels(1, (SIDE, SIDE), 4096, np.uint16)), "I;16"),
    "16-bit TIFF": ("x.tif", lambda p: image(p, pixels(1, (SIDE, SIDE), 65536, np.uint16)), "I;16"),
    "32-bit TIFF": ("x.tiff", lambda p: image(p, pixels(1, (SIDE, SIDE), 2**20, np.int32)), "mode I"),
    "float TIFF": ("x.tif", lambda p: image(p, np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)), "mode F"),
    "16-bit PGM": ("x.pgm", lambda p: p.write_bytes(b"P5 8 8 65535 " + pixels(1, (128,)).tobytes()), "mode I"),
    "transparent": ("x.png", lambda p: image(p, rgba(7)), "RGBA.*transparent"),
    "transparent grey": ("x.png", lambda p: Image.new("LA", (8, 8), (3, 9)).save(p), "LA.*transparent"),
    "transparent palette": ("x.png", palette, "mode P.*transparent"),
    "pages of a TIFF": ("x.tif", frames, "3 pictures"),
    "animated": ("x.webp", frames, "3 pictures"),
    "48-bit colour PNG": ("x.png", lambda p: sixteen_bits(p, 2, 3), "RGB;16B"),
    "64-bit PNG with transparency": ("x.png", lambda p: sixteen_bits(p, 6, 4), "RGBA;16B"),
    "32-bit grey PNG with transparency": ("x.png", lambda p: sixteen_bits(p, 4, 2), "LA;16B"),
    "48-bit TIFF": ("x.tif", lambda p: tiff(p, pixels(1, (8, 8, 3), 4096, np.uint16), 1), "RGB;16"),
    "signed TIFF": ("x.tif", lambda p: tiff(p, pixels(1, (8, 8, 1)), 2), "signed"),
    "LAB": ("x.tif", lambda p: Image.new("LAB", (8, 8), (1, 2, 3)).save(p), "mode LAB"),
}


@pytest.mark.parametrize("kind", LOSSY)
def test_what_would_be_cut_off_is_refused_with_the_files_mode(kind: str, tmp_path: Path) -> None:
    place = flat(tmp_path / "f")
    name, make, words = LOSSY[kind]
    make(place / "cat" / name)
    with pytest.raises(ValueError, match=rf"{name} .*{words}"):
        load(f"{place}@8", str(tmp_path))


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("x.png", Image.fromarray(rgba(255))),
        ("x.jpg", Image.new("CMYK", (8, 8), (1, 2, 3, 4))),
        ("x.png", Image.new("1", (8, 8), 1)),
        ("x.png", Image.new("LA", (8, 8), (3, 255))),
        ("x.png", Image.fromarray(pixels(1, (SIDE, SIDE))).convert("P")),
        ("x.bmp", Image.new("L", (8, 8), 200)),
    ],
)
def test_images_of_eight_bits_are_read(name: str, made: Image.Image, tmp_path: Path) -> None:
    place = flat(tmp_path / "f")
    made.save(place / "cat" / name)
    (found, _), (other, _), *_ = load(str(place), str(tmp_path))
    assert len(found) + len(other) == 11


def avif(path: Path) -> None:
    Image.fromarray(pixels(1, (16, 16, 3))).resize((8, 8)).save(path, "AVIF")
    content = bytearray(path.read_bytes())
    at = content.rfind(b"mdat") + 4
    content[at : at + 40] = bytes(40)
    path.write_bytes(content)


def dds(path: Path) -> None:
    Image.fromarray(pixels(1)).save(path, "DDS")
    path.write_bytes(path.read_bytes()[:140])


def jpeg_2000(path: Path) -> None:
    Image.fromarray(pixels(1)).save(path, "JPEG2000")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)


def blp(path: Path) -> None:
    path.write_bytes(b"BLP2" + struct.pack("<IBBBB", 1, 2, 8, 7, 0) + struct.pack("<II", 8, 8) + bytes(64))


def damaged_png(path: Path) -> None:
    """Its packed content is damaged."""
    png(path, (8, 8, 8, 0, 0), b"nothing")


@pytest.mark.parametrize("make", [avif, dds, jpeg_2000, blp, damaged_png])
def test_a_damaged_image_is_refused_by_name_whatever_its_decoder_raises(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    place = flat(tmp_path / "f")
    make(place / "cat" / "3.jpg")  # named as one that is looked at
    with pytest.raises(ValueError, match=r"cat/3\.jpg") as caught:
        load(str(place), str(tmp_path))
    assert "\n" not in str(caught.value)
