"""Batch normalisation in training as four kernels in Triton, each with what stands around it: addition and ReLU.

A map is a matrix of rows (images times positions) and channels. The first kernel of each direction sums over its part
of the rows and writes that down. In the second every program adds up all parts by itself, so that no third is needed,
none waits for another, and no sum depends on who comes first. Sums and statistics are in float32, whatever the maps.

Imported only where kernels are launched: torch's builds without CUDA have no Triton.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

# Elements of a map that a program holds at a time, 16 for each thread of 8 warps, and the most of a table that it adds
# up. Neither was tuned: no card was at hand.
CHUNK, TABLE, WARPS = 4096, 4096, 8


class Split(NamedTuple):
    """Who does what: `parts` of `each` rows, times blocks of channels."""

    each: int
    parts: int
    block_c: int

    @property
    def shape(self) -> dict[str, int]:
        return {"BLOCK_R": CHUNK // self.block_c, "BLOCK_C": self.block_c}

    @property
    def table(self) -> dict[str, int]:
        return {"PARTS": triton.next_power_of_2(self.parts)}


def split(rows: int, channels: int) -> Split:
    """Parts of whole chunks, as many as a table has room for."""
    block_c = min(64, max(16, triton.next_power_of_2(channels)))
    block_r = CHUNK // block_c
    each = block_r * triton.cdiv(triton.cdiv(rows, block_r), TABLE // block_c)
    return Split(each, triton.cdiv(rows, each), block_c)


def forward(
    x: Tensor, weight: Tensor, bias: Tensor, shortcut: Tensor | None, running_mean: Tensor, running_var: Tensor,
    momentum: float, eps: float, relu: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Normalises, adds, applies ReLU; moves the running statistics as torch does, their variance unbiased.

    Args:
        x: N x C x H x W, channels last.
        weight, bias, running_mean, running_var: C, float32.
        shortcut: As `x`, or None.

    Returns:
        The result, as `x`; mean and inverse deviation (2 x C, float32) for `backward`.
    """
    rows, channels = x.numel() // x.shape[1], x.shape[1]
    by = split(rows, channels)
    table = x.new_empty(2, by.parts, channels, dtype=torch.float32)
    saved = x.new_empty(2, channels, dtype=torch.float32)
    y = torch.empty_like(x)
    size = (rows, channels, by.each, by.parts)
    _launch(batch_norm_moments, by, channels, x, table, *size, **by.shape)
    _launch(
        batch_norm_apply, by, channels, x, x if shortcut is None else shortcut, table, weight, bias, y, saved,
        running_mean, running_var, *size, eps, momentum, ADD=shortcut is not None, RELU=relu, **by.shape, **by.table,
    )  # fmt: skip
    return y, saved


def backward(
    gradient: Tensor, beside: Tensor | None, x: Tensor, weight: Tensor, bias: Tensor, saved: Tensor, y: Tensor | None,
    added: bool, relu: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of input, weight, bias, and of what was added.

    Args:
        gradient: Of the result, channels last.
        beside: Another one to be summed up with it where something was added, else with the input's; or None.
        y: The result, where something was added before a ReLU; else the ReLU's mask is computed again.
    """
    rows, channels = x.numel() // x.shape[1], x.shape[1]
    by = split(rows, channels)
    table = x.new_empty(2, by.parts, channels, dtype=torch.float32)
    of_x, of_weight, of_bias = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(bias)
    size, again = (rows, channels, by.each, by.parts), relu and not added
    other = gradient if beside is None else beside
    written = added and (relu or beside is not None)
    passed = torch.empty_like(gradient) if written else gradient
    _launch(
        batch_norm_sums, by, channels, gradient, other, x, x if y is None else y, passed, saved, weight, bias, table,
        *size, BESIDE=added and beside is not None, MASKED=y is not None, WRITTEN=written, AGAIN=again, **by.shape,
    )  # fmt: skip
    _launch(
        batch_norm_gradient, by, channels, passed, other, x, saved, weight, bias, table, of_x, of_weight, of_bias,
        *size, BESIDE=not added and beside is not None, AGAIN=again, **by.shape, **by.table,
    )  # fmt: skip
    return of_x, of_weight, of_bias, passed


def _launch(kernel: Any, by: Split, channels: int, *arguments: Any, **constants: Any) -> None:
    """Launches a kernel.

    Raises:
        RuntimeError: It cannot be compiled or launched.
    """
    # Products and sums rounded apart: a mask that is computed again is then the first one, bit for bit.
    options = {"num_warps": WARPS, "enable_fp_fusion": False}
    try:
        kernel[by.parts, triton.cdiv(channels, by.block_c)](*arguments, **constants, **options)
    except RuntimeError:
        raise
    except Exception as error:  # Triton's own are of another kind
        raise RuntimeError(f"{kernel.__name__}: {type(error).__name__}: {error}") from error


@triton.jit
def batch_norm_moments(x, table, rows, channels, each, parts, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    """Of each part: its mean, and the sum of squares of what deviates from it.

    Deviations are first taken from the mean of the part's first chunk. Between that and the part's own mean lies at
    most what the values themselves spread: of the digits, the difference loses no more than there are chunks.
    """
    part, c, inside_c, places, count = _place(rows, channels, each, BLOCK_R, BLOCK_C)
    x += part.to(tl.int64) * each * channels
    r = tl.arange(0, BLOCK_R)[:, None]
    first = tl.load(x + places, mask=(r < count) & inside_c[None, :], other=0.0).to(tl.float32)
    pivot = tl.sum(first, 0) / tl.minimum(count, BLOCK_R)
    sums = tl.zeros([BLOCK_R, BLOCK_C], tl.float32)
    squares = tl.zeros([BLOCK_R, BLOCK_C], tl.float32)
    for start in range(0, count, BLOCK_R):
        inside = (start + r < count) & inside_c[None, :]
        value = tl.load(x + start * channels + places, mask=inside, other=0.0).to(tl.float32)
        apart = tl.where(inside, value - pivot[None, :], 0.0)
        sums += apart
        squares += apart * apart
    total = tl.sum(sums, 0)
    tl.store(table + part * channels + c, pivot + total / count, mask=inside_c)
    tl.store(table + (parts + part) * channels + c, tl.sum(squares, 0) - total * (total / count), mask=inside_c)


@triton.jit
def batch_norm_apply(
    x, shortcut, table, weight, bias, y, saved, running_mean, running_var, rows, channels, each, parts, eps, momentum,
    ADD: tl.constexpr, RELU: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """From the parts' moments to the result; the first part's programs also write statistics."""
    part, c, inside_c, places, count = _place(rows, channels, each, BLOCK_R, BLOCK_C)
    mean, squares = _merged(table, rows, channels, each, parts, c, PARTS)
    inverse = tl.rsqrt(squares / rows + eps)
    if part == 0:
        tl.store(saved + c, mean, mask=inside_c)
        tl.store(saved + channels + c, inverse, mask=inside_c)
        old_mean = tl.load(running_mean + c, mask=inside_c)
        old_var = tl.load(running_var + c, mask=inside_c)
        tl.store(running_mean + c, momentum * mean + (1 - momentum) * old_mean, mask=inside_c)
        unbiased = squares / (rows - 1)
        tl.store(running_var + c, momentum * unbiased + (1 - momentum) * old_var, mask=inside_c)
    factor = tl.load(weight + c, mask=inside_c, other=0.0)
    offset = tl.load(bias + c, mask=inside_c, other=0.0)
    before = part.to(tl.int64) * each * channels
    r = tl.arange(0, BLOCK_R)[:, None]
    for start in range(0, count, BLOCK_R):
        inside = (start + r < count) & inside_c[None, :]
        at = before + start * channels + places
        value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
        out = _normalised(value, mean, inverse) * factor[None, :] + offset[None, :]
        if ADD:
            out += tl.load(shortcut + at, mask=inside, other=0.0).to(tl.float32)
        if RELU:
            out = tl.where(out <= 0, 0.0, out)  # NaN stays NaN: it says that a net has diverged
        tl.store(y + at, out.to(y.dtype.element_ty), mask=inside)


@triton.jit
def batch_norm_sums(
    gradient, beside, x, y, passed, saved, weight, bias, table, rows, channels, each, parts, BESIDE: tl.constexpr,
    MASKED: tl.constexpr, WRITTEN: tl.constexpr, AGAIN: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Of each part: the sum of the gradient, and that of its products with the normalised input.

    The gradient is what ReLU lets through: where, the result says (MASKED), or what is computed again for it (AGAIN).
    WRITTEN: it is written down for the second kernel, and is the shortcut's, too.
    """
    part, c, inside_c, places, count = _place(rows, channels, each, BLOCK_R, BLOCK_C)
    mean, inverse, factor, offset = _of_channels(saved, weight, bias, channels, c, inside_c)
    before = part.to(tl.int64) * each * channels
    r = tl.arange(0, BLOCK_R)[:, None]
    sums = tl.zeros([BLOCK_R, BLOCK_C], tl.float32)
    products = tl.zeros([BLOCK_R, BLOCK_C], tl.float32)
    for start in range(0, count, BLOCK_R):
        inside = (start + r < count) & inside_c[None, :]
        at = before + start * channels + places
        g = tl.load(gradient + at, mask=inside, other=0.0).to(tl.float32)
        normal = _normalised(tl.load(x + at, mask=inside, other=0.0).to(tl.float32), mean, inverse)
        if BESIDE:
            g += tl.load(beside + at, mask=inside, other=0.0).to(tl.float32)
        if MASKED:
            g = tl.where(tl.load(y + at, mask=inside, other=0.0).to(tl.float32) <= 0, 0.0, g)
        if AGAIN:
            g = tl.where(normal * factor[None, :] + offset[None, :] <= 0, 0.0, g)
        if WRITTEN:
            tl.store(passed + at, g.to(passed.dtype.element_ty), mask=inside)
        sums += g
        products += g * normal
    tl.store(table + part * channels + c, tl.sum(sums, 0), mask=inside_c)
    tl.store(table + (parts + part) * channels + c, tl.sum(products, 0), mask=inside_c)


@triton.jit
def batch_norm_gradient(
    gradient, beside, x, saved, weight, bias, table, of_x, of_weight, of_bias, rows, channels, each, parts,
    BESIDE: tl.constexpr, AGAIN: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """From the parts' sums to the input's gradient; the first part's programs also write those of weight and bias."""
    part, c, inside_c, places, count = _place(rows, channels, each, BLOCK_R, BLOCK_C)
    p = tl.arange(0, PARTS)[:, None]
    inside_p = (p < parts) & inside_c[None, :]
    sums = tl.sum(tl.load(table + p * channels + c[None, :], mask=inside_p, other=0.0), 0)
    products = tl.sum(tl.load(table + (parts + p) * channels + c[None, :], mask=inside_p, other=0.0), 0)
    if part == 0:
        tl.store(of_bias + c, sums, mask=inside_c)
        tl.store(of_weight + c, products, mask=inside_c)
    mean, inverse, factor, offset = _of_channels(saved, weight, bias, channels, c, inside_c)
    before = part.to(tl.int64) * each * channels
    r = tl.arange(0, BLOCK_R)[:, None]
    for start in range(0, count, BLOCK_R):
        inside = (start + r < count) & inside_c[None, :]
        at = before + start * channels + places
        g = tl.load(gradient + at, mask=inside, other=0.0).to(tl.float32)
        normal = _normalised(tl.load(x + at, mask=inside, other=0.0).to(tl.float32), mean, inverse)
        if AGAIN:
            g = tl.where(normal * factor[None, :] + offset[None, :] <= 0, 0.0, g)
        left = (g - sums[None, :] / rows - normal * (products[None, :] / rows)) * (factor * inverse)[None, :]
        if BESIDE:
            left += tl.load(beside + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(of_x + at, left.to(of_x.dtype.element_ty), mask=inside)


@triton.jit
def _place(rows, channels, each, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    """A program's part of the rows, its channels, which of them there are, places in a chunk, and the part's rows."""
    part = tl.program_id(0)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    places = tl.arange(0, BLOCK_R)[:, None] * channels + c[None, :]
    return part, c, c < channels, places, tl.minimum(each, rows - part * each)


@triton.jit
def _of_channels(saved, weight, bias, channels, c, inside_c):
    """Mean, inverse deviation, weight and bias of these channels."""
    mean = tl.load(saved + c, mask=inside_c, other=0.0)
    inverse = tl.load(saved + channels + c, mask=inside_c, other=0.0)
    factor = tl.load(weight + c, mask=inside_c, other=0.0)
    return mean, inverse, factor, tl.load(bias + c, mask=inside_c, other=0.0)


@triton.jit
def _normalised(value, mean, inverse):
    return (value - mean[None, :]) * inverse[None, :]


@triton.jit
def _merged(table, rows, channels, each, parts, c, PARTS: tl.constexpr):
    """Mean and sum of squared deviations of all rows, from those of the parts (Chan et al. 1979, equation 2.1)."""
    p = tl.arange(0, PARTS)[:, None]
    inside = (p < parts) & (c < channels)[None, :]
    means = tl.load(table + p * channels + c[None, :], mask=inside, other=0.0)
    squares = tl.load(table + (parts + p) * channels + c[None, :], mask=inside, other=0.0)
    counts = tl.where(p < parts, tl.minimum(each, rows - p * each), 0).to(tl.float32)
    pivot = tl.load(table + c, mask=c < channels, other=0.0)
    mean = pivot + tl.sum(counts * (means - pivot[None, :]), 0) / rows
    apart = tl.where(inside, means - mean[None, :], 0.0)
    total = tl.sum(squares + counts * apart * apart, 0)
    return mean, tl.where(total < 0, 0.0, total)
