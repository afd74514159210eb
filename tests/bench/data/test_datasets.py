"""Every data set's form, and every way in which its files can be wrong: refused, naming file and fault."""

import gzip
import hashlib
import os
import pickle
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from bench.data import datasets as data
from bench.data import folder, sources
from bench.plan.machine import Machine
from bench.plan.trial import Trial
from bench.preflight import environments
from models.spec import ARCHITECTURES, stream

RNG = np.random.default_rng(0)
COUNTS = {"train": 40, "t10k": 20}


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


def seal(monkeypatch: pytest.MonkeyPatch, raw: Path) -> None:
    """Takes the files as they are now for the published ones."""
    digests = {name: hashlib.md5((raw / name).read_bytes()).hexdigest() for name in sources.FASHION_MNIST}
    monkeypatch.setattr(sources, "FASHION_MNIST", digests)


@pytest.fixture
def fashion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with a small Fashion-MNIST."""
    data.load.cache_clear()
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, n in COUNTS.items():
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(RNG.integers(0, 256, (n, 28, 28))))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(n) % 10))
    seal(monkeypatch, raw)
    return tmp_path


def test_fashion_mnist_is_read_as_torchvision_reads_it(fashion: Path) -> None:
    found = data.load("fashion-mnist", str(fashion))
    theirs = datasets.FashionMNIST(fashion, train=False)
    assert found.train_images.shape == (40, 1, 28, 28)
    assert found.train_images.dtype == torch.uint8
    assert torch.equal(found.test_images[:, 0], theirs.data)
    assert torch.equal(found.test_labels, theirs.targets)
    assert (found.classes, found.full_scale, found.image) == (10, 255, (1, 28, 28))


Damage = Callable[[Path], Any]
FAULTS: dict[str, tuple[str, Damage, str]] = {
    "truncated": ("train-images-idx3-ubyte", lambda p: p.write_bytes(p.read_bytes()[:-1]), "needs a file of"),
    "longer": ("t10k-images-idx3-ubyte", lambda p: p.write_bytes(p.read_bytes() + b"x"), "needs a file of"),
    "empty": ("train-images-idx3-ubyte", lambda p: p.write_bytes(b""), "no idx file"),
    "bit-flip": ("t10k-images-idx3-ubyte", lambda p: flip(p, 500), "MD5"),
    "wrong magic": ("train-labels-idx1-ubyte", lambda p: flip(p, 2), "no idx file"),
    "bomb": (
        "train-images-idx3-ubyte",
        lambda p: p.write_bytes(p.read_bytes()[:4] + b"\xff" * 12 + p.read_bytes()[16:]),
        "says that it holds 4294967295x4294967295x4294967295",
    ),
    "fewer labels": ("train-labels-idx1-ubyte", lambda p: p.write_bytes(idx(np.arange(39) % 10)), "39 labels"),
    "label out of range": ("t10k-labels-idx1-ubyte", lambda p: p.write_bytes(idx(np.arange(20))), "label 10 of im"),
    "missing": ("t10k-labels-idx1-ubyte", lambda p: p.unlink(), "--download"),
}


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_idx_files_are_refused_by_name(fault: str, fashion: Path) -> None:
    name, damage, words = FAULTS[fault]
    damage(fashion / "FashionMNIST" / "raw" / name)
    with pytest.raises(ValueError, match=words) as caught:
        data.load("fashion-mnist", str(fashion))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_images_at_all(fashion: Path) -> None:
    raw = fashion / "FashionMNIST" / "raw"
    (raw / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((0, 28, 28))))
    (raw / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(0)))
    with pytest.raises(ValueError, match="holds no images"):
        data.load("fashion-mnist", str(fashion))


@pytest.mark.parametrize("damaged", [False, True])
def test_packed_files_are_unpacked_unless_damaged(
    damaged: bool, fashion: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = fashion / "FashionMNIST" / "raw"
    resources = []
    for name in sources.FASHION_MNIST:
        packed = raw / f"{name}.gz"
        packed.write_bytes(gzip.compress((raw / name).read_bytes()))
        (raw / name).unlink()
        resources.append((packed.name, hashlib.md5(packed.read_bytes()).hexdigest()))
    monkeypatch.setattr(datasets.FashionMNIST, "resources", resources)
    if damaged:
        flip(raw / "train-images-idx3-ubyte.gz", 300)
        with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz is damaged"):
            data.load("fashion-mnist", str(fashion))
    else:
        assert len(data.load("fashion-mnist", str(fashion)).train_labels) == 40


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with a small CIFAR-10 in its published form."""
    data.load.cache_clear()
    base = tmp_path / datasets.CIFAR10.base_folder
    base.mkdir()

    def write(name: str, content: Any) -> list[str]:
        (base / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((base / name).read_bytes()).hexdigest()]

    def batch(name: str) -> list[str]:
        return write(name, {"data": RNG.integers(0, 256, (10, 3072), dtype=np.uint8), "labels": list(range(10))})

    monkeypatch.setattr(datasets.CIFAR10, "train_list", [batch(name) for name, _ in datasets.CIFAR10.train_list])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [batch("test_batch")])
    name, md5 = write("batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(datasets.CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": md5})
    return tmp_path


def test_cifar_is_read_as_torchvision_reads_it(cifar: Path) -> None:
    found = data.load("cifar10", str(cifar))
    theirs = datasets.CIFAR10(cifar, train=True)
    assert found.train_images.shape == (50, 3, 32, 32)
    assert np.array_equal(found.train_images.permute(0, 2, 3, 1).numpy(), theirs.data)
    assert found.train_labels.tolist() == theirs.targets


def test_a_changed_cifar_batch_is_named_and_never_unpickled(cifar: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.abort, ()

    batch = cifar / datasets.CIFAR10.base_folder / "data_batch_3"
    batch.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match=r"data_batch_3 is damaged: its MD5"):
        data.load("cifar10", str(cifar))
    batch.unlink()
    with pytest.raises(ValueError, match=r"'cifar10' is not in the data root.*data_batch_3.*--download"):
        data.load("cifar10", str(cifar))


def test_a_download_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("Error downloading x\nmore")

    monkeypatch.setattr(datasets.CIFAR100, "download", refuse)
    with pytest.raises(ValueError, match=r"\Acannot get data set 'cifar100' into [^\n]*: Error downloading x\Z"):
        data.load("cifar100", str(tmp_path), download=True)


def images(place: Path, classes: int = 3, n: int = 10, size: tuple[int, int] = (12, 10), mode: str = "RGB") -> Path:
    for label in range(classes):
        (place / f"c{label}").mkdir(parents=True)
        for i in range(n):
            channels = (3,) if mode == "RGB" else ()
            pixels = RNG.integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"c{label}" / f"{i:03}.png")
    return place


def test_a_folder_with_train_and_test(tmp_path: Path) -> None:
    images(tmp_path / "own" / "train")
    images(tmp_path / "own" / "test", n=4)
    found = data.load(f"folder:{tmp_path / 'own'}", str(tmp_path))
    assert found.train_images.shape == (30, 3, 10, 12)
    assert found.train_labels.tolist() == [0, 1, 2] * 10  # any first part is balanced
    assert len(found.test_labels) == 12
    theirs = datasets.ImageFolder(tmp_path / "own" / "train")
    assert np.array_equal(found.train_images[7 * 3 + 1].permute(1, 2, 0).numpy(), np.asarray(theirs[17][0]))


def test_a_folder_without_test_gives_every_fifth_image_to_it(tmp_path: Path) -> None:
    place = images(tmp_path / "own", mode="L")
    found = data.load(f"folder:{place}", str(tmp_path))
    assert found.image == (1, 10, 12)
    assert (len(found.train_labels), len(found.test_labels)) == (24, 6)
    assert found.test_labels.bincount().tolist() == [2, 2, 2]
    train, test = ({i.numpy().tobytes() for i in part} for part in (found.train_images, found.test_images))
    assert not train & test


def test_a_folder_is_decoded_once_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = images(tmp_path / "own")
    first = folder.load(str(place), str(tmp_path))
    monkeypatch.setattr(folder, "_pixels", lambda *_: pytest.fail("decoded again"))
    again = folder.load(str(place), str(tmp_path))
    assert torch.equal(first[0][0], again[0][0])
    monkeypatch.undo()
    (cache,) = (tmp_path / ".cache").glob("*.images")
    flip(cache, 3000)  # a damaged cache is no cache
    assert torch.equal(folder.load(str(place), str(tmp_path))[0][0], first[0][0])
    Image.new("RGB", (12, 10)).save(place / "c1" / "003.png")
    changed = folder.load(str(place), str(tmp_path))
    assert not torch.equal(changed[0][0], first[0][0])


def test_a_folder_is_read_where_no_cache_can_be_written(tmp_path: Path) -> None:
    place = images(tmp_path / "own")
    (tmp_path / "file").write_text("")
    assert folder.load(str(place), str(tmp_path / "file"))[2] == 3


def test_images_of_different_sizes_need_a_side(tmp_path: Path) -> None:
    place = images(tmp_path / "own")
    Image.new("RGB", (30, 40)).save(place / "c0" / "odd.png")
    with pytest.raises(ValueError, match=r"odd\.png is 30x40, others are 12x10.*@10"):
        folder.load(str(place), str(tmp_path))
    (found, _), *_ = folder.load(f"{place}@8", str(tmp_path))
    assert found.shape[1:] == (3, 8, 8)
    for bad in ("@0", "@x", "@99999", "@"):
        with pytest.raises(ValueError, match="side after '@'"):
            folder.load(f"{place}{bad}", str(tmp_path))


def bomb(path: Path) -> None:
    """A PNG of a few bytes that claims 50,000 x 50,000 pixels."""
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b""))


FOLDER_FAULTS: dict[str, tuple[Damage, str]] = {
    "truncated": (lambda p: os.truncate(p / "c1/004.png", 200), r"004\.png is damaged"),
    "no image": (lambda p: (p / "c1/004.png").write_text("hello"), r"004\.png is no image"),
    "empty file": (lambda p: (p / "c2/000.png").write_bytes(b""), r"000\.png is no image"),
    "bomb": (lambda p: bomb(p / "c0/005.png"), r"005\.png .*(exceeds limit|claims 50000x50000)"),
    "no images in a class": (lambda p: [f.unlink() for f in (p / "c2").iterdir()], "c2 holds no images"),
    "one class": (lambda p: [remove(p / c) for c in ("c1", "c2")], "one class only, 'c0'"),
    "nothing": (lambda p: [remove(p / c) for c in ("c0", "c1", "c2")], "holds no images"),
    "not there": (lambda p: p.rename(p.with_name("other")), "is not there"),
}


def remove(place: Path) -> None:
    for file in place.iterdir():
        file.unlink()
    place.rmdir()


@pytest.mark.parametrize("fault", FOLDER_FAULTS)
def test_faults_of_folders_are_refused_by_name(fault: str, tmp_path: Path) -> None:
    place = images(tmp_path / "own")
    damage, words = FOLDER_FAULTS[fault]
    damage(place)
    with pytest.raises(ValueError, match=words) as caught:
        folder.load(str(place), str(tmp_path))
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / ".cache").glob("*.images"))


def test_cifar10_jpeg_is_a_folder_of_the_data_root(tmp_path: Path) -> None:
    data.load.cache_clear()
    with pytest.raises(ValueError, match=r"'cifar10-jpeg' is not in the data root"):
        data.load("cifar10-jpeg", str(tmp_path))
    images(tmp_path / "cifar10-jpeg" / "train", size=(32, 32))
    images(tmp_path / "cifar10-jpeg" / "test", size=(32, 32), n=2)
    assert data.load("cifar10-jpeg", str(tmp_path)).image == (3, 32, 32)


def test_random_labels_keep_images_and_class_counts(tmp_path: Path) -> None:
    plain, shuffled = data.load("digits"), data.load("random-labels:digits")
    assert torch.equal(plain.train_images, shuffled.train_images)
    assert torch.equal(plain.train_labels.bincount(), shuffled.train_labels.bincount())
    assert torch.equal(plain.test_labels, shuffled.test_labels)
    assert (plain.train_labels == shuffled.train_labels).float().mean() < 0.15
    assert plain.digest != shuffled.digest
    place = images(tmp_path / "own")
    assert data.load(f"random-labels:folder:{place}", str(tmp_path)).classes == 3


def test_digits_and_synthetic_are_what_they_are() -> None:
    found = data.load("digits")
    assert found.digest == "489bbe9cbb7c00ed"  # pinned: results of the default study stand on it
    for name in ("digits", "synthetic"):
        found = data.load(name)
        assert found.train_images.dtype == torch.uint8
        assert int(found.train_images.max()) <= found.full_scale
        assert sorted(found.train_labels.unique().tolist()) == list(range(found.classes))
        assert sorted(found.test_labels.unique().tolist()) == list(range(found.classes))


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    for name in ("cifar", "folder:", "random-labels:", "random-labels", "fashionmnist"):
        with pytest.raises(ValueError, match=r"unknown dataset.*fashion-mnist.*folder:PATH"):
            data.load(name)


def trial(**values: Any) -> Trial:
    return Trial("t", values.pop("architecture", ARCHITECTURES["plain"]), values.pop("depth", 18), 0, **values)


def test_images_too_small_for_the_stages_are_refused() -> None:
    tiny = replace(data.load("synthetic"), train_images=torch.arange(256 * 16).reshape(256, 1, 4, 4).to(torch.uint8))
    with pytest.raises(ValueError, match=r"4x4 in 'synthetic' are too small for layout 'four-stage': stage 4"):
        data.check(trial(dataset="synthetic"), tiny)
    data.check(trial(dataset="synthetic", resize=8), tiny)
    data.check(trial(dataset="synthetic", layout="cifar", depth=20), tiny)
    data.check(trial(dataset="synthetic", layout="dense"), tiny)
    eight = data.load("synthetic")
    with pytest.raises(ValueError, match=r"8x8 .* 'imagenet': stage 3"):
        data.check(trial(dataset="synthetic", layout="imagenet"), eight)
    data.check(trial(dataset="synthetic", layout="imagenet", resize=96), eight)
    tokens = {"dataset": "synthetic", "layout": "transformer", "architecture": ARCHITECTURES["pre-norm"]}
    data.check(trial(**tokens), eight)
    with pytest.raises(ValueError, match=r"9x9 is no whole number of them: resize the images \(resize = 16\)"):
        data.check(trial(**tokens, resize=9), eight)


def test_batches_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="batch_size 300 is larger than the 256"):
        data.for_trial(trial(dataset="synthetic", batch_size=300))
    with pytest.raises(ValueError, match="last batch of one image"):
        data.for_trial(trial(dataset="synthetic", batch_size=51, drop_last=False))
    data.for_trial(trial(dataset="synthetic", batch_size=51))
    with pytest.raises(ValueError, match="first 1 training images of 'synthetic' are of one class"):
        data.for_trial(trial(dataset="synthetic", batch_size=1, train_examples=1))


def test_what_the_data_and_the_probes_cannot_give_is_refused_before_any_work() -> None:
    for name, have in (("train_examples", 256), ("test_examples", 64)):
        with pytest.raises(ValueError, match=f"{name} 1000000 is more than the {have} images of 'synthetic'"):
            environments(Machine(), [trial(dataset="synthetic", **{name: 1000000})])
    with pytest.raises(ValueError, match="Did you mean 'lesions'"):
        environments(Machine(), [trial(dataset="synthetic", probes=("lesion",))])


def test_streams_differ_by_trial_and_purpose() -> None:
    assert len({stream(seed, purpose) for seed in range(50) for purpose in ("order", "augment", "own")}) == 150
