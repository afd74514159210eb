"""Which residual design survives depth: every design of a study beside the document's block, in one table."""

from reports.finding import Finding
from reports.judges import beside
from reports.judges.errors import Deciding, convolutional, nothing, search_setting
from reports.judges.ladders import ladders, tuned
from results.tables import Frames

CLAIM = "designs-survive"


def survive(frames: Frames, deciding: Deciding) -> list[Finding]:
    """Each design's training error beside `resnet`'s at each depth, Holm over all designs and depths of the table."""
    trials = deciding.rows(convolutional(frames.trials))
    best, found = tuned(trials)[0], []
    every = ladders(best, "train_error")
    for original in (ladder for ladder in every if ladder.subject == "resnet"):
        others = [
            ladder
            for ladder in every
            if ladder is not original and (ladder.study, ladder.setting) == (original.study, original.setting)
        ]
        judged = beside.no_worse(CLAIM, "train_error", others, original)
        found += [
            finding.but(subject=ladder.subject, setting=search_setting(ladder, ladder.rates > 1))
            for ladder, finding in zip(others, judged, strict=True)
        ]
    return found or [nothing(CLAIM, "resnet", deciding.study)]
