"""The same study under other roundings: `python -m reports.robustness STUDY` (make robustness).

Torch and oneDNN choose their kernels by the processor, and two variables choose others, which round otherwise. Each
setting has records of its own; what its verdicts are is printed beside those of the others. A flip is a result.
"""

if __name__ == "__main__":
    from bench import first

    first.begin()

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.asked import folder
from bench.command import serve
from bench.options import DataRoot, Depths, Download, Seeds, StudyName
from bench.plan import study as studies
from bench.plan.study import Study
from bench.plan.trial import Trial
from bench.store import record
from bench.store.record import Record
from models.spec import unknown
from reports.finding import Finding, Verdict
from reports.page import verdicts
from reports.page.inline import visible
from reports.sources import gather
from results.metrics import METRICS

# Variables that choose kernels; both are read when torch loads, so a setting is a process of its own.
SETTINGS: dict[str, dict[str, str]] = {
    "native": {},
    "aten-avx2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "aten-default": {"ATEN_CPU_CAPABILITY": "default"},
    "onednn-avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "onednn-avx512-core": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
}
CHOOSE_KERNELS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
EXECUTORS = ("process", "inline")  # a cluster's nodes do not see this process's environment
# How `bench run` may end and tables still be made: all done, some failed, time limit.
GOES_ON = (0, 1, 3)

# By claim and subject, its headline's verdict.
Verdicts = dict[tuple[str, str], Verdict]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.command(help=__doc__)
def robustness(
    study: StudyName,
    seeds: Seeds = "",
    depths: Depths = "",
    device: Annotated[str, typer.Option(help="cpu (auto is cpu here): the settings choose CPU kernels.")] = "cpu",
    executor: Annotated[str, typer.Option(help="process or inline.")] = "process",
    workers: Annotated[str, typer.Option(help="Trials at a time; 0: one per core.")] = "0",
    threads: Annotated[str, typer.Option(help="Of each worker; 0: one.")] = "0",
    records: Annotated[
        str, typer.Option(callback=folder("--records"), help="Folder of the settings' records.")
    ] = "results/robustness",
    data_root: DataRoot = "data",
    download: Download = False,
    time_limit: Annotated[str, typer.Option(help="Of each setting's run: 9m, 1.5h.")] = "",
) -> None:
    """Runs STUDY's trainings under every setting that counts, and prints how its verdicts compare."""
    if device not in ("cpu", "auto"):
        raise ValueError(f"device {device!r}: other roundings are chosen of a CPU's kernels; use cpu")
    if executor not in EXECUTORS:
        raise ValueError(unknown("executor", executor, EXECUTORS))
    options = ["--device", "cpu", "--executor", executor, "--workers", workers, "--threads", threads]
    options += ["--data-root", data_root]
    options += ["--download"] if download else []
    options += [f"--depths={depths}"] if depths else []
    narrowed = [f"--seeds={seeds}"] if seeds else []
    narrowed += ["--time-limit", time_limit] if time_limit else []
    root = Path(records)
    # A list of seeds is tried at its first; a count counts from 0, as a study does.
    first = _numbers(seeds)[:1] if "," in seeds else []
    tried = probe_trial(studies.load(study, first or None, _numbers(depths) or None))
    only = ["--only", tried.digest, f"--seeds={tried.seed},"]
    ended: dict[str, Record] = {}
    for name in SETTINGS:
        print(f"{name}: the study's shallowest trial", flush=True)
        run(name, study, root, [*options, *only])
        ended[name] = record_of(tried, root / name / tried.study)
    counted, equal = settings_that_count(ended)
    for name, other in equal.items():
        print(f"{name}: left out, its losses equal those of {other} to the last bit", flush=True)
    print(f"settings that count: {', '.join(counted)}", flush=True)
    codes = []
    for name in counted:
        print(f"{name}: the study", flush=True)
        codes.append(run(name, study, root, [*options, *narrowed, "--purpose", "train"]))
    print_table({name: headlines(study, root / name) for name in counted})
    raise typer.Exit(max(codes))


def _numbers(text: str) -> list[int]:
    """The numbers of a list such as 18,34; what is none, `bench run` refuses."""
    return [int(part) for part in text.split(",") if part.strip().isdecimal()]


def probe_trial(study: Study) -> Trial:
    """The shallowest trial that trains: by it the settings are told apart, and it is part of the study anyway.

    Raises:
        ValueError: The study has none, or waits for tuned rates.
    """
    if study.untuned:
        raise ValueError(f"study {study.name!r}: {study.waits}")
    trials = [trial for trial in study.trials if trial.purpose == "train"]
    if not trials:
        raise ValueError(f"study {study.name!r} trains nothing with these depths: no rounding can show")
    return min(trials, key=lambda trial: (trial.depth, trial.seed))


def run(setting: str, study: str, root: Path, options: Sequence[str]) -> int:
    """`python -m bench run` under a setting; its exit code, one of `GOES_ON`; any other ends this command, too."""
    environment = {name: value for name, value in os.environ.items() if name not in CHOOSE_KERNELS}
    words = [sys.executable, "-m", "bench", "run", study, "--records", str(root / setting), *options]
    code = subprocess.run(words, env=environment | SETTINGS[setting], check=False).returncode
    if code not in GOES_ON:
        raise typer.Exit(code if code > 0 else 130)
    return code


def record_of(trial: Trial, folder: Path) -> Record:
    """The record of a trial in a folder.

    Raises:
        ValueError: There is none that is final.
    """
    for _, found in record.load(folder)[0]:
        if found.trial.digest == trial.digest and found.status.final:
            return found
    raise ValueError(f"the trial {trial.digest} has no result in {folder}: nothing tells this setting from others")


def settings_that_count(ended: Mapping[str, Record]) -> tuple[list[str], dict[str, str]]:
    """Which settings sent the trial down other kernels: its losses differ in bits from those of every one before.

    Args:
        ended: By setting, the record of one and the same trial.

    Returns:
        Settings that count, in order; and for each other one, the setting that it equals.
    """
    first: dict[str, str] = {}
    equal: dict[str, str] = {}
    for name, found in ended.items():
        curve = [(epoch.get("train_loss"), epoch.get("train_error")) for epoch in found.epochs]
        last = {key: value for key, value in found.result.items() if key not in record.TIMES}
        bits = repr((found.status, curve, sorted(last.items())))
        if (other := first.setdefault(bits, name)) != name:
            equal[name] = other
    return list(first.values()), equal


def headlines(study: str, records: Path) -> Verdicts:
    """The verdicts of a study's records: of each claim and subject, that on the headline's measure; none on cost."""
    source = gather(study, records)
    names = verdicts.labels(source.frames)
    found: Verdicts = {}
    for claim, findings in verdicts.judged_here(source.study, source.findings):
        metric = METRICS.get(findings[0].measure)
        if metric is not None and metric.frame == "cost":
            continue
        for finding in findings:
            if finding.measure == findings[0].measure:
                found.setdefault((claim.id, about(finding, names)), finding.verdict)
    return found


def about(finding: Finding, names: dict[str, str]) -> str:
    """Subject and setting of a finding, in words."""
    return ", ".join(filter(None, (verdicts.subject(finding.subject, names), finding.setting)))


def flips(by_setting: Mapping[str, Verdicts]) -> list[tuple[str, str]]:
    """Claims and subjects whose verdict is not the same under every setting; one that is missing is another verdict."""
    keys = dict.fromkeys(key for found in by_setting.values() for key in found)
    return [key for key in keys if len({found.get(key) for found in by_setting.values()}) > 1]


def print_table(by_setting: Mapping[str, Verdicts]) -> None:
    """A line per claim and subject, a column per setting; then the flips, and what was decided under each setting."""
    keys = dict.fromkeys(key for found in by_setting.values() for key in found)
    if not keys:
        print("No claim can be judged from these records.")
        return
    flipped = flips(by_setting)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("claim", "about", *by_setting, ""):
        table.add_column(head, overflow="fold")
    for key in keys:
        said = [str(found.get(key, "not judged")) for found in by_setting.values()]
        table.add_row(*(Text(visible(word)) for word in (*key, *said)), "flips" if key in flipped else "")
    Console(width=None if sys.stdout.isatty() else 160, highlight=False, emoji=False).print(table)
    count = len(by_setting)
    print(f"{len(flipped)} of {len(keys)} verdicts flip between any two of {count} settings.")
    for name, found in by_setting.items():
        decided = sum(verdict is not Verdict.INCONCLUSIVE for verdict in found.values())
        print(f"{name}: {decided} of {len(keys)} decided")
    print("Costs were not measured: a verdict on cost does not hang on rounding.")


if __name__ == "__main__":
    serve(app)
