"""Which files of a folder are images of which class: splits recognised, and what is left out counted.

Opens no image. Nothing is skipped without a word: what cannot be followed or read is refused by name, and what is no
image by its name is counted. How images are decoded is `folder`'s business.
"""

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # torchvision's own list
# What systems keep beside a user's files under names that are not hidden: thumbnails, and what was thrown away.
_OF_SYSTEMS = ("@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN", "lost+found")
# Every fifth image of a class tests where there is no folder "test": as with the digits.
_TEST_EVERY = 5
# The usual names of the parts of a data set, in small letters, without "set", "data", "images" and numbers at the end.
_PARTS = {
    "train": ("train", "training", "trn"),
    "test": ("test", "testing", "tst", "eval", "evaluation"),
    "val": ("val", "valid", "validation", "dev", "holdout"),
}
_ENDINGS = ("set", "data", "images", "split")
# In any part of a folder's name: it may be meant as a split.
_SUSPECT = {word for words in _PARTS.values() for word in words} | {"fold", "split", "part"}


@dataclass(frozen=True)
class Listing:
    """The files of a data set, before any is opened.

    Attributes:
        folder: Where they lie.
        classes: Names of the classes, sorted.
        train, test: Files, each with the number of its class.
        left_out: What lies there and is not read, in words; empty where all of it is.
    """

    folder: Path
    classes: tuple[str, ...]
    train: tuple[tuple[Path, int], ...]
    test: tuple[tuple[Path, int], ...]
    left_out: str = ""


@dataclass
class _Walk:
    """Looks into folders, and counts what it leaves out by kind, with the names or endings of a kind."""

    counts: Counter[str] = field(default_factory=Counter)
    names: dict[str, set[str]] = field(default_factory=dict)

    def leave(self, kind: str, name: str) -> None:
        """Counts one thing that is not read."""
        self.counts[kind] += 1
        self.names.setdefault(kind, set()).add(name)

    def words(self) -> str:
        """What was left out, in words."""
        texts = []
        for kind, count in sorted(self.counts.items()):
            names = sorted(self.names[kind])
            more = ", ..." if len(names) > 5 else ""
            texts.append(f"{count} {kind} ({', '.join(names[:5])}{more})")
        return ", ".join(texts)

    def look(self, folder: Path, count: bool = True) -> tuple[list[Path], list[Path]]:
        """Folders and images in a folder, links followed, sorted.

        Args:
            folder: Where to look.
            count: Whether what is left out counts; not when it is looked into again.

        Raises:
            ValueError: It cannot be read, or a link leads nowhere; one line.
        """
        folders, images = [], []
        path = folder
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
            for entry in found:
                path = Path(entry.path)
                if entry.name.startswith(".") or entry.name in _OF_SYSTEMS:
                    kind, name = "hidden", entry.name
                elif entry.is_dir():
                    folders.append(path)
                    continue
                elif entry.is_symlink() and not path.exists():
                    raise ValueError(f"{path} is a link that leads nowhere")
                elif path.suffix.lower() in SUFFIXES and entry.is_file():
                    images.append(path)
                    continue
                else:
                    kind, name = "that are no images by their names", path.suffix.lower() or entry.name
                if count:
                    self.leave(kind, name)
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
        return folders, images

    def classes(self, folder: Path) -> list[Path]:
        """The folders in a folder; images that lie beside them are of no class."""
        folders, images = self.look(folder)
        for path in images:
            self.leave("images outside of any class", path.name)
        return folders

    def images(self, folder: Path, above: tuple[Path, ...] = ()) -> list[Path]:
        """All images in and under a folder.

        Raises:
            ValueError: As `look`, or a link leads back to a folder that it lies in.
        """
        here = folder.resolve()
        if here in above:
            raise ValueError(f"{folder} leads back to {here}, which it lies in")
        folders, images = self.look(folder)
        for inner in folders:
            images += self.images(inner, (*above, here))
        return images


def listed(folder: Path) -> Listing:
    """Finds classes and files.

    Args:
        folder: Holds train/CLASS/* and test/CLASS/* (or val/; or another of their usual names), or CLASS/* alone, of
            which every fifth image then tests.

    Raises:
        ValueError: One line naming the folder and the fault.
    """
    if not folder.is_dir():
        raise ValueError(f"folder {folder} is not there")
    walk = _Walk()
    folders, _ = walk.look(folder, count=False)
    train_folder, test_folder = _splits(folder, folders, walk)
    if train_folder and test_folder:
        walk.classes(folder)
        for path in folders:
            if path not in (train_folder, test_folder):
                walk.leave("folders beside the splits", f"{path.name}/")
        classes, train = _files(train_folder, walk)
        test_classes, test = _files(test_folder, walk, least=1)
        if extra := set(test_classes) - set(classes):
            raise ValueError(f"folder {test_folder} has class {min(extra)!r}, which {train_folder} has not")
        test = [(path, classes.index(test_classes[label])) for path, label in test]
    else:
        classes, found = _files(folder, walk)
        place: Counter[int] = Counter()
        train, test = [], []
        for path, label in found:
            (test if place[label] % _TEST_EVERY == 0 else train).append((path, label))
            place[label] += 1
    for label, count in enumerate(np.bincount([label for _, label in train], minlength=len(classes))):
        if not count:
            raise ValueError(f"folder {folder}: class {classes[label]!r} has no training image")
    return Listing(folder, classes, tuple(train), tuple(test), walk.words())


def _splits(folder: Path, folders: list[Path], walk: _Walk) -> tuple[Path | None, Path | None]:
    """The folders to train and to test on; None where there are none. What holds images itself is a class."""
    nested: dict[str, list[Path]] = {}
    flat: dict[str, list[Path]] = {}
    for path in folders:
        if part := _part(path.name):
            (nested if walk.look(path, count=False)[0] else flat).setdefault(part, []).append(path)
    if "train" in flat and len(flat) > 1:
        names = " and ".join(f"{paths[0].name}/" for paths in flat.values())
        raise ValueError(f"folder {folder}: {names} look like splits, but hold no folder for each class")
    if "train" not in nested:
        return None, None
    others = nested.get("test") or nested.get("val")
    if not others:
        raise ValueError(f"folder {folder} has {nested['train'][0].name}/ but neither test/ nor val/")
    for paths in (nested["train"], others):
        if len(paths) > 1:
            raise ValueError(f"folder {folder} has {' and '.join(f'{p.name}/' for p in paths)}: which is meant?")
    return nested["train"][0], others[0]


def _part(name: str) -> str:
    """Which part of a data set a folder is by its name: "train", "test", "val", or "" for none."""
    word = re.sub(r"[^a-z]", "", name.lower())
    for ending in _ENDINGS:
        word = word.removesuffix(ending) or word
    return next((part for part, words in _PARTS.items() if word in words), "")


def _files(folder: Path, walk: _Walk, least: int = 2) -> tuple[tuple[str, ...], list[tuple[Path, int]]]:
    """The names of the classes, and the files with their class, a file of each class in turn."""
    folders = walk.classes(folder)
    if not folders:
        raise ValueError(f"folder {folder} holds no images: it must have a folder for each class")
    _refuse_splits(folder, folders, walk)
    classes = [path.name for path in folders]
    found = []
    for label, path in enumerate(folders):
        paths = sorted(walk.images(path))
        if not paths:
            raise ValueError(f"folder {path} holds no images ({', '.join(SUFFIXES)})")
        found += [(image, label) for image in paths]
    if len(classes) < least:
        raise ValueError(f"folder {folder} has one class only, {classes[0]!r}: there is nothing to tell apart")
    # Class after class, the first images of a set would be of one class: one of each in turn.
    place: Counter[int] = Counter()
    turns = []
    for path, label in found:
        turns.append((place[label], label, path))
        place[label] += 1
    return tuple(classes), [(path, label) for _, label, path in sorted(turns)]


def _refuse_splits(folder: Path, folders: list[Path], walk: _Walk) -> None:
    """Refuses classes that look like splits: a network would learn to tell the splits apart."""
    inside = []
    for path in folders:
        inner, images = walk.look(path, count=False)
        if inner and not images and _SUSPECT & set(re.split(r"[^a-z]+", path.name.lower())):
            raise ValueError(f"folder {path} looks like a split, not like a class; name splits train/ and test/")
        if not images and len({part for p in inner if (part := _part(p.name))}) > 1:
            raise ValueError(
                f"folder {path} holds {' and '.join(f'{p.name}/' for p in inner[:3])}, which look like splits:"
                f" these stand at the top, train/{path.name}/ and test/{path.name}/"
            )
        inside.append((frozenset(p.name for p in inner), bool(images)))
    names = inside[0][0]
    if len(folders) > 1 and len(names) > 1 and inside.count((names, False)) == len(folders):
        raise ValueError(
            f"folder {folder}: each of {', '.join(p.name for p in folders[:3])} holds the folders"
            f" {', '.join(sorted(names)[:3])}: splits are named train/ and test/, a class holds its images itself"
        )
