"""What a network is like before anything is trained: shapes, parameters, FLOPs and activations, stage by stage.

Everything runs on the meta device, where tensors have shapes but no memory: a thousand layers cost a second.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.cost.products import IMAGES, Products, of_one_image
from bench.plan.errors import RAISED, reason
from bench.plan.trial import architecture as find_row
from models.blocks import weighted
from models.layouts import LAYOUTS
from models.network import Network, build, pooled
from models.spec import ModelSpec, unknown
from models.tokens import MLP, Attention, Patches

_BATCH = IMAGES[0]


@dataclass(frozen=True)
class Row:
    """One line of the table; counts are for one image, bytes in float32.

    Attributes:
        name: What part it is.
        detail: What it is made of.
        shape: Of its output, without the batch.
        parameters: Number of them, biases and normalisations included.
        macs: Multiply-adds of its convolutions and matrix products, padding included: fvcore's FLOPs.
        saved_bytes: Kept between forward and backward, parameters not counted.
        left_out: Operators whose multiply-adds are not counted.
    """

    name: str
    detail: str
    shape: tuple[int, ...]
    parameters: int
    macs: int
    saved_bytes: int
    left_out: tuple[str, ...] = ()


def rows(network: nn.Module, image: tuple[int, int, int]) -> list[Row]:
    """Measures each part of a network.

    Args:
        network: Built on "meta", where shapes are all that there is; or on "cpu", if that is not enough for it.
        image: Channels, height, width.

    Returns:
        A row for the stem, each stage, and each step of the head; a user's own whole network is one row.
    """
    device = next(network.parameters()).device
    x = torch.zeros(_BATCH, *image, device=device)
    found = []
    counted: set[nn.Parameter] = set()
    for part in _parts(network):
        row = _measure(*part, x, counted)
        found.append(row)
        x = torch.zeros(_BATCH, *row.shape, device=device, requires_grad=True)
    return found


Part = tuple[str, str, Callable[[Tensor], Tensor], list[nn.Module]]


def _parts(network: nn.Module) -> list[Part]:
    if not isinstance(network, Network):
        return [("network", type(network).__name__, network, [network])]
    tokens = isinstance(network.stem[0], Patches)
    parts: list[Part] = [("stem", _stem_text(network), network.stem, [network.stem])]
    at = 0
    for number, count in enumerate(network.stages, 1):
        blocks = list(network.blocks)[at : at + count]
        at += count
        unlike = 2 if tokens else 1  # attention and MLP by turns
        text = f"{count // unlike} x ({', '.join(_block_text(block) for block in blocks[:unlike])})"
        parts.append((f"stage {number}", text, nn.Sequential(*blocks), blocks))
    if len(network.final):
        parts.append(("final", " ".join(name for name, _ in network.final.named_children()), network.final,
                      [network.final]))  # fmt: skip
    if tokens:
        parts.append(("pool", "mean over the tokens", pooled, []))
    elif not network.dense:
        parts.append(("pool", "mean over each map", lambda x: x.mean((2, 3), keepdim=True), []))
        parts.append(("flatten", "", lambda x: x.flatten(1), []))
    return [*parts, ("head", "linear", network.head, [network.head])]


def _measure(
    name: str, detail: str, forward: Callable[[Tensor], Tensor], modules: list[nn.Module], x: Tensor,
    counted: set[nn.Parameter],
) -> Row:  # fmt: skip
    """One part. Parameters that parts share count in the first of them only."""
    own = {p.untyped_storage()._cdata for part in modules for p in part.parameters()}
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        # What every image needs grows with the batch; statistics of a layer, which do not, are too small to matter.
        if storage._cdata not in own:
            saved[storage._cdata] = storage.nbytes()
            kept.append(tensor)  # or its storage's address could be used again
        return tensor

    kept: list[Tensor] = []
    weights = [p for part in modules for p in part.parameters()]
    products = Products(x.is_meta, weights)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), products:
        out = forward(x)
    more = Products(x.is_meta, weights)
    with torch.no_grad(), more:
        forward(x.new_zeros(IMAGES[1], *x.shape[1:]))
    new = set(weights) - counted
    counted |= new
    parameters = sum(p.numel() for p in new)
    macs = of_one_image(products.macs, more.macs)
    bytes_ = sum(saved.values()) // _BATCH
    return Row(name, detail, tuple(out.shape[1:]), parameters, macs, bytes_, tuple(sorted(products.left_out)))


def _stem_text(network: Network) -> str:
    conv = next(module for module in network.stem.modules() if weighted(module))
    text = _layer_text(conv)
    return f"{text}, 3x3 max-pool" if len(network.stem) == 4 and not network.dense else text


def _block_text(block: nn.Module) -> str:
    made_of = {part for whole in block.modules() if isinstance(whole, Attention | MLP) for part in whole.modules()}
    layers = [m for k, m in block.named_modules() if weighted(m) and "shortcut" not in k]
    return ", ".join(_layer_text(m) for m in layers if isinstance(m, Attention | MLP) or m not in made_of)


def _layer_text(layer: nn.Module) -> str:
    if isinstance(layer, nn.Conv2d):
        return f"{layer.kernel_size[0]}x{layer.kernel_size[1]}, {layer.out_channels}"
    if isinstance(layer, Attention):
        return f"attention, {layer.heads} head{'s' * (layer.heads > 1)}"
    if isinstance(layer, MLP):
        return f"MLP, {layer.input.out_features}"
    return f"linear, {layer.out_features}" if isinstance(layer, nn.Linear) else type(layer).__name__


def image_size(text: str) -> tuple[int, int, int]:
    """Reads "1x224x224".

    Raises:
        ValueError: It is not channels x height x width.
    """
    found = re.fullmatch(r"(\d{1,5})[x,](\d{1,5})[x,](\d{1,5})", text.strip().lower(), re.ASCII)
    sizes = tuple(map(int, found.groups())) if found else ()
    if len(sizes) != 3 or 0 in sizes:
        raise ValueError(f"--input {text!r} must read channels x height x width, for example 1x28x28")
    return sizes[0], sizes[1], sizes[2]


def table(
    architecture: str, depth: int, input: str, width: int = 0, layout: str = "four-stage", classes: int = 10
) -> str:
    """The text that `python -m bench summary` prints.

    Args:
        architecture: A key of `ARCHITECTURES`, or one's own "package.module:function".
        depth: Weighted layers on the main path.
        input: Channels x height x width, as "1x28x28".
        width: Channels of the first stage; 0 takes the layout's own.
        layout: A key of `LAYOUTS`.
        classes: Outputs.

    Raises:
        ValueError: One line: an unknown name, an impossible depth, or an image that no layer can take.
    """
    image = image_size(input)
    if layout not in LAYOUTS:
        raise ValueError(unknown("layout", layout, LAYOUTS))
    if width < 0 or classes < 1:
        raise ValueError(f"--width {width} and --classes {classes} must be whole numbers above zero")
    spec = ModelSpec(find_row(architecture), layout, depth, width or LAYOUTS[layout].width, image, classes)
    try:
        return _text(spec, *_measured(spec, "meta"))
    except ValueError:
        if not spec.architecture.factory:
            raise
        return _text(spec, *_measured(spec, "cpu"))  # a user's code may look at values


def _measured(spec: ModelSpec, device: str) -> tuple[list[Row], int]:
    """The parts of a network, and its parameters.

    Raises:
        ValueError: One line: it cannot be built there, or cannot take the image.
    """
    name = spec.architecture.factory or spec.architecture.name
    try:
        network = build(spec, device=device)
    except RAISED as error:  # whatever a user's code does; torch, of too many channels
        raise ValueError(f"{name} cannot be built: {reason(error)}") from None
    try:
        return rows(network, spec.image), sum(p.numel() for p in network.parameters())
    except RAISED as error:  # likewise
        raise ValueError(f"{name} cannot take images of {_shape(spec.image)}: {reason(error)}") from None


def _text(spec: ModelSpec, found: list[Row], parameters: int) -> str:
    cells = [("", "", "output", "parameters", "FLOPs", "saved")]
    total = Row("total", "", (), parameters, sum(r.macs for r in found), sum(r.saved_bytes for r in found))
    for row in [*found, total]:
        shape = "x".join(map(str, row.shape))
        cells.append((row.name, row.detail, shape, f"{row.parameters:,}", f"{row.macs:,}", _bytes(row.saved_bytes)))
    widths = [max(len(line[i]) for line in cells) for i in range(6)]
    aligned = [[c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))]
               for line in cells]  # fmt: skip
    lines = ["  ".join(line).rstrip() for line in aligned]
    title = f"{spec.architecture.label}: {spec.layout} {spec.depth}, width {spec.width}, input {_shape(spec.image)}"
    notes = [
        "FLOPs: a forward pass of one image; fvcore's convention, one multiply-add counted once (counted as two: "
        f"{2 * total.macs:,}); convolutions and matrix products, padding included.",
        "saved: activations kept for the backward pass, one image, float32.",
    ]
    if left_out := sorted({name for row in found for name in row.left_out}):
        notes.append(f"FLOPs leave out what these operators multiply: {', '.join(left_out)}.")
    return "\n".join([title, "", *lines, "", *notes])


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _bytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.1f} KiB"
