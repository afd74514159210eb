"""One training step as a trace file, for Perfetto and TensorBoard: `python -m bench.cost.trace 1002`.

Never more than one step: a thousand layers make 87,000 events, and viewers fail on long traces.
"""

if __name__ == "__main__":
    from bench import first

    first.begin()

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.plan.machine import DEVICES
from bench.store.parts import Operator

# The profiler's log would stand before the table; it reads this when torch is loaded, which `write` does.
os.environ.setdefault("KINETO_LOG_LEVEL", "6")


def main() -> None:
    """Writes the trace and says where and how to look at it; exit code 2 for a request that cannot be served."""
    parser = argparse.ArgumentParser(prog="python -m bench.cost.trace", description="One training step as a trace.")
    parser.add_argument("depth", type=int, help="weighted layers")
    parser.add_argument("--architecture", default="preact")
    parser.add_argument("--layout", default="four-stage")
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-root", default="")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "tf32", "bf16"))
    parser.add_argument("--device", default="auto", choices=DEVICES)
    parser.add_argument("--out", type=Path, default=Path("results/out/traces"))
    try:
        path, rows = write(vars(parser.parse_args()))
    except (ValueError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
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
    from bench.plan.trial import Trial, architecture, check, spec_of
    from bench.train import device
    from bench.train.execution import numerics, usual
    from bench.train.step import Step
    from models.network import build

    where = device.choose(asked["device"])
    fields = {name: asked[name] for name in ("depth", "layout", "width", "dataset", "batch_size", "precision")}
    trial = Trial("trace", architecture(asked["architecture"]), seed=0, epochs=5, drop_last=False, **fields)
    check(trial)
    path: Path = asked["out"] / f"{trial.architecture.name}-{trial.depth}-{where}.pt.trace.json.gz"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot make the folder {path.parent}: {error.strerror}") from None
    device.start_clean(1)
    images = Images(data.for_trial(trial, asked["data_root"]).to(where), trial)
    spec = spec_of(trial, images.shape, images.data.classes)
    try:
        network = build(spec, trial.seed, where)
        with numerics(trial.precision, usual(trial, where).exact):
            step = Step(network.to(memory_format=images.layout), images, trial, where, usual(trial, where))
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
    main()
