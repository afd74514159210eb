"""A study is data: what it can mean is run as it says, and what it cannot mean is refused before any work."""

import dataclasses
import math
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from bench.plan import study
from bench.plan import trial as trials
from bench.plan.trial import Trial
from models.layouts import MAX_DEPTH, blocks_per_stage
from models.spec import ARCHITECTURES

GRID: dict[str, Any] = {"architecture": "plain", "depth": 18, "seed": 0}


def parse(**changes: Any) -> study.Study:
    return study.parse("s", {**GRID, **changes})


@pytest.mark.parametrize("name", study.known_studies())
def test_every_built_in_study_expands_to_trials_that_can_be_run(name: str) -> None:
    found = study.load(name)
    assert found.trials or found.search
    assert found.title != name, "a study has a title for its page"
    assert len({trial.digest for trial in found.trials}) == len(found.trials)
    for trial in found.trials:
        trials.check(trial)
        assert pickle.loads(pickle.dumps(trial)) == trial
        assert Trial.from_json(trial.to_json()) == trial
        if trial.layout != "dense":
            assert blocks_per_stage(trial.layout, trial.depth)


def test_every_value_of_a_built_in_study_says_where_it_is_from() -> None:
    """Recipe values have a comment on their line or in the lines just above."""
    chosen = ("epochs", "batch_size", "lr", "width", "momentum", "weight_decay", "warmup_epochs", "clip_norm")
    for name in study.known_studies():
        lines = (study.STUDIES / f"{name}.toml").read_text().splitlines()
        for number, line in enumerate(lines):
            if line.split("=")[0].strip() in chosen:
                near = lines[max(0, number - 3) : number + 1]
                assert any("#" in text for text in near), f"{name}.toml, line {number + 1}: {line}"


def test_seeds_at_once_are_of_the_study_and_no_part_of_a_trial() -> None:
    found = parse(seeds_at_once=3)
    assert found.seeds_at_once == 3
    assert found.trials == parse().trials
    assert parse().seeds_at_once == 1
    for bad in (0, -1, 33, 2.0, True, "3", [1, 2]):
        with pytest.raises(
            ValueError, match=f"seeds_at_once must be a whole number, 1 to 32, not {re.escape(repr(bad))}$"
        ):
            parse(seeds_at_once=bad)


def test_lists_multiply_and_twins_are_paired() -> None:
    found = parse(architecture=["plain", "resnet"], depth=[18, 34], seed=[0, 1], purpose="train", epochs=2)
    assert len(found.trials) == 8
    assert found.varied == ("architecture", "depth", "seed")
    pairs: dict[tuple[int, int], list[Trial]] = {}
    for trial in found.trials:
        pairs.setdefault((trial.depth, trial.seed), []).append(trial)
    for one, other in pairs.values():
        assert dataclasses.replace(one, architecture=other.architecture) == other


def test_grids_override_and_add_up() -> None:
    found = parse(purpose="train", epochs=1, grid=[{"depth": [18, 34], "lr": 0.1}, {"depth": 66, "lr": 1}])
    assert [(trial.depth, trial.lr) for trial in found.trials] == [(18, 0.1), (34, 0.1), (66, 1.0)]


def test_cost_is_measured_once_a_setting_and_without_training() -> None:
    found = parse(seed=[3, 4], epochs=5, probes=["lesions"])
    costs = [trial for trial in found.trials if trial.purpose == "cost"]
    assert [(trial.seed, trial.epochs, trial.probes) for trial in costs] == [(3, 0, ())]
    none = study.parse("s", {**GRID, "seed": [], "epochs": 5}, seeds=[7, 8])
    assert {trial.seed for trial in none.trials} == {7, 8}, "a study without seeds takes those that are asked for"
    more = study.parse("s", {**GRID, "seed": [3, 4], "epochs": 5}, seeds=[7, 8])
    assert [trial.seed for trial in more.trials if trial.purpose == "cost"] == [3], "not measured again for other seeds"


def test_include_brings_the_other_studys_trials_with_their_own_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('include = ["digits"]\n')
    found = study.load(str(path), seeds=[0])
    assert {trial.study for trial in found.trials} == {"digits"}
    assert found.trials == study.load("digits", seeds=[0]).trials


def test_depths_of_any_included_study_can_be_asked_for(tmp_path: Path) -> None:
    (tmp_path / "both.toml").write_text('include = ["digits", "digits-lr"]')
    ours, theirs = (set(study.load(name).trials) for name in ("digits", "digits-lr"))
    depth = min({t.depth for t in ours} ^ {t.depth for t in theirs})
    found = study.load(str(tmp_path / "both.toml"), depths=[depth]).trials
    assert set(found) == {t for t in ours | theirs if t.depth == depth}


def test_studies_of_several_parts_vary_what_varies_within_a_part() -> None:
    """Or each of their trials would be called by its layout, width and data set, which its study's name says."""
    assert "study" not in study.load("digits").varied
    whole = study.load("digits-all")
    assert "study" in whole.varied
    assert not {"layout", "width", "dataset", "momentum"} & set(whole.varied)
    assert set(study.load("digits-lr").varied) <= set(whole.varied)


@pytest.mark.parametrize("name", study.known_studies())
def test_a_rehearsal_has_everything_that_could_fail_and_no_size(name: str) -> None:
    whole, small = study.load(name), study.rehearsed(study.load(name))
    kinds = ("study", "architecture", "layout", "depth", "purpose", "dataset", "resize", "precision", "augment",
             "checkpoint_blocks", "grow_to", "probes", "schedule")  # fmt: skip
    assert {tuple(getattr(t, k) for k in kinds) for t in small.trials} == {
        tuple(getattr(t, k) for k in kinds) for t in (*whole.trials, *whole.untuned)
    }
    assert len(set(small.trials)) == len(small.trials)
    assert len({t.seed for t in small.trials}) == 1
    assert all(t.width == 2 and t.epochs <= 1 and t.train_examples == 40 for t in small.trials)
    assert not {t.digest for t in small.trials} & {t.digest for t in whole.trials}
    for trial in small.trials:
        trials.check(trial)


def test_a_rehearsal_leaves_out_no_net_whatever_seeds_it_has() -> None:
    whole = parse(grid=[{"depth": 18, "seed": [1, 0]}, {"depth": 34, "seed": 3}], epochs=1)
    small = study.rehearsed(whole)
    assert {(t.depth, t.purpose) for t in small.trials} == {(d, p) for d in (18, 34) for p in ("train", "cost")}


def test_what_two_included_studies_share_is_searched_once(tmp_path: Path) -> None:
    (tmp_path / "both.toml").write_text('include = ["digits-all", "digits"]')
    found = study.load(str(tmp_path / "both.toml"))
    assert len(found.search) == len(set(found.search)) > 0


NOT_WHOLE = [True, "18", "18.5", 18.5, math.nan, None, [[18]], {"a": 1}]
REFUSED: list[tuple[dict[str, Any], str]] = [
    *[({"depth": depth}, "depth") for depth in [0, -1, 19, 10**9, 2**70, MAX_DEPTH + 8, *NOT_WHOLE]],
    *[({"seed": seed}, "seed") for seed in [-1, 2**31, *NOT_WHOLE]],
    *[({"seed": [0, 1, 0]}, "twice"), ({"depth": [18, 18]}, "twice"), ({"seed": []}, "seed")],
    *[({name: bad}, name) for name in ("epochs", "batch_size", "width") for bad in [0, -1, 1.5, "1", True, math.nan]],
    *[({name: bad}, name) for name in ("lr", "momentum") for bad in [-1.0, math.nan, math.inf, "1", True]],
    ({"lr": 0}, "lr"),
    ({"architecture": "plane"}, "'plain'"),
    ({"architecture": 1}, "architecture"),
    ({"architecture": "os:system('x')"}, "package.module:function"),
    ({"architecture": "a:<b>"}, "package.module:function"),
    ({"layout": "for-stage"}, "'four-stage'"),
    ({"layout": "cifar", "depth": 19}, "14, 20"),
    ({"schedule": "cosinus"}, "'cosine'"),
    ({"precision": "fp16"}, "bf16"),
    ({"augment": "flip-crop"}, "crop-flip"),
    ({"purpose": "trian"}, "'train'"),
    ({"learning_rate": 0.1}, "unknown key"),
    ({"epoch": 3}, "'epochs'"),
    ({"study": "other"}, "unknown key"),
    ({"probes": "lesions"}, "list"),
    ({"probes": [1]}, "a text each"),
    ({"probes": [["lesions"]]}, "a text each"),
    ({"probes": ["lesions", "paths", "lesions"]}, "probes lists 'lesions' twice"),
    *[({"momentum": bad, "optimizer": o}, "momentum must be under 1") for bad in (1.0, 1.5) for o in ("sgd", "adamw")],
    ({"grow_to": ["34"]}, "a whole number each"),
    ({"grow_to": [18]}, "must rise, from above depth 18"),
    ({"grow_to": [130, 34]}, "must rise"),
    ({"label_smoothing": 2.0}, "label_smoothing is a fraction"),
    ({"stop_at_train_error": 5}, "5 % is 0.05"),
    ({"warmup_epochs": 50}, "warmup_epochs 50 is more than the 1 epochs"),
    ({"grow_to": [19]}, "depth"),
    *[({"dataset": f"folder:{bad}"}, "dataset must be at most") for bad in ("a\nb", "a\0b", "\x1b[2J", "x" * 1001)],
    ({"grid": [{"lrr": 1.0}]}, "'lr'"),
    ({"grid": {"lr": 1.0}}, "grid"),
    ({"grid": [3]}, "grid"),
    ({"grid": [{}, {"probes": ["lesions"]}]}, "two grids ask for"),
    ({"grid": [{}, {"grow_to": [34]}]}, "ask once, with all of them"),
    ({"include": ["nope"]}, "unknown study"),
    ({"include": "digits"}, "include"),
    ({"title": 3}, "title"),
    ({"claims": "cost-grows"}, "claims"),
    ({"lr": "tune"}, "'tuned'"),
    ({"lr": "tuned:"}, "'tuned:ARCHITECTURE'"),
    ({"lr_from": "search"}, "unknown key"),
    ({"seed": 100}, "judged trial, whose seeds are 0 to 99"),
    ({"purpose": "search"}, "a table [search]"),
    ({"search": 0.1}, "'search' must be a table"),
    ({"search": "x" * 5000}, "'search' must be a table"),
    ({"search": {"rates": "x" * 5000}}, "must list"),
    ({"search": {"seeds": "x" * 5000}}, "how many"),
    ({"search": {"rate": [0.1]}}, "'rates'"),
    ({"search": {"rates": [0.1, 0.1]}}, "each once"),
    *[({"search": {"rates": [rate]}}, "above zero") for rate in (0.0, 10**400, math.inf)],
    ({"search": {"rates": [math.nan]}}, "above zero"),
    ({"search": {"rates": 0.1}}, "must list"),
    ({"search": {"seeds": [100]}}, "how many"),
    ({"search": {"seeds": 0}}, "how many"),
    ({"search": {"resnt": {"rates": [0.1]}}}, "search: unknown architecture"),
    ({"search": {"plain": {"depth": 18}}}, "search.plain: unknown key"),
    ({"layout": "transformer"}, "'plain' is not possible in layout 'transformer': it takes transformer-plain, post"),
    ({"search": {"at_depth": {"18": [0.1]}}}, "search: unknown architecture"),
    ({"search": {"plain": {"at_depth": [0.1]}}}, "at_depth must be a table"),
    ({"search": {"plain": {"at_depth": {"deep": [0.1]}}}}, "at_depth must be a table"),
    ({"search": {"plain": {"at_depth": {"18": []}}}}, "search.plain.at_depth: 18 must list"),
    ({"search": {"plain": {"at_depth": {"19": [0.1]}}}}, "search.plain.at_depth: unknown depth '19'"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "words"), REFUSED, ids=lambda x: repr(x)[:60] if isinstance(x, dict) else "")
def test_what_cannot_be_run_is_refused_in_one_line(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as raised:
        study.parse("s", {**GRID, "epochs": 1, **changes})
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "", ".hidden", "-rf", "x" * 65, "a\nb", "<script>", "=cmd()", "a b", "ü"]
)
def test_a_studys_name_becomes_a_folder_and_a_cell_so_it_is_plain(name: str) -> None:
    with pytest.raises(ValueError, match="study name"):
        study.parse(name, GRID)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"depth = ", "cannot read"),
        (b"depth = 18\ndepth = 34", "cannot read"),
        (b"\xff\xfe", "cannot read"),
        (b"", "'architecture' is missing"),
        (b'architecture = "plain"\nseed = 0', "'depth' is missing"),
        (b"depth = " + b"[" * 100_000, "cannot read"),
        (b"depth = " + b"9" * 5000, "cannot read"),
        (b'depth = !!python/object/apply:os.system ["x"]', "cannot read"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="mine") as raised:
        study.load(str(path))
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_unknown_study_is_answered_with_the_nearest_known() -> None:
    with pytest.raises(ValueError, match="Did you mean 'digits'"):
        study.load("digit")


def test_a_user_s_own_architecture_is_a_row_of_its_own() -> None:
    found = parse(architecture="mypackage.nets:tower", purpose="train", epochs=1)
    row = found.trials[0].architecture
    assert (row.name, row.factory) == ("tower", "mypackage.nets:tower")
    assert row not in ARCHITECTURES.values()


def test_digest_tells_apart_every_field() -> None:
    trial = parse(purpose="train", epochs=1).trials[0]
    changes: dict[str, Any] = {"depth": 34, "seed": 1, "lr": 0.2, "width": 4, "dataset": "synthetic", "study": "other"}
    changes |= {"drop_last": False, "probes": ("lesions",), "architecture": ARCHITECTURES["resnet"]}
    digests = {dataclasses.replace(trial, **{name: value}).digest for name, value in changes.items()}
    assert len(digests | {trial.digest}) == len(changes) + 1


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    text = 'architecture = "resnet"\ndepth = 18\nseed = 0\n'
    (tmp_path / "marked.toml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (tmp_path / "plain.toml").write_text(text)
    marked, plain = (study.load(str(tmp_path / f"{name}.toml")).trials for name in ("marked", "plain"))
    assert [dataclasses.replace(t, study="plain") for t in marked] == list(plain)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, 10**310) for key in ("lr", "momentum", "epochs", "width", "batch_size", "train_examples", "resize")),
        ("lr", 1e300), ("lr", 10**9), ("weight_decay", 1e40), ("clip_norm", 1e300), ("warmup_epochs", 1e30),
        ("epochs", 2 * 10**9), ("width", 2**30), ("seed", 10**310), ("depth", 10**310), ("grow_to", [10**310]),
    ],
)  # fmt: skip
def test_numbers_beyond_reason_are_refused_in_one_short_line(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=key.replace("grow_to", "depth")) as caught:
        parse(**{key: value})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250
