"""A trial: one network, one recipe, one seed, as frozen data; what its fields affect, and what is refused. No torch."""

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from models.layouts import LAYOUTS, blocks_per_stage, misfit
from models.spec import ARCHITECTURES, Architecture, ModelSpec, unknown

PURPOSES = ("train", "cost", "search")
# Learning rates are searched on other seeds than nets are judged on: a rate chosen on a seed flatters that seed.
FIRST_SEARCH_SEED = 100
OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("cosine", "constant", "step")
PRECISIONS = ("fp32", "tf32", "bf16")
AUGMENTATIONS = ("none", "crop-flip")

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
        purpose: What it is for: "train" trains and evaluates; "cost" measures time and memory of the same network,
            apart from training and while nothing else runs; "search" trains as "train" does, to choose a learning
            rate by, and is never judged.
        architecture: The network: in a record its row, whole; in tables its name.
        depth: Weighted layers on the main path.
        layout: Stages and kinds of layer: a key of `LAYOUTS`.
        width: Channels of the first stage.
        seed: Seed of initial weights, data order and augmentation, each with a stream of its own.
        dataset: The data: a key of `datasets.DATASETS`, or "folder:PATH".
        resize: Side in pixels that images are resized to; 0 keeps their size.
        train_examples: Use only the first so many training images; 0 uses all.
        test_examples: Use only the first so many test images; 0 uses all.
        epochs: Passes over the training data.
        batch_size: Images per step.
        drop_last: Whether an epoch's last, partial batch is left out.
        lr: Peak learning rate; 0 in a study whose rates are still to be tuned.
        lr_from: Where the rate is from: "study" (written there), "search" (this net's own best), or "search of
            ARCHITECTURE" (the best of that net of the same depth and recipe). See `tuned`.
        schedule: How the rate falls: "cosine" (to zero), "constant", or "step" (times 0.1 at 1/2 and 3/4 of all steps).
        warmup_epochs: Linear warm-up from zero, in epochs.
        optimizer: What takes the steps: "sgd", or "adamw" (see `bench.train.optimizers`).
        momentum: Momentum of SGD; AdamW's beta1.
        weight_decay: Weight decay, on all parameters: L2 with SGD (as He et al. 2015), decoupled with AdamW.
        clip_norm: Gradient norm that steps are clipped to; 0 does not clip.
        label_smoothing: Share of a label that goes to all classes alike; 0 is plain cross-entropy.
        augment: How training images are changed: "none", or "crop-flip" (pad 4, random crop, random flip; He et al.
            2015, section 4.2).
        normalize: Whether inputs are standardised with the training set's mean and deviation; else 0..1.
        precision: Arithmetic: "fp32" (IEEE), "tf32" or "bf16" (autocast).
        checkpoint_blocks: Recompute each block's activations in backward.
        stop_at_train_error: End training once an epoch's running training error is at or under this; 0 never.
        test_each_epoch: Evaluate on the test set after each epoch, with running statistics as training left
            them (as the document does); never what claims judge.
        grow_to: Depths to grow the trained net to, one after the other (see `bench.probes.growth`).
        probes: Keys of `PROBES` in `bench.probes.table`, measured on the trained net.
    """

    study: str = field(metadata=affects("name"))
    architecture: Architecture = field(metadata=affects("name", "cost"))
    depth: int = field(metadata=affects("name"))
    seed: int = field(metadata=affects("name", "repeat"))
    purpose: str = field(default="train", metadata=affects("name", "repeat"))
    layout: str = field(default="four-stage", metadata=affects("cost", "scale", "start"))
    width: int = field(default=8, metadata=affects("cost", "scale", "start"))
    dataset: str = field(default="digits", metadata=affects("data", "cost", "scale"))
    resize: int = field(default=0, metadata=affects("data", "cost"))
    train_examples: int = field(default=0, metadata=affects("data"))
    test_examples: int = field(default=0, metadata=affects("start"))
    epochs: int = field(default=1, metadata=affects("extent"))
    batch_size: int = field(default=128, metadata=affects("cost", "scale", "start"))
    drop_last: bool = field(default=True, metadata=affects("start"))
    lr: float = field(default=0.1, metadata=affects("training"))
    lr_from: str = field(default="study", metadata=affects("training"))
    schedule: str = field(default="cosine", metadata=affects("training"))
    warmup_epochs: float = field(default=0.0, metadata=affects("training"))
    optimizer: str = field(default="sgd", metadata=affects("training", "cost", "start"))
    momentum: float = field(default=0.9, metadata=affects("training"))
    weight_decay: float = field(default=1e-4, metadata=affects("training"))
    clip_norm: float = field(default=0.0, metadata=affects("training"))
    label_smoothing: float = field(default=0.0, metadata=affects("training"))
    augment: str = field(default="none", metadata=affects("training", "time", "start"))
    normalize: bool = field(default=True, metadata=affects("training"))
    precision: str = field(default="fp32", metadata=affects("training", "cost", "start"))
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
        for name in TUPLES:
            if name in values:
                values[name] = tuple(values[name])
        return Trial(**values)

    @property
    def trains(self) -> bool:
        """Whether it trains, be it to be judged or to choose a learning rate by."""
        return self.purpose != "cost"

    @property
    def digest(self) -> str:
        """Eight hex digits of the SHA-256 of the fields that are not at their default.

        Defaults are left out so that a field added later does not rename old records.
        """
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        changed = {k: v for k, v in plain.items() if v != DEFAULTS.get(k, dataclasses.MISSING)}
        changed["architecture"] = {
            f.name: value
            for f in dataclasses.fields(Architecture)
            if (value := getattr(self.architecture, f.name)) != f.default and f.name not in ("label", "source")
        }
        return hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:8]


DEFAULTS = {f.name: f.default for f in dataclasses.fields(Trial) if f.default is not dataclasses.MISSING}
TUPLES = ("grow_to", "probes")
FIELDS = {f.name: f for f in dataclasses.fields(Trial)}
_AFFECTS: dict[str, tuple[Kind, ...]] = {name: f.metadata["affects"] for name, f in FIELDS.items()}


@functools.cache
def affecting(*kinds: Kind) -> tuple[str, ...]:
    """Names of the trial fields that affect any of these, in the order in which `Trial` has them."""
    return tuple(name for name, affected in _AFFECTS.items() if not set(kinds).isdisjoint(affected))


def values(trial: Trial, *kinds: Kind) -> tuple[Any, ...]:
    """The trial's values of `affecting` fields: equal for two trials that must agree in them."""
    return tuple(getattr(trial, name) for name in affecting(*kinds))


def cell(trial: Trial) -> Trial:
    """What a rate is chosen for: net and recipe, without the rate, the seed and what is looked at afterwards."""
    return dataclasses.replace(trial, purpose="search", lr=0.0, lr_from="study", seed=0, probes=(), grow_to=())


def spec_of(trial: Trial, image: tuple[int, int, int], classes: int) -> ModelSpec:
    """The network of a trial.

    Args:
        trial: Says architecture, layout, depth and width.
        image: Channels, height and width that the network sees (after resizing).
        classes: Number of classes of its data.
    """
    return ModelSpec(trial.architecture, trial.layout, trial.depth, trial.width, image, classes)


def architecture(name: object) -> Architecture:
    """A row of `ARCHITECTURES`, or a row made for a user's own "package.module:function"."""
    if isinstance(name, str) and ":" in name:
        module, _, function = name.partition(":")
        if not all(part.isidentifier() for part in [*module.split("."), function]):
            raise ValueError(f"architecture {name!r:.80} must read 'package.module:function'")
        check_name("architecture", function)
        if function in ARCHITECTURES:
            raise ValueError(f"architecture {name!r:.80}: the suite has {function!r} already; give yours another name")
        return Architecture(function, function, shortcut="own", placement="own", init="own", factory=name, source=name)
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise ValueError(unknown("architecture", name, ARCHITECTURES) + " Your own: 'package.module:function'.")
    return ARCHITECTURES[name]


_CHOICES: dict[str, Iterable[str]] = {
    "purpose": PURPOSES,
    "layout": LAYOUTS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "augment": AUGMENTATIONS,
    "precision": PRECISIONS,
}
_AT_LEAST = {"seed": 0, "width": 1, "batch_size": 1, "epochs": 0, "resize": 0, "train_examples": 0, "test_examples": 0}
_MOST = 2**31
# Beyond these nothing ends, or nothing is finite in float32: a slip of the keyboard is to be told before any work.
_AT_MOST: dict[str, float] = {"epochs": 100_000, "width": 1_000_000, "resize": 16_384, "lr": 1e6, "warmup_epochs": 1e5}
_MOST_FLOAT = 1e12
_LONGEST_TEXT = 1000


def check(trial: Trial) -> None:
    """Refuses a trial that cannot be run.

    Raises:
        ValueError: One line naming the field, its value and what it may be.
    """
    for name, spec in FIELDS.items():
        value = getattr(trial, name)
        kind = type(spec.default) if spec.default is not dataclasses.MISSING else None
        if name in ("depth", "seed"):
            kind = int
        if kind is not None and type(value) is not kind:
            raise ValueError(f"{name} must be {_KINDS[kind]}, not {value!r:.40}")
        if isinstance(value, str) and (len(value) > _LONGEST_TEXT or any(ord(c) < 32 or ord(c) == 127 for c in value)):
            raise ValueError(f"{name} must be at most {_LONGEST_TEXT} letters without line ends, not {value!r:.80}")
        if isinstance(value, float) and not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be zero or more and finite, not {value!r}")
        if name in _CHOICES and value not in _CHOICES[name]:
            raise ValueError(unknown(name, value, _CHOICES[name]))
        if name in _AT_LEAST and not _AT_LEAST[name] <= value < _MOST:
            raise ValueError(f"{name} must be at least {_AT_LEAST[name]} and under {_MOST}, not {value!r:.40}")
        most = _AT_MOST.get(name, _MOST_FLOAT)
        if isinstance(value, int | float) and value > most:
            raise ValueError(f"{name} must be at most {most:g}, not {value!r:.40}")
    if trial.lr == 0:
        raise ValueError("lr must be above zero, not 0.0")
    searching = trial.purpose == "search"
    if searching != (trial.seed >= FIRST_SEARCH_SEED):
        own = f"search trial, whose seeds are {FIRST_SEARCH_SEED} and up"
        other = f"judged trial, whose seeds are 0 to {FIRST_SEARCH_SEED - 1}"
        raise ValueError(f"seed {trial.seed} is none of a {own if searching else other}")
    if trial.trains and trial.epochs == 0:
        raise ValueError('epochs must be at least 1 to train (purpose = "cost" measures without training)')
    for name, kind in (("grow_to", int), ("probes", str)):
        for each in getattr(trial, name):
            if type(each) is not kind:
                raise ValueError(f"{name} must list {_KINDS[kind]} each, not {each!r:.80}")
    for name in ("label_smoothing", "stop_at_train_error"):
        if getattr(trial, name) >= 1:
            raise ValueError(f"{name} is a fraction: it must be under 1, not {getattr(trial, name)!r} (5 % is 0.05)")
    if trial.momentum >= 1:
        raise ValueError(f"momentum must be under 1, or what is past would never fade, not {trial.momentum!r}")
    if twice := next((name for name in trial.probes if trial.probes.count(name) > 1), ""):
        raise ValueError(f"probes lists {twice!r:.80} twice")
    if trial.trains and trial.warmup_epochs > trial.epochs:
        raise ValueError(f"warmup_epochs {trial.warmup_epochs:g} is more than the {trial.epochs} epochs")
    blocks_per_stage(trial.layout, trial.depth)
    if reason := misfit(trial.architecture, trial.layout):
        raise ValueError(reason)
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
        raise ValueError(f"{kind} {name!r:.80} may hold letters, digits, '.', '_' and '-' only, at most 64 of them")
