"""Folders of images as people have them: links, hidden folders, splits of any name."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_images import flat, image, pixels, tree
from PIL import Image
from PIL.Image import Transpose

from bench.data import datasets as data
from bench.data.folder import load
from bench.data.listing import listed
from bench.plan.trial import Trial
from models.spec import ARCHITECTURES

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


# Faults of the data that would look like findings.


def errors_of(place: Path) -> str:
    with pytest.raises(ValueError, match="data set 'folder:") as error:
        data.load(f"folder:{place}", str(place.parent))
    return str(error.value)


def test_a_test_set_that_was_trained_on_is_refused(tmp_path: Path) -> None:
    tree(tmp_path / "f", ("train",))
    (tmp_path / "f" / "test").symlink_to(tmp_path / "f" / "train")
    assert "all 10 test images are training images, too" in errors_of(tmp_path / "f")


def test_a_class_that_is_another_one_is_refused(tmp_path: Path) -> None:
    tree(tmp_path / "f", classes=("cat", "dog", "fox"))
    for part in ("train", "test"):
        for file in (tmp_path / "f" / part / "cat").iterdir():
            # Another file of the same pixels.
            Image.open(file).save(tmp_path / "f" / part / "dog" / file.name, compress_level=0)
    assert "all 5 training images of class 0 (counted from 0) stand under another label, too" in errors_of(
        tmp_path / "f"
    )


def test_a_few_repeated_images_are_counted(tmp_path: Path) -> None:
    tree(tmp_path / "f")
    image(tmp_path / "f" / "test" / "dog" / "0.png", pixels(1))  # train/cat/0.png
    image(tmp_path / "f" / "train" / "dog" / "0.png", pixels(2))  # train/cat/1.png
    found = data.load(f"folder:{tmp_path / 'f'}", str(tmp_path))
    assert found.repeated == (
        "1 of 10 test images are training images, too; 2 of 10 training images stand under another label, too"
    )


def test_images_that_are_all_alike_are_refused(tmp_path: Path) -> None:
    alike = pixels(7)
    images = torch.from_numpy(alike).permute(2, 0, 1).expand(8, -1, -1, -1)
    found = data.Data(images, torch.arange(8) % 2, images[:1], torch.zeros(1).long(), classes=2, full_scale=255)
    with pytest.raises(ValueError, match="are all alike: nothing to tell apart"):
        data.check(Trial("mine", ARCHITECTURES["resnet"], 10, 0, batch_size=4, layout="cifar"), found)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_as_its_camera_says(tmp_path: Path, orientation: int) -> None:
    """The image that is stored turned, with the word that says so, is the upright one."""
    upright = Image.fromarray(pixels(3, (6, 10, 3)))
    undo = {2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM, 5: Transpose.TRANSPOSE,
            6: Transpose.ROTATE_90, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_270}  # fmt: skip
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[274] = orientation
    for k in range(10):
        place = tmp_path / "f" / "ab"[k % 2] / f"{k}.png"
        image(place, pixels(k, (6, 10, 3)))
    stored.save(tmp_path / "f" / "a" / "0.png", exif=exif)
    (train, _), (test, _), _, _ = load(str(tmp_path / "f"), str(tmp_path))
    every = torch.cat([train, test])
    expected = torch.from_numpy(np.asarray(upright).copy()).permute(2, 0, 1)
    assert every.shape[1:] == (3, 6, 10)
    assert any(torch.equal(found, expected) for found in every)
