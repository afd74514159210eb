"""Nets that others have published, written here in our words, and the rows that compute the same to rounding."""

from collections.abc import Callable

import pytest
import torch
from made_peers import assert_same_step
from torch import Tensor, nn
from torch.nn import functional as F

from models.network import build
from models.spec import ARCHITECTURES, ModelSpec
from models.weights import UNPROVED, load_by_order, misfits

Image = tuple[int, int, int]


def ours(
    name: str, layout: str, depth: int, width: int = 8, image: Image = (3, 32, 32), device: str = "cpu"
) -> nn.Module:
    return build(ModelSpec(ARCHITECTURES[name], layout, depth, width, image, 10), device=device)


class Basic(nn.Module):
    """Two 3x3 layers after activation (fb.resnet.torch, preresnet); a shortcut that pads gets what the branch gets."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.n1, self.c1 = nn.BatchNorm2d(c_in), nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.n2, self.c2 = nn.BatchNorm2d(c_out), nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.stride, self.extra = stride, c_out - c_in

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.n1(x))
        if self.extra:
            x = F.pad(y[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))
        return x + self.c2(F.relu(self.n2(self.c1(y))))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 after activation (resnet-1k-layers): the stride on the first, projections without BatchNorm."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        c = c_out // 4
        self.n1, self.c1 = nn.BatchNorm2d(c_in), nn.Conv2d(c_in, c, 1, stride, bias=False)
        self.n2, self.c2 = nn.BatchNorm2d(c), nn.Conv2d(c, c, 3, 1, 1, bias=False)
        self.n3, self.c3 = nn.BatchNorm2d(c), nn.Conv2d(c, c_out, 1, bias=False)
        self.project = nn.Conv2d(c_in, c_out, 1, stride, bias=False) if c_in != c_out else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.n1(x))
        out = self.c3(F.relu(self.n3(self.c2(F.relu(self.n2(self.c1(y)))))))
        return out + (x if self.project is None else self.project(y))


class Preactivated(nn.Sequential):
    def __init__(self, unit: Callable[[int, int, int], nn.Module], count: int, width: int, expansion: int) -> None:
        blocks, c_in = [], width
        for stage in range(3):
            for i in range(count):
                c_out = width * expansion * 2**stage
                # The stem's BatchNorm and ReLU are the first unit's own: written there, or here, they are the same.
                blocks.append(unit(c_in, c_out, 2 if stage and not i else 1))
                c_in = c_out
        tail = [nn.BatchNorm2d(c_in), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c_in, 10)]
        super().__init__(nn.Conv2d(3, width, 3, 1, 1, bias=False), *blocks, *tail)


class SharedStem(nn.Module):
    """fb.resnet.torch activates after the stem, and its first block does not: what passes on is the activated input."""

    def __init__(self, block: Basic) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.block.n1(x))
        return y + self.block.c2(F.relu(self.block.n2(self.block.c1(y))))


class Projected(nn.Module):
    """Layers with BatchNorm after each, ReLU after the sum; a 1x1 projection with BatchNorm where the shape changes."""

    def __init__(self, c_in: int, c_out: int, stride: int, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.shortcut = nn.Sequential()
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.layers(x) + self.shortcut(x))


def projected_basic(c_in: int, c_out: int, stride: int) -> nn.Module:
    """Two 3x3 layers (kuangliu/pytorch-cifar)."""
    first = [nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()]
    second = [nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False), nn.BatchNorm2d(c_out)]
    return Projected(c_in, c_out, stride, [*first, *second])


def projected_bottleneck(c_in: int, c_out: int, stride: int) -> nn.Module:
    """1x1, 3x3, 1x1 with the stride on the second (bearpaw/pytorch-classification)."""
    c = c_out // 4
    first = [nn.Conv2d(c_in, c, 1, bias=False), nn.BatchNorm2d(c), nn.ReLU()]
    second = [nn.Conv2d(c, c, 3, stride, 1, bias=False), nn.BatchNorm2d(c), nn.ReLU()]
    third = [nn.Conv2d(c, c_out, 1, bias=False), nn.BatchNorm2d(c_out)]
    return Projected(c_in, c_out, stride, [*first, *second, *third])


def projected(
    block: Callable[[int, int, int], nn.Module], stages: int, count: int, width: int, expansion: int
) -> nn.Module:
    """A 3x3 stem, stages of these blocks, the mean over the map, a linear head."""
    stem = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    wide = [width, *(width * expansion * 2**stage for stage in range(stages) for _ in range(count))]
    # A stage begins with a stride, but the first.
    blocks = [block(*wide[i : i + 2], 2 if i and i % count == 0 else 1) for i in range(stages * count)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide[-1], 10))


class DocumentBlock(nn.Module):
    """The document's: biases everywhere, and its convolutions made before its normalisations."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(c_in, c_out, 3, stride, 1), nn.Conv2d(c_out, c_out, 3, 1, 1)
        self.conv3 = nn.Conv2d(c_in, c_out, 1, stride) if stride > 1 else None
        self.bn1, self.bn2 = nn.BatchNorm2d(c_out), nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.conv3 is None else self.conv3(x)))


def document(width: int) -> nn.Module:
    stem = [nn.Conv2d(1, width, 7, 2, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    wide = [width, width, *(width * 2**stage for stage in range(1, 4) for _ in range(2))]
    blocks = [DocumentBlock(wide[max(0, i - 1)], c, 2 if i and c != wide[i - 1] else 1) for i, c in enumerate(wide)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide[-1], 10))


def stirred(network: nn.Module) -> nn.Module:
    """Statistics and scales that are not those of a fresh net."""
    torch.manual_seed(0)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.3, 0.3)
    return network.eval()


def example(network: nn.Module, image: Image = (3, 32, 32)) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    x = torch.randn(3, *image)
    with torch.no_grad():
        return x, network(x)


def test_the_published_bottlenecks_are_a_row() -> None:
    theirs = stirred(Preactivated(Bottleneck, 2, 8, 4))
    mine, shown = ours("preact-b", "cifar-bottleneck", 20), example(theirs)
    assert load_by_order(mine, theirs.state_dict(), shown) == ""
    # Without projections there is no place for theirs; without BatchNorm they are not those of "resnet-b".
    assert misfits(ours("preact", "cifar-bottleneck", 20), theirs.state_dict())


@pytest.mark.parametrize(("depth", "millions"), [(164, 1.7), (1001, 10.3)])
def test_the_published_bottlenecks_have_their_parameters(depth: int, millions: float) -> None:
    mine = ours("preact-b", "cifar-bottleneck", depth, 16, device="meta")
    with torch.device("meta"):
        theirs = Preactivated(Bottleneck, (depth - 2) // 9, 16, 4)
    count = sum(p.numel() for p in mine.parameters())
    assert count == sum(p.numel() for p in theirs.parameters())
    assert round(count / 1e6, 1) == millions


@pytest.mark.parametrize("depth", [20, 56])
def test_a_shortcut_of_the_activated_input_is_a_row_and_one_of_the_raw_input_another(depth: int) -> None:
    theirs = stirred(Preactivated(Basic, (depth - 2) // 6, 8, 1))
    theirs[1] = SharedStem(theirs[1])
    shown = example(theirs)
    assert load_by_order(ours("preact-shared", "cifar", depth), theirs.state_dict(), shown) == ""
    raw = ours("preact", "cifar", depth)
    assert misfits(raw, theirs.state_dict()) == []
    with pytest.raises(ValueError, match="every shape fits, but the example's logits differ"):
        load_by_order(raw, theirs.state_dict(), shown)
    assert load_by_order(raw, theirs.state_dict()) == UNPROVED


def test_the_documents_own_net_loads_where_an_example_proves_it() -> None:
    image = (1, 96, 96)
    theirs = stirred(document(8))
    mine, shown = ours("document", "imagenet", 18, 8, image), example(theirs, image)
    assert sum(p.numel() for p in mine.parameters()) == sum(p.numel() for p in theirs.parameters())
    before = {name: value.clone() for name, value in mine.state_dict().items()}
    with pytest.raises(ValueError, match=r"kind by kind it does: give an example") as caught:
        load_by_order(mine, theirs.state_dict())
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="logits differ"):
        load_by_order(mine, theirs.state_dict(), (shown[0], shown[1] + 1))
    assert all(torch.equal(value, before[name]) for name, value in mine.state_dict().items())
    assert load_by_order(mine, {"net": theirs.state_dict()}, shown) == ""
    with torch.no_grad():
        torch.testing.assert_close(mine.eval()(shown[0]), shown[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("layout", "depth", "width", "parameters", "theirs"),
    [
        ("cifar-bottleneck", 29, 16, 313_114, lambda: projected(projected_bottleneck, 3, 3, 16, 4)),
        ("four-stage", 18, 64, 11_173_962, lambda: projected(projected_basic, 4, 2, 64, 1)),
    ],
)
def test_nets_with_projections_train_as_their_rows_do(
    layout: str, depth: int, width: int, parameters: int, theirs: Callable[[], nn.Module]
) -> None:
    """bearpaw's CIFAR bottlenecks, and kuangliu's ResNet-18 with a 3x3 stem of 64 channels."""
    peer, mine = stirred(theirs()), ours("resnet-b", layout, depth, width)
    assert [sum(p.numel() for p in network.parameters()) for network in (mine, peer)] == [parameters, parameters]
    assert load_by_order(mine, peer.state_dict(), example(peer)) == ""
    torch.manual_seed(2)
    assert_same_step(mine, peer, torch.randn(4, 3, 32, 32))


@pytest.mark.parametrize(("depth", "parameters"), [(20, 269_722), (110, 1_727_962)])
def test_a_shortcut_of_the_activated_input_has_no_parameters(depth: int, parameters: int) -> None:
    theirs, mine = Preactivated(Basic, (depth - 2) // 6, 16, 1), ours("preact-shared", "cifar", depth, 16)
    assert [sum(p.numel() for p in network.parameters()) for network in (mine, theirs)] == [parameters, parameters]
