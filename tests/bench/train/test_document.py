"""Study `document` is the document's experiment: against a plain PyTorch transcription of its text, written here."""

import math

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import transforms

from bench.data.datasets import Data
from bench.data.images import Images
from bench.plan import study
from bench.train.step import Step, learning_rates, steps_per_epoch
from models.network import build
from models.spec import ModelSpec


class Residual(nn.Module):
    def __init__(self, input_channels: int, num_channels: int, use_1x1conv: bool = False, strides: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(input_channels, num_channels, kernel_size=3, padding=1, stride=strides)
        self.conv2 = nn.Conv2d(num_channels, num_channels, kernel_size=3, padding=1)
        self.conv3 = nn.Conv2d(input_channels, num_channels, kernel_size=1, stride=strides) if use_1x1conv else None
        self.bn1 = nn.BatchNorm2d(num_channels)
        self.bn2 = nn.BatchNorm2d(num_channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (self.conv3(x) if self.conv3 is not None else x))


def stage(input_channels: int, num_channels: int, first: bool = False) -> list[nn.Module]:
    head = Residual(input_channels, num_channels, use_1x1conv=not first, strides=1 if first else 2)
    return [head, Residual(num_channels, num_channels)]


def transcription() -> nn.Sequential:
    stem = [nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3), nn.BatchNorm2d(64), nn.ReLU()]
    blocks = [*stage(64, 64, first=True), *stage(64, 128), *stage(128, 256), *stage(256, 512)]
    head = [nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(512, 10)]
    net = nn.Sequential(*stem, nn.MaxPool2d(kernel_size=3, stride=2, padding=1), *blocks, *head)
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
    return net


BLOCK = {
    **{"conv1": "branch.conv1", "conv2": "branch.conv2", "conv3": "shortcut"},
    **{"bn1": "branch.norm1", "bn2": "branch.norm2"},
}
NAMES = {"0": "stem.conv", "1": "stem.norm", "14": "head"}


def our_name(theirs: str) -> str:
    number, rest = theirs.split(".", 1)
    if number in NAMES:
        return f"{NAMES[number]}.{rest}"
    layer, rest = rest.split(".", 1)
    return f"blocks.{int(number) - 4}.{BLOCK[layer]}.{rest}"


TRIAL = next(t for t in study.load("document").trials if t.purpose == "train")
SPEC = ModelSpec(TRIAL.architecture, TRIAL.layout, TRIAL.depth, TRIAL.width, (1, 96, 96), 10)


def test_the_recipe_is_the_documents() -> None:
    assert (TRIAL.dataset, TRIAL.resize, TRIAL.batch_size, TRIAL.epochs) == ("fashion-mnist", 96, 256, 10)
    assert (TRIAL.momentum, TRIAL.weight_decay, TRIAL.clip_norm, TRIAL.label_smoothing) == (0, 0, 0, 0)
    assert (TRIAL.augment, TRIAL.normalize, TRIAL.drop_last, TRIAL.test_each_epoch) == ("none", False, False, True)
    per_epoch = steps_per_epoch(TRIAL, 60_000)
    assert per_epoch == 235  # the last, partial batch of 96 is trained on
    assert learning_rates(TRIAL, per_epoch) == [0.05] * 2350
    assert {t.seed for t in study.load("document").trials} == {0, 1, 2}


def test_the_short_study_differs_only_in_what_it_says() -> None:
    short = next(t for t in study.load("document-short").trials if t.purpose == "train")
    differs = {k for k, v in TRIAL.to_json().items() if short.to_json()[k] != v}
    assert differs == {"study", "train_examples", "test_examples", "epochs"}
    assert "short" in study.load("document-short").title


def test_initial_values_have_the_same_statistics() -> None:
    theirs, ours = transcription().state_dict(), build(SPEC, seed=0).state_dict()
    theirs = {name: their for name, their in theirs.items() if not name.endswith("num_batches_tracked")}
    assert {our_name(name) for name in theirs} == set(ours)
    for name, their in theirs.items():
        our = ours[our_name(name)]
        assert our.shape == their.shape
        if "running" in name or ("bn" in name or name.startswith("1.")):
            assert torch.equal(our, their), name
            continue
        n = our.numel()
        # Uniform around zero: the deviation of a deviation of n draws is 0.45 of it over sqrt(n).
        assert abs(float(our.mean())) < 5 * float(their.std()) / math.sqrt(n), name
        assert float(our.std()) == pytest.approx(float(their.std()), rel=5 / math.sqrt(n)), name
        assert float(our.abs().max()) == pytest.approx(float(their.abs().max()), rel=20 / n + 1e-3), name


@pytest.mark.parametrize("resized_by", ["pillow", "us"])
def test_one_step_gives_the_same_loss_and_weights(resized_by: str) -> None:
    """From the same weights and images: the loss of the first step, and the loss and the weights after it."""
    generator = torch.Generator().manual_seed(0)
    # Patches as clothes have them, not white noise.
    coarse = torch.rand(12, 1, 7, 7, generator=generator)
    stored = (F.interpolate(coarse, scale_factor=4, mode="bilinear") * 255).to(torch.uint8)
    labels = torch.arange(12) % 10
    images = Images(Data(stored, labels, stored, labels, classes=10, full_scale=255), TRIAL)
    ours = build(SPEC, seed=1)
    theirs = transcription()
    state = ours.state_dict()
    wanted = [name for name in theirs.state_dict() if not name.endswith("num_batches_tracked")]
    theirs.load_state_dict({name: state[our_name(name)].clone() for name in wanted}, strict=False)
    step = Step(ours, images, TRIAL, "cpu")
    step()

    as_the_document = transforms.Compose([transforms.Resize((96, 96)), transforms.ToTensor()])
    pillow = torch.stack([as_the_document(Image.fromarray(image[0].numpy())) for image in stored])
    x = pillow if resized_by == "pillow" else images.prepare(stored)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05)
    loss = nn.CrossEntropyLoss()(theirs(x), labels)
    loss.backward()
    optimizer.step()
    within = 2e-3 if resized_by == "pillow" else 1e-5
    assert float(step.loss) == pytest.approx(loss.item(), rel=within)
    after = [F.cross_entropy(net(x).float(), labels).item() for net in (ours, theirs)]
    assert after[0] == pytest.approx(after[1], rel=10 * within)
    if resized_by == "us":
        for name, their in theirs.named_parameters():
            torch.testing.assert_close(ours.get_parameter(our_name(name)), their, rtol=1e-3, atol=1e-5)
