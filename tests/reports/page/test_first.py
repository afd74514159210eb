"""The first screen: its message and its table say what the verdicts say, by rule; its figure shows who decided."""

import dataclasses
import re
import time
from pathlib import Path

import pytest
from made_page import source
from made_up import cost_record, study_records, train_record, trial, write

from bench.store.record import Status
from reports import __main__ as command_line
from reports.claims import CLAIMS
from reports.finding import Finding, SeedRow, Verdict
from reports.page import care, first, render, verdicts
from reports.page.context import Source
from reports.page.words import short_effect

LABELS = {"plain": "plain", "resnet": "residual (post-activation)", "preact": "residual (pre-activation)"}
SUPPORTED, REFUTED, OPEN = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE


def finding(claim: str, subject: str, verdict: Verdict, **more: object) -> Finding:
    return dataclasses.replace(Finding(claim, subject, "train_error", verdict, "why"), **more)  # type: ignore[arg-type]


def seeds(subject: str, failed: bool) -> tuple[SeedRow, ...]:
    error = float("nan") if failed else 0.05
    return tuple(SeedRow(subject=subject, depth=1002, seed=s, error=error, failed=failed) for s in range(3))


def message(*findings: Finding, made: Source | None = None) -> str:
    judged = [(CLAIMS[name], [f for f in findings if f.claim == name]) for name in CLAIMS]
    return first.headline(made or source([]), [(claim, found) for claim, found in judged if found], LABELS)


def test_every_claim_has_words_for_both_verdicts() -> None:
    assert set(first.CLAUSES) == set(CLAIMS)
    for texts in first.CLAUSES.values():
        assert len(set(texts)) == 2


def test_the_message_says_what_became_of_each_kind_of_block() -> None:
    trained = seeds("resnet", failed=False) + seeds("plain", failed=True)
    both = [finding("thousand-layers", name, SUPPORTED, details=trained) for name in ("resnet", "preact")]
    assert message(*both) == "At 1002 layers post- and pre-activation nets train, plain nets diverge"
    one = [both[0], finding("thousand-layers", "preact", REFUTED, details=seeds("preact", failed=False))]
    assert message(*one) == (
        "At 1002 layers post-activation nets train, pre-activation nets do not train, plain nets diverge"
    )
    half = [both[0], finding("thousand-layers", "preact", OPEN)]
    assert message(*half).endswith("for pre-activation nets it is open, plain nets diverge")
    untried = finding("thousand-layers", "preact", OPEN).but(reason="never tried at about 1000 layers (at 440 steps)")
    assert message(both[0], untried) == "At 1002 layers post-activation nets train, plain nets diverge"
    assert first.in_a_word(untried) == "too shallow"


def test_the_message_follows_the_verdicts_and_claims_nothing_that_none_decides() -> None:
    worse = finding("plain-degrades", "plain", SUPPORTED)
    assert message(worse) == "Plain nets get worse with depth"
    assert message(worse.but(verdict=REFUTED)) == "Plain nets do not get worse with depth"
    assert message(worse.but(verdict=OPEN)) == "Not decided here: plain nets degrade with depth"
    none = [finding(name, "resnet", OPEN) for name in ("residual-no-harm", "thousand-layers")]
    assert message(*none) == "None of these 2 claims is decided by these records"
    assert message() == "Made-up networks", "where nothing is judged, what was run"
    two = message(worse, finding("residual-no-harm", "resnet", SUPPORTED), finding("cost-grows", "resnet", SUPPORTED))
    less = "more layers cost post-activation nets under 2.0 points of training error"
    assert two == f"Plain nets get worse with depth; {less}"


def test_one_net_alone_is_held_against_the_document_and_judges_no_claim() -> None:
    own = [trial("document", 18, s, dataset="fashion-mnist", test_each_epoch=True) for s in range(2)]
    records = [train_record(asked) for asked in own]
    for found, error in zip(records, (0.1, 0.08), strict=True):
        found.epochs[-1]["test_error"] = error
    alone = source(records)
    assert verdicts.judged_here(alone.study, alone.findings) == []
    assert first.headline(alone, [], LABELS) == (
        "The document's network reaches a test accuracy of 0.91; the document says 0.903"
    )
    page = render.page(alone)
    assert "One net at one depth" in page
    assert "one learning rate for all depths" not in page
    top, _ = page.split("Beside the document", 1)
    assert "training loss (nat)" in top, "the main figure"
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_the_costs_of_three_precisions_are_comparable_and_the_one_that_all_nets_share_is_told() -> None:
    ways = {"fp32": "graph+exact", "tf32": "graph", "bf16": "graph+compile"}
    records = []
    for depth in (18, 66, 258, 1002):
        for name, precisions in (("resnet", ways), ("plain", ("tf32",))):
            for precision in precisions:
                made = cost_record(trial(name, depth, 0, study="digits", precision=precision))
                seconds = {"bf16": 0.5, "tf32": 1.0, "fp32": 3.0}[precision]
                made.cost["step_times_s"] = [seconds * t for t in made.cost["step_times_s"]]
                made.environment["execution"] = ways[precision]
                records.append(made)
    made_of = source(records, name="digits")
    assert not made_of.frames.warnings
    told = first.of_network(made_of.findings["cost-grows"], "resnet")
    assert told is not None
    assert told.setting == "precision tf32"
    odd = cost_record(trial("resnet", 34, 0, study="digits", precision="tf32"))
    odd.environment["execution"] = "eager"
    assert "execution 'eager' instead of 'graph'" in source([*records, odd]).frames.warnings[0]


def test_a_sweep_that_failed_whole_says_so_first_and_why() -> None:
    message_of_all = "CUDA error: no kernel image is available"
    broken = [
        train_record(trial("resnet", d, s), status=Status.ERROR, message=message_of_all)
        for d in (18, 66)
        for s in (0, 1)
    ]
    made = source(broken)
    assert message(made=made) == "Nothing can be said: all 4 trials failed"
    page = render.page(made)
    assert "4 of 4 trials failed: 4 ended in error: CUDA error: no kernel image is available" in page
    assert page.index("4 of 4 trials failed") < page.index('id="claims"')
    assert "4 of 4 trials failed" in care.in_short(made)


def test_what_the_records_lack_is_said_at_the_top() -> None:
    records = study_records(("plain", "resnet"), (18, 66), range(2), cost=False)
    made = source(records[:-3], planned=records)
    assert care.in_short(made)[0] == f"unfinished: {len(records) - 3} of {len(records)} trials have run"
    page = render.page(made)
    assert page.index("Not run yet") < page.index('id="claims"')


def test_a_network_stands_with_the_study_that_decides_unless_studies_contradict_each_other() -> None:
    undecided, yes = (finding("residual-no-harm", "resnet", v, study=s) for v, s in ((OPEN, "a"), (SUPPORTED, "b")))
    no = yes.but(verdict=REFUTED, study="c")
    assert first.of_network([undecided, yes], "resnet") is yes
    assert first.of_network([undecided, yes, no], "resnet") is undecided
    assert first.of_network([undecided], "preact") is None
    aside = finding("residual-no-harm", "preact, against resnet", SUPPORTED)
    assert first.of_network([undecided, aside], "preact") is None


def test_every_cell_is_a_verdict_and_a_number_of_its_claims_findings(made: Source) -> None:
    judged = verdicts.judged_here(made.study, made.findings)
    names = verdicts.labels(made.frames)
    table = first.matrix(judged, names)
    assert [head.label for head in table.heads] == ["plain", "post-activation", "pre-activation"]
    assert [row.claim.id for row in table.rows] == [claim.id for claim, _ in judged]
    for row, (_, found) in zip(table.rows, judged, strict=True):
        for shown, name in zip(row.cells, ("plain", "resnet", "preact"), strict=not row.all):
            if shown and shown.verdict:
                assert shown.verdict in {str(f.verdict) for f in found if first.network(f) == name}
                assert shown.symbol in "✓✗?"
    cells = {row.claim.id: row.cells for row in table.rows}
    assert cells["thousand-layers"][0].text == "(diverged)"
    assert re.fullmatch(r"[\d.]+ ms/layer", cells["cost-grows"][1].text)


def test_numbers_of_cells_are_short() -> None:
    base = finding("residual-no-harm", "resnet", SUPPORTED, effect=0.0594, low=-0.01, high=0.13)
    assert short_effect(base) == "+5.9 pts"
    assert short_effect(base.but(effect=-0.883)) == "−88 pts"
    assert short_effect(base.but(effect=0.00001)) == "0.0 pts"
    assert short_effect(base.but(effect=5.94, unit="%")) == "5.9 %"
    assert short_effect(base.but(effect=0.000998, unit="s/layer")) == "1.0 ms/layer"
    assert short_effect(base.but(effect=None)) == ""


def test_the_main_figure_of_a_study_of_studies_shows_the_study_that_decides() -> None:
    at_one_rate = {"study": "digits-long", "lr": 0.05, "cost": False}
    records = [
        *study_records(("plain", "resnet"), (18, 258, 1002), range(3), **at_one_rate),  # type: ignore[arg-type]
        *study_records(("plain", "resnet"), (18, 34, 66, 130), range(3), study="digits", cost=False),
    ]
    made = source(records)
    judged = verdicts.judged_here(made.study, made.findings)
    names = verdicts.labels(made.frames)
    panels = first.panels(made.frames, judged, names)
    assert panels
    head = first.ranked(judged)[0]
    assert head[0].id == "thousand-layers"
    decides = first.of_network(head[1], "resnet")
    assert decides is not None
    for title, trials, cells in panels:
        assert set(trials["study"]) == {decides.study}
        assert title.startswith("After ")
        assert len(cells) == len(trials.groupby(["architecture", "depth"]))


def test_the_command_ends_with_the_time_a_link_and_what_to_type_next(tmp_path: Path) -> None:
    lines = command_line.closing("made-up", tmp_path / "a page.html", time.time() - 125)
    assert re.fullmatch(r"took 2 min \d s", lines[0])
    assert lines[1] == f"open {tmp_path.as_uri()}/a%20page.html"
    assert "make show STUDY=made-up" in lines[2]
    assert max(map(len, lines[2:])) <= 80


def test_a_study_of_which_only_the_search_is_published_has_no_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_line, "PUBLISHED_RECORDS", tmp_path)
    searched = dataclasses.replace(trial("resnet", 18, 100, study="digits"), purpose="search")
    write(tmp_path / "digits" / "a-machine", [train_record(searched)], ("purpose",))
    assert command_line.published_pages() == []
    write(tmp_path / "digits" / "a-machine", [train_record(trial("resnet", 18, 0, study="digits"))], ("purpose",))
    assert [page[:2] for page in command_line.published_pages()] == [("digits", "a-machine")]
