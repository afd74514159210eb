"""Figures of learning rates: the best ones where they were planted, and none mixed with another."""

import math

import made_up
import pytest
from made_figures import hollow_marks

from results.figures import table as figures
from results.figures.panels import facets


def test_best_rates_stand_where_they_were_planted_and_hopeless_nets_are_crossed_out() -> None:
    """Best at 0.1 x 18 / depth; the plain net diverges at every rate."""
    records = [
        made_up.train_record(
            made_up.trial(name, depth, seed, lr=lr, purpose="search"),
            None if name == "plain" else 0.05 + 0.1 * math.log10(lr * depth / 1.8) ** 2,
        )
        for name in ("plain", "resnet")
        for depth in (18, 66, 258)
        for seed in (100, 101, 102)
        for lr in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    ]
    figure = figures.FIGURES["best-rates"].draw(made_up.frames(records))
    assert figure is not None
    (legend,) = figure.legends
    assert "depth^-1.00" in " ".join(text.get_text() for text in legend.get_texts())
    assert len(hollow_marks(figure)) == 3
    (line,) = [drawn for drawn in figure.axes[0].lines if len(drawn.get_xdata()) == 3]
    assert list(line.get_ydata()) == pytest.approx([1.8 / depth for depth in (18, 66, 258)], rel=0.06)


def test_best_rates_of_arms_of_different_lengths_stand_in_one_figure_with_their_steps() -> None:
    lengths = {"plain": (5, 10), "resnet": (20,), "preact": (7,)}
    records = [
        made_up.train_record(
            made_up.trial(name, depth, 100, lr=lr, epochs=epochs, purpose="search"),
            0.05 + 0.1 * math.log10(lr * depth / 1.8) ** 2,
        )
        for name, epochs_of in lengths.items()
        for epochs in epochs_of
        for depth in (18, 66, 258)
        for lr in (1e-3, 1e-2, 1e-1, 1.0)
    ]
    figure = figures.FIGURES["best-rates"].draw(made_up.frames(records))
    assert figure is not None
    (legend,) = figure.legends
    words = " ".join(text.get_text() for text in legend.get_texts())
    assert [f"{made_up.STEPS_AN_EPOCH * epochs} steps" in words for epochs in (10, 20, 7, 5)] == [
        True,
        True,
        True,
        False,
    ]


def test_learning_rates_are_not_mixed_in_one_panel() -> None:
    records = [
        record
        for lr in (0.1, 0.01)
        for record in made_up.study_records(("plain", "resnet"), (18, 66), range(2), cost=False, lr=lr)
    ]
    frames = made_up.frames(records)
    parts = facets(frames.trials)
    assert [said for said, _ in parts] == ["lr 0.01", "lr 0.1"]
    assert all(part["lr"].nunique() == 1 for _, part in parts)
    assert figures.FIGURES["other-settings"].draw(frames) is not None


def test_an_arm_with_its_own_learning_rate_is_no_facet() -> None:
    records = made_up.study_records(("plain",), (18,), cost=False, lr=0.1)
    records += made_up.study_records(("resnet",), (18,), cost=False, lr=0.02)
    assert [said for said, _ in facets(made_up.frames(records).trials)] == [""]
