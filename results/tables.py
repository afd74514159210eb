"""From record files to tables: a row per trial, per epoch, per measured cost, per setting.

The only maker of tables from records, and the only place that says which records may be compared. It
judges nothing. Every column is always there, with the same dtype, however few records there are.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.plan.trial import Trial, affecting, values
from bench.store import agree, record
from bench.store.record import Record
from models.spec import ARCHITECTURES
from results import rows, stats
from results.columns import (
    CELL,
    CELLS,
    COST,
    ENDING,
    EPOCH,
    EPOCHS,
    MACHINE,
    MEASURED,
    OPERATORS,
    PROBES,
    RESULT,
    SETTING,
    TRIALS,
    Cell,
)
from results.convergence import convergence
from results.frame import column, frame
from results.readings import readings
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
    comparable, apart = _comparable([found for _, found in records])
    unique, comparable, doubled = _one_a_trial(records, comparable)
    names = rows.names(found.trial.architecture for _, found in unique)
    labels: dict[str, str] = {}
    lots: dict[str, list[Mapping[str, object]]] = {"train": [], "search": [], "cost": []}
    epochs: list[Mapping[str, object]] = []
    operators: list[Mapping[str, object]] = []
    probes: dict[str, list[object]] = {name: [] for name in _READING}
    places: list[int] = []
    named: list[Mapping[str, object]] = []
    for (path, found), same in zip(unique, comparable, strict=True):
        keys = {**rows.keys(found), "comparable": same, "digest": found.trial.digest, "path": path.name}
        architecture, name = found.trial.architecture, names[found.trial.architecture]
        # Two of one label would be one in a figure; a reworded label must not make two cells of one setting, so the
        # suite's own rows are called what they are called today.
        label = ARCHITECTURES[name].label if name in ARCHITECTURES else architecture.label
        label = label if name == architecture.name else f"{label} ({name})"
        keys |= {"architecture": name, "label": labels.setdefault(name, label)}
        ended = {**keys, **rows.machine(found, MACHINE), **rows.ended(found)}
        if found.trial.purpose == "cost":
            lots["cost"].append({**ended, **rows.measured(found, MEASURED), **rows.priced(found)})
            operators += [{**keys, **row} for row in rows.operators(found)]
            continue
        searching = found.trial.purpose == "search"
        trained = {**ended, **rows.result(found, RESULT), **of_record(found.environment)}
        lots["search" if searching else "train"].append(trained)
        if searching:
            continue
        epochs += [{**keys, **row, "status": str(found.status)} for row in rows.epochs(found, EPOCH)]
        for probe, reading in readings(found):
            places.append(len(named))
            for name, value in zip(_READING, (probe, *reading), strict=True):
                probes[name].append(value)
        named.append(keys)
    search = frame(lots["search"], TRIALS)
    trials = with_search(frame(lots["train"], TRIALS), search)
    return Frames(
        trials=trials,
        search=search,
        epochs=frame(epochs, EPOCHS),
        cost=floors_apart(frame(lots["cost"], COST)),
        cells=summarize(trials),
        operators=frame(operators, OPERATORS),
        probes=_probes(probes, places, named),
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
        f"unusual memory use before its net was built ({floor / 2**20:.0f} MiB, usually {middle / 2**20:.0f} MiB)"
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


def _probes(
    readings: Mapping[str, list[object]], places: list[int], named: Sequence[Mapping[str, object]]
) -> pd.DataFrame:
    """As `frame`, with the keys of each trial repeated by position: a deep net leaves thousands of readings."""
    keys = frame(named, {name: kind for name, kind in PROBES.items() if name not in _READING})
    repeated = keys.take(places).reset_index(drop=True)
    return pd.DataFrame(
        {name: column(readings[name], kind) if name in _READING else repeated[name] for name, kind in PROBES.items()}
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


# By what is to be compared: by all that must agree, the places of the records.
Lots = dict[tuple[Any, ...], dict[tuple[tuple[str, str], ...], list[int]]]


def _comparable(records: Sequence[Record]) -> tuple[list[bool], list[str]]:
    """Which records may be compared with each other, and a line for each lot that is kept apart.

    Within a study, purpose and data set (of costs: and precision), the lot of equal machine and versions with the
    most trials stays (the newest when two have as many); of these, for a user's own block, likewise the lot that read
    the same files and variables. Records without an environment (a worker that died at once) stay with it.
    """
    machines: Lots = {}
    blocks: Lots = {}
    same = [True] * len(records)
    lines: list[str] = []
    for i, found in enumerate(records):
        trial, environment = found.trial, found.environment
        where = (trial.study, trial.purpose, *values(trial, "data"))
        machine = agree.compared(environment)
        if trial.purpose == "cost":
            # On a GPU each precision is executed in a way of its own.
            where, machine["execution"] = (*where, trial.precision), str(environment.get("execution", ""))
        micro = found.result.get("micro_batch", trial.batch_size)
        if isinstance(micro, int) and micro < trial.batch_size:
            same[i] = False
            lines.append(f"{trial.digest}: ran with a micro-batch of {micro} instead of {trial.batch_size}: kept apart")
        elif any(machine.values()):
            machines.setdefault(where, {}).setdefault(tuple(machine.items()), []).append(i)
    lines += _set_apart(machines, records, same)
    for i, found in enumerate(records):
        trial, environment = found.trial, found.environment
        if same[i] and trial.architecture.factory and environment:
            where = (trial.study, trial.purpose, *values(trial, "data"), trial.architecture)
            blocks.setdefault(where, {}).setdefault(tuple(agree.own_reads(environment).items()), []).append(i)
    return same, sorted([*lines, *_set_apart(blocks, records, same)])


def _set_apart(lots: Lots, records: Sequence[Record], same: list[bool]) -> list[str]:
    """Marks all but the largest lot as not the same, and returns a line for each other lot."""
    lines = []
    for where, by_facts in lots.items():
        ranked = sorted(
            by_facts.items(),
            key=lambda lot: (len({records[i].trial for i in lot[1]}), max(records[i].started for i in lot[1])),
        )
        main = dict(ranked[-1][0])
        for facts, members in ranked[:-1]:
            for i in members:
                same[i] = False
            pairs = [(name, dict(facts).get(name, ""), main.get(name, "")) for name in {**main, **dict(facts)}]
            differ = [f"{name} {one or '-'!r} instead of {other!r}" for name, one, other in pairs if one != other]
            lines.append(f"{where[0]}: {len(members)} {where[1]} record(s) kept apart: {'; '.join(differ)}")
    return lines


def with_random_labels(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Which rows of `trials` or `cells` are of nets trained on random labels."""
    return rows["dataset"].str.startswith("random-labels")


def summarize(trials: pd.DataFrame) -> pd.DataFrame:
    """A row per setting over its comparable seeds, in the order of `SETTING`; see `Frames.cells`."""
    used = trials[trials["comparable"]]
    if used.empty:
        return frame([], CELLS)
    cell = used.groupby(list(SETTING), sort=True).ngroup().to_numpy()
    order = np.argsort(cell, kind="stable")
    used = used.iloc[order]
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    columns = {name: used[name].to_numpy() for name in _SUMMARIZED}
    ends = [*starts[1:], len(used)]
    cells = [_cell({name: v[a:b] for name, v in columns.items()}) for a, b in zip(starts, ends, strict=True)]
    settings = used.iloc[starts][list(SETTING)].reset_index(drop=True)
    return pd.concat([settings, frame(cells, CELL)], axis="columns").astype(CELLS)


# What `convergence.convergence` looks at, in its order.
CONVERGING = ("status", *ENDING)
_SUMMARIZED = (*CONVERGING, "steps", "n_train", "n_test", "train_seconds", "train_error", "test_error", "train_loss")
# One value of a column for each seed.
Seeds = NDArray[Any]


def _cell(seeds: Mapping[str, Seeds]) -> Cell:
    ok = seeds["status"] == "ok"
    train_error, test_error = _mean(seeds, "train_error", "n_train"), _mean(seeds, "test_error", "n_test")
    train_loss = _mean(seeds, "train_loss")
    return {
        "n": len(ok),
        "n_ok": int(ok.sum()),
        "n_diverged": int((seeds["status"] == "diverged").sum()),
        "n_failed": int((~ok).sum()),
        "steps": _over(np.nanmax, seeds["steps"]),
        "convergence": convergence(*(seeds[name] for name in CONVERGING)),
        "train_error_mean": train_error.value,
        "train_error_low": train_error.low,
        "train_error_high": train_error.high,
        "test_error_mean": test_error.value,
        "test_error_low": test_error.low,
        "test_error_high": test_error.high,
        "train_loss_mean": train_loss.value,
        "train_loss_low": train_loss.low,
        "train_loss_high": train_loss.high,
        # Of the same seeds as the errors, so that the two may stand in one point.
        "train_seconds_mean": _over(np.nanmean, seeds["train_seconds"][ok if ok.any() else ~ok]),
    }


def _mean(seeds: Mapping[str, Seeds], measure: str, counted: str = "") -> stats.Estimate:
    """As the judges take it, of the seeds that ended well: seeds that agree to the last image spread as rounding does.

    Args:
        seeds: By column, the cell's.
        measure: The column.
        counted: Column of the number of images behind it, where it is an error.
    """
    images = _over(np.nanmax, seeds[counted]) if counted else np.nan
    of_images = images if measure == "test_error" else np.nan
    ended = seeds[measure][seeds["status"] == "ok"]
    found = stats.mean_interval(ended, images=of_images, resolution=1 / images if images > 0 else 0.0)
    # One seed's huge loss would put the interval's lower end far below zero, where no loss can be.
    value, low, high = np.clip([found.value, found.low, found.high], 0.0, 1.0 if counted else np.inf).tolist()
    return replace(found, value=value, low=low, high=high)


def _over(function: Callable[[Seeds], float], values: Seeds) -> float:
    return float(function(values)) if np.isfinite(values).any() else np.nan
