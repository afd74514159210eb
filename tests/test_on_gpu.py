"""`.ci/on-gpu` on a checkout whose `bench` only writes down how it was called, with the few tools of such a machine."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from bench.plan.checkout import ROOT

TOOLS = ("sh", "dirname", "basename", "mkdir", "touch", "tar", "gzip", "mv", "sleep")  # no xz
SLOW_S = 30

BENCH = """
import json, sys, time
from pathlib import Path

def main():
    folder = Path(sys.argv[sys.argv.index("--records") + 1]) / "digits"
    folder.mkdir(parents=True, exist_ok=True)
    before = sorted(path.name for path in folder.iterdir())
    (folder / f"{len(before)}.json").write_text(json.dumps({"argv": sys.argv[1:], "before": before}))
    data = Path(sys.argv[sys.argv.index("--data-root") + 1])
    print("data:", *sorted(str(path.relative_to(data)) for path in data.rglob("*.bin")), flush=True)
    time.sleep(float(sys.argv[3]))
    sys.exit(3)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the script, and a `bench` whose second argument says how many seconds it runs."""
    for folder in (".ci", "data", "bench", "bin"):
        (tmp_path / folder).mkdir()
    shutil.copy(ROOT / ".ci" / "on-gpu", tmp_path / ".ci")
    shutil.copy(ROOT / "bench" / "asked.py", tmp_path / "bench")
    (tmp_path / "bench" / "__main__.py").write_text(f"{BENCH}\n\nif __name__ == '__main__':\n    main()\n")
    for tool in TOOLS:
        found = shutil.which(tool)
        if found is None:
            pytest.skip(f"{tool} is not installed")
        (tmp_path / "bin" / tool).symlink_to(found)
    # As if unpacking had taken so long: the script asks for the time once, when it starts.
    date = tmp_path / "bin" / "date"
    date.write_text(f"#!/bin/sh\necho $(( $({shutil.which('date')} +%s) - {SLOW_S} ))\n")
    date.chmod(0o755)
    return tmp_path


def start(checkout: Path, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
    environment = {"PATH": str(checkout / "bin"), "WORK": str(checkout / "work"), "OUT": str(checkout / "out"),
                   "PYTHON": sys.executable, **variables}  # fmt: skip
    return subprocess.Popen(
        ["sh", str(checkout / ".ci" / "on-gpu"), *arguments], env=environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def archive(path: Path, name: str) -> None:
    with tarfile.open(path, "w:xz") as tar:
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())


def packed(checkout: Path) -> dict[str, dict[str, list[str]]]:
    with tarfile.open(checkout / "out" / "records.tgz") as tar:
        names = [name for name in tar.getnames() if name.endswith(".json")]
        return {name.removeprefix("./"): json.load(tar.extractfile(name)) for name in names}  # type: ignore[arg-type]


def test_records_come_back_and_the_next_command_goes_on_from_them(checkout: Path) -> None:
    archive(checkout / "data" / "fashion-mnist.tar.xz", "FashionMNIST/a.bin")
    archive(checkout / "data" / "cifar10-jpeg.tar.xz", "train/b.bin")
    output, errors = (child := start(checkout, "digits", "0")).communicate(timeout=60)
    assert (child.returncode, errors) == (3, "")  # the sweep's own
    assert output == "data: FashionMNIST/a.bin cifar10-jpeg/train/b.bin\n"
    assert list(packed(checkout)) == ["records/digits/0.json"]
    (checkout / "out" / "records.tgz").rename(checkout / "data" / "records.tgz")
    shutil.rmtree(checkout / "work")
    start(checkout, "digits", "0").communicate(timeout=60)
    assert packed(checkout)["records/digits/1.json"]["before"] == ["0.json"]


def test_the_time_limit_counts_from_the_start_of_the_command(checkout: Path) -> None:
    start(checkout, "digits", "0", TIME_LIMIT="2m").communicate(timeout=60)
    argv = packed(checkout)["records/digits/0.json"]["argv"]
    limit = int(argv[argv.index("--time-limit") + 1])
    assert 120 - SLOW_S - 10 <= limit <= 120 - SLOW_S


def test_a_command_that_is_killed_has_left_what_was_done(checkout: Path) -> None:
    child = start(checkout, "digits", "60", PACK_EVERY="0.1")
    deadline = time.monotonic() + 30
    while not (checkout / "out" / "records.tgz").exists() or not packed(checkout):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate(timeout=10)
    assert list(packed(checkout)) == ["records/digits/0.json"]


@pytest.mark.parametrize("name", ["fashion-mnist", "cifar10-jpeg"])
def test_an_archive_that_does_not_unpack_ends_the_command(checkout: Path, name: str) -> None:
    (checkout / "data" / f"{name}.tar.xz").write_bytes(b"cut short")
    output, errors = (child := start(checkout, "digits", "0")).communicate(timeout=60)
    assert child.returncode != 0
    assert "is not a tar archive" in errors
    assert output == ""


def test_a_limit_that_is_none_is_refused_in_one_line(checkout: Path) -> None:
    output, errors = (child := start(checkout, "digits", "0", TIME_LIMIT="soon")).communicate(timeout=60)
    assert (child.returncode, output) == (2, "")
    assert errors == "error: TIME_LIMIT 'soon' must be a duration above zero, at most 1000000: 90s, 9m or 1.5h\n"
