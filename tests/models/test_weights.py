"""State dicts of other implementations: torchvision's, and nets of the usual CIFAR form, written here."""

import copy
from collections import OrderedDict

import pytest
import torch
from made_peers import assert_same_step
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet

from models.network import build
from models.spec import ARCHITECTURES, ModelSpec
from models.weights import load_by_order, misfits


def ours(name: str, layout: str, depth: int, width: int = 16, classes: int = 10, device: str = "cpu") -> nn.Module:
    return build(ModelSpec(ARCHITECTURES[name], layout, depth, width, (3, 32, 32), classes), device=device)


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_torchvisions_networks_give_the_same_logits(depth: int) -> None:
    torch.manual_seed(depth)
    theirs = getattr(resnet, f"resnet{depth}")(num_classes=20).eval()
    with torch.no_grad():  # statistics that are not those of a fresh net
        for module in theirs.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.1, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.3, 1.0)
                module.bias.uniform_(-0.1, 0.1)
    mine = ours("resnet-b", "imagenet", depth, 64, 20, device="meta").to_empty(device="cpu")
    load_by_order(mine, theirs.state_dict())
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected, found = theirs(x), mine.eval()(x)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("depth", [18, 50])
def test_torchvisions_networks_train_alike(depth: int) -> None:
    torch.manual_seed(depth)
    theirs = getattr(resnet, f"resnet{depth}")(num_classes=10)
    mine = ours("resnet-b", "imagenet", depth, 64, device="meta").to_empty(device="cpu")
    load_by_order(mine, theirs.state_dict())
    assert_same_step(mine, theirs, torch.randn(4, 3, 64, 64))


class UsualBlock(nn.Module):
    """A basic block as public CIFAR repositories write it, shortcut A by slicing and padding.

    Some pad at the end, others (the best-known weights among them) a quarter of the new width on each side.
    """

    def __init__(self, c_in: int, c_out: int, stride: int, both_sides: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.stride = stride
        self.padding = (c_out // 4, c_out // 4) if both_sides and c_out > c_in else (0, c_out - c_in)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *self.padding))
        return F.relu(out + shortcut)


class UsualNet(nn.Module):
    def __init__(self, both_sides: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        shapes = [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2 + [(32, 64, 2)] + [(64, 64, 1)] * 2
        self.layers = nn.Sequential(*(UsualBlock(*shape, both_sides) for shape in shapes))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(F.relu(self.bn1(self.conv1(x))))
        return self.linear(F.avg_pool2d(x, x.shape[3]).flatten(1))


@pytest.mark.parametrize(("name", "both_sides"), [("resnet", False), ("resnet-both-sides", True)])
def test_a_usual_cifar_net_loads_by_order_and_shape(name: str, both_sides: bool) -> None:
    theirs = UsualNet(both_sides).eval()
    # As such files are: saved from DataParallel, and without the counters that old versions did not have.
    state = OrderedDict((f"module.{k}", v) for k, v in theirs.state_dict().items() if "num_batches" not in k)
    mine = ours(name, "cifar", 20)
    assert sum(p.numel() for p in mine.parameters()) == 269_722
    assert misfits(mine, state) == []
    load_by_order(mine, {"epoch": 200, "state_dict": state})
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(mine.eval()(x), theirs(x), rtol=1e-5, atol=1e-5)


def test_shapes_that_fit_are_no_proof_and_an_example_of_outputs_is() -> None:
    theirs = UsualNet(both_sides=True).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        example = x, theirs(x)
    wrong, right = ours("resnet", "cifar", 20), ours("resnet-both-sides", "cifar", 20)
    before = {k: v.clone() for k, v in wrong.state_dict().items()}
    assert misfits(wrong, theirs.state_dict()) == []
    with pytest.raises(ValueError, match="every shape fits, but the example's logits differ"):
        load_by_order(wrong, theirs.state_dict(), example)
    assert all(torch.equal(v, before[k]) for k, v in wrong.state_dict().items())
    load_by_order(right, theirs.state_dict(), example)


@pytest.mark.parametrize("depth", [20, 110])
def test_paddings_are_one_function_up_to_the_order_of_channels(depth: int) -> None:
    """Weights move from one form to the other by permuting the channels of the second and third stage."""
    torch.manual_seed(0)
    end, both = ours("resnet", "cifar", depth).eval(), ours("resnet-both-sides", "cifar", depth).eval()
    # By stage width: which channel of the net that pads at the end stands at each place of the other.
    order = {16: torch.arange(16)}
    for width in (32, 64):
        new = torch.arange(width // 2, width)
        order[width] = torch.cat([new[: width // 4], order[width // 2], new[width // 4 :]])
    moved = {}
    for name, value in end.state_dict().items():
        for axis in (0, 1):
            if value.dim() > axis and value.shape[axis] in order and not (name.startswith("head") and axis == 0):
                value = value.index_select(axis, order[value.shape[axis]])
        moved[name] = value
    load_by_order(both, moved)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected, found = end(x), both(x)
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_what_does_not_fit_is_said_and_nothing_is_copied() -> None:
    mine = ours("resnet", "cifar", 20)
    before = {k: v.clone() for k, v in mine.state_dict().items()}
    state = ours("resnet-b", "cifar", 20).state_dict()
    lines = misfits(mine, state)
    assert "blocks.3.shortcut.0.weight 32x16x1x1" in lines[0]
    with pytest.raises(ValueError, match=r"does not fit.*and \d+ more"):
        load_by_order(mine, state)
    assert all(torch.equal(v, before[k]) for k, v in mine.state_dict().items())


def test_too_few_and_too_many_tensors_are_said() -> None:
    mine = ours("plain", "cifar", 20)
    state = mine.state_dict()
    short = OrderedDict(list(state.items())[:-1])
    assert misfits(mine, short) == ["head.bias 10 gets nothing: the state dict ends before it"]
    assert misfits(mine, {**state, "extra.weight": torch.zeros(2)}) == [
        "extra.weight 2 of the state dict has no place: the network ends before it"
    ]
    swapped = OrderedDict((k.replace("stem.norm.weight", "stem.norm.bias_"), v) for k, v in state.items())
    assert len(misfits(mine, swapped)) == 1


@pytest.mark.parametrize("odd", [3, "text", None, [1.0], {"a": 1}])
def test_what_is_no_tensor_is_refused_by_name(odd: object) -> None:
    network = ours("resnet", "cifar", 20)
    with pytest.raises(ValueError, match=rf"epoch of the state dict is {type(odd).__name__}, no tensor"):
        load_by_order(network, {**network.state_dict(), "epoch": odd})
    load_by_order(network, {"state_dict": network.state_dict(), "epoch": odd})


@pytest.mark.parametrize("name", ["resnet", "preact", "resnet-b", "plain-orthogonal"])
@pytest.mark.parametrize("counters", [False, True])
def test_a_state_dict_loads_as_a_plain_dict_and_with_counters(name: str, counters: bool) -> None:
    """As files of other programs are: torch's own marks of a version are lost in them."""
    theirs, mine = ours(name, "cifar", 20), ours(name, "cifar", 20)
    with torch.no_grad():
        for value in theirs.state_dict().values():
            value.add_(0.5)
    state = dict(theirs.state_dict())
    if counters:
        state |= {k.replace("running_mean", "num_batches_tracked"): torch.tensor(7) for k in state if "mean" in k}
    mine.load_state_dict(state)
    assert all(torch.equal(a, b) for a, b in zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True))
    assert mine.state_dict().keys() == theirs.state_dict().keys()
    copied = copy.deepcopy(mine)
    copied.load_state_dict(state)
