"""The price of a step: nothing left behind, counts that can be checked by hand, tables from made-up events."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench import runner
from bench.cost import measure as profiling
from bench.cost.operators import BETWEEN, Event, kind_of, profiled, save_trace, table
from bench.data import datasets as data
from bench.data.images import Images
from bench.plan.machine import Machine
from bench.plan.trial import Trial
from bench.store.record import Status, encode
from bench.train import device as seam
from bench.train.network import network_of
from bench.train.step import Step
from models.spec import ARCHITECTURES, ModelSpec


def trial(architecture: str = "preact", depth: int = 18, **fields: Any) -> Trial:
    recipe = {"dataset": "synthetic", "width": 2, "batch_size": 32, "purpose": "cost", "epochs": 0}
    return Trial("test", ARCHITECTURES[architecture], depth, 0, **{**recipe, **fields})


def made(asked: Trial) -> tuple[nn.Module, Images]:
    images = Images(data.load(asked.dataset), asked)
    return network_of(asked, images), images


def test_cost_record_holds_raw_samples_apart_from_warm_ups() -> None:
    record = runner.run_trial(trial(), Machine(), lambda message: None)
    assert record.status is Status.OK, record.message
    cost = record.cost
    for name in ("step", "forward", "backward", "optimizer", "inference"):
        assert len(cost[f"{name}_times_s"]) >= 2
        assert all(seconds > 0 for seconds in cost[f"{name}_times_s"])
    assert len(cost["warmup_times_s"]) == profiling.WARMUP
    assert cost["first_step_s"] >= cost["warmup_times_s"][0]
    assert cost["peak_memory_bytes"] >= cost["memory_floor_bytes"] > 0
    assert cost["ceilings"]["copy_bytes_per_s"] > 1e8
    assert cost["ceilings"]["matmul_flops_per_s"] > 1e8
    assert record.environment["execution"] == "eager"
    assert "kernels_per_step" not in cost
    assert "energy_j_per_step" not in cost


def test_energy_of_a_step_is_that_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A meter of 3 J a step that moves by 50 J at a time, as NVML's: one step alone would read 0 or 50."""
    network, images = made(trial())
    step = Step(network, images, trial(epochs=3000, lr=0.0), "cpu")
    monkeypatch.setattr(seam, "energy", lambda device: 50.0 * (3 * step.done // 50))
    assert profiling._energy_per_step(step, "cpu") == {"energy_j_per_step": pytest.approx(3.0, rel=0.2)}
    monkeypatch.setattr(seam, "energy", lambda device: None)
    assert profiling._energy_per_step(step, "cpu") == {}


# He et al. 2015, table 1 and its text: 1.8e9, 3.6e9 and 3.8e9 multiply-adds; the exact numbers are torchvision's
# (DEFAULT weights' documentation, "GFLOPS" 1.81, 3.66, 4.09: its ResNet-50 strides on the 3x3 layer).
@pytest.mark.parametrize(("depth", "gigamacs"), [(18, 1.81), (34, 3.66), (50, 4.09)])
def test_multiply_adds_agree_with_published_counts(depth: int, gigamacs: float) -> None:
    spec = ModelSpec(ARCHITECTURES["resnet-b"], "imagenet", depth, 64, (3, 224, 224), 1000)
    assert profiling.counted(spec)[0] / 1e9 == pytest.approx(gigamacs, abs=0.006)


def test_multiply_adds_of_a_small_net_by_hand() -> None:
    """Digits, width 2: stages of 8x8, 4x4, 2x2 and 1x1 maps, two convolutions a stage, all nine taps counted."""
    spec = ModelSpec(ARCHITECTURES["plain"], "four-stage", 10, 2, (1, 8, 8), 10)
    stem = 64 * 9 * 1 * 2
    stages = 64 * 9 * 2 * (2 * 2) + 16 * 9 * (2 * 4 + 4 * 4) + 4 * 9 * (4 * 8 + 8 * 8) + 1 * 9 * (8 * 16 + 16 * 16)
    assert profiling.counted(spec)[0] == stem + stages + 16 * 10


def test_saved_activations_count_each_storage_once_and_no_weights() -> None:
    network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    saved = profiling.Saved(network)
    x = torch.zeros(32, 8)
    with saved.watching():
        network(x)
    # The input, and ReLU's output, which ReLU and the next layer both keep.
    assert saved.bytes == 4 * (32 * 8 + 32 * 16)


def test_checkpointing_keeps_a_fraction_of_the_activations() -> None:
    kept = [
        profiling.price(*made(asked), asked, "cpu")[0]["saved_activation_bytes"]
        for asked in (trial(depth=66), trial(depth=66, checkpoint_blocks=True))
    ]
    assert kept[1] < 0.4 * kept[0]


def test_deep_operator_table_stays_small() -> None:
    rows = [
        {"kind": kind, "stage": f"stage {s}", "self_time_s": 0.1234, "calls": 9999}
        for kind in "abcdefghij"
        for s in range(6)
    ]
    assert len(json.dumps(rows)) < 50_000
    record = runner.run_trial(trial(depth=130), Machine(), lambda message: None)
    assert len(encode(record)) < 50_000
    assert {row["stage"] for row in record.cost["operators"]} >= {
        "",
        "stem",
        "stage 1",
        "stage 2",
        "stage 3",
        "stage 4",
        "head",
    }


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("aten::mkldnn_convolution", "convolution forward"),
        ("aten::cudnn_convolution", "convolution forward"),
        ("aten::convolution_backward", "convolution gradients"),
        ("aten::native_batch_norm_backward", "BatchNorm"),
        ("aten::cudnn_batch_norm", "BatchNorm"),
        ("aten::_fused_sgd_", "optimizer"),
        ("aten::linear", "matrix product"),
        ("aten::threshold_backward", "elementwise"),
        ("aten::cross_entropy_loss", "loss"),
        ("triton_poi_fused_convolution_backward_relu_0", "elementwise"),
        ("triton_red_fused__native_batch_norm_legit_add_1", "BatchNorm"),
    ],
)
def test_operators_are_told_apart_by_name(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_table_counts_outermost_operators_and_follows_them_into_backward() -> None:
    """A made-up step: times in nanoseconds, chosen so that each sum is another number."""
    evaluate = "autograd::engine::evaluate_function: "
    events = [
        Event("aten::index_select", 0, 10),  # the batch
        Event("stage: stem", 10, 11),
        Event("aten::conv2d", 12, 112, sequence=1),
        Event("aten::convolution", 14, 110, sequence=1),  # inside: not counted again
        Event("stage: stage 1", 120, 121),
        Event("aten::relu", 122, 125, sequence=2),
        Event(evaluate + "ReluBackward0", 200, 220, sequence=2),
        Event("aten::threshold_backward", 205, 212),
        Event(evaluate + "ConvolutionBackward0", 230, 500, sequence=1),
        Event("aten::convolution_backward", 240, 490),
        Event(evaluate + "torch::autograd::AccumulateGrad", 501, 510),
        Event("aten::detach", 502, 504),
        Event("Optimizer.step#SGD.step", 600, 700),
        Event("aten::_fused_sgd_", 610, 690),
        Event("aten::add_", 710, 714),
    ]
    rows = {(r["kind"], r["stage"]): (r["self_time_s"], r["calls"]) for r in table(reversed(events))}
    assert rows.pop((BETWEEN, "")) == (pytest.approx((714 - (10 + 100 + 3 + 7 + 250 + 2 + 80 + 4)) * 1e-9), 1)
    expected = {
        ("data", ""): (10, 1),
        ("convolution forward", "stem"): (100, 1),
        ("elementwise", "stage 1"): (3 + 7, 2),
        ("convolution gradients", "stem"): (250, 1),
        ("elementwise", "stem"): (2, 1),
        ("optimizer", ""): (80, 1),
        ("elementwise", ""): (4, 1),  # the sums of the step are no stage's
    }
    assert rows == {key: (pytest.approx(ns * 1e-9), calls) for key, (ns, calls) in expected.items()}


def test_table_of_a_gpu_step_gives_kernel_times_and_tells_the_two_gradients_apart() -> None:
    evaluate = "autograd::engine::evaluate_function: "
    events = [
        Event("stage: stage 2", 0, 1),
        Event("aten::conv2d", 2, 20, sequence=1, correlation=10),
        Event("aten::cudnn_convolution", 4, 18, sequence=1, correlation=11),
        Event(evaluate + "ConvolutionBackward0", 30, 60, sequence=1, correlation=12),
        Event("aten::convolution_backward", 32, 58, correlation=13),
        Event("sm90_xmma_fprop_implicit_gemm", 100, 150, correlation=11, kernel=True),
        Event("sm90_xmma_dgrad_implicit_gemm", 150, 250, correlation=13, kernel=True),
        Event("sm90_xmma_wgrad_implicit_gemm", 250, 450, correlation=13, kernel=True),
        Event("unknown_kernel", 450, 460, correlation=99, kernel=True),
    ]
    rows = {(r["kind"], r["stage"]): (r["self_time_s"], r["calls"]) for r in table(events)}
    assert rows == {
        ("convolution forward", "stage 2"): (pytest.approx(50e-9), 1),
        ("input gradient", "stage 2"): (pytest.approx(100e-9), 1),
        ("weight gradient", "stage 2"): (pytest.approx(200e-9), 1),
        ("elementwise", ""): (pytest.approx(10e-9), 1),
    }


def test_kernels_of_a_compiled_block_belong_to_its_stage_forward_and_backward() -> None:
    """Compiled kernels hang on operators of their own name, the backward ones on the block's sequence number."""
    evaluate = "autograd::engine::evaluate_function: "
    events = [
        Event("stage: stage 3", 0, 1),
        Event("CompiledFunction", 2, 30, sequence=7),
        Event("triton_poi_fused_add_relu_0", 4, 8, correlation=21),
        Event(evaluate + "CompiledFunctionBackward", 40, 80, sequence=7),
        Event("triton_poi_fused_convolution_backward_1", 50, 60, correlation=22),
        Event("triton_poi_fused_add_relu_0", 100, 130, correlation=21, kernel=True),
        Event("triton_poi_fused_convolution_backward_1", 130, 200, correlation=22, kernel=True),
    ]
    rows = {(r["kind"], r["stage"]): (r["self_time_s"], r["calls"]) for r in table(events)}
    assert rows == {("elementwise", "stage 3"): (pytest.approx(100e-9), 2)}


def test_real_step_has_its_convolutions_counted_by_stage() -> None:
    """An 18-layer net on 16x16 maps: 16 convolutions in blocks, 4 a stage; the last stage's maps are 2x2."""
    asked = trial("plain", resize=16)
    network, images = made(asked)
    x = images.prepare(images.data.train_images[:8])
    found, rows, kernels = profiled(lambda: network(x).sum().backward(), network, "cpu")
    calls = {(r["kind"], r["stage"]): r["calls"] for r in rows}
    assert [calls["convolution forward", f"stage {s}"] for s in (1, 2, 3)] == [4, 4, 4]
    assert [calls["convolution gradients", f"stage {s}"] for s in (1, 2, 3)] == [4, 4, 4]
    assert calls["convolution forward", "stem"] == 1
    assert calls["BatchNorm", "stage 1"] == 8
    assert kernels == 0
    assert found is not None


def test_trace_is_whole_and_gzipped(tmp_path: Path) -> None:
    network, images = made(trial())
    x = images.prepare(images.data.train_images[:8])
    found, _, _ = profiled(lambda: network(x).sum().backward(), network, "cpu")
    path = tmp_path / "deep" / "net.pt.trace.json.gz"
    save_trace(found, path)
    with gzip.open(path, "rt") as file:
        trace = json.load(file)
    names = {event.get("name") for event in trace["traceEvents"]}
    assert {"aten::convolution_backward", "stage: stage 3"} <= names
