"""The probe that cuts: what becomes of a trained network when blocks are deleted or shuffled (Veit et al. 2016).

It only runs the network in parts (`anatomy.walk`) and never changes it. What the numbers mean for the document's
claim is judged elsewhere.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from bench.data.images import Images
from bench.plan.trial import Trial
from bench.probes.anatomy import (
    IMAGES,
    Probe,
    batch_statistics,
    blockless,
    blocks_of,
    deletable,
    error_of,
    evenly,
    rounded,
    walk,
)
from bench.store import parts
from bench.train.loop import mode
from models.blocks import weighted
from models.network import Network
from models.spec import stream

# A net that did not train has nothing to lose: chance is 0.9.
MOST_INTACT_ERROR = 0.5
# Blocks deleted one at a time: all of a shallow net, so many of a deep one, evenly spread.
SINGLES = 6
# Shares of the deletable blocks that are deleted together, at random, and draws of each.
SHARES, DRAWS = (1 / 8, 1 / 4, 1 / 2), 2
# Shares of each stage's blocks that are kept, the first ones, when the rest is deleted.
KEPT = (0.0, 1 / 8, 1 / 4, 1 / 2, 3 / 4)
# By so much may the error rise before a deletion counts as felt: 5 points,
# ten of the images that a lesion is judged by.
FELT = 0.05

Cut = frozenset[int]


class Errors(NamedTuple):
    """Of all lesions in one way: without each block; by lot of random blocks; by part kept; with blocks shuffled."""

    singles: list[float]
    random: list[list[float]]
    kept: list[list[float]]
    shuffled: list[float]


class Lesions(Probe):
    """Errors of the trained network with blocks deleted or shuffled.

    A deleted block leaves its shortcut (a plain one leaves its input as it came); only blocks that keep their shape
    are deleted, so that plain nets can be cut too. Deleted are: one block; k random blocks; all but the first so many
    of each stage ("kept"). Shuffling permutes the blocks that could be deleted within their stage.

    All errors are shares wrong of the first `IMAGES` test images, in two ways: "errors" with the intact net's
    BatchNorm statistics (as re-estimated after training; what Veit et al. do), "errors_reestimated" with the lesioned
    net's own, taken from these very images, without labels, in one batch. After epochs 1, 3, 9 ... only the second
    way is tried, and only "kept": in the midst of training running statistics lag.

    Effective depth: the layers of the smallest net, made of the first blocks of each stage, that errs at most `FELT`
    more than the intact net; linear between the sizes that were tried. It is the depth itself when even a few deleted
    blocks are felt, and smaller when the net holds a shallower net that does its work already.
    "effective_depth_reestimated" is the fairer one: a small net inside may need statistics of its own.

    Found: "n_blocks", "n_deletable"; "intact_error", "blocks" and "errors" (of single deletions), "random" [{"k",
    "errors"}], "kept" [{"depth", "errors"}], "shuffled" {"errors"}, each of these errors also as
    "..._reestimated"; "effective_depth", "effective_depth_reestimated"; "by_epoch" [{"epoch", "intact_error",
    "kept", "effective_depth"}], re-estimated all. Where the intact net errs on more than half: "skipped", and nothing
    else but its error.
    """

    found: parts.Lesions

    def __init__(self, network: nn.Module, images: Images, trial: Trial) -> None:
        super().__init__(network, images, trial)
        self.blocks = blocks_of(network)
        self.can_go = deletable(self.blocks)
        self.by_epoch: list[parts.LesionsAt] = []
        data = images.data
        n = min(IMAGES, len(data.test_labels))
        self.x, self.y = images.prepare(data.test_images[:n]), data.test_labels[:n]

    def after_epoch(self, epoch: int) -> None:
        if not self.can_go or not _power_of_three(epoch) or epoch == self.trial.epochs:
            return
        with torch.no_grad(), batch_statistics(self.network):
            intact = self._error()
            row: parts.LesionsAt = {"epoch": epoch, "intact_error": intact}
            if intact <= MOST_INTACT_ERROR:
                cuts = self._kept()
                depths, errors = [self._depth(cut) for cut in cuts], [[self._error(cut=cut)] for cut in cuts]
                row["kept"] = [{"depth": d, "errors": e} for d, e in zip(depths, errors, strict=True)]
                row["effective_depth"] = self._effective_depth(intact, depths, errors)
        self.by_epoch.append(row)

    @torch.no_grad()
    def at_end(self) -> None:
        if not self.can_go:
            self.found = {"skipped": "no block can be deleted" if self.blocks else blockless(self.trial)}
            return
        with mode(self.network, training=False):
            intact = self._error()
        if intact > MOST_INTACT_ERROR:
            reason = f"the intact net did not train: it errs on {intact:.0%} of {len(self.y)} test images"
            self.found = {"skipped": reason, "intact_error": intact}
            return
        chosen = evenly(self.can_go, SINGLES)
        with mode(self.network, training=False):
            old = self._cut(chosen, DRAWS)
        with batch_statistics(self.network):
            intact_anew, new = self._error(), self._cut(chosen, 1)
        sizes, depths = [len(cuts[0]) for cuts in self._random()], [self._depth(cut) for cut in self._kept()]
        self.found = {
            "n_blocks": len(self.blocks), "n_deletable": len(self.can_go), "blocks": chosen,
            "random": [{"k": k, "errors": a, "errors_reestimated": b}
                       for k, a, b in zip(sizes, old.random, new.random, strict=True)],
            "kept": [{"depth": depth, "errors": a, "errors_reestimated": b}
                     for depth, a, b in zip(depths, old.kept, new.kept, strict=True)],
            "shuffled": {"errors": old.shuffled, "errors_reestimated": new.shuffled},
            "intact_error": intact, "errors": old.singles,
            "intact_error_reestimated": intact_anew, "errors_reestimated": new.singles,
            "effective_depth": self._effective_depth(intact, depths, old.kept),
            "effective_depth_reestimated": self._effective_depth(intact_anew, depths, new.kept),
            "by_epoch": self.by_epoch,
        }  # fmt: skip

    def _cut(self, chosen: list[int], draws: int) -> Errors:
        """All lesions, in the mode that the network is in: those of single blocks of the chosen ones."""
        return Errors(
            self._singles(chosen),
            [[self._error(cut=cut) for cut in cuts[:draws]] for cuts in self._random()],
            [[self._error(cut=cut)] for cut in self._kept()],
            [self._error(order=self._shuffled())],
        )

    def _network(self) -> Network:
        assert isinstance(self.network, Network)
        return self.network

    def _error(self, order: list[int] | None = None, cut: Cut = frozenset()) -> float:
        network = self._network()
        order = list(range(len(self.blocks))) if order is None else order
        return rounded(error_of(walk(network, network.stem(self.x), order, cut), self.y))

    def _singles(self, chosen: list[int]) -> list[float]:
        """The error without each of these blocks; what lies before it is computed once."""
        network, x, done, errors = self._network(), self._network().stem(self.x), 0, []
        for i in chosen:
            x = self._through(x, done, i)
            errors.append(rounded(error_of(walk(network, x, range(i, len(self.blocks)), {i}), self.y)))
            done = i
        return errors

    def _through(self, x: Tensor, start: int, end: int) -> Tensor:
        for block in self.blocks[start:end]:
            x = block(x)
        return x

    def _random(self) -> list[list[Cut]]:
        """For each number of blocks its draws; the same for every architecture of a depth and seed."""
        generator = torch.Generator().manual_seed(stream(self.trial.seed, "lesions"))
        n = len(self.can_go)
        cuts = []
        for k in sorted({max(1, round(share * n)) for share in SHARES}):
            orders = [torch.randperm(n, generator=generator)[:k].tolist() for _ in range(DRAWS)]
            cuts.append([frozenset(self.can_go[j] for j in order) for order in orders])
        return cuts

    def _kept(self) -> list[Cut]:
        """What is cut when the first so many blocks of each stage are kept, the largest cut first."""
        network = self._network()
        place = [i for count in network.stages for i in range(count)]
        size = [count for count in network.stages for _ in range(count)]
        cuts = (frozenset(i for i in self.can_go if place[i] >= round(share * size[i])) for share in KEPT)
        return [cut for cut in dict.fromkeys(cuts) if cut]

    def _shuffled(self) -> list[int]:
        """An order of all blocks in which those that could be deleted are shuffled within their stage."""
        generator = torch.Generator().manual_seed(stream(self.trial.seed, "shuffle"))
        order, stage = list(range(len(self.blocks))), self._network().stage_of()
        for s in range(len(self._network().stages)):
            places = [i for i in self.can_go if stage[i] == s]
            for place, j in zip(places, torch.randperm(len(places), generator=generator).tolist(), strict=True):
                order[place] = places[j]
        return order

    def _depth(self, cut: Cut) -> int:
        """Weighted layers that are left on the main path."""
        return self.trial.depth - sum(weighted(m) for i in cut for m in self.blocks[i].branch)

    def _effective_depth(self, intact: float, depths: list[int], errors: list[list[float]]) -> float:
        """See the class; the smallest net such that it and all larger ones that were tried err little enough."""
        depth, rise = float(self.trial.depth), 0.0
        for tried, error in zip(reversed(depths), reversed(errors), strict=True):
            smaller, more = float(tried), error[0] - intact
            if more > FELT:
                return round(smaller + (depth - smaller) * (more - FELT) / (more - rise), 1)
            depth, rise = smaller, more
        return depth


def _power_of_three(epoch: int) -> bool:
    while epoch % 3 == 0:
        epoch //= 3
    return epoch == 1
