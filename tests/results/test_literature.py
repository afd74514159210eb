"""The published points are whole, and an overlay says how far the protocol is from ours."""

import pytest
from made_up import frames, study_records

from models.layouts import blocks_per_stage
from models.spec import ARCHITECTURES
from results import literature


@pytest.fixture
def points(monkeypatch):
    """Also those that nobody has read in the source."""
    for point in literature._table()["points"]:
        monkeypatch.setitem(point, "read", "there")
    return literature.points()


def test_every_point_has_a_source_a_protocol_and_a_net_that_is_known_or_named(points):
    assert len(points) > 60
    assert (points["protocol"] != "").all()
    assert points["test_error"].between(0.01, 0.9).all()
    known = points["architecture"].isin(ARCHITECTURES)
    assert (known | ((points["architecture"] == "other") & (points["net"] != ""))).all()
    for layout, depth in zip(points["layout"][known], points["depth"][known], strict=True):
        blocks_per_stage(layout, int(depth))


def test_the_numbers_are_those_of_the_paper():
    points = literature.points()
    he = points[(points["source"] == "He et al. 2015") & (points["statistic"] == "one run")]
    assert dict(zip(he["depth"], he["test_error"].round(4), strict=True)) == {
        20: 0.0875, 32: 0.0751, 44: 0.0717, 56: 0.0697, 1202: 0.0793,
    }  # fmt: skip


def test_what_nobody_checked_is_left_out():
    assert not (literature.points()["read"] == "memory").any()


def test_distance_names_what_differs_and_nothing_else():
    ours = frames(study_records(["resnet"], [18], [0], cost=False)).trials
    said = literature.distance(ours)
    assert "digits instead of CIFAR-10" in said
    assert "55 steps" in said
    assert (
        literature.distance(
            ours.assign(dataset="cifar10", width=16, layout="cifar", augment="crop-flip", steps_planned=64000)
        )
        == ""
    )
    assert literature.distance(ours.iloc[:0]) == ""
    alike = {"dataset": "cifar10", "width": 16, "layout": "cifar", "augment": "crop-flip", "steps_planned": 64000}
    preact = ours.assign(**alike, architecture="preact")
    assert literature.distance(preact) == (
        "Published points differ in protocol: preact's shortcut gets the raw input where the shape changes"
        " (fb.resnet.torch: the activated)."
    )
    assert literature.distance(preact.assign(architecture="preact-b")) == ""


def test_published_points_stand_beside_the_form_that_was_published(points):
    """Bottlenecks of 164 and 1001 layers project where the shape changes: no error of theirs is drawn for "preact"."""
    deep = points[points["layout"] == "cifar-bottleneck"]
    assert set(points.loc[points["architecture"] == "preact", "layout"]) == {"cifar"}
    assert {164, 1001} <= set(deep.loc[deep["architecture"] == "preact-b", "depth"])
