"""Transformers and the four-layer dense block, beside torch's own layers and beside their papers' equations."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.blocks import Block
from models.layouts import misfit, patches
from models.network import Network, build
from models.parts import Times
from models.spec import ARCHITECTURES, ModelSpec
from models.tokens import MLP, PLACES, Attention, Patches

WIDTH, HEADS = 32, 4


def made(name: str, depth: int = 18, layout: str = "transformer", side: int = 8, width: int = WIDTH) -> Network:
    network = build(ModelSpec(ARCHITECTURES[name], layout, depth, width, (1, side, side), 10), seed=1)
    assert isinstance(network, Network)
    return network


def images(n: int = 3, side: int = 8) -> Tensor:
    return torch.randn(n, 1, side, side, generator=torch.Generator().manual_seed(0))


def torchs(attention: Block, mlp: Block, norm_first: bool) -> nn.TransformerEncoderLayer:
    """torch's own layer with the weights of two sublayers."""
    layer = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 4 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=norm_first
    )
    first, second = attention.branch.conv1, mlp.branch.conv1
    assert isinstance(first, Attention)
    assert isinstance(second, MLP)
    one, two = (block.before.norm if norm_first else block.after.norm for block in (attention, mlp))
    layer.load_state_dict({
        "self_attn.in_proj_weight": first.input.weight, "self_attn.in_proj_bias": first.input.bias,
        "self_attn.out_proj.weight": first.output.weight, "self_attn.out_proj.bias": first.output.bias,
        "linear1.weight": second.input.weight, "linear1.bias": second.input.bias,
        "linear2.weight": second.output.weight, "linear2.bias": second.output.bias,
        "norm1.weight": one.weight, "norm1.bias": one.bias, "norm2.weight": two.weight, "norm2.bias": two.bias,
    })  # fmt: skip
    return layer


def disturbed(network: Network) -> list[Block]:
    """Its blocks, with weights and shifts that are none of the usual values: a swapped or missing one would show."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    blocks = list(network.blocks)
    assert all(isinstance(block, Block) for block in blocks)
    return blocks  # type: ignore[return-value]


@pytest.mark.parametrize(("name", "norm_first"), [("pre-norm", True), ("post-norm", False)])
def test_two_sublayers_are_torchs_transformer_layer(name: str, norm_first: bool) -> None:
    """Outputs, and gradients of what they get."""
    network = made(name)
    blocks = disturbed(network)
    x = network.stem(images()).detach().requires_grad_()
    theirs = torchs(blocks[2], blocks[3], norm_first)
    ours, expected = blocks[3](blocks[2](x)), theirs(x)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(
        torch.autograd.grad(ours.square().sum(), x), torch.autograd.grad(expected.square().sum(), x)
    )


def test_attention_is_the_papers_formula() -> None:
    """Vaswani et al. 2017, equation 1, head by head."""
    attention = Attention(WIDTH, bias=True)
    x = torch.randn(2, 5, WIDTH, generator=torch.Generator().manual_seed(0))
    query, key, value = attention.input(x).chunk(3, dim=2)
    size, heads = WIDTH // HEADS, []
    for h in range(HEADS):
        own = slice(h * size, (h + 1) * size)
        shares = torch.softmax(query[..., own] @ key[..., own].transpose(1, 2) / math.sqrt(size), dim=2)
        heads.append(shares @ value[..., own])
    torch.testing.assert_close(attention(x), attention.output(torch.cat(heads, dim=2)))


def test_a_scaled_norm_is_divided_by_the_root_of_the_layers_number() -> None:
    """Sun et al. 2025: LayerNorm(x) / sqrt(l), one l for the attention and the MLP of a layer."""
    network = made("pre-norm-scaled")
    x = network.stem(images())
    for i, block in enumerate(network.blocks):
        assert isinstance(block, Block)
        layer = i // 2 + 1
        torch.testing.assert_close(block.before(x), F.layer_norm(x, (WIDTH,)) / math.sqrt(layer))
        x = block(x)
    # The norm before the head is not scaled.
    assert not any(isinstance(module, Times) for module in network.final)


def test_without_shortcuts_nothing_else_changes() -> None:
    plain, residual = made("transformer-plain").state_dict(), made("pre-norm").state_dict()
    assert plain.keys() == residual.keys()
    assert all(torch.equal(plain[key], residual[key]) for key in plain)
    x = torch.randn(2, 16, WIDTH)
    one, other = made("transformer-plain").blocks[0], made("pre-norm").blocks[0]
    torch.testing.assert_close(one(x) + x, other(x))


def test_a_token_is_a_patch_and_its_place() -> None:
    network = made("pre-norm", side=16)
    stem = network.stem.patches
    assert isinstance(stem, Patches)
    x = images(2, side=16)
    tokens = stem(x)
    assert tokens.shape == (2, 16, WIDTH)
    # Row by row: the sixth token is the patch in the second row and the second column.
    patch = x[:, :, 4:8, 4:8].flatten(1)
    torch.testing.assert_close(tokens[:, 5], patch @ stem.conv.weight.flatten(1).T + stem.conv.bias + stem.places[5])
    assert stem.places.std().item() == pytest.approx(PLACES, rel=0.15)


def test_places_are_what_tells_an_image_from_its_shuffled_patches() -> None:
    network = made("pre-norm").eval()
    x = images()
    shuffled = torch.cat([x[..., 4:], x[..., :4]], dim=3)  # whole patches change places
    assert not torch.allclose(network(x), network(shuffled), atol=1e-4)
    with torch.no_grad():
        network.stem.patches.places.zero_()  # type: ignore[union-attr, operator]
    torch.testing.assert_close(network(x), network(shuffled))


@pytest.mark.parametrize(
    ("image", "expected"),
    [((1, 8, 8), (2, 16)), ((1, 28, 28), (4, 49)), ((3, 32, 32), (8, 16)), ((1, 96, 96), (16, 36)),
     ((3, 224, 224), (32, 49)), ((1, 2, 2), (1, 4)), ((1, 8, 12), (2, 24))],
)  # fmt: skip
def test_images_are_cut_into_whole_patches(image: tuple[int, int, int], expected: tuple[int, int]) -> None:
    assert patches("transformer", image) == expected


def test_images_that_cannot_be_cut_are_refused_with_a_size_that_can() -> None:
    with pytest.raises(ValueError, match=r"9x9 is no whole number of them: resize the images \(resize = 16\)"):
        build(ModelSpec(ARCHITECTURES["pre-norm"], "transformer", 18, 16, (1, 9, 9), 10))


def test_a_convolutional_row_is_refused_as_a_transformer_with_those_that_fit() -> None:
    reason = misfit(ARCHITECTURES["resnet"], "transformer")
    assert "'resnet' is not possible in layout 'transformer'" in reason
    assert "pre-norm, pre-norm-scaled" in reason
    with pytest.raises(ValueError, match="it takes transformer-plain, post-norm"):
        made("resnet")


def test_the_four_layer_dense_block_is_its_papers() -> None:
    """Wang et al. 2025, figure 2: four times linear, LayerNorm, Swish; then the input is added, and nothing more."""
    network = made("dense-swish", layout="dense-four")
    for block in disturbed(network):
        x = y = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(3))
        for i in range(1, 5):
            linear, norm = (getattr(block.branch, f"{kind}{i}") for kind in ("conv", "norm"))
            y = F.linear(y, linear.weight, linear.bias)
            y = F.silu(F.layer_norm(y, (WIDTH,), norm.weight, norm.bias))
        torch.testing.assert_close(block(x), x + y)


def test_its_weights_start_uniform_with_a_third_over_fan_in() -> None:
    network = made("dense-swish", 66, "dense-four", width=64)
    weights = torch.stack([m.weight for k, m in network.named_modules() if ".conv" in k])  # type: ignore[misc]
    assert weights.var().item() == pytest.approx(1 / (3 * 64), rel=0.02)
    assert weights.abs().max().item() == pytest.approx(1 / 8, rel=1e-3)
    assert not any(m.bias.any() for k, m in network.named_modules() if ".conv" in k)  # type: ignore[operator, union-attr]
