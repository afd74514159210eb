"""Every number that tables, figures and the page may show: its column, label, unit and better direction.

A number is computed in one place and named in one place; this is the naming. Nothing is computed here.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A row of `METRICS`.

    Attributes:
        column: Column of the frame that holds it.
        frame: Field of `tables.Frames`: "trials", "epochs" or "cost".
        label: For axes and table heads, without the unit.
        unit: As stored; "1" for fractions in 0..1, which are shown as percent.
        better: "lower", "higher", or "" where neither is better.
    """

    column: str
    frame: str
    label: str
    unit: str
    better: str


METRICS: dict[str, Metric] = {
    row.column: row
    for row in (
        Metric("train_error", "trials", "training error", "1", "lower"),
        Metric("test_error", "trials", "test error", "1", "lower"),
        Metric("train_loss", "trials", "training loss", "nat", "lower"),
        Metric("test_loss", "trials", "test loss", "nat", "lower"),
        Metric("train_error_running", "trials", "training error, last epoch, train mode", "1", "lower"),
        Metric("train_loss_running", "trials", "training loss, last epoch, train mode", "nat", "lower"),
        Metric("train_seconds", "trials", "training time", "s", "lower"),
        Metric("steps", "trials", "steps trained", "step", ""),
        Metric("diverged_step", "trials", "step of divergence", "step", ""),
        Metric("parameters", "trials", "parameters", "1", ""),
        Metric("step_time_s", "cost", "step time", "s", "lower"),
        Metric("forward_time_s", "cost", "forward time", "s", "lower"),
        Metric("backward_time_s", "cost", "backward time", "s", "lower"),
        Metric("optimizer_time_s", "cost", "optimizer time", "s", "lower"),
        Metric("inference_time_s", "cost", "inference time of a batch", "s", "lower"),
        Metric("first_step_s", "cost", "first step", "s", "lower"),
        Metric("images_per_s", "cost", "training throughput", "images/s", "higher"),
        Metric("inference_images_per_s", "cost", "inference throughput", "images/s", "higher"),
        Metric("flops_per_image", "cost", "FLOPs of a forward pass", "FLOP/image", "lower"),
        Metric("flops_per_s", "cost", "arithmetic rate of a training step", "FLOP/s", "higher"),
        Metric("arithmetic_share", "cost", "share of the best rate of a matrix product", "1", "higher"),
        Metric("bandwidth_share", "cost", "share of the memory bandwidth of a copy, at least", "1", "higher"),
        Metric("peak_memory_bytes", "cost", "peak memory", "B", "lower"),
        Metric("net_memory_bytes", "cost", "peak memory of the net", "B", "lower"),
        Metric("saved_activation_bytes", "cost", "activations kept for the backward pass", "B", "lower"),
        Metric("energy_j_per_step", "cost", "energy of a step", "J", "lower"),
        Metric("kernels_per_step", "cost", "kernels of a step", "1", "lower"),
    )
}
