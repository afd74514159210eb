"""Every figure: from frames to a matplotlib Figure. Only the heat map in `studies.py` is seaborn's.

`FIGURES` is the table; a function there returns None when the frames hold nothing for it, and `needs` says
what study would. Figures draw numbers that `tables` and `stats` computed; a trial without a number is drawn
as a failure mark. Looks and axes are in `style`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.store import record
from results.figures import style
from results.figures.cost import accuracy_price, cost_chart, operators, roofline
from results.figures.curves import document_curve, loss_curves
from results.figures.designs import designs
from results.figures.errors import error_chart, other_settings
from results.figures.panels import notes
from results.figures.paper import on_paper
from results.figures.precision import by_precision
from results.figures.probes import branch_ratio, gradient_norms, lesions
from results.figures.rates import best_rates
from results.figures.steps import error_by_steps
from results.figures.studies import learning_rates, placements, steps_to_fit
from results.tables import Frames

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Chart:
    """A row of `FIGURES`.

    Attributes:
        section: Part of the page that it stands in; "survival" is its first screen.
        title: As the page heads it.
        caption: How to read it, in a sentence or two; what only some such figures draw, they add (see `caption`).
        needs: What would fill it, said where the records do not.
        study: A built-in study that does; empty where none does, or where it takes another machine.
        draw: Frames -> Figure; None when they hold nothing for it.
    """

    section: str
    title: str
    caption: str
    needs: str
    study: str
    draw: Callable[[Frames], "Figure | None"]


def caption(name: str, figure: "Figure | None") -> str:
    """The caption of a figure as it was drawn."""
    return " ".join([FIGURES[name].caption, *notes(figure)])


_COST = 'cost trials (purpose = "cost")'

FIGURES: dict[str, Chart] = {
    "train-error-by-depth": Chart(
        "errors",
        "Training error against depth",
        "Each mark is one trained network (one seed); lines join the means of those that ended.",
        "training trials",
        "digits",
        error_chart("train_error"),
    ),
    "designs": Chart(
        "survival",
        "Designs side by side",
        "Each mark is the mean training error of a design's nets of one depth, over seeds, on a logarithmic axis; the "
        "best at the deepest depth that all were tried at stands on top.",
        "a study of many designs",
        "designs",
        designs,
    ),
    "test-error-by-depth": Chart(
        "errors",
        "Test error against depth",
        "The same measure, on images kept out of training.",
        "training trials",
        "digits",
        error_chart("test_error"),
    ),
    "other-settings": Chart(
        "errors",
        "Training error in the study's other settings",
        "The same axes for each further learning rate, data set or other field that the study varies.",
        "a study that varies more than the depth",
        "digits-lr",
        other_settings,
    ),
    "learning-rates": Chart(
        "errors",
        "Training error against learning rate",
        "Means over the seeds that ended with two-sided 95 % intervals, a panel per depth. A crossed-out mark "
        "means that seeds of that setting failed. If no mean is below it, all of them failed.",
        "trials at several learning rates",
        "digits-lr",
        learning_rates,
    ),
    "best-rates": Chart(
        "errors",
        "Best learning rate against depth",
        "The rate with the lowest mean training loss over the search's seeds, by a parabola in log rate.",
        "a search for learning rates, or trials at several of them",
        "digits-lr",
        best_rates,
    ),
    "error-by-steps": Chart(
        "errors",
        "Training error against steps",
        "Nets that were trained for several lengths, each at its own best rate where one was searched; means over the"
        " seeds that ended with two-sided 95 % intervals. Where a line stays high, these further steps did not help.",
        "trials of several lengths (epochs = [N, 2N, 4N])",
        "",
        error_by_steps,
    ),
    "placements": Chart(
        "errors",
        "Placements and other designs, shallow and deep",
        "Mean training error of each residual network at each depth, over the seeds that ended. A row that"
        " darkens to the right is one that works only when shallow.",
        "three or more residual networks at several depths",
        "digits-placements",
        placements,
    ),
    "steps-to-fit": Chart(
        "errors",
        "How fast random labels are fitted",
        "Steps until the running training error is at the bound that the study stops at; lines join medians.",
        "trials on random labels that stop when they are fitted",
        "digits-random-labels",
        steps_to_fit,
    ),
    "loss-curves": Chart(
        "curves",
        "Training loss by epoch, a panel per depth",
        "Mean loss of the batches while each epoch ran, a line per seed, log axis. The table of trials gives the loss"
        " of the finished net.",
        "training trials",
        "digits",
        loss_curves,
    ),
    "document-curve": Chart(
        "document",
        "The document's curve",
        "Loss and accuracies by epoch as the document plots them: training values are running means in train mode.",
        "trials of the document's network that test each epoch",
        "document",
        document_curve,
    ),
    "step-time": Chart(
        "cost", "Time of a training step", "A mark is the median of a record's samples, a line the power law fitted to"
        " them; both axes logarithmic. On the right, the images per second that it leaves.", _COST, "digits",
        cost_chart("step_time_s", 1.0, "step time (s)"),
    ),
    "step-time-by-precision": Chart(
        "cost",
        "Time of a training step in each precision",
        "Medians, both axes logarithmic. Of one network and batch size; lines join what was measured.",
        "cost trials of one network in several precisions",
        "cost",
        by_precision,
    ),
    "peak-memory": Chart(
        "cost",
        "Peak memory",
        "Of the whole process on a CPU, of the device on CUDA, less what was in use before each net was built. Lines"
        " are the straight fits that the verdict uses.",
        _COST,
        "digits",
        cost_chart("net_memory_bytes", 1 / 2**20, "peak memory of the net (MiB)"),
    ),
    "energy": Chart(
        "cost", "Energy of a training step", "As the device's own meter reports it.",
        "a run on a device that reports energy (NVML)", "", cost_chart("energy_j_per_step", 1.0, "energy (J / step)"),
    ),
    "operators": Chart(
        "cost",
        "Time by kind of operation",
        "Shares of the profiled operators' time, a bar per depth; the stages of a net together. "
        '"Between operators" is the time in which none of them ran. Profiling slows a step: compare shares, not times.',
        _COST,
        "digits",
        operators,
    ),
    "roofline": Chart(
        "cost",
        "How near a step comes to the machine's ceilings",
        "FLOPs of a training step (three forward passes) over its time, as a share of the lower of two ceilings: of a"
        " matrix product on this machine, and of a copy of the least bytes that the step must move. The rest goes to"
        " launches, dispatch and further traffic.",
        "cost trials that measure the machine's ceilings",
        "digits",
        roofline,
    ),
    "accuracy-price": Chart(
        "cost",
        "What a point of accuracy costs",
        "Each mark is a setting, the mean of its seeds; depths stand beside marks where there is room. The time is of"
        " the training loop, without start and last evaluation.",
        "training trials",
        "digits",
        accuracy_price,
    ),
    "gradient-norms": Chart(
        "inside",
        "Gradient norm by layer, before the first step",
        "A line per net, log axis. Where it climbs towards the input, a first step changes the first layers most.",
        'training trials with probes = ["gradient_norms"]',
        "digits",
        gradient_norms,
    ),
    "branch-ratio": Chart(
        "inside",
        "How much each block changes what passes through it",
        "Norm of the branch over norm of the shortcut, by block and epoch, median over seeds. A small number is a block"
        " that nearly passes its input on.",
        'training trials with probes = ["branch_ratio"]',
        "digits-long",
        branch_ratio,
    ),
    "lesions": Chart(
        "inside",
        "What deleting blocks does to a trained network",
        "Above: one block deleted, dotted line the intact net. Below: more and more random blocks, from none on."
        " Only nets that trained can be cut.",
        'training trials with probes = ["lesions"]',
        "digits-long",
        lesions,
    ),
}  # fmt: skip


def write_all(frames: Frames, folder: Path, column: float = 0.0) -> list[Path]:
    """Writes every figure that the frames can fill as SVG, PDF and PNG.

    Args:
        frames: All tables of a study.
        folder: Exists already.
        column: Width of a column of the paper that they are for, in inches; 0: as they are.

    Returns:
        The files written, sorted.

    Raises:
        ValueError: One line: one of them cannot be written.
    """
    written = []
    for name, chart in FIGURES.items():
        figure = chart.draw(frames)
        if figure is None:
            continue
        if column:
            on_paper(figure, column)
        kinds = {"svg": style.svg(figure, ground="white").encode(), "pdf": style.pdf(figure), "png": style.png(figure)}
        for kind, data in kinds.items():
            path = folder / f"{name}.{kind}"
            try:
                record.write(path, data)
            except OSError as error:
                raise ValueError(f"cannot write {path}: {error.strerror or error}") from None
            written.append(path)
    return sorted(written)
