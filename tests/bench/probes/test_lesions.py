"""Lesions: blocks are deleted and networks cut, and what is found is what was planted."""

import pytest
import torch
from made_trained import asked, ready, trained

from bench.probes import anatomy
from bench.probes.anatomy import walk
from bench.probes.lesions import Lesions
from bench.train.loop import mode, reestimate, train
from models.blocks import zero_branch


@pytest.mark.parametrize("row", ["resnet", "preact", "bn-after-add", "relu-before-add", "resnet-c"])
def test_a_lesion_of_a_zero_branch_changes_nothing(row: str) -> None:
    network, images = ready(asked(row))
    blocks, x = anatomy.blocks_of(network), images.prepare(images.data.test_images)
    zeroed = {1, 3, 7}
    for i in zeroed:
        zero_branch(blocks[i])
    with torch.no_grad(), mode(network, training=False):
        x, order = network.stem(x), range(len(blocks))
        assert torch.equal(walk(network, x, order), walk(network, x, order, zeroed))
        assert not torch.equal(walk(network, x, order), walk(network, x, order, {5}))


def test_a_walk_without_cuts_is_the_network_itself() -> None:
    for row in ("plain", "preact", "resnet-b"):
        network, images = ready(asked(row))
        x = images.prepare(images.data.test_images)
        with torch.no_grad(), anatomy.batch_statistics(network):
            assert torch.equal(walk(network, network.stem(x), range(len(network.blocks))), network(x))


def test_only_blocks_that_keep_their_shape_can_be_deleted() -> None:
    network, _ = ready(asked("plain"))
    assert anatomy.deletable(anatomy.blocks_of(network)) == [0, 1, 3, 5, 7]
    dense, _ = ready(asked("plain", layout="dense"))
    assert anatomy.deletable(anatomy.blocks_of(dense)) == list(range(8))


def test_lesions_find_the_small_net_that_was_planted() -> None:
    # Every block but the first of each stage adds nothing, so the net is one of 10 layers in disguise.
    trial = asked(depth=34, epochs=4)
    network, images = ready(trial)
    blocks = anatomy.blocks_of(network)
    for i, block in enumerate(blocks):
        if i % 4:
            zero_branch(block)
            block.last_factor().requires_grad_(False)
    train(network, images, trial, "cpu", lambda _: None)
    reestimate(network, images)
    probe = Lesions(network, images, trial)
    probe.at_end()
    found = probe.found
    assert [row["depth"] for row in found["kept"]] == [8, 10, 18, 26]
    for way in ("", "_reestimated"):
        assert all(row[f"errors{way}"] == [found[f"intact_error{way}"]] for row in found["kept"][1:])
        harmless = [e for b, e in zip(found["blocks"], found[f"errors{way}"], strict=True) if b % 4]
        assert harmless == [found[f"intact_error{way}"]] * len(harmless)
    assert found["effective_depth"] <= 10
    assert found["effective_depth_reestimated"] <= 10


def test_effective_depth_is_read_between_the_sizes_that_were_tried() -> None:
    trial = asked(depth=34)
    probe = Lesions(*ready(trial), trial)
    errors = [[0.9], [0.20], [0.10]]
    # At 26 layers no more than the intact net, at 18 ten points more: five points at 22.
    assert probe._effective_depth(0.10, [10, 18, 26], errors) == pytest.approx(22.0)
    # A smaller net that is good again by luck does not count.
    assert probe._effective_depth(0.10, [10, 18, 26], [[0.1], *errors[1:]]) == pytest.approx(22.0)
    assert probe._effective_depth(0.10, [26], [[0.9]]) == pytest.approx(33.5)


def test_a_net_that_did_not_train_is_not_cut() -> None:
    trial = asked("plain", depth=34)
    network, images = ready(trial)
    probe = Lesions(network, images, trial)
    with torch.no_grad():
        network.head.weight.zero_()
    probe.at_end()
    assert set(probe.found) == {"skipped", "intact_error"}
    assert "did not train" in probe.found["skipped"]


@pytest.mark.parametrize("row", ["plain", "resnet", "preact"])
def test_a_plain_block_dies_where_a_residual_one_is_missed_little(row: str) -> None:
    trial = asked(row, epochs=6)
    network, images = trained(trial)
    probe = Lesions(network, images, trial)
    probe.at_end()
    rises = [e - probe.found["intact_error"] for e in probe.found["errors"]]
    assert min(rises) > 0.2 if row == "plain" else min(rises) < 0.1
