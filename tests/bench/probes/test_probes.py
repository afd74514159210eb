"""The probes: each against something known from elsewhere, and all of them against the training that they watch."""

import dataclasses
import itertools
import json
import math

import pytest
import torch
from made_trained import asked, ready, state, trained
from torch import nn

from bench.probes import anatomy, paths
from bench.probes.anatomy import Probe
from bench.probes.dead import DeadUnits
from bench.probes.table import PROBES, BranchRatio, GradientNorms
from bench.train.loop import train
from models.layouts import FROM
from models.spec import ARCHITECTURES

ALL = tuple(PROBES)


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


def test_linear_maps_of_a_transformers_sublayer_have_one_position() -> None:
    trial = asked("pre-norm", layout="transformer", depth=6, width=8, probes=("gradient_norms",))
    probe = GradientNorms(*ready(trial), trial)
    probe.at_start()
    # The stem, four sublayers of two maps each, the head.
    assert probe.found["position"] == [1, 2, 2, 3, 3, 4, 4, 5, 5, 6]
    assert all(norm > 0 for norm in probe.found["norms"])


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
@pytest.mark.parametrize("row", ["plain", "preact", "pre-norm", "highway"])
def test_a_probe_leaves_the_trained_network_as_it_was(row: str, name: str) -> None:
    trial = asked(row, layout=FROM.get(row, "four-stage"), probes=(name,), grow_to=(34,))
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
    assert {(m.track_running_stats, m.momentum) for m in norms} <= {(True, 0.1)}
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
    assert "do not add branch and shortcut" in probe.found["skipped"]
    own = dataclasses.replace(trial, architecture=dataclasses.replace(trial.architecture, factory="mine:block"))
    probe = PROBES[name](network, images, own)
    probe.at_start()
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
