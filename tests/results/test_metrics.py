"""Every metric is a column that records fill, with a label and a unit."""

import pytest
from made_up import frames, study_records, train_record, trial

from results import columns
from results.metrics import METRICS

RECORDS = [*study_records(["resnet"], [18], [0]), train_record(trial(depth=258), None)]
# Measured on some machines only.
ON_SOME = {"energy_j_per_step", "kernels_per_step"}
KINDS = {"trials": columns.TRIALS, "epochs": columns.EPOCHS, "cost": columns.COST}


@pytest.mark.parametrize("name", METRICS)
def test_metric(name: str):
    metric = METRICS[name]
    assert metric.column == name
    assert KINDS[metric.frame][name] == "float64"
    assert metric.label
    assert metric.unit
    assert metric.better in ("lower", "higher", "")
    if name not in ON_SOME:
        assert getattr(frames(RECORDS), metric.frame)[name].notna().any()
