"""What README, docs and CONTRIBUTING name is there: commands that are understood, files, links, tests."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from bench import __main__ as bench
from bench.plan import study as studies
from reports import __main__ as reports
from results import __main__ as results

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
APPS = {"bench": bench.app, "results": results.app, "reports": reports.app}
# What stands for something of the reader's own.
OWN = {"STUDY": "digits", "STUDY=...": "STUDY=digits", "STUDY=STUDY": "STUDY=digits", "KIND": "toml", "BASE=": "BASE=x"}


def commands(page: Path) -> list[str]:
    """What stands in code blocks and between backticks and begins like a command, without its comment."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    shared = dict(line.split("=", 1) for line in lines if line.startswith("limits="))
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"^```\n.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))
    found = []
    for line in lines:
        line = line.partition(" #")[0].strip().replace("$limits", shared.get("limits", "").strip('"'))
        if re.match(r"(?:[A-Z_]+=\S+ )*(?:make|python -m)(?: |$)", line):
            found.append(line)
    return found


def every_command() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        yield from ((page.name, command) for command in dict.fromkeys(commands(page)))


@pytest.mark.parametrize(("page", "command"), list(every_command()))
def test_every_command_of_the_docs_is_understood(page: str, command: str) -> None:
    """Make takes target and variables, each program its options; nothing is run here."""
    words = [OWN.get(word, word) for word in shlex.split(command)]
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if words[0] == "make":
        if shutil.which("make") is None:
            pytest.skip("make is not installed")
        environment = {n: v for n, v in os.environ.items() if n not in ("MAKELEVEL", "MAKEFLAGS", "MFLAGS")}
        done = subprocess.run(
            ["make", "-n", "VENV=none", f"PYTHON={sys.executable}", *words[1:]],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return
    module = words[2]
    if module in APPS:
        group = typer.main.get_command(APPS[module])
        known = getattr(group, "commands", {})
        if len(words) == 3:
            return
        app, rest = (known[words[3]], words[4:]) if known else (group, words[3:])
        if known and not rest:
            return  # the command's name
        context = app.make_context(words[3], rest, resilient_parsing=False)
        named = context.params.get("study") or "digits"
        assert named.endswith(".toml") or named in studies.known_studies(), named
    else:
        path = ROOT / Path(*module.split("."))
        assert module == "pytest" or path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_files_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        if not link.startswith("http"):
            assert (page.parent / link).exists(), link
    rooms = r"(?:models|bench|results|reports|tests|docs|examples|\.ci)/"
    made = ("results/records", "results/out", "results/rehearsal", "reports/html", "results/published/STUDY")
    for path in re.findall(rf"`({rooms}[\w./-]*)`", text):
        if not path.startswith(made):
            assert (ROOT / path).exists() or (TESTS / path).exists(), path


def test_the_readme_is_a_screenful_with_one_picture() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    assert text.count("![") == 1
    block = (ROOT / "examples" / "rezero.py").read_text(encoding="utf-8")
    said = re.search(r"`examples/rezero.py`, (\d+) lines", text)
    assert said is not None
    assert abs(len(block.splitlines()) - int(said[1])) <= 1


def test_the_dockerfile_sets_up_and_runs_what_is_there() -> None:
    """No Docker is needed: what it names is there, in an order in which each line finds what it needs."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    python = re.search(r"^FROM python:(3\.\d+)", lines[0])
    assert python is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == f">={python[1]}"
    copied = [word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]]
    assert all((ROOT / path).exists() for path in copied)
    setup = lines.index("RUN make setup TORCH=cpu")
    assert {"requirements.lock", "Makefile", ".ci/setup"} <= {w for line in lines[:setup] for w in line.split()}
    assert lines[-1] == 'CMD ["make", "ablation"]'
    # What a machine has made for itself does not travel.
    kept_out = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".venv*", "results/records", "data"} <= set(kept_out)


def test_what_is_to_be_cited_is_this_version() -> None:
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"\nversion: {project['version']}\n" in cited
    assert f"\nlicense: {project['license']}\n" in cited


def test_every_test_that_the_table_of_faults_names_is_in_the_file_that_it_names() -> None:
    text = (TESTS.parent / "docs" / "faults.md").read_text()
    head, _, table = text.partition("| fault | how it is handled | test |")
    files = dict(re.findall(r"`(\w+)` is\s+`([\w/]+\.py)`", head))
    named = [row.split(" | ")[2] for row in table.partition("\n\n")[0].splitlines() if row.count(" | ") == 2]
    found = re.findall(r"(?:`([\w/]+\.py)`|(\w+)): (`\w+`(?:, `\w+`)*)", " ; ".join(named))
    assert len(found) > 40
    for path, alias, tests in found:
        text = (TESTS / (path or files[alias])).read_text()
        for name in re.findall(r"\w+", tests):
            assert f"def test_{name}(" in text, (path or alias, name)
