"""Studies as frozen data, and the TOML files that they are read from. No torch.

A study file is a table of trial fields. A field may be given a list: lists multiply. `[[grid]]` tables
each make a further product that overrides the fields above them. A trial is one point of all that. `[search]` says
which learning rates are searched (`search`).
"""

import itertools
import tomllib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.plan import own, search, tuned
from bench.plan.machine import check_at_once, driven
from bench.plan.trial import DEFAULTS, FIELDS, TUPLES, Trial, architecture, check, check_name
from bench.plan.words import counted
from models.spec import unknown

STUDIES = Path(__file__).parents[1] / "studies"

# Images of a rehearsal: a few steps, or what there is of a smaller set.
REHEARSED_IMAGES = 40
_STUDY_KEYS = ("title", "description", "claims", "include", "seeds_at_once", "grid", "search")
_NOT_KEYS = ("study", "lr_from")
# What a study's trials are for unless it says; its search is a table of its own.
_USUAL_PURPOSES = ["train", "cost"]


@dataclass(frozen=True)
class Study:
    """A named set of trials.

    Attributes:
        name: The file's name without ".toml".
        title: A line for the page.
        description: A few sentences for the page.
        claims: Ids of the claims that this study decides; empty means every claim that its records can feed.
        trials: Sorted by seed; within a seed as the file gives them. What runs first is `order` in `bench.sweep.queue`.
        include: Names of studies whose trials are part of this one (each keeps its own records folder).
        varied: Names of the trial fields that differ between trials.
        search: Trials that a learning rate is chosen by; never among `trials`, and run only when asked for.
        untuned: What would be among `trials` if its rate were known: see `tuned`.
        rates: By study, what was searched for its nets.
        seeds_at_once: Seeds of one net that are to train at once on a GPU; of an included study it does not count.
    """

    name: str
    title: str
    description: str
    claims: tuple[str, ...]
    trials: tuple[Trial, ...]
    include: tuple[str, ...] = ()
    varied: tuple[str, ...] = field(default=())
    search: tuple[Trial, ...] = ()
    untuned: tuple[Trial, ...] = ()
    rates: tuple[tuple[str, tuned.Rates], ...] = ()
    seeds_at_once: int = 1

    @property
    def parts(self) -> list[str]:
        """Names of the studies whose trials these are, each with a folder of records."""
        return list(dict.fromkeys(trial.study for trial in (*self.trials, *self.untuned)))

    @property
    def waits(self) -> str:
        """Which trials wait for their learning rates, in words; of a study with `untuned` ones."""
        first = self.untuned[0]
        return (
            f"no tuned rate is known for {counted(len(self.untuned), 'trial')}, such as"
            f" {first.architecture.name} of {first.depth} layers: `make tune STUDY=...` searches them"
        )


def known_studies() -> list[str]:
    """Names of the built-in studies."""
    return sorted(path.stem for path in STUDIES.glob("*.toml") if path.suffixes == [".toml"])


def default_study(device: str, data_root: Path) -> tuple[str, str]:
    """The study for a machine, and a line that says why.

    Torch is asked for a GPU only where a driver is there: asking costs seconds.

    Args:
        device: One of `DEVICES`.
        data_root: Where torchvision's CIFAR-10 would lie.
    """
    if device == "cpu" or (device == "auto" and not driven()):
        return "digits", "study digits: the default on a CPU"
    from bench.train.device import choose

    if choose(device) == "cpu":
        return "digits", "study digits: the default on a CPU"
    if (data_root / "cifar-10-batches-py").is_dir():
        return "cifar10", "study cifar10: the default with CUDA"
    return "digits", (
        f"study digits: CIFAR-10 is not in {data_root}/ (it would be cifar-10-batches-py);"
        " to get it: make ablation STUDY=cifar10 DOWNLOAD=1"
    )


def load(
    name: str,
    seeds: Sequence[int] | None = None,
    depths: Sequence[int] | None = None,
    search_seeds: Sequence[int] | None = None,
) -> Study:
    """Reads a study: a built-in name, or a path to a user's own TOML.

    Args:
        name: Built-in name, or a path that ends in ".toml".
        seeds: Replaces the study's seeds.
        depths: Keeps only these depths.
        search_seeds: Replaces the seeds of the study's search.

    Raises:
        ValueError: One line naming file, key and fault, for anything that cannot be run.
    """
    path = Path(name) if name.endswith(".toml") else STUDIES / f"{name}.toml"
    if not name.endswith(".toml") and name not in known_studies():
        raise ValueError(unknown("study", name, known_studies()) + " A file of your own must end in .toml.")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors put a byte-order mark first
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot read study {str(path)!r}: {error}") from None
    try:
        study = parse(path.stem, table, seeds, depths, search_seeds)
        return _with_rates(_with_own(study, path.parent), tuned.read(tuned.beside(path)))
    except ValueError as error:
        raise ValueError(f"study {path.stem!r}: {error}") from None


def rehearsed(study: Study) -> Study:
    """The same study in miniature, to find what would go wrong before it costs hours: its numbers mean nothing.

    Every architecture, depth, precision, data set and probe of it, in tiny nets that take a few steps on a few images;
    one seed.
    """
    rated = (replace(trial, lr=tuned.COST_LR, lr_from="study") for trial in study.untuned)
    return replace(study, trials=_small((*study.trials, *rated)), search=_small(study.search), untuned=())


def _small(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    first = min((trial.seed for trial in trials), default=0)
    # Wide enough to have channels, long enough for a few steps.
    small = (
        replace(
            trial, seed=first, width=2, batch_size=8, train_examples=REHEARSED_IMAGES,
            test_examples=REHEARSED_IMAGES, epochs=min(1, trial.epochs), warmup_epochs=0.0,
        )
        for trial in trials
    )  # fmt: skip
    return tuple(dict.fromkeys(small))


def _with_own(study: Study, folder: Path) -> Study:
    """A user's own architectures are found beside the study's file."""
    rows = {trial.architecture for trial in study.trials if trial.architecture.factory}
    if not rows:
        return study
    own.reachable(folder)
    found = {row: own.described(row, folder) for row in rows}
    trials, searched = (
        tuple(replace(t, architecture=found.get(t.architecture, t.architecture)) for t in part)
        for part in (study.trials, study.search)
    )
    return replace(study, trials=trials, search=searched)


def _with_rates(study: Study, rates: tuned.Rates) -> Study:
    """Each tuned net at its rate; those of studies that are included have theirs."""
    trials, unknown = tuned.resolved(study.trials, rates)
    if all(trial.lr for trial in study.trials):
        return study
    return replace(
        study,
        trials=tuple(trials),
        untuned=(*study.untuned, *unknown),
        rates=(*study.rates, (study.name, rates)),
        varied=tuple(dict.fromkeys((*study.varied, "lr"))),
    )


def parse(
    name: str,
    table: dict[str, Any],
    seeds: Sequence[int] | None = None,
    depths: Sequence[int] | None = None,
    search_seeds: Sequence[int] | None = None,
) -> Study:
    """Turns a study's table into trials; see `load`."""
    check_name("study name", name)
    table = dict(table)
    head = {key: table.pop(key) for key in _STUDY_KEYS if key in table}
    _check_head(head)
    allowed = [*FIELDS, *_STUDY_KEYS]
    include = tuple(head.get("include", ()))
    trials: list[Trial] = []
    searched: list[Trial] = []
    untuned: list[Trial] = []
    rates: list[tuple[str, tuned.Rates]] = []
    for other in include:
        if other not in known_studies():  # built-in studies only, which a test reads: no file can include itself
            raise ValueError(unknown("study", other, known_studies()) + " Only built-in studies can be included.")
        part = load(other, seeds, search_seeds=search_seeds)
        trials += part.trials
        searched += part.search
        untuned += part.untuned
        rates += part.rates
    for grid in head.get("grid", [{}] if not include or table else []):
        for key in [*table, *grid]:
            if key not in FIELDS or key in _NOT_KEYS:
                raise ValueError(unknown("key", key, [k for k in allowed if k not in _NOT_KEYS]))
        trials += _product(name, {**table, **grid}, seeds)
    mine = [trial for trial in trials if trial.study == name]
    if "search" in head or any(trial.lr_from == "search" for trial in mine):
        searched += search.trials(search.read(head.get("search", {}), mine), mine, search_seeds)
    if depths is not None:  # only now: the search may name any depth of the study
        trials, searched, untuned = ([t for t in part if t.depth in depths] for part in (trials, searched, untuned))
    if not trials and not untuned:
        raise ValueError("no trials: the grid is empty")
    unique = tuple(dict.fromkeys(trials))
    _check_twice(unique)
    # Among trials of one study and purpose: what a cost trial leaves out (epochs, probes) is not what the study varies.
    alike: dict[tuple[str, str], list[Trial]] = {}
    for trial in unique:
        alike.setdefault((trial.study, trial.purpose), []).append(trial)
    fields = [f for f in FIELDS if any(len({getattr(t, f) for t in part}) > 1 for part in alike.values())]
    if len({study for study, _ in alike}) > 1:
        fields.append("study")
    return Study(
        name,
        title=str(head.get("title", name)),
        description=str(head.get("description", "")),
        claims=tuple(map(str, head.get("claims", ()))),
        trials=unique,
        include=include,
        varied=tuple(fields),
        search=tuple(dict.fromkeys(searched)),
        untuned=tuple(dict.fromkeys(untuned)),
        rates=tuple(rates),
        seeds_at_once=head.get("seeds_at_once", 1),
    )


def _check_twice(trials: Iterable[Trial]) -> None:
    """Refuses one training under two names: its seed would count twice."""
    seen: dict[Trial, Trial] = {}
    for trial in trials:
        first = seen.setdefault(replace(trial, probes=(), grow_to=()), trial)
        if first.probes != trial.probes or first.grow_to != trial.grow_to:
            net = f"{trial.architecture.name} of {trial.depth} layers, seed {trial.seed}"
            raise ValueError(f"two grids ask for {net} with other 'probes' or 'grow_to': ask once, with all of them")


def _check_head(head: dict[str, Any]) -> None:
    """Refuses what stands around the grid and is not of its kind."""
    for key in ("title", "description"):
        if not isinstance(head.get(key, ""), str):
            raise ValueError(f"key {key!r} must be a text, not {head[key]!r:.80}")
    for key, kind, words in (("claims", str, "texts"), ("include", str, "texts"), ("grid", dict, "tables")):
        value = head.get(key, [])
        if not (isinstance(value, list) and all(isinstance(each, kind) for each in value)):
            raise ValueError(f"key {key!r} must be a list of {words}, not {value!r:.80}")
    check_at_once("seeds_at_once", head.get("seeds_at_once", 1))


def _product(study: str, values: dict[str, Any], seeds: Sequence[int] | None) -> list[Trial]:
    values = {"purpose": _USUAL_PURPOSES, **values}
    own = values.get("seed")
    if seeds is not None:
        values["seed"] = list(seeds)
    for key in ("architecture", "depth", "seed"):
        if key not in values:
            raise ValueError(f"key {key!r} is missing")
    axes: dict[str, list[Any]] = {}
    for key, value in values.items():
        many = isinstance(value, list) and key not in TUPLES
        axes[key] = list(value) if many else [value]
        if not axes[key]:
            raise ValueError(f"key {key!r} lists nothing")
        if key == "purpose" and "search" in axes[key]:
            raise ValueError("purpose is 'train' or 'cost'; a search is declared by a table [search] of the study")
        repeated = [v for v in axes[key] if axes[key].count(v) > 1]
        if repeated:
            raise ValueError(f"key {key!r} lists {repeated[0]!r:.80} twice")
    # Cost does not depend on the seed: it is measured once, with the study's first, whatever seeds are asked for.
    first = (axes["seed"] if own in (None, []) else own if isinstance(own, list) else [own])[0]
    trials = []
    for point in itertools.product(*axes.values()):
        trial = _trial(study, dict(zip(axes, point, strict=True)))
        if trial.purpose == "cost":
            trial = replace(trial, seed=int(first), probes=(), grow_to=(), epochs=0)
            if not trial.lr:
                trial = replace(trial, lr=tuned.COST_LR, lr_from="study")
        trials.append(trial)
    return sorted(trials, key=lambda t: t.seed)


def _trial(study: str, values: dict[str, Any]) -> Trial:
    values = dict(values)
    values["architecture"] = architecture(values["architecture"])
    lr_from = tuned.lr_from(values.get("lr"))
    if lr_from:
        values |= {"lr": 1.0, "lr_from": lr_from}
    for name in TUPLES:
        if name in values:
            if not isinstance(values[name], list):
                raise ValueError(f"key {name!r} must be a list, not {values[name]!r:.80}")
            values[name] = tuple(values[name])
    for name, value in values.items():
        default = DEFAULTS.get(name)
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            with suppress(OverflowError):  # which `check` refuses
                values[name] = float(value)
    trial = Trial(study=study, **values)
    check(trial)
    return replace(trial, lr=0.0) if lr_from else trial
