"""Training curves as TensorBoard event files, for those who watch their runs there. Only on request; no torch.

Written with tensorboard's own protocol buffers. The same records give the same bytes: times are those of the
records, and the file's name holds neither time nor host.
"""

import math
from datetime import datetime
from pathlib import Path

from results.tables import Frames

CURVES = ("train_loss", "train_error", "test_error", "lr_last")


def write_curves(frames: Frames, folder: Path) -> list[Path]:
    """Writes a run for each training trial: FOLDER/ARCHITECTURE/dDEPTH-sSEED-DIGEST/events.out.tfevents.0.

    Args:
        frames: All tables of a study.
        folder: Is made where it is missing; what lies in it stays, files of the same trial are replaced.

    Returns:
        The files written, sorted. Steps are epochs; a value that is not finite is left out.

    Raises:
        ValueError: tensorboard is not installed, or the files cannot be written; one line.
    """
    try:
        return _written(frames, folder)
    except OSError as error:
        raise ValueError(f"cannot write {error.filename or folder}: {error.strerror or error}") from None


def _written(frames: Frames, folder: Path) -> list[Path]:
    try:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError:
        raise ValueError("tensorboard is not installed: event files cannot be written") from None

    started = frames.trials.drop_duplicates("digest").set_index("digest")["started"].to_dict()
    written = []
    for digest, epochs in frames.epochs.groupby("digest", sort=True):
        first = epochs.iloc[0]
        run = folder / _safe(first["architecture"]) / f"d{first['depth']:05d}-s{first['seed']:03d}-{digest}"
        run.mkdir(parents=True, exist_ok=True)
        time = _seconds(str(started.get(digest, "")))
        path = run / "events.out.tfevents.0"
        with path.open("wb") as file:
            out = RecordWriter(file)
            out.write(event_pb2.Event(wall_time=time, file_version="brain.Event:2").SerializeToString())
            for _, row in epochs.sort_values("epoch").iterrows():
                time += row["seconds"] if math.isfinite(row["seconds"]) else 0.0
                values = [
                    summary_pb2.Summary.Value(tag=name, simple_value=float(row[name]))
                    for name in CURVES
                    if math.isfinite(row[name])
                ]
                event = event_pb2.Event(
                    wall_time=time, step=int(row["epoch"]), summary=summary_pb2.Summary(value=values)
                )
                out.write(event.SerializeToString())
            out.flush()
        written.append(path)
    return sorted(written)


def _safe(name: str) -> str:
    """A record's text as a folder's name: it may be anything."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)[:80]
    return plain.lstrip(".") or "_"


def _seconds(started: str) -> float:
    """Seconds since 1970; 0 where the record has no time that can be read."""
    try:
        return datetime.fromisoformat(started).timestamp()
    except ValueError:
        return 0.0
