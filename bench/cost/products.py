"""Counts the multiply-adds of whatever runs: one counter, for the summary and for the cost of a step.

Counted are products of matrices and vectors and convolutions, by torch's own formulas and by those that torch lacks,
whichever module asks for them and however often. Other operators that are given weights, and decompositions and the
like, are named, not left out silently.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

# Images of the two passes that `of_one_image` compares. Even: some blocks halve a batch, and BatchNorm refuses one.
IMAGES = (2, 4)


def of_one_image(some: int, more: int) -> int:
    """Multiply-adds of one image, by those of the two passes: what each image needs, and what each pass needs once."""
    each = (more - some) // (IMAGES[1] - IMAGES[0])
    return max(0, some - (IMAGES[0] - 1) * each)


def _like(x: Tensor, *others: Tensor) -> Tensor:
    return torch.empty(np.broadcast_shapes(x.shape, *(y.shape for y in others)), device="meta")


def _mean(x: Tensor, dims: list[int], keepdim: bool = False) -> Tensor:
    kept = [1 if i in dims else n for i, n in enumerate(x.shape) if keepdim or i not in dims]
    return torch.empty(kept, device="meta")


def _convolution(x: Tensor, weight: Tensor, *args: Any) -> Tensor:
    stride, padding, dilation = args[1:4]
    sides = [
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, k, s, p, d in zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=False)
    ]
    return torch.empty(x.shape[0], weight.shape[0], *sides, device="meta")


def _batch_norm(x: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    statistics = torch.empty(x.shape[1], device="meta")
    return _like(x), statistics, _like(statistics)


def _pad(x: Tensor, padding: list[int], *_: Any) -> Tensor:
    sides = list(x.shape)
    for i in range(len(padding) // 2):
        sides[-1 - i] += padding[2 * i] + padding[2 * i + 1]
    return torch.empty(sides, device="meta")


def _trilinear(_: Tensor, *args: Any) -> int:
    """Of nn.Bilinear: each weight times a product of two inputs."""
    shapes = []
    for factor, places in zip(args[:3], args[3:6], strict=True):
        shape = list(factor.shape)
        for place in places:
            shape.insert(place, 1)
        shapes.append(shape)
    return math.prod(np.broadcast_shapes(*shapes))


def _rnn_layer(_: Tensor, x: Tensor, *args: Any) -> int:
    weights: int = args[0].numel() + args[1].numel()
    return x.shape[:-1].numel() * weights


def _tensors(args: Iterable[Any]) -> Iterator[Tensor]:
    for each in args:
        if isinstance(each, Tensor):
            yield each
        elif isinstance(each, list | tuple):
            yield from _tensors(each)


class Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts multiply-adds, and answers the commonest operations on the meta device by their shapes alone.

    torch's own rules for them are Python that first imports half of the compiler (5 s of CPU time) and
    then takes 10 ms per block. Operations that are not listed go to torch.

    Args:
        meta: Whether what runs is on the meta device.
        weights: Parameters; what is done with matrices among them and not counted is named.

    Attributes:
        macs: Multiply-adds so far.
        left_out: Operators of which nothing was counted: given a matrix of weights, or of linear algebra.
    """

    _RULES: ClassVar[dict[str, Callable[..., Any]]] = {
        "aten::convolution": _convolution,
        "aten::native_batch_norm": _batch_norm,
        "aten::relu": _like,
        "aten::tanh": _like,
        "aten::add.Tensor": _like,
        "aten::constant_pad_nd": _pad,
        "aten::mean.dim": _mean,
        "aten::mm": lambda x, y: torch.empty(x.shape[0], y.shape[1], device="meta"),
        "aten::addmm": lambda _, x, y: torch.empty(x.shape[0], y.shape[1], device="meta"),
    }

    # What torch has no formula for: multiply-adds by output and arguments.
    _FORMULAS: ClassVar[dict[str, Callable[..., int]]] = {
        "aten::mv": lambda _, x, y: x.numel(),
        "aten::addmv": lambda _, z, x, y: x.numel(),
        "aten::dot": lambda _, x, y: x.numel(),
        "aten::vdot": lambda _, x, y: x.numel(),
        "aten::addbmm": lambda _, z, x, y: x.numel() * y.shape[-1],
        "aten::_trilinear": _trilinear,
        "aten::conv_tbc": lambda out, x, weight, *_: out.numel() * weight.shape[:2].numel(),
        "aten::mkldnn_rnn_layer": _rnn_layer,
        "torchvision::deform_conv2d": lambda out, x, weight, *_: out.numel() * weight[0].numel(),
    }

    # What multiplies no matrix, besides views and what works on each value alone or sums values up.
    _FREE: ClassVar[frozenset[str]] = frozenset(
        f"aten::{name}"
        for name in (
            "_embedding_bag", "_fused_rms_norm", "_local_scalar_dense", "_log_softmax", "_softmax", "_to_copy",
            "_weight_norm_interface", "cat", "clone", "constant_pad_nd", "copy_", "cumsum", "embedding", "empty_like",
            "equal", "flip", "full_like", "gather", "index", "index_select", "linalg_vector_norm", "native_batch_norm",
            "native_group_norm", "native_layer_norm", "new_empty", "new_full", "new_ones", "new_zeros", "ones_like",
            "rand_like", "randn_like", "repeat", "roll", "sort", "stack", "std", "std_mean", "topk", "tril", "triu",
            "var", "var_mean", "zeros_like",
        )
    )  # fmt: skip

    # Such as the exponential of a matrix that is made of weights.
    _ALGEBRA = ("aten::linalg_", "aten::_linalg_", "aten::cholesky", "aten::triangular_solve", "aten::_cdist")

    def __init__(self, meta: bool, weights: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs, self.left_out = 0, set[str]()
        self._rules = self._RULES if meta else {}
        self._weights = {weight.untyped_storage()._cdata for weight in weights if weight.dim() > 1}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # wrapping what is never compiled would import the compiler

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func.name(), kwargs or {}
        base = name.partition(".")[0]
        formula = flop_registry.get(func._overloadpacket)
        rule = None if name == "aten::convolution" and args[6] else self._rules.get(name)
        if rule:
            out = rule(*args)
        else:
            if not formula and base not in self._FORMULAS:
                with self:  # what is made of others, as within `torch.inference_mode`
                    out = func.decompose(*args, **kwargs)
                if out is not NotImplemented:
                    return out
            out = func(*args, **kwargs)
        if formula:
            self.macs += formula(*args, **kwargs, out_val=out) // 2  # torch counts two for a multiply-add
        elif base in self._FORMULAS:
            self.macs += self._FORMULAS[base](out, *args)
        elif self._multiplies(func, base, (*args, *kwargs.values())):
            self.left_out.add(base)
        return out

    def _multiplies(self, func: Any, base: str, args: Iterable[Any]) -> bool:
        """Whether an operator that has no formula may multiply matrices: of weights, or whatever it is given."""
        if base.startswith(self._ALGEBRA) and base not in self._FREE:
            return True
        if base in self._FREE or func.is_view or {torch.Tag.pointwise, torch.Tag.reduction} & set(func.tags):
            return False
        return any(x.layout == torch.strided and x.untyped_storage()._cdata in self._weights for x in _tensors(args))
