"""What a user's own block reads beside its imports, files and variables of the environment, is part of what runs."""

import os
import sys
from pathlib import Path

import pytest
from made_own import WHOLE, outside, started, write

from bench.plan import study
from bench.plan.machine import Machine
from bench.preflight import environments
from bench.sweep.looks import looks

__all__ = ["outside"]  # pytest finds the fixture here

READS = {
    "settings": "json.loads((HERE / 'gain.json').read_text())",
    "weights": "(HERE / 'gain.json').read_bytes()",
    "a source that it runs": "exec((HERE / 'gain.json').read_text())",
    "a script": "runpy.run_path(str(HERE / 'gain.json'))",
    "a module without a name": "importlib.machinery.SourceFileLoader('x', str(HERE / 'gain.json')).load_module()",
}
HEAD = """
import importlib.machinery, json, runpy
from pathlib import Path
HERE = Path(__file__).parent
"""


@pytest.mark.filterwarnings("ignore")  # load_module is deprecated, and people use it
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("kind", READS)
def test_an_edit_of_a_file_that_a_block_reads_is_seen(kind: str, late: bool, outside: Path) -> None:
    way = READS[kind]
    text = (
        f"class Net(nn.Linear):\n    def forward(self, x):\n        {way if late else 'pass'}\n"
        "        return super().forward(x.flatten(1))\n"
        f"{'' if late else way}\ndef block(spec): return Net(64, spec.classes)\n"
    )
    found = []
    for content in "121":
        (outside / "gain.json").write_text(content)
        sys.modules.pop("own_block", None)
        found.append(environments(Machine(), write(outside, HEAD + text))["synthetic"]["files_by_factory"])
    assert list(found[0]) == ["own_block:block"]
    assert found[0] == found[2] != found[1]


def test_a_file_of_any_depth_is_seen_whichever_depths_are_asked_for(outside: Path) -> None:
    """One that is read before what fails without values, too."""
    text = (
        "def block(spec):\n    (HERE / f'init-{spec.layout}-{spec.depth}').read_text()\n"
        "    net = nn.Sequential(nn.Flatten(), nn.Linear(64, spec.classes))\n    net[1].weight.sum().item()\n"
        "    (HERE / f'late-{spec.layout}-{spec.depth}').read_text()\n    return net\n"
    )
    write(outside, HEAD + text)
    toml = (outside / "mine.toml").read_text().replace("depth = 18", "depth = [18, 34]")
    (outside / "mine.toml").write_text(toml + "[[grid]]\n[[grid]]\nlayout = 'cifar'\ndepth = 20\n")
    for name in ("four-stage-10", "four-stage-18", "four-stage-34", "cifar-8", "cifar-20"):
        for kind in ("init", "late"):
            (outside / f"{kind}-{name}").write_text("1")

    def found(depths: list[int] | None) -> dict[str, str]:
        path = str(outside / "mine.toml")
        asked = looks(study.load(path, depths=depths), study.load(path))
        return environments(Machine(), *asked)["synthetic"]["files_by_factory"]

    before = found(None)
    assert list(before) == ["own_block:block"]
    assert found([18]) == before
    for name in ("init-four-stage-34", "late-four-stage-34", "late-cifar-20"):
        (outside / name).write_text("2")
        assert found([18]) != before, name
        (outside / name).write_text("1")
    (outside / "init-four-stage-34").unlink()  # which is for its own trial to say
    assert list(found([18])) == ["own_block:block"]


PLACES = {
    "of another folder": ("(HERE.parent / 'store' / 'gain.txt').read_text()", "store/gain.txt"),
    "with a dot": ("(HERE / '.config' / '.gain').read_text()", "study/.config/.gain"),
    "a database": ("sqlite3.connect(HERE / 'gain.db').close()", "study/gain.db"),
}


@pytest.mark.parametrize("kind", PLACES)
def test_a_file_is_seen_wherever_it_lies(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    sys.modules.pop("own_block", None)
    way, place = PLACES[kind]
    file, folder = tmp_path / place, tmp_path / "study"
    for each in (file.parent, folder):
        each.mkdir(exist_ok=True, parents=True)
    found = []
    for content in "121":
        file.write_text(content)
        trials = write(folder, f"import sqlite3\n{HEAD}{way}\n" + WHOLE.format(name="block"))
        found.append(environments(Machine(), trials)["synthetic"]["files_by_factory"])
    assert list(found[0]) == ["own_block:block"]
    assert found[0] == found[2] != found[1]


def test_what_is_not_the_users_is_no_part_of_the_block(outside: Path) -> None:
    (outside / ".cache").mkdir()
    (outside / ".cache" / "x").touch()
    reads = "Path('/proc/self/stat').read_text()\n(HERE / '.cache' / 'x').read_text()\n(HERE / 'log').write_text('x')\n"
    reads += "(HERE / 'log').read_text()\n(HERE / 'log').rename(HERE / 'made')\n(HERE / 'made').read_text()\n"
    reads += "Path('/etc/hostname').exists() and Path('/etc/hostname').read_text()\n"
    (trial,) = write(outside, HEAD + reads + WHOLE.format(name="block"))
    assert environments(Machine(), [trial])["synthetic"]["files_by_factory"] == {}


@pytest.mark.slow
def test_a_record_made_with_another_file_is_kept_apart_and_comes_back(tmp_path: Path) -> None:
    (tmp_path / "block.py").write_text(HEAD + f"{READS['settings']}\n" + WHOLE.format(name="net"))
    said = []
    for content in "121":
        (tmp_path / "gain.json").write_text(content)
        done = started(tmp_path, tmp_path / "elsewhere")
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert "made with another file that the block reads; kept apart" in said[1]
    assert "1 trial to run" in said[1]
    assert "counts again" in said[2]


# Variables of the environment.

ASKS = [
    "os.environ['OWN_GAIN']",
    "os.environ.get('OWN_GAIN')",
    "os.getenv('OWN_GAIN', '3')",
    "'OWN_GAIN' in os.environ",
    "os.environb.get(b'OWN_GAIN')",
    "exec('import os; os.getenv(\"OWN_GAIN\")')",
    "setting.read()",
    "[os.environ[name] for name in os.environ if name.endswith('_GAIN')]",
    "dict(os.environ), os.environ['OWN_GAIN']",
]


def variables(outside: Path, text: str) -> dict[str, dict[str, str]]:
    """What the preflight finds of a block with this text in it, as a process that has not seen it before."""
    for name in ("own_block", "setting"):
        sys.modules.pop(name, None)
    (outside / "setting.py").write_text("import os\ndef read(): return os.getenv('OWN_GAIN')\n")
    found: dict[str, dict[str, str]] = environments(Machine(), write(outside, text))["synthetic"][
        "variables_by_factory"
    ]
    return found


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("way", ASKS)
def test_a_variable_that_a_block_reads_is_seen(
    way: str, late: bool, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "import os, setting\n"
        f"class Net(nn.Linear):\n    def forward(self, x):\n        {way if late else 'pass'}\n"
        "        return super().forward(x.flatten(1))\n"
        f"{'' if late else way}\ndef block(spec): return Net(64, spec.classes)\n"
    )
    found = []
    for value in ("1", "secret", "1"):
        monkeypatch.setenv("OWN_GAIN", value)
        found.append(variables(outside, text))
    assert list(found[0]["own_block:block"]) == ["OWN_GAIN"]
    assert found[0] == found[2] != found[1]
    assert "secret" not in str(found)


def test_a_module_that_two_blocks_import_reads_for_both(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is imported once."""
    monkeypatch.setenv("OWN_GAIN", "1")
    blocks = WHOLE.format(name="block") + WHOLE.format(name="other")
    write(outside, f"import os\nGAIN = os.environ['OWN_GAIN']\n{blocks}")
    text = (outside / "mine.toml").read_text().replace('"own_block:block"', '["own_block:block", "own_block:other"]')
    (outside / "mine.toml").write_text(text)
    found = environments(Machine(), study.load(str(outside / "mine.toml")).trials)["synthetic"]["variables_by_factory"]
    assert found["own_block:block"] == found["own_block:other"] != {}
    assert os._Environ.__getitem__.__qualname__ == "_Environ.__getitem__"  # nobody is watched any more


@pytest.mark.parametrize(
    "text",
    [
        "{**os.environ}\nos.environ.copy()\nlist(os.environ.items())\ndict(os.environ)",  # for another program, mostly
        "os.environ['OWN_SET'] = '1'\nos.environ.pop('OWN_SET')",  # what is read is the block's own
        "torch.load",  # what libraries read is not asked for by the block
    ],
)
def test_no_variable_is_named_that_the_block_does_not_ask_for(text: str, outside: Path) -> None:
    assert variables(outside, f"import os\n{text}\n" + WHOLE.format(name="block")) == {}


@pytest.mark.slow
def test_a_record_made_with_another_value_is_kept_apart_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "block.py").write_text("import os\nGAIN = float(os.environ['OWN_GAIN'])\n" + WHOLE.format(name="net"))
    said = []
    for value in ("1", "2", "1"):
        monkeypatch.setenv("OWN_GAIN", value)
        done = started(tmp_path, tmp_path / "elsewhere")
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert "made with another value of the variable OWN_GAIN, which the block reads; kept apart" in said[1]
    assert "1 trial to run" in said[1]
    assert "counts again" in said[2]
