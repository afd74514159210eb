"""Errors at the floor, where a net has nothing left to gain, and what equality there can show."""

from made_cases import FLAT, headline, study, thorough, wobble
from made_up import frames, study_records

from reports.claims import judge


def test_where_18_layers_leave_nothing_to_gain_nothing_is_refuted():
    little = headline("deeper-is-better", thorough(study({"resnet": {18: 0.012, 258: 0.01, 1002: 0.01}})))
    assert little.verdict == "inconclusive"
    assert "nothing to gain, 18 layers err 1.2 %" in little.reason
    assert "Losses, not judged" in little.beside
    assert headline("deeper-is-better", thorough(study({"resnet": FLAT}))).verdict == "refuted"


def test_equal_errors_at_the_floor_are_no_harm_where_plain_nets_fail_the_same_test():
    def error(architecture: str, depth: int, seed: int) -> float:
        return 0.0 if architecture == "resnet" or depth == 18 else 0.5 + wobble(seed)

    alone, both = (study_records(arms, error=error, study="digits") for arms in (["resnet"], ["resnet", "plain"]))
    assert headline("residual-no-harm", alone).verdict == "inconclusive"
    finding = headline("residual-no-harm", both)
    assert finding.verdict == "supported"
    assert "Losses, not judged" in finding.beside
    # Plain nets of fewer steps do worse for that alone; those that fail after more steps would fail after fewer.
    for epochs, verdict in ((3, "inconclusive"), (10, "supported")):
        other = study_records(["plain"], error=error, study="digits", epochs=epochs)
        assert headline("residual-no-harm", [*alone, *other]).verdict == verdict


def test_dense_nets_at_the_floor_are_no_harm_where_the_dense_plain_nets_fail_the_same_test():
    def error(architecture: str, depth: int, seed: int) -> float:
        return 0.0 if architecture == "resnet" or depth == 18 else 0.5 + wobble(seed)

    for arms, verdict in ((["resnet"], "inconclusive"), (["resnet", "plain"], "supported")):
        records = study_records(arms, error=error, study="digits-dense", layout="dense", width=32)
        findings = judge(frames(records))["conv-and-dense"]
        found = next(f for f in findings if f.subject == "resnet, fully connected: no harm")
        assert found.verdict == verdict
