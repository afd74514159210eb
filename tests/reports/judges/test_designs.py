"""Designs beside the document's block: one table, one correction over all of it."""

import dataclasses
import re
from pathlib import Path

from made_cases import RISING, study, thorough
from made_up import frames

from bench.plan import study as studies
from bench.plan.checkout import ROOT
from bench.plan.trial import architecture
from reports.claims import CLAIMS, judge
from reports.finding import Finding
from reports.judges.designs import CLAIM
from reports.page import survival, verdicts
from reports.page.render import page
from reports.sources import judged

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
    assert "at 18, 66, 258 layers" in found["preact"].reason


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
    found = findings({**by_depth, "plain": {**GOOD, 258: None}})
    assert set(found) == {"preact", "skipinit"}
    told = survival.message(list(found.values()))
    assert told == ("2 of 2 designs stay within 2 points of the post-activation net's training error, up to 258 layers")


def test_the_message_says_how_many_were_tried_deeper() -> None:
    deep: dict[int, float | None] = {**GOOD, 1002: 0.03}
    found = findings({"resnet": deep, "preact": deep, "skipinit": dict(GOOD)})
    assert "up to 258 layers (1 of them up to 1002)" in survival.message(list(found.values()))


POOR: dict[int, float | None] = dict.fromkeys(GOOD, 0.3)


def test_a_design_is_held_against_the_block_that_is_connected_as_it_is() -> None:
    """The fully connected block errs by 30 %: what errs so too is no worse there, and worse beside the other one."""
    made = frames([
        *study({"resnet": dict(GOOD), "preact": dict(GOOD)}, "mine"),
        *study({"resnet": POOR, "preact": POOR}, "mine", layout="dense"),
        *study({"dense-swish": POOR}, "mine", layout="dense-four"),
        *study({"pre-norm": POOR, "post-norm": dict(GOOD), "transformer-plain": POOR}, "mine", layout="transformer"),
    ])  # fmt: skip
    found = {(f.subject, f.setting.partition(",")[0]): f for f in judge(made, (CLAIM,))[CLAIM]}
    assert {key: str(finding.verdict) for key, finding in found.items()} == {
        ("preact", "layout four-stage"): "supported",
        ("preact", "layout dense"): "supported",
        ("dense-swish", "layout dense-four"): "supported",
        ("pre-norm", "layout transformer"): "inconclusive",  # worse, at one number of steps
        ("post-norm", "layout transformer"): "supported",
    }
    assert "27.0 points above" in found["pre-norm", "layout transformer"].reason


def test_no_other_study_is_named_as_better_for_a_studys_own_designs() -> None:
    found = findings({"resnet": dict(GOOD), "preact": dict(GOOD)})
    claim = CLAIMS[CLAIM]
    assert verdicts.what_would_change(claim, list(found.values()), "mine")[1] == ""


def test_one_architecture_in_two_layouts_is_two_rows() -> None:
    records = [
        *study({"resnet": dict(GOOD), "preact": POOR}, "designs"),
        *study({"resnet": POOR, "preact": dict(GOOD)}, "designs", layout="dense"),
    ]
    source = judged(studies.load("designs"), "designs", frames(records))
    rows = {row.label: row for row in survival.table(source, verdicts.judged_here(source.study, source.findings)).rows}
    assert set(rows) == {
        f"{name}{how}" for name in ("post-activation", "pre-activation") for how in ("", ", fully connected")
    }
    assert [cell.text for cell in rows["pre-activation"].errors] == ["30.0"] * 3
    assert [cell.text for cell in rows["pre-activation, fully connected"].errors] == ["3.0"] * 3
    assert rows["pre-activation"].verdict.text == "open"  # type: ignore[union-attr]
    assert rows["pre-activation, fully connected"].verdict.text == "within 2"  # type: ignore[union-attr]
    assert {row.instead for label, row in rows.items() if "post" in label} == {"itself"}


def test_a_verdict_reached_with_fewer_seeds_stands_in_the_table() -> None:
    records = study({"resnet": dict(GOOD), "preact": dict(GOOD)}, "designs", seeds=range(5))
    source = judged(studies.load("designs"), "designs", frames(records))
    (finding,) = source.findings[CLAIM]
    assert "decided at 3 of 5 seeds" in finding.reason
    rows = survival.table(source, verdicts.judged_here(source.study, source.findings)).rows
    assert {row.label: row.verdict and row.verdict.text for row in rows} == {
        "post-activation": None,
        "pre-activation": "within 2",
    }


def test_a_block_of_ones_own_is_a_row_of_the_pages_table(tmp_path: Path) -> None:
    """One TOML is all that it takes: see CONTRIBUTING, "Try your own block"."""
    (tmp_path / "mine.py").write_text("from torch import nn\n\n\ndef own(in_channels, out_channels, stride):\n"
                                      "    return nn.Conv2d(in_channels, out_channels, 3, stride, 1)\n")  # fmt: skip
    toml = tmp_path / "table.toml"
    recipe = (ROOT / "CONTRIBUTING.md").read_text().partition("```toml\n")[2].partition("```")[0]
    toml.write_text(recipe.replace("rezero:rezero", "mine:own").replace('"tuned"', "0.01"))
    records = study({name: dict(GOOD) for name in ("resnet", "rezero-bn", "preact", "skipinit")}, "table")
    own = architecture("mine:own")
    records = [
        dataclasses.replace(r, trial=dataclasses.replace(r.trial, architecture=own))
        if r.trial.architecture.name == "skipinit" else r for r in records
    ]  # fmt: skip
    source = judged(studies.load(str(toml)), str(toml), frames(records))
    text = page(source)
    assert "3 of 3 designs stay within 2 points" in text
    table = text[text.index('<table class="matrix designs">') :].partition("</table>")[0]
    rows = {row.partition("</th>")[0]: row for row in re.split(r'<th scope="row"[^>]*>', table)[1:]}
    assert set(rows) == {"own", "post-activation", "pre-activation", "ReZero, BatchNorm kept"}
    assert "within 2" in rows["own"]
    assert "itself" in rows["post-activation"]


def test_the_table_stands_only_where_a_study_asks_for_it() -> None:
    records = study({name: dict(GOOD) for name in ("resnet", "skipinit", "preact")}, "digits")
    text = page(judged(studies.load("digits"), "digits", frames(records)))
    assert "matrix designs" not in text
