"""Each field of a trial says once what it affects; every list of fields that must agree follows from that."""

import dataclasses
from typing import Any, get_args

import pytest

from bench.plan.trial import Kind, Trial, affecting, spec_of, values
from bench.store.record import file_name
from bench.sweep.forecast import Forecast, family
from models.spec import ARCHITECTURES, ModelSpec
from results import columns

TRIAL = Trial("s", ARCHITECTURES["plain"], depth=18, seed=0)


def changed(**fields: Any) -> Trial:
    return dataclasses.replace(TRIAL, **fields)


@pytest.mark.parametrize("field", dataclasses.fields(Trial), ids=lambda field: field.name)
def test_every_field_says_what_it_affects(field: dataclasses.Field[Any]) -> None:
    said = field.metadata.get("affects", ())
    assert said, f"{field.name} must say what it affects"
    assert set(said) <= set(get_args(Kind)), f"{field.name} says a word that means nothing"


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_is_of_use(kind: Kind) -> None:
    assert affecting(kind)


def test_what_says_how_a_net_learns_says_nothing_of_its_price() -> None:
    for other in (changed(lr=0.3), changed(seed=1), changed(epochs=9), changed(weight_decay=0.0), changed(depth=34)):
        assert family(other) == family(TRIAL)
    for other in (
        *(changed(width=16), changed(batch_size=64), changed(precision="bf16"), changed(resize=32)),
        *(changed(augment="crop-flip"), changed(checkpoint_blocks=True), changed(architecture=ARCHITECTURES["preact"])),
    ):
        assert family(other) != family(TRIAL)


def test_costs_are_compared_over_depth_and_architecture_only() -> None:
    assert not {"depth", "architecture", "lr", "seed", "augment"} & set(columns.COST_SETTING)
    assert {"layout", "width", "dataset", "batch_size", "precision"} <= set(columns.COST_SETTING)


def test_time_left_goes_by_the_size_of_the_work() -> None:
    def similar(trial: Trial) -> tuple[Any, ...]:
        return Forecast._keys(trial)[1]

    assert similar(changed(lr=0.3, precision="bf16")) == similar(TRIAL)
    assert similar(changed(width=16)) != similar(TRIAL)
    assert similar(changed(purpose="cost")) != similar(TRIAL)


def test_replicates_differ_in_seed_and_in_what_is_looked_at_afterwards() -> None:
    apart = {f.name for f in dataclasses.fields(Trial)} - set(columns.SETTING)
    assert apart == {"seed", "purpose", "probes"}


def test_other_images_are_other_data() -> None:
    assert values(changed(lr=0.3, width=16), "data") == values(TRIAL, "data")
    for other in (changed(dataset="synthetic"), changed(resize=16), changed(train_examples=100)):
        assert values(other, "data") != values(TRIAL, "data")


def test_a_file_name_says_a_field_once() -> None:
    every = [f.name for f in dataclasses.fields(Trial)]
    name = file_name(changed(lr=0.3, probes=("lesions",), grow_to=(34,)), every)
    assert name.startswith("plain-d00018-s000-layout=four-stage-")
    for field in ("study", "architecture", "depth", "seed", "purpose", "epochs", "probes", "grow_to"):
        assert f"-{field}=" not in name


def test_a_value_says_nothing_of_where_it_comes_from() -> None:
    """Digests name records on disk: what a field affects is no part of them."""
    assert TRIAL.digest == "4589f22c"
    assert changed(lr=0.3).digest != TRIAL.digest


def test_the_network_of_a_trial() -> None:
    spec = spec_of(changed(width=16), (3, 32, 32), 7)
    assert spec == ModelSpec(ARCHITECTURES["plain"], "four-stage", 18, 16, (3, 32, 32), 7)
