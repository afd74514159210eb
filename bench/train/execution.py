"""How a step is executed: eagerly or as a CUDA graph, compiled or not, exactly or fast.

Holds the choice itself and torch's global switches that go with it (TF32, deterministic algorithms). It is no
part of a trial: a record's environment says how its trial was executed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from bench.plan.machine import KINDS
from bench.plan.trial import Trial

# cuBLAS is asked once per process, at its first product, whatever mode that is in: later it would be too late.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

# Whether a bf16 step runs fused blocks unless told otherwise.
FUSED = False


@dataclass(frozen=True)
class Execution:
    """The way of a step.

    Attributes:
        graph: Capture the whole step in one CUDA graph.
        compiled: Compile each block (not the network: time to the first step must not grow with depth).
        exact: Deterministic algorithms only, no search for the fastest ones: graphed and eager steps, and one
            run and the next, agree bit for bit.
        micro_batches: Parts that a batch is run in, one after the other, their gradients summed: less memory, the
            same update but for BatchNorm, which normalises by what it sees. Only where a whole batch did not fit.
        fused: Run BatchNorm, addition and ReLU of each block on the suite's own kernels (`fused`), where its pattern is
            known; `compiled` is then for the others. On CUDA only.
        cast_once: Cast all weights to bf16 in one call per step, not one by one (`casts`): the same numbers, fewer
            kernels. With bf16 only.
    """

    graph: bool = False
    compiled: bool = False
    exact: bool = False
    micro_batches: int = 1
    fused: bool = False
    cast_once: bool = False

    @property
    def name(self) -> str:
        """What a record says."""
        blocks = ["fused"] if self.fused else ["compile"] * self.compiled
        return "+".join([*["graph"] * self.graph, *blocks, *["exact"] * self.exact]) or "eager"


def usual(trial: Trial, device: str) -> Execution:
    """What a trial gets: on a CPU the eager step, which is repeatable as it is.

    On CUDA a graph; fp32 exactly, tf32 and bf16 as fast as they go. Compiling fuses BatchNorm, addition and ReLU,
    and its rounding differs, so it comes with bf16 only. On a CPU, steps with compiled blocks are slower, and to
    compile a whole net hardly pays (docs/performance.md, 3b). A user's own block may do with its weights what it
    likes, so autocast casts them one by one.
    """
    if not KINDS[device].graphs:
        return Execution()
    bf16 = trial.precision == "bf16"
    own = bool(trial.architecture.factory)
    return Execution(
        graph=True, compiled=bf16, exact=trial.precision == "fp32", fused=bf16 and FUSED, cast_once=bf16 and not own
    )


@contextmanager
def numerics(precision: str, exact: bool = False) -> Iterator[None]:
    """torch's global switches for a precision, put back at the end.

    Args:
        precision: "fp32": IEEE everywhere. "tf32": convolutions in TF32, torch's own default, matrix products not.
            "bf16": as "tf32" for what autocast leaves in float32. A CPU has no TF32: there it is fp32.
        exact: Deterministic algorithms, and no benchmark of algorithms.
    """
    cudnn: Any = torch.backends.cudnn  # a module that replaces itself
    product = torch.backends.cuda.matmul
    convolution, recurrent = cudnn.conv, cudnn.rnn
    filling: Any = torch.utils.deterministic
    before = (convolution.fp32_precision, product.fp32_precision, cudnn.benchmark, cudnn.deterministic,
              torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled(),
              filling.fill_uninitialized_memory, recurrent.fp32_precision)  # fmt: skip
    try:
        # All three together: the older switch, which others read, raises where one is set apart.
        cudnn.allow_tf32 = precision != "fp32"
        convolution.fp32_precision = recurrent.fp32_precision = "ieee" if precision == "fp32" else "tf32"
        product.fp32_precision = "ieee"
        # Where algorithms need not agree from run to run, cuDNN may look for the fastest.
        cudnn.benchmark, cudnn.deterministic = not exact and precision != "fp32", exact
        if exact:
            # No kernel here reads memory that it did not write; filling it would double the launches.
            filling.fill_uninitialized_memory = False
        _deterministic(exact, False)
        yield
    finally:
        cudnn.allow_tf32 = before[0] == "tf32"
        convolution.fp32_precision, product.fp32_precision = before[0], before[1]
        cudnn.benchmark, cudnn.deterministic = before[2], before[3]
        _deterministic(before[4], before[5])
        filling.fill_uninitialized_memory, recurrent.fp32_precision = before[6:]


def _deterministic(mode: bool, warn_only: bool) -> None:
    """Asks only for what is not so already: the first request imports torch's compiler, five seconds per process."""
    if (mode, warn_only) != (
        torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    ):  # fmt: skip
        torch.use_deterministic_algorithms(mode, warn_only=warn_only)
