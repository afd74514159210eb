"""A user's own block, from a folder outside the tree: found, run, recorded, and never imported by who only reads."""

import dataclasses
import hashlib
import sys
from pathlib import Path

import pytest
from made_own import EXAMPLES, WHOLE, command, outside, started, write
from torch import nn

from bench.plan import own, study
from bench.plan import trial as trials
from bench.plan.machine import Machine
from bench.preflight import environments
from bench.store import record
from models.network import build
from models.spec import ModelSpec

__all__ = ["outside"]  # pytest finds the fixture here


def test_the_example_is_under_thirty_lines() -> None:
    assert len((EXAMPLES / "rezero.py").read_text().splitlines()) < 30


@pytest.mark.slow
def test_the_example_runs_from_a_folder_outside_the_tree(outside: Path) -> None:
    text = (
        (outside / "rezero.toml")
        .read_text()
        .replace('"resnet", "plain"', "")
        .replace("epochs = 5", "epochs = 1")
        .replace('lr = "tuned"', 'purpose = "train"\nlr = 0.1')
    )
    (outside / "rezero.toml").write_text(text)
    words = ("run", str(outside / "rezero.toml"), "--depths=18", "--seeds=1", "--workers=1", "--records=out")
    (outside / "elsewhere").mkdir()
    done = command("-m", "bench", *words, "--device=cpu", "--no-live", cwd=outside / "elsewhere")
    assert done.returncode == 0, done.stderr
    good, bad = record.load(outside / "elsewhere" / "out" / "rezero")
    assert not bad
    assert len(good) == 1
    for _, found in good:
        assert found.status == "ok"
        assert found.trial.architecture.name == "rezero"
        assert "alpha" in found.trial.architecture.source
    # After an edit of the source it is another trial.
    assert study.load(str(outside / "rezero.toml"), seeds=[0], depths=[18]).trials == (good[0][1].trial,)
    with (outside / "rezero.py").open("a") as file:
        file.write("# changed\n")
    assert study.load(str(outside / "rezero.toml")).trials[0].digest not in {r.trial.digest for _, r in good}


def test_reading_a_study_does_not_import_its_code(outside: Path) -> None:
    (outside / "rezero.py").write_text('raise SystemExit("imported")\ndef rezero():\n    """What it is."""\n')
    code = (
        "import sys; from bench.plan import study; t = study.load(sys.argv[1]).trials; print(t[0].architecture.source)"
    )
    done = command("-c", code, str(outside / "rezero.toml"), cwd=outside)
    assert (done.returncode, done.stdout.strip()) == (0, "rezero:rezero: What it is.")
    (outside / "rezero.py").unlink()
    done = command("-c", code, str(outside / "rezero.toml"), cwd=outside)
    assert (done.returncode, done.stdout.strip()) == (0, "rezero:rezero")


def test_at_the_start_it_is_the_identity_and_twins_start_equal(outside: Path) -> None:
    row = study.load(str(outside / "rezero.toml")).trials[0].architecture
    spec = ModelSpec(row, "four-stage", 34, 8, (1, 8, 8), 10)
    one, two = build(spec, seed=1).state_dict(), build(spec, seed=1).state_dict()
    assert all((one[k] == two[k]).all() for k in one)
    assert sum(float(v) for k, v in one.items() if k.endswith("alpha")) == 0.0
    assert any((one[k] != v).any() for k, v in build(spec, seed=2).state_dict().items())
    assert all(p.is_meta for p in build(spec, device="meta").parameters())


def test_a_whole_network_of_ones_own(outside: Path) -> None:
    text = "def block(spec):\n    return nn.Sequential(nn.Flatten(), nn.LazyLinear(spec.classes))\n"
    (trial,) = write(outside, text)
    assert environments(Machine(), [trial])["synthetic"]["data"]
    assert trial.architecture.name == "block"


@pytest.mark.parametrize(
    ("parameters", "made_of"),
    [
        ("i, o, s", "i, o, s"),
        ("inplanes, planes, stride=1, downsample=None", "inplanes, planes, stride"),
        ("in_channels, planes, s, /", "in_channels, planes, s"),
        ("stride, in_channels, out_channels", "in_channels, out_channels, stride"),
        ("*all", "*all"),
    ],
)
def test_a_blocks_parameters_may_have_other_names_or_another_order(
    parameters: str, made_of: str, outside: Path
) -> None:
    text = f"def make(i, o, s): return nn.Conv2d(i, o, 3, s, 1)\ndef block({parameters}): return make({made_of})\n"
    (trial,) = write(outside, text)
    network = build(trials.spec_of(trial, (1, 8, 8), 10), seed=0)
    convolutions = [each for each in network.modules() if isinstance(each, nn.Conv2d)][1:]
    assert [(each.in_channels, each.out_channels, each.stride[0]) for each in convolutions[:5]] == [
        (8, 8, 1), (8, 8, 1), (8, 16, 2), (16, 16, 1), (16, 32, 2)
    ]  # fmt: skip


def test_it_is_tried_on_the_images_that_it_will_see(outside: Path) -> None:
    text = "def block(spec):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4))\n"  # 1x8x8, four classes
    (trial,) = write(outside, text)
    assert environments(Machine(), [trial])
    with pytest.raises(ValueError, match="block': RuntimeError"):
        environments(Machine(), [dataclasses.replace(trial, resize=16)])
    with pytest.raises(ValueError, match="checkpoint_blocks"):
        environments(Machine(), [dataclasses.replace(trial, checkpoint_blocks=True)])


def test_a_module_of_too_long_a_name_is_only_not_found() -> None:
    row = trials.architecture("m" * 300 + ":block")
    assert own.described(row, Path()) == row


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "def block(a, b):\n    return nn.Identity()\n",
            r"block\(a, b\) must take in_channels, out_channels and stride",
        ),
        (
            "from torch.nn import Conv2d as block\n",
            r"kernel_size.* must take in_channels",
        ),  # not: stride for kernel_size
        (
            "def block(out_channels, in_channels, s):\n    return nn.Identity()\n",
            "or in this order; a whole network: spec",
        ),
        ("def block(in_channels, out_channels, stride):\n    return 3\n", "must return a torch.nn.Module, not int"),
        ("def block(in_channels, out_channels, stride):\n    return nn.Identity()\n", "RuntimeError"),
        ("def block(spec):\n    return nn.Flatten()\n", "gives"),
        ("block = 3\n", "not a function"),
        ("raise SystemExit('bye')\n", "SystemExit: bye"),
        ("def block(spec):\n    raise GeneratorExit('bye')\n", "GeneratorExit: bye"),
        ("def block(spec):\n    raise ValueError('x' * 5000)\n", "ValueError: xxx"),
        ("import nothing_of_this_name\n", "ModuleNotFoundError"),
        ("def block(:\n", "SyntaxError"),
    ],
)
def test_faults_in_it_are_one_line_before_any_work(text: str, words: str, outside: Path) -> None:
    (trial,) = write(outside, text)
    with pytest.raises(ValueError, match=words) as caught:
        environments(Machine(), [trial])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert "own_block:block" in str(caught.value)


def test_it_may_not_take_the_name_of_a_row(outside: Path) -> None:
    with pytest.raises(ValueError, match="already"):
        trials.architecture("own_block:resnet")


def test_an_edit_of_a_module_that_the_block_imports_makes_another_trial(tmp_path: Path) -> None:
    """Directly, through another module, from a package, or relatively; a neighbour that is not imported does not."""

    def code() -> str:
        row = trials.architecture("mine:make")
        return own.described(row, tmp_path).code

    (tmp_path / "kit" / "deep").mkdir(parents=True)
    files = {
        "mine.py": "import parts\nfrom kit.deep import layer\ndef make():\n    from late import x\n",
        "parts.py": "from further import y\n",
        "further.py": "",
        "late.py": "",
        "kit/__init__.py": "",
        "kit/deep/__init__.py": "",
        "kit/deep/layer.py": "from . import sibling\nfrom ..near import z\n",
        "kit/deep/sibling.py": "",
        "kit/near.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    before = code()
    for name, text in files.items():
        (tmp_path / name).write_text(text + "# edited\n")
        assert code() != before, name
        (tmp_path / name).write_text(text)
    assert code() == before
    (tmp_path / "neighbour.py").write_text("# not imported\n")
    assert code() == before


def test_an_edit_of_the_package_around_the_block_makes_another_trial(tmp_path: Path) -> None:
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "__init__.py").touch()
    (tmp_path / "kit" / "block.py").write_text("def make(): ...\n")
    row = trials.architecture("kit.block:make")
    before = own.described(row, tmp_path).code
    (tmp_path / "kit" / "__init__.py").write_text("# edited\n")
    assert own.described(row, tmp_path).code != before


def test_a_block_in_one_file_keeps_the_digest_that_it_had(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import torch\ndef make(): ...\n")
    row = own.described(trials.architecture("mine:make"), tmp_path)
    assert row.code == hashlib.sha256((tmp_path / "mine.py").read_bytes()).hexdigest()[:16]


# What runs is what the record's digest says.


@pytest.mark.slow
def test_a_file_of_the_same_name_in_the_working_folder_is_not_run_instead(tmp_path: Path) -> None:
    here, there = tmp_path / "study", tmp_path / "elsewhere"
    for folder in (here, there):
        folder.mkdir()
        (folder / "block.py").write_text(WHOLE.format(name="net") + f"# {folder}\n")
    done = started(here, there)
    assert done.returncode == 2
    assert f"Python imports {there}/block.py under the name of {here}/block.py" in done.stderr
    # The same for what the block imports.
    for folder in (here, there):
        (folder / "parts.py").write_text(f"# {folder}\n")
    (there / "block.py").unlink()
    (here / "block.py").write_text("import parts\n" + WHOLE.format(name="net"))
    done = started(here, there)
    assert (done.returncode, f"{there}/parts.py under the name of {here}/parts.py" in done.stderr) == (2, True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["models", "bench", "results", "test", "random", "torch"])
def test_names_that_are_taken_are_refused_with_that_reason(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").write_text(WHOLE.format(name="net"))
    done = started(tmp_path, tmp_path / "elsewhere", name)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"give {name}.py another name" in done.stderr


@pytest.mark.slow
def test_a_folder_whose_name_has_a_colon(tmp_path: Path) -> None:
    folder = tmp_path / "2024-01-01T10:30:00"
    folder.mkdir()
    (folder / "block.py").write_text(WHOLE.format(name="net"))
    done = started(folder, tmp_path / "elsewhere")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_module_that_is_imported_unseen_is_refused(tmp_path: Path) -> None:
    """Its edits would not make another trial."""
    (tmp_path / "parts.py").touch()
    (tmp_path / "block.py").write_text(
        "import importlib\nimportlib.import_module('parts')\n" + WHOLE.format(name="net")
    )
    done = started(tmp_path, tmp_path / "elsewhere")
    assert (done.returncode, "parts.py in a way that the source does not show" in done.stderr) == (2, True)


def test_a_helper_from_another_folder_of_the_users_counts(
    outside: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    library = tmp_path_factory.mktemp("library")
    sys.path.append(str(library))
    (library / "shapes_of_mine.py").write_text("x = 1\n")
    (outside / "mine.py").write_text("import torch, random\nfrom shapes_of_mine import x\ndef make(): ...\n")
    row = own.described(trials.architecture("mine:make"), outside)
    (library / "shapes_of_mine.py").write_text("x = 2\n")
    assert own.described(row, outside).code != row.code
    # What is Python's by name is Python's, whatever lies beside.
    before = own.described(row, outside).code
    (outside / "random.py").touch()
    assert own.described(row, outside).code == before


def test_an_edit_while_trials_run_is_refused(outside: Path) -> None:
    (trial,) = write(outside, WHOLE.format(name="block"))
    assert own.check(trial.architecture) == {(outside / "own_block.py").resolve()}
    with (outside / "own_block.py").open("a") as file:
        file.write("# edited\n")
    with pytest.raises(ValueError, match=r"own_block\.py is not what it was when the study was read"):
        own.check(trial.architecture)
    # Nor does a process run what it imported before the edit under the digest of after it.
    for text, kind in (
        (WHOLE, "Sequential"),
        (
            WHOLE + "class Net(nn.Sequential): pass\nnn = __import__('types')."
            "SimpleNamespace(Sequential=Net, Flatten=nn.Flatten, Linear=nn.Linear)\n",
            "Net",
        ),
    ):
        (trial,) = write(outside, text.format(name="block"))
        own.check(trial.architecture)
        made = build(ModelSpec(trial.architecture, "four-stage", 18, 8, (1, 8, 8), 4))
        assert type(made).__name__ == kind
