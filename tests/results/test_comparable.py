"""Which records stand together: of one machine and version, one of each trial, and one architecture by one name."""

import dataclasses
from pathlib import Path

import pytest
from made_up import cost_record, frames, study_records, train_record, trial, write

from bench.plan.trial import architecture
from results import against, tables


def test_the_newest_of_two_records_of_a_trial_counts_and_the_conflict_is_told(tmp_path: Path):
    old, new = (train_record(trial(), e, started=f"2026-11-2{i}T00:00:00Z") for i, e in ((1, 0.9), (2, 0.1)))
    write(tmp_path / "a", [new])
    write(tmp_path / "b", [old])
    found = tables.load([tmp_path / "a", tmp_path / "b"])
    assert found.trials["train_error"].tolist() == [0.1]
    assert len(found.warnings) == 1
    assert "same trial" in found.warnings[0]


def test_a_newer_record_of_another_version_does_not_take_the_place_of_the_comparable_one(tmp_path: Path):
    most = [train_record(trial(seed=s), 0.1) for s in range(3)]
    again = train_record(trial(seed=2), 0.9, started="2026-12-01T00:00:00Z", environment={"code": "0ther"})
    write(tmp_path / "a", most)
    write(tmp_path / "b", [again])
    found = tables.load([tmp_path / "a", tmp_path / "b"])
    assert found.trials["train_error"].tolist() == [0.1, 0.1, 0.1]
    assert found.cells["n"].item() == 3
    assert any("same trial" in line for line in found.warnings)
    # The same trial twice is no larger lot.
    write(tmp_path / "c", [dataclasses.replace(r, environment={**r.environment, "code": "0ther"}) for r in most[:2]])
    write(tmp_path / "d", [dataclasses.replace(r, environment={**r.environment, "code": "0ther"}) for r in most[:2]])
    found = tables.load([tmp_path / name for name in "acd"])
    assert found.cells["n"].item() == 3


@pytest.mark.parametrize("other", [{"device": "cuda", "device_name": "H200"}, {"code": "0ther"}, {"torch": "2.11.0"}])
def test_records_of_another_machine_or_version_are_kept_apart(other):
    most = [train_record(trial(seed=s), 0.1) for s in range(3)]
    odd = train_record(trial(seed=3), 0.9, environment=other)
    found = frames([*most, odd])
    assert found.trials["comparable"].tolist() == [True, True, True, False]
    assert found.cells["n"].item() == 3
    assert all(value in found.warnings[0] for value in other.values())


@pytest.mark.parametrize(("device", "kept"), [("cpu", [True, True, False]), ("cuda", [True, True, True])])
def test_another_number_of_threads_is_another_rounding_on_a_cpu_alone(device, kept):
    several = [train_record(trial(seed=s), 0.1, environment={"device": device, "threads": s}) for s in (1, 1, 2)]
    several[0].environment.pop("threads")  # as a record of the first version, which had one
    found = frames([dataclasses.replace(r, trial=trial(seed=i)) for i, r in enumerate(several)])
    assert found.trials["comparable"].tolist() == kept


def test_two_data_sets_in_one_study_are_no_mixture():
    a = train_record(trial(), 0.1, environment={"data": "one"})
    b = train_record(trial(dataset="random-labels:digits"), 0.1, environment={"data": "two"})
    found = frames([a, b])
    assert found.trials["comparable"].all()
    assert found.warnings == ()


def test_a_smaller_micro_batch_is_no_replicate():
    """BatchNorm then sees other batches."""
    found = frames([train_record(trial(), 0.1), train_record(trial(seed=1), 0.1, micro_batch=32)])
    assert found.trials["comparable"].tolist() == [True, False]
    assert "micro-batch of 32" in found.warnings[0]


def own(factory, code="", error=0.1, seeds=(0, 1, 2)):
    row = dataclasses.replace(architecture(factory), code=code)
    return [train_record(dataclasses.replace(trial(seed=s), architecture=row), error + 0.001 * s) for s in seeds]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("good:block", "1"), ("dead:block", "2")),
        (("good:block", "1"), ("dead:block", "1")),
        (("a.good:block", ""), ("b.good:block", "")),
        (("block:block", "1"), ("other:block", "1")),
        # One function, edited in between.
        (("good:block", "1"), ("good:block", "2")),
    ],
)
def test_two_blocks_of_one_name_are_two_architectures(one, other):
    found = frames([*own(*one, error=0.0), *own(*other, error=0.8)])
    assert found.cells["n"].tolist() == [3, 3]
    assert sorted(found.cells["train_error_mean"].round(1)) == [0.0, 0.8]
    assert found.trials["architecture"].nunique() == found.trials["label"].nunique() == 2


def reading(environment, error=0.1, seeds=(0, 1, 2), factory="good:block"):
    found = own(factory, "1", error, seeds)
    return [dataclasses.replace(each, environment={**each.environment, **environment}) for each in found]


# What a block read of one kind and of another, and the words for it.
OTHER_READS = [
    ({"own_files": "a"}, {"own_files": "b"}, "file that the block reads 'b' instead of 'a'"),
    ({"own_files": "a"}, {}, "file that the block reads '-' instead of 'a'"),
    ({"own_variables": {"GAIN": "a"}}, {"own_variables": {"GAIN": "b"}}, "the variable GAIN, which the block reads"),
    ({}, {"own_variables": {"GAIN": "b"}}, "the variable GAIN, which the block reads"),
]


@pytest.mark.parametrize(("one", "other", "words"), OTHER_READS)
def test_records_of_a_block_that_read_something_else_are_kept_apart(one, other, words):
    most, odd = reading(one, error=0.1), reading(other, error=0.8, seeds=(3, 4))
    found = frames([*most, *odd])
    assert found.trials["comparable"].tolist() == [True] * 3 + [False] * 2
    assert found.cells["n"].tolist() == [3]
    (line,) = found.warnings
    assert "2 train record(s) kept apart" in line
    assert words in line


def test_each_block_may_read_what_it_likes():
    """And one that asks for a variable that is not set reads what one does that does not ask."""
    blocks = reading({"own_files": "a"}), reading({}, factory="other:block")
    unset = reading({"own_variables": {"GAIN": ""}}, factory="other:block", seeds=(3,))
    found = frames([*blocks[0], *blocks[1], *unset, train_record(trial(), 0.1)])
    assert found.trials["comparable"].all()
    assert found.warnings == ()


@pytest.mark.parametrize(("one", "other", "words"), OTHER_READS)
def test_two_folders_whose_block_read_something_else_are_not_paired(one, other, words):
    a, b = frames(reading(one)), frames(reading(other, error=0.8))
    pairs = against.errors(a, b)
    assert {pair.pairs for pair in pairs} == {0}
    ((net, fields),) = against.other_recipes(pairs)
    assert (net.architecture, fields) == ("block", [])
    assert against.shared(a, b).both == 0
    assert against.shared(a, a).both == 3
    costs = [
        frames([dataclasses.replace(cost_record(each.trial), environment=each.environment)])
        for each in (reading(one)[0], reading(other)[0])
    ]
    assert [pair.a is None or pair.b is None for pair in against.costs(*costs)] == [True, True]
    assert [pair.a is None or pair.b is None for pair in against.costs(costs[0], costs[0])] == [False]


@pytest.mark.parametrize("change", [{"norm": "none"}, {"activation": "tanh"}, {"zero_last": True}, {"conv_bias": True}])
def test_a_row_of_the_suites_that_was_another_is_another_architecture(change):
    """Records of another version of the suite: the name is the same, the net is not."""
    now, before = study_records(["resnet"], [18], cost=False), study_records(["resnet"], [18], cost=False)
    for i, found in enumerate(before):
        row = dataclasses.replace(found.trial.architecture, **change)
        before[i] = dataclasses.replace(found, trial=dataclasses.replace(found.trial, architecture=row))
    names = frames([*now, *before]).trials["architecture"]
    assert names.nunique() == 2
    assert (names == "resnet").sum() == len(now)  # judges and figures find the suite's own


def test_another_label_is_no_other_architecture():
    row = dataclasses.replace(trial().architecture, label="reworded")
    found = frames(
        [train_record(trial(), 0.1), train_record(dataclasses.replace(trial(seed=1), architecture=row), 0.1)]
    )
    assert set(found.trials["architecture"]) == {"resnet"}
    assert set(found.trials["label"]) == {"residual (post-activation)"}  # whichever came first
    assert found.cells["n"].tolist() == [2]


def test_records_with_a_smaller_micro_batch_do_not_choose_the_machine():
    there, here = (
        [train_record(trial(seed=s), 0.1, environment={"device_name": name}, **more) for s in range(n)]
        for name, n, more in (("small", 5, {"micro_batch": 32}), ("large", 3, {}))
    )
    found = frames([*there, *here])
    assert found.trials.loc[found.trials["comparable"], "device_name"].tolist() == ["large"] * 3
