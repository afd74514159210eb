"""Images that stand twice in a data set: in both splits, or under two labels. Pure, of pixels and labels.

An error on test images that were trained on says nothing, and one picture under two labels cannot be learnt.
"""

import hashlib
from collections import Counter

from torch import Tensor


def told(name: str, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> str:
    """What a data set repeats, in words; empty where it repeats nothing.

    Args:
        name: Of the data set.
        train: Images, uint8 N x C x H x W, and their labels.
        test: Likewise.

    Raises:
        ValueError: One line: every test image is a training image, or every image of a class stands under another
            label, too.
    """
    of_train, of_test = (list(zip(_digests(images), labels.tolist(), strict=True)) for images, labels in (train, test))
    labels: dict[bytes, set[int]] = {}
    for digest, label in of_train:
        labels.setdefault(digest, set()).add(label)
    seen = sum(digest in labels for digest, _ in of_test)
    if of_test and seen == len(of_test):
        raise ValueError(
            f"data set {name!r}: all {seen} test images are training images, too: errors on new images would mean"
            " nothing"
        )
    twice = [label for digest, label in of_train if len(labels[digest]) > 1]
    in_two = Counter(twice)
    for label, count in Counter(label for _, label in of_train).items():
        if in_two[label] == count:
            raise ValueError(
                f"data set {name!r}: all {count} training images of class {label} (counted from 0) stand under another"
                " label, too"
            )
    said = []
    if seen:
        said.append(f"{seen} of {len(of_test)} test images are training images, too")
    if twice:
        said.append(f"{len(twice)} of {len(of_train)} training images stand under another label, too")
    return "; ".join(said)


def _digests(images: Tensor) -> list[bytes]:
    return [hashlib.sha256(image.data).digest() for image in images.contiguous().numpy()]
