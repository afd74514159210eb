"""Event files hold the curves of the records, the same bytes each time, and need no torch."""

import math
import subprocess
import sys
from pathlib import Path

import made_up
import pytest

from bench.plan.checkout import ROOT
from results.event_files import write_curves

tensorboard = pytest.importorskip("tensorboard", reason="tensorboard is not installed")


def test_tensorboard_reads_the_curves_back(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    frames = made_up.frames(made_up.study_records(("resnet",), (18, 66), range(1), cost=False))
    written = write_curves(frames, tmp_path / "a")
    assert len(written) == 2
    accumulator = EventAccumulator(str(written[0].parent))
    accumulator.Reload()
    curve = accumulator.Scalars("train_loss")
    mine = frames.epochs[frames.epochs["depth"] == 18]
    assert [event.step for event in curve] == [1, 2, 3, 4, 5]
    assert all(math.isclose(e.value, v, rel_tol=1e-6) for e, v in zip(curve, mine["train_loss"], strict=True))
    assert "test_error" not in accumulator.Tags()["scalars"]
    again = write_curves(frames, tmp_path / "b")
    assert [path.read_bytes() for path in written] == [path.read_bytes() for path in again]


def test_a_hostile_name_stays_inside_the_folder(tmp_path: Path) -> None:
    frames = made_up.frames(made_up.study_records(("resnet",), (18,), range(1), cost=False))
    frames.epochs["architecture"] = "../../../escaped"
    (written,) = write_curves(frames, tmp_path / "in")
    assert (tmp_path / "in") in written.parents
    assert ".." not in written.parts


def test_no_torch_is_loaded() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests'); import made_up, tempfile, pathlib\n"
        "from results.event_files import write_curves\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    frames = made_up.frames(made_up.study_records(('resnet',), (18,), range(1), cost=False))\n"
        "    assert write_curves(frames, pathlib.Path(folder))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_traces_alone_are_worth_looking_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`make tensorboard` right after `make profile`, before any study has run."""
    from bench.plan.study import known_studies
    from results.__main__ import results

    asked = {"records": str(tmp_path / "records"), "out": str(tmp_path / "out"), "tensorboard": True}
    with pytest.raises(ValueError, match="no records in"):
        results(known_studies()[0], **asked)
    (tmp_path / "out" / "traces").mkdir(parents=True)
    (tmp_path / "out" / "traces" / "resnet-66-cpu.pt.trace.json.gz").touch()
    results(known_studies()[0], **asked)
    assert "no curves" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no records in"):
        results(known_studies()[0], **{**asked, "tensorboard": False})
