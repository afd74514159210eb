"""Designs beside the document's block: one table, one correction over all of it."""

from made_cases import RISING, study, thorough
from made_up import frames

from reports.claims import judge
from reports.finding import Finding
from reports.judges.designs import CLAIM
from reports.page import survival

GOOD = {18: 0.03, 66: 0.03, 258: 0.03}
BAD = {depth: RISING[depth] for depth in GOOD}


def findings(by_depth: dict[str, dict[int, float | None]], long: bool = False) -> dict[str, Finding]:
    records = study(by_depth, "mine")
    return {f.subject: f for f in judge(frames(thorough(records) if long else records), (CLAIM,))[CLAIM]}


def test_every_design_but_the_block_itself_gets_a_verdict() -> None:
    found = findings({name: dict(GOOD) for name in ("resnet", "preact", "skipinit", "highway")})
    assert set(found) == {"preact", "skipinit", "highway"}
    assert {f.verdict for f in found.values()} == {"supported"}


def test_one_number_of_steps_does_not_refute_a_design_and_four_do() -> None:
    by_depth: dict[str, dict[int, float | None]] = {"resnet": dict(GOOD), "preact": dict(GOOD), "highway": dict(BAD)}
    assert findings(by_depth)["highway"].verdict == "inconclusive"
    found = [f for f in judge(frames(thorough(study(by_depth, "mine"))), (CLAIM,))[CLAIM] if f.subject == "highway"]
    assert "refuted" in {f.verdict for f in found}


def test_a_design_is_judged_where_the_block_was_tried_too() -> None:
    found = findings({"resnet": dict(GOOD), "preact": {**GOOD, 1002: 0.9}})
    assert found["preact"].verdict == "supported"
    assert "up to 258 layers" in found["preact"].reason


def test_holm_goes_over_the_whole_table() -> None:
    """A gap that a table of one design calls worse may be chance in a table of many."""
    from made_up import study_records

    def error(name: str, depth: int, seed: int) -> float:
        return 0.02 + (0.06 + 0.006 * (seed - 1) if (name, depth) == ("highway", 258) else 0.0005 * seed)

    def state(names: tuple[str, ...]) -> str:
        made = frames(study_records(("resnet", "highway", *names), (18, 66, 258), error=error, study="mine"))
        finding = next(f for f in judge(made, (CLAIM,))[CLAIM] if f.subject == "highway")
        return next(row.state for row in finding.details if getattr(row, "depth", 0) == 258)  # type: ignore[attr-defined]

    assert state(()) == "in doubt"  # worse, but for its one number of steps
    assert state(("preact", "skipinit", "rezero-bn", "fixup", "layerscale", "preact-zero")) == "unclear"


def test_without_the_block_nothing_is_judged() -> None:
    found = judge(frames(study({"preact": dict(GOOD)}, "mine")), (CLAIM,))[CLAIM]
    assert [f.verdict for f in found] == ["inconclusive"]


def test_the_message_counts_residual_designs_only() -> None:
    by_depth: dict[str, dict[int, float | None]] = {n: dict(GOOD) for n in ("resnet", "preact", "skipinit")}
    told = survival.message(list(findings({**by_depth, "plain": {**GOOD, 258: None}}).values()))
    assert told == "2 of 2 designs do at least as well as the document's block at up to 258 layers"
