"""Studies and trials as frozen data, and the TOML files that they are read from. No torch.

A study file is a table of trial fields. A field may be given a list: lists multiply. `[[grid]]` tables
each make a further product that overrides the fields above them. A trial is one point of all that.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
import math
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from bench.plan import own
from models.spec import ARCHITECTURES, LAYOUTS, Architecture, ModelSpec, blocks_per_stage, unknown

STUDIES = Path(__file__).parents[1] / "studies"

PURPOSES = ("train", "cost")
SCHEDULES = ("cosine", "constant", "step")
PRECISIONS = ("fp32", "tf32", "bf16")
AUGMENTATIONS = ("none", "crop-flip")
# Images of a rehearsal: a few steps, or what there is of a smaller set.
REHEARSED_IMAGES = 40

# What a field of a trial can affect. Every list of fields that must agree, or need not, is made from these words.
#   name: which trial it is; a record's file name and a table's own columns say it.
#   repeat: no setting of its own: trials of one setting may differ in it.
#   data: which training images there are; records over other images are not compared.
#   start: whether it can start at all, as "data" does: the preflight tries each way once.
#   cost: time and memory of a step at a given depth; costs are compared when these agree.
#   time: the time of a step, where it is predicted; not told apart where costs are compared.
#   scale: roughly how much work a step is; the expected time left goes by it.
#   extent: how far a trial goes beyond one step; no cost trial has any of it.
#   training: what the net learns.
Kind = Literal["name", "repeat", "data", "start", "cost", "time", "scale", "extent", "training"]


def affects(*kinds: Kind) -> dict[str, tuple[Kind, ...]]:
    """Metadata of a trial's field: what it affects."""
    return {"affects": kinds}


@dataclass(frozen=True)
class Trial:
    """One point of a study's grid: one network, one recipe, one seed. Hashable and picklable.

    Each field says beside its default what it affects; see `Kind`.

    Attributes:
        study: Name of the study it belongs to.
        purpose: "train" trains and evaluates; "cost" measures time and memory of the same network, apart
            from training and while nothing else runs.
        architecture: The row, whole, so that a record is complete.
        depth: Weighted layers on the main path.
        width: Channels of the first stage.
        seed: Of initial weights, data order and augmentation, each with a stream of its own.
        dataset: A key of `data.DATASETS`, or "folder:PATH".
        resize: Side in pixels that images are resized to; 0 keeps their size.
        train_examples: Use only the first so many training images; 0 uses all.
        test_examples: Likewise of the test images.
        epochs: Passes over the training data.
        batch_size: Images per step.
        drop_last: Whether an epoch's last, partial batch is left out.
        lr: Peak learning rate.
        schedule: "cosine" (to zero), "constant", or "step" (times 0.1 at 1/2 and 3/4 of all steps).
        warmup_epochs: Linear warm-up from zero, in epochs.
        momentum: Of SGD.
        weight_decay: L2, on all parameters (as He et al. 2015).
        clip_norm: Gradient norm that steps are clipped to; 0 does not clip.
        label_smoothing: 0 is plain cross-entropy.
        augment: "none", or "crop-flip" (pad 4, random crop, random flip; He et al. 2015, section 4.2).
        normalize: Whether inputs are standardised with the training set's mean and deviation; else 0..1.
        precision: "fp32" (IEEE), "tf32" or "bf16" (autocast).
        checkpoint_blocks: Recompute each block's activations in backward.
        stop_at_train_error: End training once an epoch's running training error is at or under this; 0 never.
        test_each_epoch: Evaluate on the test set after each epoch, with running statistics as training left
            them (as the document does); never what claims judge.
        grow_to: Depths to grow the trained net to, one after the other (see `probes.growth`).
        probes: Keys of `probes.PROBES`, measured on the trained net.
    """

    study: str = field(metadata=affects("name"))
    architecture: Architecture = field(metadata=affects("name", "cost"))
    depth: int = field(metadata=affects("name"))
    seed: int = field(metadata=affects("name", "repeat"))
    purpose: str = field(default="train", metadata=affects("name", "repeat"))
    layout: str = field(default="four-stage", metadata=affects("cost", "scale", "start"))
    width: int = field(default=8, metadata=affects("cost", "scale"))
    dataset: str = field(default="digits", metadata=affects("data", "cost", "scale"))
    resize: int = field(default=0, metadata=affects("data", "cost"))
    train_examples: int = field(default=0, metadata=affects("data"))
    test_examples: int = field(default=0, metadata=affects("start"))
    epochs: int = field(default=1, metadata=affects("extent"))
    batch_size: int = field(default=128, metadata=affects("cost", "scale", "start"))
    drop_last: bool = field(default=True, metadata=affects("start"))
    lr: float = field(default=0.1, metadata=affects("training"))
    schedule: str = field(default="cosine", metadata=affects("training"))
    warmup_epochs: float = field(default=0.0, metadata=affects("training"))
    momentum: float = field(default=0.9, metadata=affects("training"))
    weight_decay: float = field(default=1e-4, metadata=affects("training"))
    clip_norm: float = field(default=0.0, metadata=affects("training"))
    label_smoothing: float = field(default=0.0, metadata=affects("training"))
    augment: str = field(default="none", metadata=affects("training", "time"))
    normalize: bool = field(default=True, metadata=affects("training"))
    precision: str = field(default="fp32", metadata=affects("training", "cost"))
    checkpoint_blocks: bool = field(default=False, metadata=affects("cost", "start"))
    stop_at_train_error: float = field(default=0.0, metadata=affects("training"))
    test_each_epoch: bool = field(default=False, metadata=affects("training"))
    grow_to: tuple[int, ...] = field(default=(), metadata=affects("extent"))
    probes: tuple[str, ...] = field(default=(), metadata=affects("extent", "repeat", "start"))

    def to_json(self) -> dict[str, Any]:
        """Plain data, every field present."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Trial":
        """The inverse of `to_json`; fields that an older record lacks take their defaults."""
        values = dict(data)
        values["architecture"] = Architecture(**values["architecture"])
        for name in _TUPLES:
            if name in values:
                values[name] = tuple(values[name])
        return Trial(**values)

    @property
    def digest(self) -> str:
        """Eight hex digits of the SHA-256 of the fields that are not at their default.

        Defaults are left out so that a field added later does not rename old records.
        """
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        changed = {k: v for k, v in plain.items() if v != _DEFAULTS.get(k, dataclasses.MISSING)}
        changed["architecture"] = {
            f.name: value
            for f in dataclasses.fields(Architecture)
            if (value := getattr(self.architecture, f.name)) != f.default and f.name not in ("label", "source")
        }
        return hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:8]


_DEFAULTS = {f.name: f.default for f in dataclasses.fields(Trial) if f.default is not dataclasses.MISSING}
_TUPLES = ("grow_to", "probes")
_FIELDS = {f.name: f for f in dataclasses.fields(Trial)}
_AFFECTS: dict[str, tuple[Kind, ...]] = {name: f.metadata["affects"] for name, f in _FIELDS.items()}
_STUDY_KEYS = ("title", "description", "claims", "include", "grid")


@functools.cache
def affecting(*kinds: Kind) -> tuple[str, ...]:
    """Names of the trial fields that affect any of these, in the order in which `Trial` has them."""
    return tuple(name for name, affected in _AFFECTS.items() if not set(kinds).isdisjoint(affected))


def values(trial: Trial, *kinds: Kind) -> tuple[Any, ...]:
    """The trial's values of `affecting` fields: equal for two trials that must agree in them."""
    return tuple(getattr(trial, name) for name in affecting(*kinds))


def spec_of(trial: Trial, image: tuple[int, int, int], classes: int) -> ModelSpec:
    """The network of a trial.

    Args:
        trial: Says architecture, layout, depth and width.
        image: Channels, height and width that the network sees (after resizing).
        classes: Number of classes of its data.
    """
    return ModelSpec(trial.architecture, trial.layout, trial.depth, trial.width, image, classes)


@dataclass(frozen=True)
class Study:
    """A named set of trials.

    Attributes:
        name: The file's name without ".toml".
        title: A line for the page.
        description: A few sentences for the page.
        claims: Ids of the claims that this study decides; empty means every claim that its records can feed.
        trials: Sorted by seed; within a seed as the file gives them. `runner.order` decides what runs first.
        include: Names of studies whose trials are part of this one (each keeps its own records folder).
        varied: Names of the trial fields that differ between trials.
    """

    name: str
    title: str
    description: str
    claims: tuple[str, ...]
    trials: tuple[Trial, ...]
    include: tuple[str, ...] = ()
    varied: tuple[str, ...] = field(default=())

    @property
    def parts(self) -> list[str]:
        """Names of the studies whose trials these are, each with a folder of records."""
        return list(dict.fromkeys(trial.study for trial in self.trials))


def known_studies() -> list[str]:
    """Names of the built-in studies."""
    return sorted(path.stem for path in STUDIES.glob("*.toml"))


def default_study(device: str, data_root: Path) -> tuple[str, str]:
    """The study for a machine, and a line that says why.

    Torch is asked for a CUDA device only where a driver is there: asking costs seconds.

    Args:
        device: "auto", "cpu" or "cuda".
        data_root: Where torchvision's CIFAR-10 would lie.
    """
    driver = any(Path(node).exists() for node in ("/dev/nvidiactl", "/dev/dxg"))
    if device == "cpu" or (device == "auto" and not driver):
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


def load(name: str, seeds: Sequence[int] | None = None, depths: Sequence[int] | None = None) -> Study:
    """Reads a study: a built-in name, or a path to a user's own TOML.

    Args:
        name: Built-in name, or a path that ends in ".toml".
        seeds: Replaces the study's seeds.
        depths: Keeps only these depths.

    Raises:
        ValueError: One line naming file, key and fault, for anything that cannot be run.
    """
    path = Path(name) if name.endswith(".toml") else STUDIES / f"{name}.toml"
    if not name.endswith(".toml") and name not in known_studies():
        raise ValueError(unknown("study", name, known_studies()) + " A file of your own must end in .toml.")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot read study {str(path)!r}: {error}") from None
    try:
        study = parse(path.stem, table, seeds, depths)
    except ValueError as error:
        raise ValueError(f"study {path.stem!r}: {error}") from None
    return _with_own(study, path.parent)


def rehearsed(study: Study) -> Study:
    """The same study in miniature, to find what would go wrong before it costs hours: its numbers mean nothing.

    Every architecture, depth, precision, data set and probe of it, in tiny nets that take a few steps on a few images;
    one seed.
    """
    first = min((trial.seed for trial in study.trials), default=0)
    # Wide enough to have channels, long enough for a few steps.
    small = (
        replace(
            trial, width=2, batch_size=8, train_examples=REHEARSED_IMAGES, test_examples=REHEARSED_IMAGES,
            epochs=min(1, trial.epochs), warmup_epochs=0.0,
        )
        for trial in study.trials
        if trial.seed == first
    )  # fmt: skip
    return replace(study, trials=tuple(dict.fromkeys(small)))


def _with_own(study: Study, folder: Path) -> Study:
    """A user's own architectures are found beside the study's file."""
    rows = {trial.architecture for trial in study.trials if trial.architecture.factory}
    if not rows:
        return study
    own.reachable(folder)
    found = {row: own.described(row, folder) for row in rows}
    trials = tuple(replace(t, architecture=found.get(t.architecture, t.architecture)) for t in study.trials)
    return replace(study, trials=trials)


def parse(
    name: str, table: dict[str, Any], seeds: Sequence[int] | None = None, depths: Sequence[int] | None = None
) -> Study:
    """Turns a study's table into trials; see `load`."""
    check_name("study name", name)
    table = dict(table)
    head = {key: table.pop(key) for key in _STUDY_KEYS if key in table}
    _check_head(head)
    allowed = [*_FIELDS, *_STUDY_KEYS]
    include = tuple(head.get("include", ()))
    trials: list[Trial] = []
    for other in include:
        if other not in known_studies():  # built-in studies only, which a test reads: no file can include itself
            raise ValueError(unknown("study", other, known_studies()) + " Only built-in studies can be included.")
        trials += [t for t in load(other, seeds).trials if depths is None or t.depth in depths]
    for grid in head.get("grid", [{}] if not include or table else []):
        for key in [*table, *grid]:
            if key not in _FIELDS or key == "study":
                raise ValueError(unknown("key", key, [k for k in allowed if k != "study"]))
        trials += _product(name, {**table, **grid}, seeds, depths)
    if not trials:
        raise ValueError("no trials: the grid is empty")
    unique = tuple(dict.fromkeys(trials))
    # Among trials of one study and purpose: what a cost trial leaves out (epochs, probes) is not what the study varies.
    alike: dict[tuple[str, str], list[Trial]] = {}
    for trial in unique:
        alike.setdefault((trial.study, trial.purpose), []).append(trial)
    fields = [f for f in _FIELDS if any(len({getattr(t, f) for t in part}) > 1 for part in alike.values())]
    if len({study for study, _ in alike}) > 1:
        fields.append("study")
    title = str(head.get("title", name))
    claims = tuple(map(str, head.get("claims", ())))
    return Study(name, title, str(head.get("description", "")), claims, unique, include, tuple(fields))


def _check_head(head: dict[str, Any]) -> None:
    """Refuses what stands around the grid and is not of its kind."""
    for key in ("title", "description"):
        if not isinstance(head.get(key, ""), str):
            raise ValueError(f"key {key!r} must be a text, not {head[key]!r}")
    for key, kind, words in (("claims", str, "texts"), ("include", str, "texts"), ("grid", dict, "tables")):
        value = head.get(key, [])
        if not (isinstance(value, list) and all(isinstance(each, kind) for each in value)):
            raise ValueError(f"key {key!r} must be a list of {words}, not {value!r}")


def _product(
    study: str, values: dict[str, Any], seeds: Sequence[int] | None, depths: Sequence[int] | None
) -> list[Trial]:
    values = {"purpose": list(PURPOSES), **values}
    if seeds is not None:
        values["seed"] = list(seeds)
    for key in ("architecture", "depth", "seed"):
        if key not in values:
            raise ValueError(f"key {key!r} is missing")
    axes: dict[str, list[Any]] = {}
    for key, value in values.items():
        many = isinstance(value, list) and key not in _TUPLES
        axes[key] = list(value) if many else [value]
        if not axes[key]:
            raise ValueError(f"key {key!r} lists nothing")
        repeated = [v for v in axes[key] if axes[key].count(v) > 1]
        if repeated:
            raise ValueError(f"key {key!r} lists {repeated[0]!r} twice")
    trials = []
    for point in itertools.product(*axes.values()):
        chosen = dict(zip(axes, point, strict=True))
        if depths is not None and chosen["depth"] not in depths:
            continue
        trial = _trial(study, chosen)
        # Cost does not depend on the seed: it is measured once, with the study's first.
        if trial.purpose == "cost":
            trial = dataclasses.replace(trial, seed=int(axes["seed"][0]), probes=(), grow_to=(), epochs=0)
        trials.append(trial)
    return sorted(trials, key=lambda t: t.seed)


def _trial(study: str, values: dict[str, Any]) -> Trial:
    values = dict(values)
    values["architecture"] = architecture(values["architecture"])
    for name in _TUPLES:
        if name in values:
            if not isinstance(values[name], list):
                raise ValueError(f"key {name!r} must be a list, not {values[name]!r}")
            values[name] = tuple(values[name])
    for name, value in values.items():
        default = _DEFAULTS.get(name)
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            values[name] = float(value)
    trial = Trial(study=study, **values)
    check(trial)
    return trial


def architecture(name: object) -> Architecture:
    """A row of `ARCHITECTURES`, or a row made for a user's own "package.module:function"."""
    if isinstance(name, str) and ":" in name:
        module, _, function = name.partition(":")
        if not all(part.isidentifier() for part in [*module.split("."), function]):
            raise ValueError(f"architecture {name!r} must read 'package.module:function'")
        check_name("architecture", function)
        if function in ARCHITECTURES:
            raise ValueError(f"architecture {name!r}: the suite has a {function!r} already; give yours another name")
        return Architecture(function, function, shortcut="own", placement="own", init="own", factory=name, source=name)
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise ValueError(unknown("architecture", name, ARCHITECTURES) + " Your own: 'package.module:function'.")
    return ARCHITECTURES[name]


_CHOICES: dict[str, Iterable[str]] = {
    "purpose": PURPOSES,
    "layout": LAYOUTS,
    "schedule": SCHEDULES,
    "augment": AUGMENTATIONS,
    "precision": PRECISIONS,
}
_AT_LEAST = {"seed": 0, "width": 1, "batch_size": 1, "epochs": 0, "resize": 0, "train_examples": 0, "test_examples": 0}
_MOST = 2**31


def check(trial: Trial) -> None:
    """Refuses a trial that cannot be run.

    Raises:
        ValueError: One line naming the field, its value and what it may be.
    """
    for name, spec in _FIELDS.items():
        value = getattr(trial, name)
        kind = type(spec.default) if spec.default is not dataclasses.MISSING else None
        if name in ("depth", "seed"):
            kind = int
        if kind is not None and type(value) is not kind:
            raise ValueError(f"{name} must be {_KINDS[kind]}, not {value!r}")
        if isinstance(value, float) and not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be zero or more and finite, not {value!r}")
        if name in _CHOICES and value not in _CHOICES[name]:
            raise ValueError(unknown(name, value, _CHOICES[name]))
        if name in _AT_LEAST and not _AT_LEAST[name] <= value < _MOST:
            raise ValueError(f"{name} must be at least {_AT_LEAST[name]} and under {_MOST}, not {value!r}")
    if trial.lr == 0:
        raise ValueError("lr must be above zero, not 0.0")
    if trial.purpose == "train" and trial.epochs == 0:
        raise ValueError('epochs must be at least 1 to train (purpose = "cost" measures without training)')
    for name, kind in (("grow_to", int), ("probes", str)):
        for each in getattr(trial, name):
            if type(each) is not kind:
                raise ValueError(f"{name} must list {_KINDS[kind]} each, not {each!r}")
    for name in ("label_smoothing", "stop_at_train_error"):
        if getattr(trial, name) >= 1:
            raise ValueError(f"{name} is a fraction: it must be under 1, not {getattr(trial, name)!r} (5 % is 0.05)")
    if trial.purpose == "train" and trial.warmup_epochs > trial.epochs:
        raise ValueError(f"warmup_epochs {trial.warmup_epochs:g} is more than the {trial.epochs} epochs")
    blocks_per_stage(trial.layout, trial.depth)
    last = trial.depth
    for depth in trial.grow_to:
        blocks_per_stage(trial.layout, depth)
        if depth <= last:
            raise ValueError(f"grow_to {list(trial.grow_to)} must rise, from above depth {trial.depth}")
        last = depth


_KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", tuple: "a list"}


def check_name(kind: str, name: str) -> None:
    """Names become folders and table cells: letters, digits, '.', '_' and '-', at most 64, no leading dot or dash."""
    plain = name.replace("-", "").replace("_", "").replace(".", "")
    if not (plain.isascii() and plain.isalnum() and name[0] not in ".-" and len(name) <= 64):
        raise ValueError(f"{kind} {name!r} may hold letters, digits, '.', '_' and '-' only, at most 64 of them")
