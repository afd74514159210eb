"""What surrounds a captured step: CUDA graphs, compiled and fused blocks, and activation checkpointing.

Each of these changes how a network is run and nothing else: weights, momentum, BatchNorm buffers and random
states are afterwards as they were, and each can be taken back. What a step does stands in `step`.
"""

import gc
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.torch_version import TorchVersion
from torch.utils.checkpoint import checkpoint

from bench.train.fused import Fused, known
from bench.train.turns import begins_compiling

# Eager steps before a capture: lazy handles, workspaces and compilation must not fall into it.
WARMUP_STEPS = 3
# Variants of one block class: two strides and `first` in up to four stages, training and evaluation, and the
# recomputation under checkpointing. dynamo's own limit of 8 would run the rest eagerly with only a log line.
RECOMPILE_LIMIT = 64

# What blocks were called by before `compile_blocks`.
_BEFORE_COMPILING: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()

Body = Callable[[], None]
Capture = Callable[[Body], Body]


@contextmanager
def restored(tensors: Sequence[Tensor], generators: Sequence[torch.Generator]) -> Iterator[None]:
    """Puts tensors (in place: a graph knows their addresses) and random states back as they were."""
    values = [t.detach().clone() for t in tensors]
    states = [g.get_state() for g in generators]
    host = torch.get_rng_state()
    device = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, values, strict=True):
                tensor.copy_(value)
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        torch.set_rng_state(host)
        if device is not None:
            torch.cuda.set_rng_state(device)


class CudaCapture:
    """Captures bodies as CUDA graphs that share one memory pool, on one stream.

    Sharing is safe because the graphs are replayed one after the other and none reads what another left, but
    for tensors that live outside the pool.

    Args:
        generators: Random generators that the bodies draw from, besides torch's own.
    """

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self.generators = [g for g in generators if g.device.type == "cuda"]
        self.stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self.pool = torch.cuda.graph_pool_handle()

    def warm_up(self, body: Body) -> None:
        """Runs a body on the capture's stream.

        Raises:
            RuntimeError: What the body raises, or that it waits for the device: inside a capture that would leave
                torch's allocator and generators unusable, here it costs nothing.
        """
        settle()  # there may have been no memory for it when the last one failed
        self.stream.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(self.stream):
                for _ in range(WARMUP_STEPS - 1):
                    body()
                with no_waiting():
                    body()
        finally:
            # Also after an error: the caller puts back what kernels may still be writing.
            torch.cuda.synchronize()
        # What the warm-up's activations took would lie idle beside the graph's pool.
        gc.collect()
        torch.cuda.empty_cache()
        # In the warm-up cuDNN may have looked for the fastest algorithms, which takes more than a shallow net's steps.
        torch.cuda.reset_peak_memory_stats()

    def __call__(self, body: Body) -> Body:
        """Captures a body, which is not run by it, and returns its replay."""
        graph = torch.cuda.CUDAGraph()
        if TorchVersion(torch.__version__) < "2.15":  # from then on a capture finds out itself what it draws from
            for generator in self.generators:
                graph.register_generator_state(generator)
        # The outer stream context: a capture that failed would leave its own stream as the current one.
        here = torch.cuda.stream(torch.cuda.current_stream())
        try:
            with here, torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
                body()
        except BaseException:
            self._recover()
            raise
        return graph.replay

    def _recover(self) -> None:
        """Undoes what a capture that cannot be ended leaves behind, so that steps can go on eagerly.

        In torch 2.11 its pool is still recorded into, so that its memory would never come back, and generators take
        themselves for captured and refuse to draw. Later versions clear up themselves: then the first call raises.
        """
        with suppress(RuntimeError):
            torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), self.pool)
            torch._C._cuda_releasePool(torch.cuda.current_device(), self.pool)
        self.pool = torch.cuda.graph_pool_handle()
        for generator in [*self.generators, torch.cuda.default_generators[torch.cuda.current_device()]]:
            sound = torch.Generator(generator.device)
            sound.set_state(generator.get_state())
            generator.graphsafe_set_state(sound.graphsafe_get_state())
        settle()


def settle() -> None:
    """Lets this thread and autograd's forget the error of a capture that failed.

    CUDA keeps the last error of each thread, torch does not always take it, and whatever is launched there next is
    blamed for it. An error that stays is not forgotten by this.
    """
    for _ in range(2):
        with suppress(RuntimeError):
            torch.ones((), device="cuda", requires_grad=True).exp().backward()  # type: ignore[no-untyped-call]


@contextmanager
def no_waiting() -> Iterator[None]:
    """Within, a call that would wait for the CUDA device raises RuntimeError."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "a prototype feature", says torch
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def compile_blocks(network: nn.Module, **options: Any) -> int:
    """Compiles each block of a network that is not fused; blocks of one shape share the result.

    Args:
        network: With a list `blocks`; without one, the whole network is compiled.
        options: For `torch.compile`.

    Returns:
        Compilations before these, for `check_compiled`; of trials by turns, before all of theirs.
    """
    # Another architecture's variants would count against the limit of the same class, its graph breaks against us.
    # Trials by turns have one architecture, and what was compiled for the first is there for the others.
    begins = begins_compiling()
    if begins:
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
    _allow_variants()
    for block in getattr(network, "blocks", [network]):
        repeated = vars(block).get("forward")
        if _is_fused(block):
            continue
        if isinstance(repeated, _Recomputed):
            # Inside the checkpoint: dynamo cannot follow statistics that are frozen in the repetition only.
            repeated.forward = torch.compile(repeated.forward, dynamic=False, **options)
        else:
            _BEFORE_COMPILING.setdefault(block, block._compiled_call_impl)
            block.compile(dynamic=False, **options)
    return compilations() if begins else 0


def _allow_variants() -> None:
    torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
    torch._dynamo.config.accumulated_recompile_limit = 4 * RECOMPILE_LIMIT


def compilations() -> int:
    """How many frames dynamo has compiled in this process."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def check_compiled(before: int) -> int:
    """Compilations since `before`.

    Raises:
        RuntimeError: Blocks fell back to eager: none was compiled, some was broken in two, or the limit was met.
    """
    made = compilations() - before
    breaks = sum(torch._dynamo.utils.counters["graph_break"].values())
    if made == 0 or breaks or made >= RECOMPILE_LIMIT:
        raise RuntimeError(f"compiled blocks fell back to eager: {made} variants, {breaks} graph breaks")
    return made


def fuse_blocks(network: nn.Module) -> int:
    """Gives each block that `fused` knows its kernels.

    Returns:
        How many blocks it left as they are, for `compile_blocks`.
    """
    left = 0
    for block in getattr(network, "blocks", [network]):
        repeated = vars(block).get("forward")
        inside = isinstance(repeated, _Recomputed) and repeated.own is None
        if _is_fused(block):
            continue
        if not known(block) or not (repeated is None or inside):
            left += 1
        elif inside:
            repeated.forward = Fused(block)
        else:
            block.forward = partial(Fused(block), block)
    return left


def _is_fused(block: nn.Module) -> bool:
    forward = vars(block).get("forward")
    return isinstance(forward.forward if isinstance(forward, _Recomputed) else getattr(forward, "func", None), Fused)


def uncompile(network: nn.Module) -> None:
    """Takes `compile_blocks` and `fuse_blocks` back, and nothing else: a block may be compiled by its own author."""
    for block in getattr(network, "blocks", [network]):
        if block in _BEFORE_COMPILING:
            block._compiled_call_impl = _BEFORE_COMPILING.pop(block)
        repeated = vars(block).get("forward")
        if isinstance(repeated, _Recomputed):
            repeated.forward = repeated.original
        elif _is_fused(block):
            del block.forward


@contextmanager
def uncompiled(network: nn.Module) -> Iterator[None]:
    """Within, compiled and fused blocks run as they are: another mode or size of batch would be compiled anew."""
    blocks = list(getattr(network, "blocks", [network]))
    fused = {block: vars(block)["forward"] for block in blocks if _is_fused(block)}
    compiled = {block: call for block in blocks if (call := block._compiled_call_impl) is not None}
    before = {block: _BEFORE_COMPILING[block] for block in blocks if block in _BEFORE_COMPILING}
    recomputed = [it for block in blocks if isinstance(it := vars(block).get("forward"), _Recomputed)]
    inner = [it.forward for it in recomputed]
    uncompile(network)
    try:
        yield
    finally:
        for block, call in compiled.items():
            block._compiled_call_impl = call
        _BEFORE_COMPILING.update(before)
        for it, forward in zip(recomputed, inner, strict=True):
            it.forward = forward
        for block, forward in fused.items():
            block.forward = forward


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Within, a forward pass in training mode leaves BatchNorm's running statistics as they are.

    A momentum of zero: `track_running_stats = False` would save other tensors for backward, and checkpointing
    compares their number.
    """
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    before = [(m.momentum, m.num_batches_tracked) for m in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, tracked) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, tracked


def checkpoint_blocks(network: nn.Module, draws: bool = False) -> None:
    """Makes each block drop its activations and compute them again in backward; statistics are updated once.

    Args:
        network: Changed in place.
        draws: Whether blocks may draw random numbers in training: then a recomputation draws the same.

    Raises:
        ValueError: The network has no list of blocks.
    """
    if not hasattr(network, "blocks"):
        raise ValueError("checkpoint_blocks needs a network with a list of blocks")
    for block in cast(nn.ModuleList, network.blocks):
        if not isinstance(vars(block).get("forward"), _Recomputed):  # one block may stand in several places
            block.forward = _Recomputed(block, draws)


def uncheckpoint(network: nn.Module) -> None:
    """Takes `checkpoint_blocks` back, and nothing else: a block may have a forward pass of its own, set on itself."""
    for block in getattr(network, "blocks", []):
        repeated = vars(block).get("forward")
        if isinstance(repeated, _Recomputed):
            del block.forward
            if repeated.own is not None:
                block.forward = repeated.own


class _Recomputed:
    """A block's forward pass under checkpointing."""

    def __init__(self, block: nn.Module, draws: bool) -> None:
        self.block, self.draws = block, draws
        # What a block sets on itself is called without it.
        self.own: Callable[..., Any] | None = vars(block).get("forward")
        own = self.own
        self.original: Callable[..., Any] = type(block).forward if own is None else lambda _, x: own(x)
        self.forward = self.original

    def __call__(self, x: Tensor) -> Any:
        if not torch.is_grad_enabled():
            return self.forward(self.block, x)
        return checkpoint(
            self.forward, self.block, x, use_reentrant=False, preserve_rng_state=self.draws, context_fn=self.contexts
        )

    def contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Of the forward pass, and of its repetition."""
        return nullcontext(), self._repeating()

    @contextmanager
    def _repeating(self) -> Iterator[None]:
        if self.forward is not self.original and not isinstance(self.forward, Fused):
            # Compiled. torch 2.15 keeps dynamo's settings by thread, and CUDA's backward pass has one of its own.
            _allow_variants()
        with frozen_statistics(self.block):
            yield
