"""Where a step's time goes: one profiled step, summed by kind of operation and by stage of the network.

Reads the profiler's raw events: `profile.events()` builds a tree and takes 4 s at 1002 layers, this pass a tenth
of it. Profiling slows a step by a third, so its times are shares, never prices; those stand in `measure`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import nn
from torch.autograd.profiler import record_function
from torch.profiler import profile

from bench.store.parts import Operator
from bench.train import device as seam

MARK = "stage: "
BETWEEN = "between operators"
COMPILED = "triton_"

# First match decides. On a CPU one operator gives both gradients of a convolution; CUDA kernels tell them apart.
_KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("convolution gradients", ("convolution_backward",)),
    ("convolution forward", ("conv",)),
    ("BatchNorm", ("batch_norm",)),
    ("optimizer", ("_fused_sgd", "_foreach", "optimizer")),
    ("attention", ("scaled_dot_product", "fmha", "flash")),
    # Before the products: bilinear resizing is no linear layer.
    ("data", ("randperm", "index_select", "gather", "upsample", "randint")),
    ("matrix product", ("linear", "addmm", "aten::mm", "matmul", "aten::bmm")),
    ("loss", ("cross_entropy", "nll_loss", "log_softmax", "argmax")),
)
_GRADIENTS = (("input gradient", ("dgrad", "bwd_data", "backward_data")), ("weight gradient", ("wgrad", "bwd_filter")))


@dataclass(frozen=True)
class Event:
    """One raw event of the profiler.

    Attributes:
        name: Operator, kernel or mark.
        start, end: Nanoseconds.
        sequence: Number that a forward operator shares with its backward one; -1 without.
        correlation: Of an operator; of the operator that launched it, for a kernel.
        kernel: Whether it ran on the GPU.
    """

    name: str
    start: int
    end: int
    sequence: int = -1
    correlation: int = 0
    kernel: bool = False


def profiled(step: Callable[[], object], network: nn.Module, device: str) -> tuple["profile", list[Operator], int]:
    """Profiles one call of `step` and sums it up.

    Args:
        step: One training step, eager.
        network: Its stages are marked while the step runs, by hooks that are taken away afterwards.
        device: A key of `KINDS`.

    Returns:
        The profile (for a trace); the operators' table; kernels launched (0 on a CPU).
    """
    marks = _mark(network)
    try:
        with profile(activities=seam.activities(device)) as found:
            step()
            seam.synchronize(device)
    finally:
        for mark in marks:
            mark.remove()
    raws = cast(Any, found.profiler).kineto_results.events()
    # The shadow that a mark casts on the device spans kernels that are counted themselves.
    events = [_event(raw) for raw in raws if raw.device_type().name == "CPU" or not raw.is_user_annotation()]
    return found, table(events), sum(e.kernel and not e.name.startswith("Mem") for e in events)


def save_trace(found: profile, path: Path) -> None:
    """Writes the profile of one step as a trace for Perfetto; the name must end in .json.gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found.export_chrome_trace(str(path))


def _event(raw: Any) -> Event:
    kernel = raw.device_type().name != "CPU"
    start = raw.start_ns()
    return Event(
        raw.name(), start, start + raw.duration_ns(), raw.sequence_nr(),
        raw.linked_correlation_id() if kernel else raw.correlation_id(), kernel,
    )  # fmt: skip


def _mark(network: nn.Module) -> list[Any]:
    """Hooks that leave a mark in the profile wherever the forward pass enters a stage."""
    if not hasattr(network, "stage_of"):
        return []
    entries: list[tuple[nn.Module, str]] = [(cast(nn.Module, network.stem), "stem")]
    stages, blocks = cast(Any, network).stage_of(), cast(Any, network).blocks
    entries += [(blocks[i], f"stage {s + 1}") for i, s in enumerate(stages) if i == 0 or s != stages[i - 1]]
    entries.append((cast(nn.Module, network.head), "head"))

    def hook(name: str) -> Callable[..., None]:
        def enter(*_: object) -> None:
            with record_function(MARK + name):
                pass

        return enter

    return [module.register_forward_pre_hook(hook(name)) for module, name in entries]


def kind_of(name: str) -> str:
    """The kind of an operator by its name; a compiled kernel's name lists all that was fused, no convolution is."""
    lowered = name.lower()
    if lowered.startswith(COMPILED):
        return "BatchNorm" if "batch_norm" in lowered else "elementwise"
    return next((kind for kind, words in _KINDS if any(word in lowered for word in words)), "elementwise")


def table(events: Iterable[Event]) -> list[Operator]:
    """Sums a step's events.

    Args:
        events: Of one step, in any order.

    Returns:
        Rows of kind, stage ("stem", "stage 1"..., "head", or "" outside the network), self_time_s and calls. An
        outermost operator counts with all inside it. With kernels, theirs is the time; else the operators', and a
        row says what of the step lay between them (Python, dispatch, autograd).
    """
    everything = sorted(events, key=lambda e: (e.start, -e.end))
    kernels = [e for e in everything if e.kernel]
    place, outermost = _places([e for e in everything if not e.kernel])
    rows: dict[tuple[str, str], Operator] = {}

    def add(kind: str, stage: str, nanoseconds: int) -> None:
        row = rows.setdefault((kind, stage), {"kind": kind, "stage": stage, "self_time_s": 0.0, "calls": 0})
        row["self_time_s"] += nanoseconds / 1e9
        row["calls"] += 1

    for kernel in kernels:
        kind, stage = place.get(kernel.correlation, (kind_of(kernel.name), ""))
        if kind == "convolution gradients":
            lowered = kernel.name.lower()
            kind = next((k for k, words in _GRADIENTS if any(w in lowered for w in words)), kind)
        add(kind, stage, kernel.end - kernel.start)
    if not kernels and outermost:
        for kind, stage, event in outermost:
            add(kind, stage, event.end - event.start)
        spent = sum(event.end - event.start for _, _, event in outermost)
        add(BETWEEN, "", max(e.end for e in everything) - min(e.start for e in everything) - spent)
    for row in rows.values():
        row["self_time_s"] = float(f"{row['self_time_s']:.4g}")
    return sorted(rows.values(), key=lambda row: -row["self_time_s"])


def _places(events: list[Event]) -> tuple[dict[int, tuple[str, str]], list[tuple[str, str, Event]]]:
    """Kind and stage by correlation of every operator, and the outermost operators with theirs.

    Forward operators belong to the stage marked last; backward ones to that of the forward operator with the same
    sequence number, a compiled block's to that of the block. What accumulates a gradient follows the operator that
    made it.
    """
    place: dict[int, tuple[str, str]] = {}
    outermost: list[tuple[str, str, Event]] = []
    stage_of: dict[int, str] = {}
    stage, backward, backward_until, updating = "", "", 0, 0
    open_until = 0
    kind = ""
    for event in events:
        if stage and event.sequence >= 0 and not event.name.startswith("autograd::"):
            stage_of[event.sequence] = stage
        if event.name.startswith(MARK):
            stage = event.name[len(MARK) :]
        elif event.name.startswith("Optimizer."):
            updating = event.end
        elif event.name.startswith("autograd::engine::evaluate_function"):
            stage = ""  # the forward pass is over
            backward, backward_until = stage_of.get(event.sequence, backward), event.end
        elif event.name.startswith(("aten::", COMPILED)):
            if event.start >= open_until:
                open_until = event.end
                update = event.start < updating
                kind = "optimizer" if update else kind_of(event.name)
                # What is done for all weights at once, or after the backward pass (the step's sums), is no stage's.
                here = "" if kind == "optimizer" else stage or (backward if event.start < backward_until else "")
                if kind == "data" and here:
                    kind = "elementwise"  # the network's own indexing
                outermost.append((kind, here, event))
            place[event.correlation] = outermost[-1][:2]
    return place, outermost
