"""The probes: each against something known from elsewhere, and all of them against the training that they watch."""

import dataclasses
import itertools
import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.data import datasets as data
from bench.data.images import Images
from bench.plan.machine import Machine
from bench.plan.trial import Trial, architecture, spec_of
from bench.probes import anatomy, growth, paths
from bench.probes.anatomy import Probe, walk
from bench.probes.dead import DeadUnits
from bench.probes.lesions import Lesions
from bench.probes.table import PROBES, BranchRatio, GradientNorms
from bench.runner import run_trial
from bench.train.loop import evaluate, mode, reestimate, train
from models.blocks import zero_branch
from models.network import Network, build
from models.spec import ARCHITECTURES

ALL = tuple(PROBES)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def asked(row: str = "resnet", **fields: Any) -> Trial:
    """A tiny trial on the synthetic set: 4 classes, 256 training images."""
    values = {"depth": 18, "width": 4, "dataset": "synthetic", "batch_size": 64, "lr": 0.1, "epochs": 2, "seed": 1}
    return Trial(study="tiny", architecture=architecture(row), **{**values, **fields})


def ready(trial: Trial) -> tuple[Network, Images]:
    """The trial's network at its initial weights, and its images."""
    images = Images(data.for_trial(trial), trial)
    network = build(spec_of(trial, images.shape, images.data.classes), trial.seed).to(memory_format=torch.channels_last)
    assert isinstance(network, Network)
    return network, images


def trained(trial: Trial) -> tuple[Network, Images]:
    """After training, with statistics re-estimated, as the probes' `at_end` finds it."""
    network, images = ready(trial)
    assert train(network, images, trial, "cpu", lambda _: None).diverged_step is None
    reestimate(network, images)
    return network, images


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_gradient_norm_is_what_finite_differences_say() -> None:
    trial = asked(depth=10, width=2)
    network, images = ready(trial)
    probe = GradientNorms(network, images, trial)
    probe.at_start()
    x, y = images.prepare(images.data.train_images[:64]).double(), images.data.train_labels[:64]
    network.double().to(memory_format=torch.contiguous_format)

    def loss() -> float:
        with torch.no_grad(), anatomy.batch_statistics(network):
            return float(nn.functional.cross_entropy(network(x), y))

    for name in ("stem.conv", "blocks.1.branch.conv2"):
        weight = network.get_parameter(f"{name}.weight").data.view(-1)
        square = 0.0
        for i in range(len(weight)):
            was = float(weight[i])
            weight[i] = was + 1e-5
            above = loss()
            weight[i] = was - 1e-5
            square += ((above - loss()) / 2e-5) ** 2
            weight[i] = was
        assert probe.found["norms"][probe.found["layers"].index(name)] == pytest.approx(math.sqrt(square), rel=1e-3)


def test_gradient_norms_of_a_deep_net_are_thinned_evenly_and_keep_both_ends() -> None:
    kept = anatomy.evenly(range(1002), 200)
    assert (len(kept), kept[0], kept[-1]) == (200, 0, 1001)
    assert {b - a for a, b in itertools.pairwise(kept)} == {5, 6}


def test_branch_ratio_of_a_block_made_by_hand() -> None:
    # No normalisation and identity kernels: on an input that is not negative the branch is half of it.
    row = dataclasses.replace(ARCHITECTURES["resnet"], norm="none")
    trial = dataclasses.replace(asked(), architecture=row)
    network, images = ready(trial)
    with torch.no_grad():
        for block in anatomy.blocks_of(network):
            for name, weight in block.branch.named_parameters():
                nn.init.dirac_(weight).mul_(0.5 if name == "conv2.weight" else 1.0)
    probe = BranchRatio(network, images, trial)
    probe.at_start()
    same_shape = anatomy.deletable(anatomy.blocks_of(network))
    assert [probe.found["ratio"][0][i] for i in same_shape] == pytest.approx([0.5] * len(same_shape), abs=1e-3)
    assert probe.found["epoch"] == [0]


@pytest.mark.parametrize("row", ["resnet", "plain"])
def test_responses_are_a_row_a_look_and_a_column_a_block(row: str) -> None:
    trial = asked(row)
    network, images = ready(trial)
    probe = BranchRatio(network, images, trial)
    probe.at_start()
    # The last scale of a branch is the deviation that it gives.
    with torch.no_grad():
        for i, block in enumerate(anatomy.blocks_of(network)):
            last = [m for m in block.branch if isinstance(m, nn.BatchNorm2d)][-1]
            last.weight.fill_(1.0 + i)
    probe.after_epoch(1)
    first, second = probe.found["response_std_by_block"]
    assert probe.found["epoch"] == [0, 1]
    assert first == pytest.approx([1.0] * 8, rel=0.02)
    assert second == pytest.approx([1.0 + i for i in range(8)], rel=0.02)
    assert "response_std" not in probe.found


def test_a_plain_net_has_responses_but_no_ratio() -> None:
    trial = asked("plain")
    probe = BranchRatio(*ready(trial), trial)
    probe.at_start()
    assert "ratio" not in probe.found
    assert "plain" in probe.found["skipped"]
    # A BatchNorm that starts at scale 1 gives responses of deviation 1.
    assert probe.found["response_std_by_block"][0] == pytest.approx([1.0] * 8, abs=0.02)


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
    rows = [{"depth": 10, "e": [0.9]}, {"depth": 18, "e": [0.20]}, {"depth": 26, "e": [0.10]}]
    # At 26 layers no more than the intact net, at 18 ten points more: five points at 22.
    assert probe._effective_depth(0.10, rows, "e") == pytest.approx(22.0)
    # A smaller net that is good again by luck does not count.
    assert probe._effective_depth(0.10, [{"depth": 10, "e": [0.1]}, *rows[1:]], "e") == pytest.approx(22.0)
    assert probe._effective_depth(0.10, [{"depth": 26, "e": [0.9]}], "e") == pytest.approx(33.5)


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


@pytest.mark.parametrize("layout", ["four-stage", "dense"])
@pytest.mark.parametrize("row", ["plain", "resnet", "preact"])
def test_inserted_blocks_change_nothing(row: str, layout: str) -> None:
    trial = asked(row, layout=layout, lr=0.05)
    network, images = trained(trial)
    before = state(network)
    grown = growth.grow(
        network, dataclasses.replace(spec_of(trial, images.shape, images.data.classes), depth=34), images, trial.seed
    )
    x, y = images.data.test_images, images.data.test_labels
    old, new = (growth._logits(net, images, x) for net in (network, grown))
    if row == "plain":
        assert float((old - new).abs().max()) < 1e-3 * float(old.abs().max())
    else:
        assert torch.equal(old, new)
    assert evaluate(network, images, x, y)[1] == evaluate(grown, images, x, y)[1]
    assert len(grown.blocks) == len(network.blocks) + 8
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_an_inserted_residual_block_can_learn() -> None:
    trial = asked("preact")
    network, images = trained(trial)
    grown = growth.grow(
        network, dataclasses.replace(spec_of(trial, images.shape, images.data.classes), depth=34), images, trial.seed
    )
    x, y = images.data.train_images[:64], images.data.train_labels[:64]
    nn.functional.cross_entropy(grown(images.prepare(x)), y).backward()  # type: ignore[no-untyped-call]
    last = anatomy.blocks_of(grown)[3].last_factor()
    assert isinstance(last, nn.Conv2d)
    assert last.weight.grad is not None
    assert not last.weight.any()
    assert last.weight.grad.any()


def test_growth_trains_both_by_the_same_recipe() -> None:
    record = run_trial(asked(grow_to=(34, 66), probes=("growth",)), Machine(), lambda _: None)
    steps = record.probes["growth"]["steps"]
    assert [(s["from"], s["to"], s["steps"], s["lr"]) for s in steps] == [(18, 34, 8, 0.1), (34, 66, 8, 0.1)]
    assert [s["max_logit_difference"] for s in steps] == [0.0, 0.0]
    assert steps[0]["error_before"] == steps[0]["error_after_insertion"] == record.result["train_error"]
    # What the second step starts from is what the first one made.
    assert steps[1]["error_before"] == steps[0]["grown_error"]


def test_growth_says_what_it_cannot_grow() -> None:
    for trial, reason in (
        (asked("plain", layout="cifar-bottleneck", depth=11, grow_to=(20,)), "narrower"),
        (asked("plain-orthogonal", grow_to=(34,)), "tanh"),
        (asked(layout="dense", depth=18, grow_to=(35,)), "differ"),
    ):
        probe = growth.Growth(*ready(trial), trial)
        probe.at_end()
        assert reason in probe.found["skipped"]
        assert probe.found["steps"] == []


def test_the_gradient_is_the_sum_over_all_paths() -> None:
    for row in ("resnet", "preact"):
        trial = asked(row, depth=10)
        network, images = ready(trial)
        probe = paths.PathGradients(network, images, trial)
        with anatomy.batch_statistics(network):
            inputs, branches, last, whole = probe._forward()
            total = torch.zeros_like(inputs[0])
            for sides in itertools.product((False, True), repeat=4):
                g = last
                for i in (3, 2, 1, 0):
                    g = paths.step_back(probe.blocks[i], inputs[i], branches[i], g, through_branch=sides[i])
                total += g
        assert math.log10(float(total.double().norm())) == pytest.approx(whole, abs=1e-4)


def test_lengths_of_paths_that_each_branch_weakens_alike_are_binomial() -> None:
    # A path's norm is r^k: length k contributes C(n, k) r^k, which is binomial with p = r / (1 + r).
    n, r = 60, 0.25
    lengths = paths.path_lengths(n)
    found = paths.summarize(n, lengths, [[k * math.log10(r)] for k in lengths])
    assert found["median"] == 12
    assert found["low"] == 7
    assert found["high"] == 17
    assert found["contribution"][0] == pytest.approx(0.8**60, rel=1e-2)


@pytest.mark.parametrize("row", ["plain", "preact", "resnet-dropout"])
def test_probes_change_nothing_in_the_training(row: str) -> None:
    trial = asked(row, epochs=4, probes=ALL, grow_to=(34,))
    finals = []
    for names in ((), ALL):
        network, images = ready(trial)
        probes = [PROBES[name](network, images, trial) for name in names]
        torch.manual_seed(0)
        for probe in probes:
            probe.at_start()
        run = train(network, images, trial, "cpu", lambda _: None, lambda _, e, p=probes: _all(p, e))  # type: ignore[misc]
        finals.append((state(network), run.epochs[-1]["train_loss"], torch.get_rng_state()))
    (bare, loss, rng), (watched, watched_loss, watched_rng) = finals
    assert loss == watched_loss
    assert torch.equal(rng, watched_rng)
    assert all(torch.equal(value, watched[name]) for name, value in bare.items())


def _all(probes: list[Probe], epoch: int) -> None:
    for probe in probes:
        probe.after_epoch(epoch)


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize("row", ["plain", "preact"])
def test_a_probe_leaves_the_trained_network_as_it_was(row: str, name: str) -> None:
    trial = asked(row, probes=(name,), grow_to=(34,))
    network, images = trained(trial)
    network.blocks[0].eval()  # a mode of its own, to be put back
    before, modes, rng = state(network), [m.training for m in network.modules()], torch.get_rng_state()
    probe = PROBES[name](network, images, trial)
    probe.at_start()
    probe.after_epoch(1)
    probe.at_end()
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert [m.training for m in network.modules()] == modes
    assert torch.equal(torch.get_rng_state(), rng)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.track_running_stats, m.momentum) for m in norms} == {(True, 0.1)}
    assert json.loads(json.dumps(probe.found)) == probe.found


# The two others look at any network, through its modules.
@pytest.mark.parametrize("name", sorted(set(PROBES) - {"gradient_norms", "dead_units"}))
def test_a_users_own_blocks_are_left_in_peace(name: str) -> None:
    trial = asked("resnet", grow_to=(34,))
    network, images = ready(trial)
    network.blocks[2] = nn.Identity()
    probe = PROBES[name](network, images, trial)
    probe.at_start()
    probe.after_epoch(1)
    probe.at_end()
    assert "own" in probe.found["skipped"]


def test_dead_units_are_those_that_were_switched_off() -> None:
    trial = asked()
    network, images = ready(trial)
    norm = network.blocks[0].branch.norm1
    assert isinstance(norm, nn.BatchNorm2d)
    probe = DeadUnits(network, images, trial)
    probe.at_start()
    with torch.no_grad():
        norm.bias[:2] = -1e3  # two of four channels, behind the second ReLU from the input
    probe.at_end()
    relus = sum(isinstance(m, nn.ReLU) for m in network.modules())
    assert probe.found["position"] == list(range(1, relus + 1))
    assert probe.found["share_at_start"][1] == 0.0
    assert probe.found["share_at_end"][1] == 0.5
    others = [share for i, share in enumerate(probe.found["share_at_end"]) if i != 1]
    assert max(others) < 0.5
    assert probe.found["mean_at_end"] == pytest.approx(sum(probe.found["share_at_end"]) / relus, rel=1e-3)


def test_dead_units_of_a_net_without_a_relu_are_skipped_with_the_reason() -> None:
    network, images = ready(asked("plain-orthogonal"))
    probe = DeadUnits(network, images, asked("plain-orthogonal"))
    probe.at_start()
    assert probe.found == {"skipped": "no ReLU is called"}
