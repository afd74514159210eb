"""One training step as a trace file, for Perfetto and TensorBoard: `python -m bench.cost.trace 1002`.

Never more than one step: a thousand layers make 87,000 events, and viewers fail on long traces.
"""

if __name__ == "__main__":
    from bench import first

    first.begin()

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from bench.asked import folder
from bench.command import serve, typer
from bench.options import DataRoot, Device
from bench.store.parts import Operator

# The profiler's log would stand before the table; it reads this when torch is loaded, which `write` does.
os.environ.setdefault("KINETO_LOG_LEVEL", "6")


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help="One training step as a trace.")
def trace(
    depth: Annotated[int, typer.Argument(help="Weighted layers.")],
    architecture: Annotated[str, typer.Option(help="A row of models/spec.py, or MODULE:NAME of your own.")] = "preact",
    layout: Annotated[str, typer.Option(help="Stages and kinds of layer.")] = "four-stage",
    width: Annotated[int, typer.Option(help="Channels of the first stage.")] = 8,
    dataset: Annotated[str, typer.Option(help="Where the images are from.")] = "digits",
    data_root: DataRoot = "data",
    batch_size: Annotated[int, typer.Option(help="Images of the step.")] = 128,
    precision: Annotated[str, typer.Option(help="fp32, tf32 or bf16.")] = "fp32",
    device: Device = "auto",
    out: Annotated[str, typer.Option(callback=folder("--out"), help="Folder of the trace.")] = "results/out/traces",
) -> None:
    """Writes the trace and says where and how to look at it."""
    path, rows = write(locals())
    for row in rows[:12]:
        what = ", ".join(filter(None, (row["kind"], row["stage"])))
        print(f"{row['self_time_s'] * 1e3:9.2f} ms {row['calls']:6}  {what}")
    print(f"trace: {path} (open it at https://ui.perfetto.dev, or see `make tensorboard`)")


def write(asked: Mapping[str, Any]) -> tuple[Path, list[Operator]]:
    """Profiles one step after two that are not, and writes its trace.

    Args:
        asked: The options by name.

    Returns:
        The file, NAME.pt.trace.json.gz as TensorBoard's plug-in wants it, and the table of operators.

    Raises:
        ValueError: One line, for what cannot be built, or a file that cannot be written.
    """
    from bench.cost.operators import profiled, save_trace
    from bench.data import datasets as data
    from bench.data.images import Images
    from bench.plan.errors import RAISED, first_line
    from bench.plan.trial import Trial, architecture, check
    from bench.train import device
    from bench.train.execution import numerics, usual
    from bench.train.network import network_of
    from bench.train.step import Step

    where = device.choose(asked["device"])
    fields = {name: asked[name] for name in ("depth", "layout", "width", "dataset", "batch_size", "precision")}
    trial = Trial("trace", architecture(asked["architecture"]), seed=0, epochs=5, drop_last=False, **fields)
    check(trial)
    path = Path(asked["out"]) / f"{trial.architecture.name}-{trial.depth}-{where}.pt.trace.json.gz"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot make the folder {path.parent}: {error.strerror}") from None
    device.start_clean(1)
    images = Images(data.for_trial(trial, asked["data_root"]).to(where), trial)
    try:
        network = network_of(trial, images)
        with numerics(trial.precision, usual(trial, where).exact):
            step = Step(network, images, trial, where, usual(trial, where))
            for _ in range(2):
                step()
            step.at.zero_()
            found, rows, _ = profiled(lambda: step.body(trial.batch_size), network, where)
            step.close()
    except RAISED as error:  # whatever a user's code does; torch, of a network that does not fit
        said = f"{type(error).__name__}: {first_line(error)}"
        raise ValueError(f"architecture {asked['architecture']!r}: {said}") from None
    try:
        save_trace(found, path)
    except (OSError, RuntimeError) as error:  # torch's own of a file that cannot be opened
        raise ValueError(f"cannot write {path}: {getattr(error, 'strerror', '') or error}") from None
    return path, rows


if __name__ == "__main__":
    serve(app)
