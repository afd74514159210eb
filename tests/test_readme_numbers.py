"""README's numbers, computed again from the published files with nothing of the suite's own code.

Means and extremes come from the records. Bounds come from the data in the pages, and from the table in
docs/what-was-found.md, which a test of its own holds to the records (`tests/reports/test_found.py`).
"""

import json
import re
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FOUND = (ROOT / "docs" / "what-was-found.md").read_text(encoding="utf-8")
Cells = dict[tuple[str, int, int], list[float | None]]


def trainings(study: str) -> list[dict[str, Any]]:
    files = sorted((ROOT / "results" / "published" / study).glob("*/*.json"))
    bodies = [json.loads(path.read_text(encoding="utf-8"))["body"] for path in files]
    return [body for body in bodies if body["trial"]["purpose"] == "train"]


def errors(study: str) -> Cells:
    """Training errors in %, by architecture, depth and steps; None for a seed that diverged."""
    found: Cells = defaultdict(list)
    for body in trainings(study):
        trial, result = body["trial"], body["result"]
        error = None if body["status"] == "diverged" else 100 * result["train_error"]
        found[trial["architecture"]["name"], trial["depth"], result["steps_planned"]].append(error)
    return found


def mean(values: list[float | None]) -> float:
    known = [value for value in values if value is not None]
    assert len(known) == len(values) == 3
    return fmean(known)


def cell(claim: str, column: int) -> str:
    (row,) = re.findall(rf"^\| \[{claim}\].*$", README, re.MULTILINE)
    return str(row.split("|")[column + 1]).strip()


def verdict(claim: str, about: str, study: str) -> tuple[str, str]:
    """Symbol, and what stands behind it, in the table of all verdicts."""
    (row,) = re.findall(rf"^\| {claim} \| {about} \| \[{study}\].*\| (.) ?(.*) \|$", FOUND, re.MULTILINE)
    return row


def test_a_thousand_layers() -> None:
    found = errors("digits")
    for column, name, steps in ((2, "resnet", 220), (3, "preact", 154)):
        assert cell("thousand-layers", column).startswith(f"✓ {mean(found[name, 1002, steps]):.1f} %")
    twins = [error for (name, depth, _), seeds in found.items() if (name, depth) == ("plain", 1002) for error in seeds]
    assert len(twins) == 9
    assert set(twins) == {None}
    assert cell("thousand-layers", 1) == "diverges"


def test_plain_nets() -> None:
    found = errors("digits-plain")
    shallow, deep = (mean(found["plain", depth, 880]) for depth in (18, 66))
    assert cell("plain-degrades", 1) == f"✓ {shallow:.1f} % at 18 layers, {deep:.0f} % at 66 (880 steps, AMD EPYC)"


def test_harm() -> None:
    asked = ((2, "resnet", "digits-long", 660), (3, "preact", "digits", 154))
    for column, subject, study, steps in asked:
        page = (ROOT / "reports" / "published" / f"{study}.html").read_text(encoding="utf-8")
        (data,) = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
        (bound,) = [
            re.search(rf"largest upper bound (.*)\), at {steps} steps", row["reason"])
            for row in json.loads(data)["verdicts"]
            if (row["claim"], row["subject"], row["measure"]) == ("residual-no-harm", subject, "train_error")
            and row["verdict"] == "supported"
            and row["reason"].endswith(f"at {steps} steps")
        ]
        assert bound is not None
        assert cell("residual-no-harm", column).startswith(f"✓ at most +{bound[1]}")
    assert verdict("residual-no-harm", "post-activation", "digits")[0] == "?"


def test_costs() -> None:
    for column, about in ((1, "plain"), (2, "post-activation"), (3, "pre-activation")):
        symbol, words = verdict("cost-grows", about, "digits")
        assert abs(float(words.split()[0]) - float(cell("cost-grows", column).split()[1])) <= 0.0051
        assert cell("cost-grows", column)[0] == symbol


def test_fully_connected_nets() -> None:
    found = errors("digits-dense")
    assert set(found["plain", 1002, 220]) == {None}
    assert cell("conv-and-dense", 1) == "diverges"
    for column, name in ((2, "resnet"), (3, "preact")):
        assert cell("conv-and-dense", column) == f"✓ {mean(found[name, 1002, 220]):.1f} %"


def test_growth() -> None:
    for column, about in ((1, "plain"), (2, "post-activation"), (3, "pre-activation")):
        symbol, words = verdict("identity-growth", about, "digits-growth")
        points = float(words.split()[0])
        digits = 0 if points >= 10 else 1
        assert cell("identity-growth", column).startswith(f"{symbol} {points:+.{digits}f} points")


def test_the_document_s_own_network() -> None:
    runs = trainings("document")
    (row,) = re.findall(r"^\| here, .*$", README, re.MULTILINE)
    seeds = [
        (
            run["result"]["train_loss_running"],
            1 - run["result"]["train_error_running"],
            1 - run["epochs"][-1]["test_error"],
        )
        for run in runs
    ]
    assert len(seeds) == 3
    spans = [f"{min(each):.3f} to {max(each):.3f}" for each in zip(*seeds, strict=True)]
    seconds = [sum(epoch["seconds"] for epoch in run["epochs"]) for run in runs]
    speed = fmean(10 * run["result"]["n_train"] / took for run, took in zip(runs, seconds, strict=True))
    assert row.split(" | ")[1:] == [*spans, f"{round(speed, -2):,.0f} |"]


def test_the_caption() -> None:
    found = errors("fashion-mnist-ladder")
    at: dict[tuple[str, int], list[float | None]] = {(name, depth): seeds for (name, depth, _), seeds in found.items()}
    # "Plain nets get worse from 34 layers on": each depth's best seed is worse than the last one's worst.
    plain = [at["plain", depth] for depth in (18, 34, 66, 258)]
    for shallow, deep in pairwise(plain):
        assert max(e for e in shallow if e is not None) < min(e for e in deep if e is not None)
    assert min(e for e in at["plain", 258] if e is not None) > 89
    assert abs(mean(at["preact", 1002]) - mean(at["preact", 18])) < 0.5
    assert mean(at["resnet", 1002]) > mean(at["resnet", 18]) + 5
