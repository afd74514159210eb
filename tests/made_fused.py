"""Steps of whole networks with fused blocks beside those of torch's own operators."""

from typing import Any

import torch
from torch import Tensor, nn

from bench.plan.trial import Trial
from bench.train import fused
from bench.train.execution import Execution
from bench.train.step import Step
from tests.made_step import step_of, trial


class InTorch:
    """What `bench.train.kernels` computes, in torch's operators: for whole networks. An interpreter is slow."""

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, bias: Tensor, shortcut: Tensor | None, running_mean: Tensor,
        running_var: Tensor, momentum: float, eps: float, relu: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        values = x.float()
        mean, var = values.mean((0, 2, 3)), values.var((0, 2, 3), correction=0)
        rows = x.numel() / x.shape[1]
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(var * rows / (rows - 1), momentum)
        saved = torch.stack([mean, (var + eps).rsqrt()])
        out = _normal(values, saved) * _wide(weight) + _wide(bias)
        out = out if shortcut is None else out + shortcut.float()
        return (out.relu() if relu else out).to(x.dtype), saved

    @staticmethod
    def backward(
        gradient: Tensor, beside: Tensor | None, x: Tensor, weight: Tensor, bias: Tensor, saved: Tensor,
        y: Tensor | None, added: bool, relu: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        normal, rows = _normal(x.float(), saved), x.numel() / x.shape[1]
        g = gradient.float() + (beside.float() if beside is not None and added else 0)
        if relu:
            g = g * ((normal * _wide(weight) + _wide(bias) if y is None else y) > 0)
        passed = g.to(gradient.dtype)
        of_bias, of_weight = g.sum((0, 2, 3)), (g * normal).sum((0, 2, 3))
        of_x = (g - _wide(of_bias) / rows - normal * _wide(of_weight) / rows) * _wide(weight * saved[1])
        of_x = of_x + beside.float() if beside is not None and not added else of_x
        return of_x.to(x.dtype), of_weight, of_bias, passed


def _wide(t: Tensor) -> Tensor:
    return t[:, None, None]


def _normal(values: Tensor, saved: Tensor) -> Tensor:
    return (values - _wide(saved[0])) * _wide(saved[1])


def compared(name: str, precision: str, fields: dict[str, Any], parts: int = 1) -> dict[str, Any]:
    """Three steps of torch's own operators and of fused blocks: losses, gradients of the first step, the state."""
    recipe = {"depth": 8, "layout": "cifar", "resize": 12, "epochs": 5, "batch_size": 8, "lr": 0.01, **fields}
    asked, bf16 = trial(name, precision=precision, **recipe), precision == "bf16"
    exact = _three(trial(name, precision="fp32", **recipe), Execution(micro_batches=parts)) if bf16 else None
    plain = _three(asked, Execution(micro_batches=parts, cast_once=bf16))
    ours = _three(asked, Execution(micro_batches=parts, cast_once=bf16, fused=True))
    return {
        "losses": [plain["losses"], ours["losses"]],
        "gradients apart": _apart(ours["gradients"], plain["gradients"]),
        "state apart": _apart(ours["state"], plain["state"]),
        "from fp32": [_apart(each["gradients"], exact["gradients"]) for each in (plain, ours)] if exact else [],
        "called": [plain["called"], ours["called"]], "norms": ours["norms"], "note": ours["note"],
        "given back": ours["same"],
    }  # fmt: skip


def _three(asked: Trial, execution: Execution) -> dict[str, Any]:
    calls, called = fused._kernels, 0

    def counted() -> Any:
        nonlocal called
        called += 1
        return calls()

    fused._kernels = counted
    step: Step = step_of(asked, execution)
    losses: list[float] = []
    gradients: list[Tensor] = []
    for _ in range(3):
        step()
        losses.append(float(step.loss))
        gradients = gradients or [p.grad.clone() for p in step.parameters if p.grad is not None]
    step.close()
    fused._kernels = calls
    blocks = list(step.network.blocks)
    left = any("forward" in vars(block) or block._compiled_call_impl for block in blocks)
    norms = sum(isinstance(m, nn.BatchNorm2d) for block in blocks for m in block.modules())
    return {
        "losses": losses, "gradients": gradients, "state": [t.detach() for t in step.state()], "norms": norms,
        "called": called, "note": step.note, "same": not left,
    }  # fmt: skip


def _apart(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """The largest distance of two tensors over the length of the second, or of a thousandth of the longest."""
    least = 1e-3 * max(float(b.double().norm()) for b in theirs)
    pairs = zip(ours, theirs, strict=True)
    return max(float((a - b).double().norm()) / max(float(b.double().norm()), least) for a, b in pairs)


def check_fused(found: dict[str, Any], repeated: bool = False, parts: int = 1) -> None:
    """Each norm went forward (with a repetition: twice) and backward once in four steps, of which one warms up."""
    assert found["note"] == ""
    assert found["called"] == [0, (3 if repeated else 2) * found["norms"] * 4 * parts]
    assert found["given back"]
