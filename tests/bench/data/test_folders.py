"""Folders of images as people have them: links, hidden folders, splits of any name, images of more than 8 bits."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data import datasets as data
from bench.data.folder import load
from bench.data.listing import listed

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


# A cache keyed on less than the content.


def test_another_folder_of_equal_names_sizes_and_times_has_its_own_pixels(tmp_path: Path) -> None:
    folders = []
    for number, name in enumerate(("one", "two")):
        for k in range(10):
            # Uncompressed: all files of one size.
            path = image(tmp_path / name / "ab"[k % 2] / f"{k}.bmp", pixels(100 * number + k))
            os.utime(path, ns=(10**18, 10**18))
        folders.append(load(str(tmp_path / name), str(tmp_path / "root"))[0][0])
    assert not torch.equal(*folders)


def test_an_edit_in_place_that_keeps_the_times_is_seen(tmp_path: Path) -> None:
    for k in range(10):
        image(tmp_path / "f" / "ab"[k % 2] / f"{k}.bmp", pixels(k))
    path = tmp_path / "f" / "a" / "4.bmp"
    before, times = load(str(tmp_path / "f"), str(tmp_path)), path.stat()
    data.load.cache_clear()
    digest = data.load(f"folder:{tmp_path / 'f'}", str(tmp_path)).digest
    image(path, pixels(99))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = load(str(tmp_path / "f"), str(tmp_path))
    assert not torch.equal(before[0][0], after[0][0])
    data.load.cache_clear()
    assert data.load(f"folder:{tmp_path / 'f'}", str(tmp_path)).digest != digest


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

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    array = pixels(1, (SIDE, SIDE, channels), 4096, np.uint16).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in array)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 16, kind, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


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


def png(path: Path) -> None:
    """A text chunk whose packed content is damaged."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"nothing") + chunk(b"IEND", b""))


@pytest.mark.parametrize("make", [avif, dds, jpeg_2000, blp, png])
def test_a_damaged_image_is_refused_by_name_whatever_its_decoder_raises(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    place = flat(tmp_path / "f")
    make(place / "cat" / "3.jpg")  # named as one that is looked at
    with pytest.raises(ValueError, match=r"cat/3\.jpg") as caught:
        load(str(place), str(tmp_path))
    assert "\n" not in str(caught.value)


# What is listed, and what is left out.


@pytest.mark.parametrize(
    "parts",
    [
        ("Train", "Test"),
        ("TRAIN", "VAL"),
        ("training", "validation"),
        ("train_set", "test_set"),
        ("trainset", "testset"),
        ("Training Data", "Test Data"),
        ("train2017", "val2017"),
        ("train-images", "eval-images"),
        ("training_set", "holdout"),
        ("trn", "tst"),
        ("train", "dev"),
    ],
)
def test_splits_are_recognised_by_their_usual_names(parts: tuple[str, str], tmp_path: Path) -> None:
    found = listed(tree(tmp_path / "f", parts, ("cat", "dog", "eel")))
    assert found.classes == ("cat", "dog", "eel")
    assert {path.relative_to(tmp_path / "f").parts[0] for path, _ in found.train} == {parts[0]}
    assert {path.relative_to(tmp_path / "f").parts[0] for path, _ in found.test} == {parts[1]}


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (("learn", "check"), "splits are named train/ and test/"),
        (("A", "B", "C"), "splits are named train/ and test/"),
        (("fold1", "fold2"), "looks like a split"),
        (("my_train", "my_test"), "looks like a split"),
        (("train_1", "test_fold"), "train_1/ but neither"),
        (("Train", "train", "test"), "Train/ and train/"),
        (("train", "test", "testing"), "test/ and testing/"),
        (("test", "val"), "looks like a split"),
        (("train",), "neither test/ nor val/"),
    ],
)
def test_what_looks_like_a_split_is_no_class(parts: tuple[str, ...], words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        listed(tree(tmp_path / "f", parts))


def test_splits_inside_of_classes_are_not_thrown_together(tmp_path: Path) -> None:
    place = tree(tmp_path / "f", ("cat", "dog"), ("train", "test"))
    image(place / "dog" / "val" / "0.png", pixels(1))
    with pytest.raises(ValueError, match=r"cat holds test/ and train/, which look like splits"):
        listed(place)


@pytest.mark.parametrize("name", ["@eaDir", "__MACOSX", "lost+found"])
def test_what_systems_keep_beside_is_no_image_and_no_class(name: str, tmp_path: Path) -> None:
    place = flat(tmp_path / "f")
    image(place / name / "cat" / "0.png", pixels(1))
    image(place / "cat" / name / "0.png" / "thumb.jpg", pixels(2))
    found = listed(place)
    assert (found.classes, len(found.train) + len(found.test)) == (("cat", "dog"), 10)
    assert f"2 hidden ({name})" in found.left_out


def test_splits_without_classes_are_no_classes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="hold no folder for each class"):
        listed(flat(tmp_path / "f", ("train", "test")))


def test_train_may_be_a_class(tmp_path: Path) -> None:
    names = ("boat", "bus", "train")
    assert listed(flat(tmp_path / "f", names)).classes == names
    assert listed(tree(tmp_path / "g", ("train", "test"), names)).classes == names


def test_classes_may_have_folders_inside(tmp_path: Path) -> None:
    place = flat(tmp_path / "f")
    image(place / "cat" / "more" / "x.png", pixels(50))
    found = listed(place)
    assert len(found.train) + len(found.test) == 11


def test_a_test_set_may_have_a_single_class(tmp_path: Path) -> None:
    place = tree(tmp_path / "f", ("train",))
    image(place / "test" / "dog" / "0.png", pixels(1))
    assert [label for _, label in listed(place).test] == [1]


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    place = tree(tmp_path / "f")
    image(place / "train" / "cat" / ".ipynb_checkpoints" / "0-checkpoint.png", pixels(50))
    image(place / "train" / ".hidden" / "0.png", pixels(51))
    image(place / "train" / "beside.png", pixels(52))
    image(place / "train" / "cat" / "x.gif", pixels(53))
    (place / "test" / "dog" / "notes.txt").write_text("")
    image(place / "val" / "cat" / "0.png", pixels(54))
    found = listed(place)
    assert (len(found.train), len(found.test)) == (10, 10)
    for words in ("2 hidden (.hidden, .ipynb_checkpoints)", "2 that are no images by their names (.gif, .txt)",
                  "1 images outside of any class (beside.png)", "1 folders beside the splits (val/)"):  # fmt: skip
        assert words in found.left_out
    data.load.cache_clear()
    assert data.load(f"folder:{place}", str(tmp_path)).left_out == found.left_out
    assert listed(tree(tmp_path / "g")).left_out == ""


def test_linked_folders_and_files_are_read(tmp_path: Path) -> None:
    place, outside = flat(tmp_path / "f"), image(tmp_path / "store" / "in" / "x.png", pixels(50))
    (place / "cat" / "more").symlink_to(outside.parent)
    (place / "dog" / "y.png").symlink_to(outside)
    (place / "eel").symlink_to(place / "cat")
    found = listed(place)
    assert found.classes == ("cat", "dog", "eel")
    assert len(found.train) + len(found.test) == 18


def dangling(place: Path) -> None:
    (place / "cat" / "x.png").symlink_to(place / "nowhere.png")


def dangling_class(place: Path) -> None:
    (place / "eel").symlink_to(place / "nowhere")


def circle(place: Path) -> None:
    (place / "cat" / "again").symlink_to(place)


def itself(place: Path) -> None:
    (place / "cat" / "x.png").symlink_to(place / "cat" / "x.png")


@pytest.mark.parametrize("harm", [dangling, dangling_class, circle, itself])
def test_links_that_cannot_be_followed_are_refused_by_name(harm: Callable[[Path], None], tmp_path: Path) -> None:
    place = flat(tmp_path / "f")
    harm(place)
    with pytest.raises(ValueError, match=r"(x\.png|eel|again)") as caught:
        listed(place)
    assert "\n" not in str(caught.value)


def test_a_folder_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = flat(tmp_path / "f")
    scan = os.scandir

    def closed(path: Path) -> Any:
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", closed)  # the tests may run as root, who may read everything
    with pytest.raises(ValueError, match=r"dog cannot be read: Permission denied"):
        listed(place)


def test_a_path_may_hold_an_at_sign(tmp_path: Path) -> None:
    for name in ("me@home", "set@2024"):
        place = flat(tmp_path / name / "f")
        assert load(str(place), str(tmp_path))[2] == 2
        assert load(f"{place}@4", str(tmp_path))[0][0].shape[2:] == (4, 4)
    assert load(str(flat(tmp_path / "own@16")), str(tmp_path))[0][0].shape[2:] == (8, 8)
    with pytest.raises(ValueError, match="is not there"):
        load(str(tmp_path / "a@b" / "c"))
