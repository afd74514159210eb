"""The command line: every request that cannot be served is one line and exit code 2, before any work."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import __main__ as cli
from bench import asked as words
from bench import command
from bench.plan.checkout import ROOT
from bench.plan.study import load
from bench.store import record
from bench.store.record import Status
from bench.sweep import display as progress
from bench.sweep import faults as seam
from bench.sweep.run import Summary
from bench.train import device
from results import tables
from tests.harness import rehearsal

# Two epochs of two steps on made-up images: real networks, in seconds.
TINY = """
architecture = ["plain", "preact"]
depth = [18, 34]
purpose = "train"
seed = [0]
dataset = "synthetic"
width = 2
epochs = 2
batch_size = 128
"""


def bench(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


REFUSED = [
    (["run", "digitz"], "digits"),
    (["run", "/no/such.toml"], "No such file"),
    (["run", "TINY", "--device", "gpu"], "auto, cpu, cuda"),
    (["run", "TINY", "--executor", "rya"], "'ray'"),
    (["run", "TINY", "--depths", "19"], "18, 34"),
    (["run", "TINY", "--depths", "18.5"], "whole numbers"),
    (["run", "TINY", "--depths", "18,18"], "twice"),
    (["run", "TINY", "--seeds", "0"], "1 to 100;"),
    (["run", "TINY", "--seeds", "1000000000"], "1 to 100;"),
    (["run", "TINY", "--seeds", "100,"], "judged trial, whose seeds are 0 to 99"),
    (["run", "TINY", "--purpose", "search"], "[search]"),
    (["run", "TINY", "--seeds", "1,1"], "twice"),
    (["run", "TINY", "--seeds", "-1"], "whole numbers"),
    (["run", "TINY", "--seeds", "true"], "whole numbers"),
    (["run", "TINY", "--time-limit", "soon"], "9m"),
    (["run", "TINY", "--time-limit", "0"], "above zero"),
    (["run", "TINY", "--time-limit", "nan"], "9m"),
    (["run", "TINY", "--time-limit", "9" * 400 + "h"], "at most 1000000: 90s"),
    (["run", "TINY", "--depths", "1" * 5000], "whole numbers"),
    (["run", "TINY", "--trial-time-limit", "-1s"], "above zero"),
    (["run", "TINY", "--workers", "-1"], "workers"),
    (["run", "TINY", "--workers", "1" + "0" * 310], "workers"),
    (["show", "TINY", "--workers", "100000"], "workers"),
    (["run", "TINY", "--threads", "100000"], "threads"),
    (["run", "TINY", "--inject", "kill@1"], "FAULT@TRIAL:STEP"),
    (["run", "TINY", "--inject", "kill@1:" + "9" * 5000], "--inject 'kill@1:99"),
    (["run", "TINY", "--inject", "kill@" + "9" * 5000 + ":1"], "FAULT@TRIAL:STEP"),
    (["run", "TINY", "--gpus-per-trial", "inf"], "'--gpus-per-trial'"),
    (["run", "TINY", "--gpus-per-trial", "nan"], "'--gpus-per-trial'"),
    (["run", "TINY", "--only", "DIGEST", "--only", "DIGEST"], "--only names trial"),
    (["run", "TINY", "--inject", "kil@1:1"], "'kill'"),
    (["run", "TINY", "--inject", "kill@99:1"], "no trial 99"),
    (["run", "TINY", "--records", "TINY"], "is a file, not a folder"),
    (["run", "TINY", "--records", ""], "records"),
    (["run", "TINY", "--purpose", "costs"], "'cost'"),
    (["run", "TINY", "--bogus"], "--bogus"),
    (["run", "TINY", "--seeds-at-once", "33"], "--seeds-at-once must be a whole number, 0 to 32, not 33"),
    (["show", "digitz"], "digits"),
    (["show", "TINY", "--depths", "130"], "it has 18, 34"),
    (["nonsense"], "nonsense"),
    (["run", "CLAIMS"], "unknown claim 'no-such-claim'"),
]


@pytest.mark.parametrize(("arguments", "words"), REFUSED, ids=lambda x: " ".join(x)[:60] if isinstance(x, list) else "")
def test_what_cannot_be_served_is_refused_in_one_line(
    arguments: list[str],
    words: str,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if "CLAIMS" in arguments:
        tiny.write_text('claims = ["no-such-claim"]\n' + tiny.read_text())
    stands_for = {"TINY": str(tiny), "CLAIMS": str(tiny), "DIGEST": load(str(tiny)).trials[0].digest}
    asked = [stands_for.get(word, word) for word in arguments]
    if "gpu" in asked:
        asked += ["--executor", "inline"]  # where torch is loaded already
    assert bench(*asked, monkeypatch=monkeypatch) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert words in shown.err
    assert list(tmp_path.iterdir()) == [tiny], "nothing is made before a refusal"


@pytest.mark.slow
def test_a_rehearsal_runs_small_and_apart_from_real_records(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["run", str(tiny), "--executor", "inline", "--rehearse", "--records", "somewhere/records"]
    assert bench(*command, monkeypatch=monkeypatch) == 0
    assert [path.name for path in (tmp_path / "somewhere").iterdir()] == ["rehearsal"]
    ended = [found for _, found in record.load(tmp_path / "somewhere" / "rehearsal" / "tiny")[0]]
    assert ended
    assert all(found.status == "ok" and found.trial.width == 2 for found in ended)


@pytest.mark.parametrize(
    ("text", "seeds"), [("", None), ("3", [0, 1, 2]), ("0,1,2", [0, 1, 2]), ("7,9", [7, 9]), (" 4 , 2 ", [4, 2])]
)
def test_seeds_are_a_list_or_a_count(text: str, seeds: list[int] | None) -> None:
    assert words.seed_list(text) == seeds


@pytest.mark.parametrize(("text", "seconds"), [("", 0.0), ("90s", 90.0), ("9m", 540.0), ("1.5h", 5400.0)])
def test_durations(text: str, seconds: float) -> None:
    assert words.seconds("--time-limit", text) == seconds


def test_a_duration_without_a_unit_is_refused_naming_the_one_that_was_meant(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("run", str(tiny), "--time-limit", "9", monkeypatch=monkeypatch) == 2
    assert capsys.readouterr().err == "error: --time-limit '9' has no unit: 9m are minutes, 9s seconds\n"


def test_it_says_its_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("--version", monkeypatch=monkeypatch) == 0
    assert command.version() in capsys.readouterr().out


def test_the_documents_network_needs_no_more_than_its_depth(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("summary", "document", "--depth", "18", monkeypatch=monkeypatch) == 0
    said = capsys.readouterr()
    assert re.search(r"11[ ,.]?178[ ,.]?378|11\.2", said.out)
    assert max(map(len, said.out.splitlines())) <= 80
    assert said.err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert bench("summary", "document", "--depth", "18", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().err == "loading PyTorch ...\n", "who waits is told for what"


def test_list_and_show(tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("list", monkeypatch=monkeypatch) == 0
    listed = capsys.readouterr().out
    assert "digits" in listed
    assert max(map(len, listed.splitlines())) <= 80
    times = {line.split()[0]: line.split("trials")[1].split()[:2] for line in listed.splitlines() if "trials" in line}
    assert times["cifar10"][1] == "days"
    assert times["taste"][1] == "seconds"
    assert bench("show", str(tiny), monkeypatch=monkeypatch) == 0
    nets = capsys.readouterr().out
    assert "trials x time of one; every trial" in nets
    assert re.search(r"layers +plain +preact\n +18 +1 x \S+ s +1 x \S+ s\n +34 +1 x", nets)
    assert bench("show", str(tiny), "--seeds", "5,", "--depths", "34", "--trials", monkeypatch=monkeypatch) == 0
    shown = capsys.readouterr().out
    assert "plain 34 seed 5 train" in shown
    assert "18" not in shown
    assert "at once" not in shown
    tiny.write_text(f"seeds_at_once = 3\n{tiny.read_text()}")
    assert bench("show", str(tiny), monkeypatch=monkeypatch) == 0
    assert "on a GPU 3 seeds of a net train at once" in capsys.readouterr().out


def test_costs_measured_first_predict_the_trainings(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.write_text(TINY.replace('purpose = "train"', 'purpose = ["train", "cost"]'))
    places = ["--records", str(tmp_path / "records")]
    costs = ["--purpose", "cost", "--executor", "inline", "--no-live"]
    assert bench("run", str(tiny), *costs, *places, monkeypatch=monkeypatch) == 0
    made = [found for _, found in record.load(tmp_path / "records" / "tiny")[0]]
    assert {found.trial.purpose for found in made} == {"cost"}
    capsys.readouterr()
    assert bench("show", str(tiny), *places, monkeypatch=monkeypatch) == 0
    assert "predicted (fit)" in capsys.readouterr().out


def test_a_study_without_its_rates_can_be_shown_but_not_run(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.write_text(TINY + 'lr = "tuned"\n')
    assert bench("run", str(tiny), "--records", str(tmp_path / "records"), monkeypatch=monkeypatch) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "no tuned rate is known for 4 trials, such as plain of 18 layers" in said
    assert bench("show", str(tiny), "--depths", "34", "--trials", monkeypatch=monkeypatch) == 0
    shown = capsys.readouterr().out
    assert "its search, 16 trials more" in shown
    assert "make tune STUDY=" in shown
    tiny.write_text(TINY)
    assert bench("tune", str(tiny), monkeypatch=monkeypatch) == 2
    assert "[search]" in capsys.readouterr().err


def test_nets_with_known_rates_run_while_others_wait_for_theirs(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An arm that is added to a study does not hold up what was tuned before."""
    places = ["--records", str(tmp_path / "records"), "--executor", "inline", "--no-live"]
    small = TINY.replace('architecture = ["plain", "preact"]', 'architecture = "plain"').replace("[18, 34]", "18")
    search = 'lr = "tuned"\n[search]\nrates = [0.1, 0.032, 0.01]\nseeds = 1\n'
    tiny.write_text(small + search)
    assert bench("tune", str(tiny), *places, monkeypatch=monkeypatch) == 0
    tiny.write_text(TINY + search)
    capsys.readouterr()
    assert bench("run", str(tiny), *places, monkeypatch=monkeypatch) == 0
    said = capsys.readouterr().out
    assert "no tuned rate is known for 3 trials, such as plain of 34 layers" in said
    assert "trials: 1 ok" in said


def test_a_search_runs_when_asked_for_and_enters_no_table_of_results(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.write_text(TINY + 'probes = ["lesions"]\n[search]\nrates = [0.1, 0.01]\n[search.plain]\nrates = [0.03]\n')
    places = ["--records", str(tmp_path / "records"), "--executor", "inline", "--no-live"]
    assert bench("run", str(tiny), *places, "--depths", "18", monkeypatch=monkeypatch) == 0
    search = [*places, "--purpose", "search"]
    assert bench("run", str(tiny), *search, "--seeds", "0,1", monkeypatch=monkeypatch) == 2
    assert "search trial, whose seeds are 100 and up" in capsys.readouterr().err
    assert bench("run", str(tiny), *search, "--depths", "18", monkeypatch=monkeypatch) == 0
    assert "preact 18 seed 101 search lr=0.01" in capsys.readouterr().out
    found = [each for _, each in record.load(tmp_path / "records" / "tiny")[0]]
    searched = [each.trial for each in found if each.trial.purpose == "search"]
    tried = {(t.architecture.name, t.lr, t.seed) for t in searched}
    assert tried == {(a, r, s) for s in (100, 101) for a, r in (("plain", 0.03), ("preact", 0.1), ("preact", 0.01))}
    assert not any(trial.probes for trial in searched)
    frames = tables.load([tmp_path / "records" / "tiny"])
    assert len(frames.search) == 6
    assert set(frames.trials["seed"]) == set(frames.cells["n"] - 1) == {0}
    assert not set(frames.search["digest"]) & (set(frames.epochs["digest"]) | set(frames.probes["digest"]))
    # Neither sweep takes the other's records for stale ones, nor those of rates that the search went on to.
    tiny.write_text(tiny.read_text().replace("[0.1, 0.01]", "[0.1]"))
    for more in ([], ["--purpose", "search"]):
        assert bench("run", str(tiny), *places, *more, "--depths", "18", monkeypatch=monkeypatch) == 0
        assert "kept apart" not in capsys.readouterr().out


def test_pipe_into_head_is_no_traceback() -> None:
    command = f"{sys.executable} -m bench show digits | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("bench show digits >/dev/full", 2, "error: cannot write the output: No space left on device\n"),
        ("results digits --plan >/dev/full", 2, "error: cannot write the output: No space left on device\n"),
        ("bench list >&-", 0, ""),
        ("reports", 2, None),
        ("reports digits --bogus", 2, None),
        ("results digits digits", 2, None),
    ],
)
def test_an_output_that_cannot_be_written_and_a_wrong_option_are_one_line(
    command: str, code: int, said: str | None
) -> None:
    line = f"{sys.executable} -m {command}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == code, done.stderr
    assert done.stderr == said or (said is None and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1)


def test_what_an_output_has_no_letters_for_is_printed_all_the_same() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-c", "from bench.command import serve; serve(lambda **_: print('ü'))"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert (done.returncode, done.stdout) == (0, "\\xfc\n")
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    progress.Plain(out=out).say("a name \udcff")
    out.seek(0)
    assert out.read() == "a name \\udcff\n"


def test_a_name_that_holds_line_ends_or_orders_to_a_terminal_is_one_line() -> None:
    said = r"a\nb \x1b[31m\udcff ü"
    code = f"from bench.command import serve\ndef app(**_): raise ValueError('{said}')\nserve(app)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (2, f"error: {said}\n")
    out = io.StringIO()
    progress.Plain(out=out).say("left out 1 hidden (.a\nb\x1b[2J)")
    assert out.getvalue() == "left out 1 hidden (.a\\nb\\x1b[2J)\n"


def test_a_python_without_the_packages_is_one_line() -> None:
    command = [sys.executable, "-S", "-m", "bench", "list"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={}, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "make setup" in done.stderr


def test_the_line_to_go_on_repeats_no_rehearsed_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["bench", "run", "x", "--inject=raise@1:5", "--inject", "nan@2:1", "--workers=1"]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "env" / "python"))
    monkeypatch.chdir(tmp_path)
    lines = cli.closing(Summary(reason="SIGINT"), rehearsal.options(tmp_path))
    assert lines[-1] == "to go on: env/python -m bench run x --workers=1"


def table(folder: Path) -> dict[str, str]:
    """Results of all trials, without what is time."""
    rows = {}
    for path, found in record.load(folder / "tiny")[0]:
        body = json.loads(record.encode(found))["body"]
        result = {k: v for k, v in body["result"].items() if k not in record.TIMES}
        epochs = [{k: v for k, v in row.items() if k != "seconds"} for row in body["epochs"]]
        rows[path.name] = json.dumps([body["status"], result, epochs, body["probes"]])
    return rows


def test_without_the_checkouts_tests_no_fault_is_injected(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(seam, "HARNESS", "not_there.harness.faults")
    records = tmp_path / "records"
    assert bench("run", str(tiny), "--inject", "raise@1:3", "--records", str(records), monkeypatch=monkeypatch) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: --inject needs tests/harness of the checkout")
    assert shown.count("\n") == 1
    assert not records.exists()


@pytest.mark.slow
def test_real_nets_interrupted_by_faults_end_with_the_same_table(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """kill -9, NaN and lack of memory in the midst of real training; then mended; then compared with another run."""

    def run(records: str, *arguments: str) -> tuple[int, str]:
        command = ["run", str(tiny), "--records", str(tmp_path / records), "--threads", "1", "--workers", "1"]
        return bench(*command, *arguments, monkeypatch=monkeypatch), capsys.readouterr().out

    disturbed, inline = tmp_path / "disturbed", ("--executor", "inline")
    code, output = run("disturbed", "--inject", "kill@1:3", "--inject", "nan@2:2")
    assert (code, "signal 9" in output, "diverged at step 3" in output) == (1, True, True), output
    found = {r.trial.depth: r for _, r in record.load(disturbed / "tiny")[0] if r.trial.architecture.name == "plain"}
    assert found[34].status == Status.DIVERGED
    assert found[34].result["diverged_step"] == 3
    assert found[18].environment["torch"]
    # The diverged one counts as done; taken away, it is run again. Inline: torch is loaded here once for all.
    next((disturbed / "tiny").glob("plain-d00034-*")).unlink()
    code, output = run("disturbed", "--inject", "oom@1:2", *inline)
    assert (code, "1 out_of_memory" in output, "2 done before" in output) == (1, True, True), output
    assert run("disturbed", *inline)[0] == 0
    assert run("undisturbed", *inline)[0] == 0
    assert len(table(disturbed)) == 4
    assert table(disturbed) == table(tmp_path / "undisturbed")


def test_the_rehearsals_command_ends_with_2_for_what_it_refuses(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "tests.harness.rehearsal", str(tmp_path / "file")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert rehearsal.small_study(1).trials


def test_memory_that_cannot_be_read_is_left_out_of_record_tables_and_page(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on macOS, and in a sandbox where /proc cannot be written: the mark is then that of whatever ran before."""
    from reports.__main__ import gather
    from reports.page import render

    tiny.write_text(TINY.replace('purpose = "train"', 'purpose = ["train", "cost"]') + 'claims = ["cost-grows"]\n')
    places = ["--records", str(tmp_path / "records"), "--executor", "inline", "--no-live"]
    monkeypatch.setattr(device, "reset_peak_memory", lambda device: 0)
    for number, mark in enumerate((0, 2**30)):
        monkeypatch.setattr(device, "peak_memory", lambda device, mark=mark: mark)
        assert bench("run", str(tiny), *places, "--depths", ["18", "34"][number], monkeypatch=monkeypatch) == 0
    costs = [found for _, found in record.load(tmp_path / "records" / "tiny")[0] if found.cost]
    assert len(costs) == 4
    memory = {"peak_memory_bytes", "memory_floor_bytes", "net_memory_bytes"}
    assert not any(found.cost.keys() & memory for found in costs)
    capsys.readouterr()
    assert bench("show", str(tiny), *places[:2], "--trials", monkeypatch=monkeypatch) == 0
    assert "predicted (fit)" in capsys.readouterr().out, "times are known all the same"
    source = gather(str(tiny), tmp_path / "records")
    assert source.frames.cost["net_memory_bytes"].isna().all()
    page = render.page(source)
    assert "Peak memory" in page
    assert not re.search(r"(?<![\d.,])0 MiB", page)


def test_where_more_threads_take_longer_that_is_said_and_recorded_and_the_threads_stay(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(device, "threads_help", lambda asked: False)
    places = ["--records", str(tmp_path / "records"), "--executor", "inline", "--no-live"]
    assert bench("run", str(tiny), *places, "--threads", "2", "--depths", "18", monkeypatch=monkeypatch) == 0
    said = "--threads 2: just now one thread took less time here"
    assert f"{said}\n" in capsys.readouterr().out
    kept = [found.environment for _, found in record.load(tmp_path / "records" / "tiny")[0]]
    assert [each["threads"] for each in kept] == [2, 2]
    assert {each["threads_note"] for each in kept} == {said}
    assert bench("run", str(tiny), *places, "--threads", "1", "--depths", "18", monkeypatch=monkeypatch) == 0
    assert "made with another threads" in capsys.readouterr().out, "sums round otherwise"
    assert bench("run", str(tiny), *places, "--threads", "2", "--depths", "18", monkeypatch=monkeypatch) == 0
    assert "counts again" in capsys.readouterr().out, "an answer that is there is not computed again"
