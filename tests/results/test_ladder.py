"""The figure of the first screen: no line runs through a name, as measured on the drawn figure."""

import itertools

import made_up
import numpy as np
import pytest
from made_figures import hollow_marks

from results.figures.ladder import ladder

# Training errors at 18, 66, 258 and 1002 layers; None diverges. The first is study fashion-mnist-ladder on an H100.
CASES = (
    {
        "plain": (0.069, 0.493, 0.901, None),
        "resnet": (0.045, 0.052, 0.078, 0.118),
        "preact": (0.051, 0.043, 0.047, 0.055),
    },
    {"plain": (0.003, 0.76, 0.9, None), "resnet": (0.0, 0.0, 0.01, 0.046), "preact": (0.001, 0.001, 0.002, 0.003)},
    {"resnet": (0.3, 0.31, 0.36, 0.42), "preact": (0.25, 0.27, 0.28, 0.30)},
    {"resnet": (0.116, 0.125, 0.15, 0.198), "preact": (0.113, 0.115, 0.117)},  # ends before the other
)  # fmt: skip


def test_a_name_stands_nearest_its_own_line() -> None:
    records = [
        made_up.train_record(made_up.trial(name, depth, seed), error)
        for name, values in {"resnet": (0.045, 0.052, 0.078, 0.14), "preact": (0.051, 0.043, 0.047, 0.054)}.items()
        for depth, error in zip((18, 66, 258, 1002), values, strict=True)
        for seed in range(3)
    ]
    # With one that diverges the axis is as high as README's.
    records += [
        made_up.train_record(made_up.trial("plain", d, s), e) for d, e in ((18, 0.1), (1002, None)) for s in (0, 1)
    ]
    frames = made_up.frames(records)
    figure = ladder(frames.trials, frames.cells, "After 500 steps", (7.6, 3.7))
    assert figure is not None
    figure.canvas.draw()
    (axes,) = figure.axes
    ends = {"post": 14.0, "pre": 5.4}
    for text in axes.texts:
        own = text.get_text().partition("-")[0]
        if own in ends:
            box = text.get_window_extent()
            middle = axes.transData.inverted().transform((box.x0, (box.y0 + box.y1) / 2))[1]
            assert min(ends, key=lambda name: abs(ends[name] - middle)) == own


@pytest.mark.parametrize("errors", CASES)
def test_no_line_runs_through_a_name(errors: dict[str, tuple[float | None, ...]]) -> None:
    records = [
        made_up.train_record(made_up.trial(name, depth, seed), error)
        for name, values in errors.items()
        for depth, error in zip((18, 66, 258, 1002), values, strict=False)
        for seed in range(3)
    ]
    frames = made_up.frames(records)
    figure = ladder(frames.trials, frames.cells, "After 55 steps")
    assert figure is not None
    figure.canvas.draw()
    (axes,) = figure.axes
    names = [text for text in axes.texts if "-activation" in text.get_text()]
    assert len(names) == sum(values[-1] is not None for values in errors.values())
    (lost,) = [text for text in axes.texts if "diverged" in text.get_text() and "plain" in text.get_text()] or [None]
    if lost is not None:
        marks = [axes.transData.transform(at)[0] for at in hollow_marks(figure)]
        assert lost.get_window_extent().x1 < min(marks) - 4, "the words end before the crossed marks"
    boxes = [text.get_window_extent() for text in names]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    for line in axes.lines:
        points = axes.transData.transform(line.get_xydata())
        if len(points) < 2 or not np.isfinite(points).all():
            continue
        for box, text in zip(boxes, names, strict=True):
            x = np.linspace(box.x0, box.x1, 50)
            y = np.interp(x, points[:, 0], points[:, 1], left=np.nan, right=np.nan)
            assert not ((y > box.y0) & (y < box.y1)).any(), text.get_text()
