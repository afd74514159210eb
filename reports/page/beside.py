"""What the page holds the records against: published points, the document's own figures, and planted truths.

Own file since nothing here was measured by the study. Tables only; a table with no row is not shown.
"""

import json
import math
from pathlib import Path

import pandas as pd

from models.layouts import stage_shapes
from models.spec import ARCHITECTURES, ModelSpec
from reports.page.verdicts import labels, subject
from reports.page.views import Planted, Published, Table
from reports.page.words import NOTHING, number, percent
from results import literature
from results.tables import Frames

PLANTED = Path(__file__).parents[1] / "judges" / "planted.json"

DOCUMENT_TEST_ACCURACY = 0.903
# The document's training of its ResNet-18 (d2l.ai, section 8.6): what its text prints, and how it is measured there.
FROM_THE_DOCUMENT = (
    ("loss", 0.015, "running mean over the last epoch, train mode"),
    ("training accuracy", 0.996, "running mean over the last epoch, train mode"),
    ("test accuracy", DOCUMENT_TEST_ACCURACY, "eval mode, running statistics as training left them"),
    ("examples/s", 1749.4, "training images of all epochs over the seconds of their steps; another machine"),
)
# At a constant rate the last epoch's test accuracy is one of a jumping series.
LAST_EPOCHS = 3

SHAPES = "64x56x56, 64x56x56, 128x28x28, 256x14x14, 512x7x7, 512x1x1, 512, 10"


def document(frames: Frames) -> Table:
    """The document's figures beside ours, where its network was trained on its data; else no rows."""
    rows = []
    for (study, part, precision), seeds in _trained(frames):
        mine = _epochs(frames, seeds)
        last = mine.groupby("digest").tail(1)
        what = ", ".join(filter(None, (str(study), f"{part:,} images only" if part else "", str(precision))))
        measured = {
            "loss": seeds["train_loss_running"],
            "training accuracy": 1 - seeds["train_error_running"],
            "test accuracy": 1 - last["test_error"],
            "examples/s": _examples_per_second(seeds, mine),
        }
        for name, theirs, how in FROM_THE_DOCUMENT:
            rows.append([name, number(theirs, 5), *_over_seeds(measured[name]), what, how])
        ends = mine.groupby("digest").tail(LAST_EPOCHS)
        how = f"the last {LAST_EPOCHS} epochs of each seed: at a constant learning rate it jumps"
        mean, spread, _ = _over_seeds(1 - ends["test_error"])
        rows.append(["test accuracy, late epochs", NOTHING, mean, spread, str(len(last)), what, how])
        later = mine[mine["epoch"] > 1]
        if len(later):
            how = "the same without the first epoch, in which a GPU's kernels are chosen and the step is captured"
            speed = _over_seeds(_examples_per_second(seeds, later))
            rows.append(["examples/s, later epochs", NOTHING, *speed, what, how])
        rows.append(_shapes(seeds.iloc[0], what))
    heads = ["figure", "document", "here, mean", "lowest to highest", "seeds", "study", "measured as"]
    return Table(heads, rows)


def test_accuracy(frames: Frames, study: str) -> str:
    """The mean test accuracy that the document's network ends with on all of its data in this study; else empty.

    Of several precisions, that of the most seeds.
    """
    whole = [seeds for (of, part, _), seeds in _trained(frames) if of == study and not part]
    if not whole:
        return ""
    last = _epochs(frames, max(whole, key=len)).groupby("digest").tail(1)
    return _over_seeds(1 - last["test_error"])[0]


def _trained(frames: Frames) -> list[tuple[tuple[str, int, str], pd.DataFrame]]:
    """The trials that trained the document's network on its data, by study, part of the data and precision."""
    trials = frames.trials
    ours = trials[(trials["architecture"] == "document") & trials["dataset"].str.startswith("fashion-mnist")]
    ours = ours[(ours["status"] == "ok") & ours["comparable"]]
    return list(ours.groupby(["study", "train_examples", "precision"], sort=True))


def _epochs(frames: Frames, seeds: pd.DataFrame) -> pd.DataFrame:
    """The epochs of these trials, in their order."""
    return frames.epochs[frames.epochs["digest"].isin(seeds["digest"])].sort_values("epoch")


def _examples_per_second(seeds: pd.DataFrame, epochs: pd.DataFrame) -> pd.Series:
    """By trial, images trained on in these epochs by the seconds of their steps."""
    by_trial = epochs.groupby("digest")
    return seeds.set_index("digest")["n_train"] * by_trial.size() / by_trial["seconds"].sum()


def _over_seeds(values: pd.Series) -> list[str]:
    """Mean, range and number; a range and no interval, since two or three seeds make none that means anything."""
    found = values.dropna()
    if found.empty:
        return [NOTHING, NOTHING, "0"]
    spread = f"{number(found.min(), 4)} to {number(found.max(), 4)}" if len(found) > 1 else NOTHING
    return [number(found.mean(), 4), spread, str(len(found))]


def _shapes(trial: pd.Series, study: str) -> list[str]:
    """The trained network's shapes, stage by stage, for the image that the document shows them for."""
    spec = ModelSpec(
        ARCHITECTURES["document"], str(trial["layout"]), int(trial["depth"]), int(trial["width"]), (1, 224, 224), 10
    )
    ours = ", ".join("x".join(map(str, shape)) for shape in stage_shapes(spec))
    return ["stage shapes, 1x224x224", SHAPES, ours, NOTHING, NOTHING, study, "computed from the layout, not timed"]


def published(frames: Frames) -> Published:
    """Published test errors of the networks in the records, and how far their protocol is from ours."""
    trials = frames.trials
    points = literature.points()
    near = points[points["architecture"].isin(trials["architecture"].unique())] if len(trials) else points.iloc[:0]
    names = labels(frames)
    near = near.sort_values(["architecture", "dataset", "depth", "source"], kind="stable")
    rows = [
        [
            *(subject(p["architecture"], names), p["net"] or NOTHING, str(p["depth"]), p["dataset"], p["layout"]),
            f"{'above ' if p['statistic'] == 'above' else ''}{percent(p['test_error'])}",
            p["statistic"] + (f" (± {percent(p['spread'])})" if math.isfinite(p["spread"]) else ""),
            p["source"] + (", second hand" if p["read"] == "second hand" else ""),
            p["protocol"],
        ]
        for p in near.to_dict("records")
    ]
    heads = ["network", "called there", "depth", "data", "layout", "test error (%)", "of", "source", "protocol"]
    return Published(heads, rows, literature.distance(trials))


def planted() -> Planted:
    """How often each judge says what on made-up studies of known answer; no rows where that was never run."""
    try:
        saved = json.loads(PLANTED.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Planted([], [])
    rows = [
        [
            *(row["claim"], row["truth"], row["promise"], "yes" if row["kept"] else "NO"),
            *(percent(row[verdict], 1) for verdict in ("supported", "refuted", "inconclusive")),
            f"{row['draws']}",
        ]
        for row in saved["rows"]
    ]
    heads = ["claim", "what is true in the made-up study", "promised", "kept"]
    heads += ["supported (%)", "refuted (%)", "inconclusive (%)", "draws"]
    return Planted(heads, rows, saved["seeds"])
