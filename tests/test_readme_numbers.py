"""README's numbers, computed again from the published files with nothing of the suite's own code.

Means and extremes come from the records. Bounds come from the data in the pages, and from the table in
docs/what-was-found.md, which a test of its own holds to the records (`tests/reports/test_found.py`).
"""

import json
import re
from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from statistics import fmean
from typing import Any

from bench.plan.checkout import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
FOUND = (ROOT / "docs" / "what-was-found.md").read_text(encoding="utf-8")
ABOUT = {"resnet": "post-activation", "preact": "pre-activation"}
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
    found, long = errors("digits"), errors("digits-long")
    cells = long["resnet", 1002, 660], found["resnet", 1002, 220], found["preact", 1002, 154]
    post, short, pre = map(mean, cells)
    assert verdict("thousand-layers", "post-activation", "digits")[0] == "✓"
    symbol, _ = verdict("thousand-layers", "post-activation", "digits-long")
    near = "[near the limit](docs/what-was-found.md)"
    longer = "[660 steps](reports/published/digits-long.html)"
    assert cell("thousand-layers", 2) == f"{symbol} {post:.2f} % ({longer}; 220: {short:.1f} %, {near})"
    assert cell("thousand-layers", 3) == f"{verdict('thousand-layers', 'pre-activation', 'digits')[0]} {pre:.1f} %"
    for study in ("fashion-mnist-16", "fashion-mnist-ladder"):
        assert verdict("thousand-layers", "post-activation", study)[0] == "?"
    twins = [error for (name, depth, _), seeds in found.items() if (name, depth) == ("plain", 1002) for error in seeds]
    assert len(twins) == 9
    assert set(twins) == {None}
    assert cell("thousand-layers", 1) == "diverges"


def test_plain_nets() -> None:
    found = errors("digits-plain")
    shallow, deep = (mean(found["plain", depth, 880]) for depth in (18, 66))
    symbol, _ = verdict("plain-degrades", "plain", "digits-plain")
    assert (
        cell("plain-degrades", 1) == f"{symbol} {shallow:.1f} % at 18 layers, {deep:.0f} % at 66 (880 steps, AMD EPYC)"
    )


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
        shorter = {2: " ([660 steps](reports/published/digits-long.html); 220: open)", 3: ""}[column]
        assert cell("residual-no-harm", column) == f"✓ at most +{bound[1]}{shorter}"
    assert verdict("residual-no-harm", "post-activation", "digits")[0] == "?"


def test_costs() -> None:
    for column, about in ((1, "plain"), (2, "post-activation"), (3, "pre-activation")):
        symbol, words = verdict("cost-grows", about, "digits")
        slope = Decimal(words.split()[0]).quantize(Decimal("0.01"), ROUND_HALF_UP)
        assert cell("cost-grows", column).startswith(f"{symbol} {slope} ms")


def test_fully_connected_nets() -> None:
    found = errors("digits-dense")
    assert set(found["plain", 1002, 220]) == {None}
    assert cell("conv-and-dense", 1) == "diverges"
    for column, name in ((2, "resnet"), (3, "preact")):
        symbol, _ = verdict("conv-and-dense", ABOUT[name], "digits-dense")
        assert cell("conv-and-dense", column) == f"{symbol} {mean(found[name, 1002, 220]):.1f} %"


def test_growth() -> None:
    symbol, words = verdict("identity-growth", "plain", "digits-growth")
    assert float(words.split()[0]) > 0
    worse = f"{float(words.split()[0]):.0f} points worse (one rate)"
    assert cell("identity-growth", 1) == f"{symbol} outputs unchanged to 258 layers; trained on, {worse}"
    for column, about in ((2, "post-activation"), (3, "pre-activation")):
        symbol, words = verdict("identity-growth", about, "digits-growth")
        head = {2: "outputs unchanged to 514 layers; trained on,", 3: "likewise,"}[column]
        assert cell("identity-growth", column) == f"{symbol} {head} {float(words.split()[0]):+.1f} points"


def test_the_document_s_own_network() -> None:
    rows = re.findall(r"^\| here, .*$", README, re.MULTILINE)
    for row, device, count in zip(rows, ("cuda", "cpu"), (3, 1), strict=True):
        runs = [run for run in trainings("document") if run["environment"]["device"] == device]
        seeds = [
            (
                run["result"]["train_loss_running"],
                1 - run["result"]["train_error_running"],
                1 - run["epochs"][-1]["test_error"],
            )
            for run in runs
        ]
        assert len(seeds) == count
        ranges = [sorted({f"{min(each):.3f}", f"{max(each):.3f}"}) for each in zip(*seeds, strict=True)]
        seconds = [sum(epoch["seconds"] for epoch in run["epochs"]) for run in runs]
        speed = fmean(10 * run["result"]["n_train"] / took for run, took in zip(runs, seconds, strict=True))
        told = f"{round(speed, -2) if device == 'cuda' else speed:,.0f}"
        assert row.split(" | ")[1:] == [*map(" to ".join, ranges), f"{told} |"]


def test_the_picture_s_words() -> None:
    """The alternative text, and the caption's "still improving"."""
    at: dict[tuple[str, int], list[float]] = defaultdict(list)
    fall: dict[tuple[str, int], list[float]] = defaultdict(list)
    for body in trainings("fashion-mnist-ladder"):
        if body["status"] == "ok":
            net = body["trial"]["architecture"]["name"], body["trial"]["depth"]
            at[net].append(100 * body["result"]["train_error"])
            before, last = (100 * epoch["train_error"] for epoch in body["epochs"][-2:])
            fall[net].append(before - last)
    for shallow, deep in pairwise((18, 34, 66, 258)):
        assert max(at["plain", shallow]) < min(at["plain", deep])
    assert min(at["plain", 258]) > 89
    for net in (("resnet", 1002), ("preact", 1002), ("resnet", 18), ("preact", 18), ("plain", 66)):
        assert len(at[net]) == 3
        assert max(at[net]) < 50
        assert fmean(fall[net]) > 0
