"""Batches made on the device equal what torchvision makes image by image, and are made faster."""

import dataclasses
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from bench.data import datasets as data
from bench.data.images import PAD, Images, crop_flip, mean_and_deviation
from bench.plan import study
from bench.plan.checkout import ROOT
from bench.plan.trial import Trial
from models.spec import ARCHITECTURES

GENERATOR = torch.Generator()


def made(images: torch.Tensor, **values: Any) -> Images:
    labels = torch.arange(len(images)) % 2
    stored = data.Data(images, labels, images, labels, classes=2, full_scale=255)
    return Images(stored, Trial("t", ARCHITECTURES["plain"], 18, 0, **values))


@pytest.mark.parametrize("size", [96, 64, 28, 14])
def test_resizing_is_pillows(size: int) -> None:
    """As the document does it: torchvision's Resize on a PIL image, then ToTensor."""
    GENERATOR.manual_seed(0)
    # Smooth and noisy: white noise alone shows edges, no other image does as much.
    stored = torch.randint(0, 256, (6, 1, 28, 28), generator=GENERATOR).to(torch.uint8)
    ours = made(stored, resize=size, normalize=False).prepare(stored)
    theirs = transforms.Compose([transforms.Resize((size, size)), transforms.ToTensor()])
    expected = torch.stack([theirs(Image.fromarray(image[0].numpy())) for image in stored])
    # Pillow rounds to whole grey values after each of its two passes: at most one value, half on average.
    assert (ours - expected).abs().max() <= 1.01 / 255
    assert (ours - expected).abs().mean() <= 0.4 / 255
    # The page of the document's study tells of it.
    assert "inputs differ by up to 1/255" in study.load("document").description


def test_normalisation_is_that_of_the_training_set() -> None:
    GENERATOR.manual_seed(1)
    stored = (torch.rand(50, 3, 8, 8, generator=GENERATOR) * torch.tensor([255, 99, 20])[:, None, None]).to(torch.uint8)
    x = made(stored).prepare(stored)
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)
    plain = made(stored, normalize=False).prepare(stored)
    torch.testing.assert_close(plain, stored.float() / 255)


def test_crop_flip_gives_crops_of_the_padded_image_each_equally_often() -> None:
    image = torch.arange(1, 31, dtype=torch.uint8).view(1, 1, 5, 6)
    padded = np.pad(image[0, 0].numpy(), PAD)
    n, counts = 20_000, Counter[bytes]()
    for crop in crop_flip(image.expand(n, 1, 5, 6), GENERATOR.manual_seed(2)):
        counts[crop[0].numpy().tobytes()] += 1
    for top in range(2 * PAD + 1):
        for left in range(2 * PAD + 1):
            crop = padded[top : top + 5, left : left + 6]
            for way in (crop, crop[:, ::-1]):
                # Binomial, 123 expected and a deviation of 11.
                assert 68 < counts.pop(way.tobytes()) < 178
    assert not counts


def test_crop_flip_moves_channels_together_and_depends_on_its_stream_only() -> None:
    image = torch.randint(0, 256, (64, 1, 8, 8), generator=GENERATOR.manual_seed(3)).to(torch.uint8)
    crops = crop_flip(image.expand(64, 3, 8, 8), GENERATOR.manual_seed(4))
    assert torch.equal(crops[:, 0], crops[:, 2])
    torch.rand(9)
    assert torch.equal(crops, crop_flip(image.expand(64, 3, 8, 8), GENERATOR.manual_seed(4)))
    assert not torch.equal(crops, crop_flip(image.expand(64, 3, 8, 8), GENERATOR.manual_seed(5)))


def test_test_images_are_never_augmented() -> None:
    stored = torch.randint(0, 256, (4, 3, 8, 8), generator=GENERATOR).to(torch.uint8)
    images = made(stored, augment="crop-flip", normalize=False)
    torch.testing.assert_close(images.prepare(stored), stored.float() / 255)


def test_a_batch_is_made_at_least_three_times_faster_than_image_by_image() -> None:
    stored = torch.randint(0, 256, (512, 3, 32, 32), generator=GENERATOR).to(torch.uint8)
    images = made(stored, augment="crop-flip")
    theirs = transforms.Compose([
        transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
        transforms.Normalize((0.5,) * 3, (0.25,) * 3),
    ])  # fmt: skip
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in stored]
    indices = torch.arange(128)

    def seconds(make: Any) -> float:
        start = time.process_time()
        make()
        return time.process_time() - start

    images.train(indices, GENERATOR)
    ours = min(seconds(lambda: images.train(indices, GENERATOR)) for _ in range(5))
    each = min(seconds(lambda: torch.stack([theirs(picture) for picture in pictures[:128]])) for _ in range(3))
    assert each > 3 * ours, f"{each * 1e3:.1f} ms against {ours * 1e3:.1f} ms per batch of 128"
    print(f"a batch of 128 at 3x32x32: {each * 1e3:.2f} ms image by image, {ours * 1e3:.2f} ms at once")


def test_normalisation_is_torchs_to_the_last_bit() -> None:
    GENERATOR.manual_seed(0)
    stored = torch.randint(0, 256, (50, 3, 9, 9), generator=GENERATOR).to(torch.uint8)
    mean, deviation = mean_and_deviation(stored, 255)
    pixels = stored.double() / 255
    assert torch.equal(mean.float(), pixels.mean((0, 2, 3)).float())
    assert torch.equal(deviation.float(), pixels.std((0, 2, 3)).float())


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_channel_without_variation_becomes_zero(value: int) -> None:
    """Microscopy with two dyes leaves one channel empty: no network "diverges" for that."""
    GENERATOR.manual_seed(0)
    stored = torch.randint(0, 256, (50, 3, 9, 9), generator=GENERATOR).to(torch.uint8)
    stored[:, 2] = value
    ours = made(stored).prepare(stored)
    assert ours[:, 2].abs().max() < 1e-6
    assert torch.allclose(ours[:, :2].std((0, 2, 3)), torch.ones(2), atol=1e-4)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_images_of_one_colour_are_no_data(value: int) -> None:
    """A lens cap or a failed export: what a net learns of it is no finding."""
    some, asked = data.load("synthetic"), Trial("t", ARCHITECTURES["plain"], 18, 0, dataset="synthetic")
    blank = dataclasses.replace(some, train_images=torch.full_like(some.train_images, value))
    with pytest.raises(ValueError, match="'synthetic' are of one colour: nothing to tell apart"):
        data.check(asked, blank)
    blank.train_images[-1, 0, 1, 1] = value ^ 1
    data.check(asked, blank)


def test_normalisation_takes_little_memory_beside_the_data() -> None:
    """In a process of its own: the mark of this one may be higher already."""
    code = """
import resource, torch
from bench.data.images import mean_and_deviation
stored = torch.randint(0, 256, (8000, 3, 64, 64), dtype=torch.uint8)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
mean_and_deviation(stored[:10], 255)
before = peak()
mean_and_deviation(stored, 255)
print((peak() - before) / stored.numel())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 2
