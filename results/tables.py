"""From record files to tables: a row per trial, per epoch, per measured cost, per setting.

The only reader of records in this half of the suite, and the only place that says which of them may be
compared. It judges nothing. Every column is always there, with the same dtype, however few records there are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.plan.trial import Trial, affecting, values
from bench.store import record
from bench.store.record import Record
from results import rows, stats
from results.columns import (
    CELL,
    CELLS,
    COST,
    ENDING,
    EPOCH,
    EPOCHS,
    KEYS,
    OPERATORS,
    PROBES,
    RESULT,
    SETTING,
    TRIALS,
)
from results.convergence import convergence
from results.search import of_record, with_search


@dataclass(frozen=True)
class Frames:
    """All tables of one study.

    Attributes:
        trials: A row per training record: `TRIALS`. Errors of a trial that did not end "ok" are NaN.
        search: Likewise of the trials that learning rates are chosen by, which are in no other table.
        epochs: A row per trial and epoch: `EPOCHS`.
        cost: A row per cost record, times as medians of the raw samples: `COST`.
        cells: A row per setting over its comparable seeds: `CELLS`. Mean, low and high (95 % interval) are over
            the `n_ok` seeds that ended "ok"; `n_diverged` and `n_failed` (all not "ok") say what is not in them.
            `train_seconds_mean` is over the same seeds, over all of them only where none ended "ok".
        operators: Operator times of the cost records: `OPERATORS`.
        probes: What was measured inside the nets, one number a row: `PROBES`.
        damaged: File name and reason of each record that could not be read.
        warnings: What was kept apart and why, a line each.
    """

    trials: pd.DataFrame
    search: pd.DataFrame
    epochs: pd.DataFrame
    cost: pd.DataFrame
    cells: pd.DataFrame
    operators: pd.DataFrame
    probes: pd.DataFrame
    damaged: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


def load(folders: Iterable[Path]) -> Frames:
    """Reads every record of the folders; one that does not exist counts as empty.

    Returns:
        The frames. Files that cannot be read are listed in `damaged`, never raised.
    """
    records: list[tuple[Path, Record]] = []
    damaged: list[tuple[str, str]] = []
    for folder in folders:
        good, bad = record.load(folder)
        records += good
        damaged += [(path.name, str(error)) for path, error in bad]
    return from_records(records, damaged)


def from_records(records: Sequence[tuple[Path, Record]], damaged: Sequence[tuple[str, str]] = ()) -> Frames:
    """The frames of records already read; see `load`."""
    damaged = list(damaged)
    sound = []
    for path, found in records:
        reason = rows.misfit(rows.keys(found), KEYS)
        if reason:
            damaged.append((path.name, f"cannot be tabulated: {reason}"))
        else:
            sound.append((path, found))
    comparable, apart = _comparable([found for _, found in sound])
    unique, comparable, doubled = _one_a_trial(sound, comparable)
    names = rows.names(found.trial.architecture for _, found in unique)
    labels: dict[str, str] = {}
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in ("trials", "search", "epochs", "cost", "operators")}
    probes: dict[str, list[Any]] = {name: [] for name in ("row", *_READING)}
    named: list[dict[str, Any]] = []
    for (path, found), same in zip(unique, comparable, strict=True):
        keys = {**rows.keys(found), "comparable": same, "digest": found.trial.digest, "path": path.name}
        name = names[found.trial.architecture]
        # Two of one label would be one in a figure; a reworded label must not make two cells of one setting.
        label = keys["label"] if name == keys["architecture"] else f"{keys['label']} ({name})"
        label = labels.setdefault(name, label)
        keys |= {"architecture": name, "label": label}
        ended = {**rows.ended(found), "disturbed": rows.disturbed(found)}
        if found.trial.purpose == "cost":
            tables["cost"].append({**keys, **ended, **rows.cost(found)})
            tables["operators"] += [{**keys, **row} for row in rows.operators(found)]
            continue
        trained = {**keys, **ended, **rows.result(found, tuple(RESULT)), **of_record(found.environment)}
        if found.trial.purpose == "search":
            tables["search"].append(trained)
            continue
        tables["trials"].append(trained)
        tables["epochs"] += [{**keys, **row, "status": str(found.status)} for row in rows.epochs(found, tuple(EPOCH))]
        for probe, reading in rows.probes(found):
            probes["row"].append(len(named))
            for name, value in zip(_READING, (probe, *reading), strict=True):
                probes[name].append(value)
        named.append(keys)
    search = _frame(tables["search"], TRIALS)
    trials = with_search(_frame(tables["trials"], TRIALS), search)
    return Frames(
        trials=trials,
        search=search,
        epochs=_frame(tables["epochs"], EPOCHS),
        cost=floors_apart(_frame(tables["cost"], COST)),
        cells=summarize(trials),
        operators=_frame(tables["operators"], OPERATORS),
        probes=_probes(probes, named),
        damaged=tuple(damaged),
        warnings=(*doubled, *apart),
    )


def floors_apart(cost: pd.DataFrame) -> pd.DataFrame:
    """The costs, those whose process started from another floor of memory than its like marked as disturbed.

    Like are comparable records of one device, study and data set (which is part of the floor).
    """
    alike = ["device_name", "study", *affecting("data"), "comparable"]
    floors = cost.groupby(alike)["memory_floor_bytes"]
    usual = floors.transform("median")
    # Of two that differ, neither is the usual one.
    memory = ((cost["memory_floor_bytes"] - usual).abs() > rows.MOST_FLOOR_CHANGE) & (floors.transform("count") > 2)
    words = [
        f"odd memory in use before its net was built ({floor / 2**20:.0f} MiB, usually {middle / 2**20:.0f} MiB)"
        for floor, middle in zip(cost.loc[memory, "memory_floor_bytes"], usual[memory], strict=True)
    ]
    told = cost["disturbed"].copy()
    told[memory] = [f"{times}; {word}" if times else word for times, word in zip(told[memory], words, strict=True)]
    return cost.assign(times_disturbed=cost["disturbed"] != "", memory_disturbed=memory, disturbed=told).astype(COST)


def one_each(cost: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """One cost of each lot: one that was measured before one that failed, an undisturbed one before a disturbed one."""
    failed, hurt = cost["status"] != "ok", cost["disturbed"] != ""
    ordered = cost.assign(failed=failed, hurt=hurt).sort_values(["failed", "hurt", "digest"])
    return ordered.drop_duplicates(list(by)).drop(columns=["failed", "hurt"])


_READING = ("probe", "quantity", "name", "index", "epoch", "value")


def _frame(dicts: list[dict[str, Any]], columns: dict[str, str]) -> pd.DataFrame:
    """Column by column, so that a missing value is an empty text, False or NaN, and never an object column."""
    blank: dict[str, Any] = {"str": "", "bool": False, "int64": 0, "float64": np.nan}
    return pd.DataFrame(
        {name: pd.Series([row.get(name, blank[kind]) for row in dicts], dtype=kind) for name, kind in columns.items()}
    )


def _probes(readings: dict[str, list[Any]], named: list[dict[str, Any]]) -> pd.DataFrame:
    """As `_frame`, with the keys of each trial repeated by position: a deep net leaves thousands of readings."""
    keys = _frame(named, {name: kind for name, kind in PROBES.items() if name not in _READING})
    repeated = keys.take(readings["row"]).reset_index(drop=True)
    return pd.DataFrame(
        {
            name: pd.Series(readings[name], dtype=kind) if name in _READING else repeated[name]
            for name, kind in PROBES.items()
        }
    )


def _one_a_trial(
    records: Sequence[tuple[Path, Record]], comparable: Sequence[bool]
) -> tuple[list[tuple[Path, Record]], list[bool], list[str]]:
    """One record per trial, and whether it is comparable: of those that are (else of all) the one started last.

    The others are named.
    """
    kept: dict[Trial, int] = {}
    doubled: list[str] = []

    def rank(i: int) -> tuple[bool, str, str]:
        return comparable[i], records[i][1].started, records[i][0].name

    for i, (_, found) in enumerate(records):
        other = kept.setdefault(found.trial, i)
        if other == i:
            continue
        keep, drop = (i, other) if rank(i) > rank(other) else (other, i)
        kept[found.trial] = keep
        used, left = records[keep][0].name, records[drop][0].name
        why = "the newer" if comparable[keep] == comparable[drop] else "the one that may be compared with the others"
        doubled.append(f"{left} and {used} hold the same trial: {why}, {used}, is used")
    return [records[i] for i in kept.values()], [comparable[i] for i in kept.values()], doubled


def _comparable(records: Sequence[Record]) -> tuple[list[bool], list[str]]:
    """Which records may be compared with each other, and a line for each lot that is kept apart.

    Within a study, purpose and data set (of costs: and precision), the lot of equal machine and versions with the
    most trials stays (the newest when two have as many). Records without an environment (a worker that died at once)
    stay with it.
    """
    lots: dict[tuple[Any, ...], dict[tuple[str, ...], list[int]]] = {}
    same = [True] * len(records)
    lines: list[str] = []
    for i, found in enumerate(records):
        trial = found.trial
        where = (trial.study, trial.purpose, *values(trial, "data"))
        names: tuple[str, ...] = record.COMPARED
        if trial.purpose == "cost":
            # On a GPU each precision is executed in a way of its own.
            where, names = (*where, trial.precision), (*names, "execution")
        machine = tuple(str(found.environment.get(name, "")) for name in names)
        if any(machine):
            lots.setdefault(where, {}).setdefault(machine, []).append(i)
        micro = found.result.get("micro_batch", found.cost.get("micro_batch", trial.batch_size))
        if isinstance(micro, int) and micro < trial.batch_size:
            same[i] = False
            lines.append(f"{trial.digest}: ran with a micro-batch of {micro} instead of {trial.batch_size}: kept apart")
    for where, by_machine in lots.items():
        ranked = sorted(
            by_machine.items(),
            key=lambda lot: (len({records[i].trial for i in lot[1]}), max(records[i].started for i in lot[1])),
        )
        main = ranked[-1][0]
        for machine, members in ranked[:-1]:
            for i in members:
                same[i] = False
            pairs = zip((*record.COMPARED, "execution"), machine, main, strict=False)
            differ = [f"{name} {one or '-'!r} instead of {other!r}" for name, one, other in pairs if one != other]
            lines.append(f"{where[0]}: {len(members)} {where[1]} record(s) kept apart: {'; '.join(differ)}")
    return same, sorted(lines)


def summarize(trials: pd.DataFrame) -> pd.DataFrame:
    """A row per setting over its comparable seeds, in the order of `SETTING`; see `Frames.cells`."""
    used = trials[trials["comparable"]]
    if used.empty:
        return _frame([], CELLS)
    cell = used.groupby(list(SETTING), sort=True).ngroup().to_numpy()
    order = np.argsort(cell, kind="stable")
    used = used.iloc[order]
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    columns = {name: used[name].to_numpy() for name in _SUMMARIZED}
    ends = [*starts[1:], len(used)]
    cells = [_cell({name: v[a:b] for name, v in columns.items()}) for a, b in zip(starts, ends, strict=True)]
    settings = used.iloc[starts][list(SETTING)].reset_index(drop=True)
    return pd.concat([settings, _frame(cells, CELL)], axis="columns").astype(CELLS)


# What `convergence.convergence` looks at, in its order.
CONVERGING = ("status", *ENDING)
_SUMMARIZED = (*CONVERGING, "steps", "n_train", "n_test", "train_seconds", "train_error", "test_error", "train_loss")
# The images behind an error.
_COUNTED = {"train_error": "n_train", "test_error": "n_test"}


def _cell(seeds: dict[str, Any]) -> dict[str, Any]:
    ok = seeds["status"] == "ok"
    row: dict[str, Any] = {
        "n": len(ok),
        "n_ok": int(ok.sum()),
        "n_diverged": int((seeds["status"] == "diverged").sum()),
        "n_failed": int((~ok).sum()),
        "steps": _over(np.nanmax, seeds["steps"]),
        "convergence": convergence(*(seeds[name] for name in CONVERGING)),
        # Of the same seeds as the errors, so that the two may stand in one point.
        "train_seconds_mean": _over(np.nanmean, seeds["train_seconds"][ok if ok.any() else ~ok]),
    }
    for measure in ("train_error", "test_error", "train_loss"):
        counted = _over(np.nanmax, seeds[_COUNTED[measure]]) if measure in _COUNTED else np.nan
        images = counted if measure == "test_error" else np.nan
        # As the judges do: seeds that agree to the last image spread as rounding does.
        found = stats.mean_interval(seeds[measure][ok], images=images, resolution=1 / counted if counted > 0 else 0.0)
        # One seed's huge loss would put the interval's lower end far below zero, where no loss can be.
        most = np.inf if measure == "train_loss" else 1.0
        row |= {f"{measure}_{part}": float(np.clip(getattr(found, n), 0.0, most)) for part, n in _PARTS.items()}
    return row


_PARTS = {"mean": "value", "low": "low", "high": "high"}


def _over(function: Any, values: Any) -> float:
    return float(function(values)) if np.isfinite(values).any() else np.nan
