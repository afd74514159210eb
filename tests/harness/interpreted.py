"""Fused norms in Triton's interpreter, which computes on the CPU what kernels compute on a card.

For a process that has TRITON_INTERPRET=1 before it loads triton: a `ghost.stage.Stage` plays these functions there.
"""

import importlib.util
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import triton.language as tl
from triton.runtime import interpreter

from bench.train import fused, kernels
from bench.train.fused import batch_norm
from tests.harness.norms import FEW, IN_PARTS, SMALL_TABLE, Case, errors
from tests.made_fused import compared

_cast: Callable[..., Any] = interpreter._convert_float


def _rounded(data: Any, source: Any, target: Any, mode: Any) -> Any:
    """To bf16 as cards do it, to the nearest; the interpreter cuts off."""
    if (source, target) == (tl.float32, tl.bfloat16):
        found = torch.from_numpy(np.array(data, np.float32)).to(torch.bfloat16).view(torch.int16).numpy()
        return found.view(np.uint16)
    if (source, target) == (tl.bfloat16, tl.float32):
        return (np.asarray(data).astype(np.uint32) << 16).view(np.float32)
    return _cast(data, source, target, mode)


interpreter._convert_float = _rounded


def values(places: list[int]) -> dict[str, dict[str, float]]:
    """Errors over their bounds of some of the cases."""
    return {str(FEW[place]): errors(FEW[place], "cpu") for place in places}


def in_parts() -> dict[str, float]:
    """The same where a part is several chunks."""
    kernels.TABLE = SMALL_TABLE
    return errors(IN_PARTS, "cpu")


def planted(old: str, new: str) -> list[str]:
    """Quantities that are out of bounds in some case where the kernels have a fault; none without one.

    Raises:
        ValueError: There is no such text in the kernels.
    """
    source = Path(kernels.__file__).read_text(encoding="utf-8")
    if old not in source:
        raise ValueError(f"no {old!r} in {kernels.__file__}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "planted.py"
        path.write_text(source.replace(old, new), encoding="utf-8")
        made = importlib.util.spec_from_file_location("planted", path)
        assert made is not None
        assert made.loader is not None
        module = importlib.util.module_from_spec(made)
        made.loader.exec_module(module)
        module.TABLE = SMALL_TABLE  # type: ignore[attr-defined]
        fused._kernels = lambda: module
        cases = [Case((2, 8, 1, 1)), Case((5, 24, 7, 3), added=False), IN_PARTS]
        found = [(name, error) for case in cases for name, error in errors(case, "cpu").items()]
    return sorted({name for name, error in found if not error <= 1})


def not_a_number() -> dict[str, bool]:
    """Whether NaN in one channel goes through ReLU, and stays there."""
    norm = torch.nn.BatchNorm2d(3)
    x = torch.randn(4, 3, 2, 2)
    x[1, 1, 0, 0] = math.nan
    y, _ = batch_norm(x, norm, torch.randn(4, 3, 2, 2), relu=True)
    return {"there": bool(y[:, 1].isnan().all()), "elsewhere": bool(y[:, [0, 2]].isnan().any())}


def trained(name: str, precision: str, fields: dict[str, Any]) -> dict[str, Any]:
    """See `compared`."""
    return compared(name, precision, fields)
