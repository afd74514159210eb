"""Which residual design survives depth: every design of a study beside the document's block, in one table."""

from collections.abc import Sequence

from models.layouts import LAYOUTS
from reports.finding import Finding
from reports.judges import beside
from reports.judges.errors import Deciding, nothing, search_setting, usual
from reports.judges.ladders import Ladder, ladders, tuned
from results.tables import Frames

CLAIM, ORIGINAL = "designs-survive", "resnet"


def survive(frames: Frames, deciding: Deciding) -> list[Finding]:
    """Each residual design's training error beside `resnet`'s at each depth, Holm over all designs and depths.

    A fully connected design is held against the fully connected `resnet` where the study has one; all others, and
    transformers, against the convolutional one.
    """
    trials = deciding.rows(usual(frames.trials))
    best = tuned(trials)[0]
    every = ladders(best, "train_error")
    designs = set(trials.loc[trials["residual"], "architecture"]) - {ORIGINAL}
    layouts = dict(zip(best["digest"], best["layout"], strict=True))
    originals = [(ladder, layouts[ladder.trials[0]]) for ladder in every if ladder.subject == ORIGINAL]
    arms = [
        (mine, original)
        for mine in every
        if mine.subject in designs and (original := _original(mine, layouts[mine.trials[0]], originals))
    ]
    judged = beside.no_worse(CLAIM, "train_error", arms)
    found = [
        finding.but(subject=mine.subject, setting=search_setting(mine, mine.rates > 1))
        for (mine, _), finding in zip(arms, judged, strict=True)
    ]
    return found or [nothing(CLAIM, ORIGINAL, deciding.study)]


def _original(mine: Ladder, layout: str, originals: Sequence[tuple[Ladder, str]]) -> Ladder | None:
    """What a design is held against: of its study and recipe, and of its layout rather than of another."""
    alike = [
        (ladder, theirs)
        for ladder, theirs in originals
        if ladder.study == mine.study and _recipe(ladder) == _recipe(mine)
    ]
    same = [ladder for ladder, theirs in alike if LAYOUTS[theirs].form == LAYOUTS[layout].form]
    convolutional = [ladder for ladder, theirs in alike if LAYOUTS[theirs].form == "maps"]
    return min(same or convolutional, key=lambda ladder: ladder.setting != mine.setting, default=None)


def _recipe(ladder: Ladder) -> list[str]:
    """What its setting says of the training, not of the network."""
    return [part for part in ladder.setting.split(", ") if part.split(" ")[0] not in ("layout", "width")]
