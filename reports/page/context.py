"""What the page says, as plain data: cards, sections, tables, facts. Everything comes from records and study.

Own file so that the template holds markup only and `render` turns data into bytes only. It judges nothing
and draws nothing: findings come from `claims`, pictures from `results.figures.table`.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.plan.study import Study
from bench.plan.trial import Trial, affecting
from bench.plan.words import counted
from reports.finding import Finding
from reports.page.verdicts import labels, subject, worded
from reports.page.views import Table, TrialRow, TrialTable
from reports.page.words import NOTHING, Word, listed, number, percent, some_told
from results.figures import errors as error_figures
from results.figures.panels import labels_of
from results.hours import taken
from results.tables import Frames


@dataclass(frozen=True)
class Source:
    """What a page is made of.

    Attributes:
        study: The study.
        argument: How the command line named it; the commands on the page repeat it.
        recipe: Text of its TOML file.
        frames: All tables of its records.
        findings: By claim, the headline first.
        python: The interpreter that commands on the page begin with, as one would type it.
    """

    study: Study
    argument: str
    recipe: str
    frames: Frames
    findings: dict[str, list[Finding]]
    python: str = "python"


# ---- the machine, and what was run ------------------------------------------------------------------------

_MACHINE = (
    ("device_name", "device"),
    ("cpu_capability", "kernels of PyTorch"),
    ("onednn_max_cpu_isa", "limit of oneDNN's kernels"),
    ("host", "host"),
    ("os", "system"),
    ("cores", "cores"),
    ("threads", "threads per worker"),
    ("workers", "workers"),
    ("seeds_at_once", "seeds at once in a worker"),
    ("python", "Python"),
    ("torch", "PyTorch"),
    ("suite", "suite"),
    ("code", "code (SHA-256)"),
    ("data", "data (SHA-256)"),
    ("own_reads", "what a user's block reads (SHA-256)"),
    ("execution", "execution"),
    ("search", "search of the rates (SHA-256)"),
)
MACHINE_LABELS = tuple(label for _, label in _MACHINE)


def machines(frames: Frames) -> list[tuple[str, dict[str, int]]]:
    """Machine and versions, as the records have them: by label, each value with how many records have it."""
    columns = [column for column, _ in _MACHINE]
    both = pd.concat([frames.trials[columns], frames.cost[columns]])
    lines = []
    for column, label in _MACHINE:
        values = both[column].dropna() if both[column].dtype == float else both[column][both[column] != ""]
        counts = values.value_counts().sort_index()
        said = [str(number(v) if isinstance(v, float) else v) for v in counts.index]
        said = [f"{v[:16]}…" if label.endswith("(SHA-256)") and len(v) > 17 else v for v in said]
        if said:
            lines.append((label, dict(zip(said, map(int, counts), strict=True))))
    return lines


def environment(frames: Frames) -> list[tuple[str, str]]:
    """Machine, versions and dates, as the records have them; several values with how many records have each."""
    lines = []
    for label, counts in machines(frames):
        many = len(counts) > 1
        lines.append((label, ", ".join(f"{value} ({n} records)" if many else value for value, n in counts.items())))
    if started := dates(frames):
        lines.append(("started", f"first trial {started[0]}, last {started[-1]}"))
    return lines


def dates(frames: Frames) -> list[str]:
    """When each trial began, in order."""
    both = pd.concat([frames.trials["started"], frames.cost["started"]])
    return sorted(both[both != ""])


def one_rate(source: Source) -> bool:
    """Whether nets of several depths, or grown, had one learning rate, so that no depth is to blame for what it did."""
    trials = source.frames.trials
    one = (trials.groupby("study")["lr"].nunique() == 1).all() and (trials["lr_from"] == "study").all()
    return bool(len(trials) and one and (trials["depth"].nunique() > 1 or (trials["grow_to"] != "").any()))


def machine(frames: Frames) -> str:
    """What it ran on, and the days of its first and last trial."""
    names = " + ".join(sorted({*frames.trials["device_name"], *frames.cost["device_name"]} - {""}))
    days = [at[:10] for at in dates(frames)]
    return ", ".join(filter(None, (names, " to ".join(dict.fromkeys([*days[:1], *days[-1:]])))))


def facts(source: Source) -> list[tuple[str, str]]:
    """What was run, a few words each, from the records: the number first."""
    frames = source.frames
    trials, cost = frames.trials, frames.cost
    if trials.empty and cost.empty:
        return [("no", "records yet")]
    done = trials["status"].value_counts()
    ended = ", ".join(f"{done[s]} {s.replace('_', ' ')}" for s in sorted(done.index, key=lambda s: (s != "ok", s)))
    seeds, depths = trials.groupby(["study"])["seed"].nunique(), sorted({*trials["depth"]} or {*cost["depth"]})
    few, many = (int(seeds.min()), int(seeds.max())) if len(seeds) else (0, 0)
    lines = [
        (str(len(trials)) if len(trials) else "", f"trials: {ended}"),
        (str(len(cost)) if len(cost) else "", "cost trials"),
        (f"{few}" if few == many else f"{few} to {many}", f"seed{'s' * (many != 1)}") if many else ("", ""),
        (listed(depths), "layers"),
        (listed(sorted(trials["dataset"].unique())), ""),
        taken(trials, "of training"),
        taken(frames.search, "of search for learning rates"),
    ]
    return [(value, label) for value, label in lines if value]


def cite(source: Source) -> str:
    """What names this page and its records, for a text that uses them."""
    told = dict(environment(source.frames))
    version = told.get("suite", "")
    parts = [f"Depth ablation suite {version}" if version[:1].isdigit() else "Depth ablation suite"]
    parts += [f"study {source.study.name}", counted(len(source.frames.trials) + len(source.frames.cost), "trial")]
    parts += [machine(source.frames), *(f"{key} {told[key]}" for key in ("PyTorch", "code (SHA-256)") if key in told)]
    return ", ".join(filter(None, parts)) + "."


def command(source: Source, study: str, digest: str, seed: int | None = None) -> str:
    """What to type to run a trial again, in a folder of its own so that the old record does not answer for it.

    Args:
        source: The page's.
        study: The trial's own, which may be an included one.
        digest: The trial's.
        seed: Where it is not one of the study's.
    """
    name = source.argument if study == source.study.name else study
    seeds = [] if seed is None else ["--seeds", f"{seed},"]
    return shlex.join([source.python, "-m", "bench", "run", name, "--only", digest, *seeds, "--records", "rerun"])


# ---- tables -----------------------------------------------------------------------------------------------

_SHOWN = frozenset(affecting("name", "extent")) - {"epochs"}


def _varied(frame: pd.DataFrame) -> list[str]:
    """Trial fields that differ between rows of a study, those with a column of their own left out."""
    asked = [f for f in frame.columns if f in Trial.__dataclass_fields__ and f not in _SHOWN]
    counts = frame.groupby("study")[asked].nunique()
    return [f for f in asked if (counts[f] > 1).any()]


NETWORK = Word("network", "architecture")


def _head(field: str) -> Word:
    return Word({"lr": "learning rate", "lr_from": "rate from"}.get(field, field.replace("_", " ")), field)


def _asked(row: dict[str, Any], fields: Sequence[str], names: dict[str, str]) -> list[str]:
    """What a row says in these fields; another network's name, as in "search of resnet", in the page's words."""
    return [worded(row[f], names) if f == "lr_from" else number(row[f], 6) for f in fields]


def trial_table(source: Source) -> TrialTable:
    """Every training trial: heads, and of each row its texts, its id on the page and the command that reruns it."""
    trials = source.frames.trials
    varied = _varied(trials)
    seeds = {trial.seed for trial in source.study.trials}
    several = trials["study"].nunique() > 1
    reasons = [_reason(t) for t in trials.to_dict("records")]
    heads = [*(["study"] if several else []), NETWORK, "depth", "seed", *map(_head, varied)]
    heads += ["status", "training error (%)", "test error (%)", "final loss", "steps"]
    heads += ["time (s)", *(["reason"] if any(reasons) else []), "trial"]
    names = labels(source.frames)
    rows, met = [], set()
    for t, reason in zip(trials.to_dict("records"), reasons, strict=True):
        # The same trial of two studies has one place that links lead to.
        place = "" if t["digest"] in met else f"trial-{t['digest']}"
        met.add(t["digest"])
        again = command(source, t["study"], t["digest"], None if t["seed"] in seeds else t["seed"])
        cells = [
            *([t["study"]] if several else []),
            subject(t["architecture"], names),
            str(t["depth"]),
            str(t["seed"]),
            *_asked(t, varied, names),
            t["status"].replace("_", " "),
            percent(t["train_error"]),
            percent(t["test_error"]),
            number(t["train_loss"]),
            number(t["steps"]),
            number(t["seconds"]),
            *([reason] if any(reasons) else []),
            t["digest"],
        ]
        rows.append(TrialRow(place, again, cells))
    return TrialTable(heads, rows)


def _reason(trial: dict[str, Any]) -> str:
    """Why a trial has no number, or one that is not to be compared; empty for most."""
    apart = "" if trial["comparable"] else "kept apart: another machine, version or batch"
    return "; ".join(filter(None, (trial["message"] or apart, trial["disturbed"] and f"time {trial['disturbed']}")))


def cell_table(frames: Frames) -> Table:
    """Mean and interval of every cell, as the figures draw them."""
    cells = frames.cells
    varied = [*(["study"] if cells["study"].nunique() > 1 else []), *_varied(cells)]
    heads = [NETWORK, "depth", *map(_head, varied), "seeds", "failed"]
    heads += ["training error (%)", "95 % interval", "test error (%)", "95 % interval", "convergence"]
    rows, names = [], labels(frames)
    for c in cells.sort_values(["architecture", "depth"], kind="stable").to_dict("records"):
        pairs = []
        for column in ("train_error", "test_error"):
            low, high = percent(c[f"{column}_low"]), percent(c[f"{column}_high"])
            pairs += [percent(c[f"{column}_mean"]), NOTHING if NOTHING in (low, high) else f"{low} to {high}"]
        state = f"{c['convergence'] if c['n_ok'] else 'none ended'} at {number(c['steps'])} steps"
        counts = [str(c["n"]), str(c["n_failed"])]
        net = [subject(c["architecture"], names), str(c["depth"]), *_asked(c, varied, names)]
        rows.append([*net, *counts, *pairs, state])
    return Table(heads, rows)


_COST = (
    ("step_time_s", "step time (s)", 1.0),
    ("images_per_s", "images/s", 1.0),
    ("peak_memory_bytes", "peak memory (MiB)", 2.0**-20),
    ("net_memory_bytes", "for the net (MiB)", 2.0**-20),
    ("saved_activation_bytes", "saved activations (MiB)", 2.0**-20),
    ("flops_per_image", "FLOP/image (forward)", 1.0),
    ("parameters", "parameters", 1.0),
    ("energy_j_per_step", "energy (J/step)", 1.0),
    ("kernels_per_step", "kernels/step", 1.0),
)


def cost_table(frames: Frames) -> Table:
    """Every cost record, only with the columns that any of them has."""
    cost = frames.cost
    columns = [(c, label, factor) for c, label, factor in _COST if cost[c].notna().any()]
    told = ("study", "layout", "width", "batch_size", "precision", "device_name")
    varied = [f for f in told if cost[f].nunique() > 1]
    names = labels(frames)
    heads = [NETWORK, "depth", *[v.replace("_", " ") for v in varied], *[label for _, label, _ in columns]]
    heads += ["status"]
    rows = [
        [
            subject(c["architecture"], names),
            str(c["depth"]),
            *[number(c[f]) for f in varied],
            *[number(c[column] * factor, 4) for column, _, factor in columns],
            ": ".join(filter(None, (c["status"], c["message"], c["disturbed"]))),
        ]
        for c in cost.sort_values(["architecture", "depth"], kind="stable").to_dict("records")
    ]
    return Table(heads, rows)


# ---- networks, and figures in words ----------------------------------------------------------------------


def architectures(source: Source) -> list[dict[str, str]]:
    """The networks of the study, with where each is from."""
    rows = {t.architecture.name: t.architecture for t in source.study.trials}
    told = ("name", "label", "shortcut", "placement", "init", "source")
    return [{field: getattr(row, field) for field in told} for row in rows.values()]


def error_words(frames: Frames, column: str, architectures: Sequence[str] = ()) -> str:
    """An error figure in words, for those who cannot see it: of what it draws, and of nothing else.

    Args:
        frames, architectures: As `error_figures.drawn_part` takes them.
        column: "train_error" or "test_error".
    """
    part = error_figures.drawn_part(frames, architectures)
    if part is None:
        return ""
    said, trials, drawn = part
    lines, called = [], labels_of(trials)
    for name, cells in drawn.sort_values("depth").groupby("architecture", sort=True):
        means, words = cells[cells[f"{column}_mean"].notna()], []
        if len(means):
            ends = [f"{percent(c[f'{column}_mean'], 1)} % at {c['depth']}" for _, c in means.iloc[[0, -1]].iterrows()]
            words.append(f"{ends[0]} layers" + (f", {ends[1]}" if ends[1] != ends[0] else ""))
        bad = cells[cells["n_failed"] > 0]
        if len(bad):
            failed, count = int(bad["n_failed"].sum()), int(cells["n"].sum())
            words.append(f"{failed} of {count} trials failed, the shallowest at {bad['depth'].min()} layers")
        if words:
            lines.append(f"{called[name]}: {'; '.join(words)}.")
    return " ".join(filter(None, (said and f"{said}.", *some_told(lines))))


def cost_words(part: tuple[str, pd.DataFrame] | None, column: str, factor: float, unit: str) -> str:
    """A cost figure in words: of the rows that it draws (`cost_figures.cost_part`, `roofline_part`)."""
    if part is None:
        return ""
    lines, called = [], labels_of(part[1])
    for name, rows in part[1].sort_values("depth").groupby("architecture", sort=True):
        known, words = rows[(rows[column] > 0) & (rows["status"] == "ok")], []
        if len(known):
            ends = [f"{number(c[column] * factor)} {unit} at {c['depth']}" for _, c in known.iloc[[0, -1]].iterrows()]
            words.append(f"{ends[0]} layers" + (f", {ends[1]}" if ends[1] != ends[0] else ""))
        failed = rows[rows["status"] != "ok"]
        if len(failed):
            words.append(f"did not finish at {listed(failed['depth'])} layers")
        if words:
            lines.append(f"{called[name]}: {'; '.join(words)}.")
    return " ".join(filter(None, (part[0] and f"{part[0]}.", *some_told(lines))))
