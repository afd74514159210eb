"""The loop and what claims are judged by: divergence, independence of order, re-estimated statistics, evaluation."""

import math
import time
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench import runner
from bench.data import datasets as data
from bench.data.images import Images
from bench.plan.machine import Machine
from bench.plan.trial import Trial
from bench.store.record import TIMES, Status
from bench.train.loop import chunks, evaluate, mode, reestimate, train
from bench.train.network import network_of
from bench.train.step import Step
from models.spec import ARCHITECTURES


def trial(architecture: str = "preact", depth: int = 18, seed: int = 0, **fields: Any) -> Trial:
    recipe = {"dataset": "synthetic", "width": 2, "batch_size": 64, "lr": 0.1, "epochs": 2, "warmup_epochs": 1.0}
    return Trial("test", ARCHITECTURES[architecture], depth, seed, **{**recipe, **fields})


def made(asked: Trial) -> tuple[nn.Module, Images]:
    images = Images(data.load(asked.dataset), asked)
    return network_of(asked, images), images


def silent(_: Any) -> None:
    """A progress that nobody watches."""


def numbers(asked: Trial) -> dict[str, Any]:
    """What a record says about the network; times left out."""
    record = runner.run_trial(asked, Machine(), silent)
    assert record.status in (Status.OK, Status.DIVERGED), record.message
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in record.epochs]
    return {"result": {k: v for k, v in record.result.items() if k not in TIMES}, "epochs": rows}


@pytest.mark.parametrize("k", [1, 4, 6])
def test_divergence_ends_training_at_its_step_and_makes_up_no_number(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    true_forward = Step.forward

    def forward(self: Step, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        logits, loss = true_forward(self, x, y)
        return logits, loss * math.nan if self.done == k - 1 else loss

    monkeypatch.setattr(Step, "forward", forward)
    record = runner.run_trial(trial(), Machine(), silent)
    assert record.status is Status.DIVERGED
    assert record.result["diverged_step"] == k
    assert record.result["steps"] == k
    assert record.message.startswith(f"diverged at step {k}")
    assert [row["epoch"] for row in record.epochs] == ([1] if k > 4 else [])  # four steps an epoch
    judged = [v for name, v in record.result.items() if name.startswith(("train_", "test_")) and name not in TIMES]
    assert judged
    assert all(math.isnan(v) for v in judged)


def test_progress_hears_of_every_step_on_a_cpu_and_may_stop_it() -> None:
    network, images = made(trial())
    told: list[int] = []

    class Enough(BaseException):
        pass

    def progress(message: Any) -> None:
        told.append(message["step"])
        if message["step"] == 3:
            raise Enough

    with pytest.raises(Enough):
        train(network, images, trial(), "cpu", progress)
    assert told == [1, 2, 3]


def test_same_trial_gives_the_same_numbers_in_any_order() -> None:
    asked = [trial("resnet", seed=0), trial("resnet-dropout", seed=1, augment="crop-flip"), trial("plain", depth=34)]
    forwards = [numbers(t) for t in asked]
    backwards = [numbers(t) for t in reversed(asked)][::-1]
    assert repr(forwards) == repr(backwards)
    assert forwards[0] != numbers(trial("resnet", seed=2))


def test_epochs_say_the_learning_rates_and_steps_that_were_used() -> None:
    rows = numbers(trial(epochs=3, schedule="constant"))["epochs"]
    assert [row["steps"] for row in rows] == [4, 8, 12]
    assert [row["lr_first"] for row in rows] == pytest.approx([0.025, 0.1, 0.1])
    assert [row["lr_last"] for row in rows] == pytest.approx([0.1, 0.1, 0.1])


def test_training_stops_early_only_where_the_trial_says_so() -> None:
    easy = {"width": 4, "epochs": 6, "warmup_epochs": 0.0}
    assert len(numbers(trial(**easy))["epochs"]) == 6
    assert len(numbers(trial(**easy, stop_at_train_error=0.5))["epochs"]) < 6


def test_chunks_cover_everything_once_in_nearly_equal_parts() -> None:
    for n in (1, 511, 512, 513, 1437):
        parts = chunks(n)
        assert [i for part in parts for i in range(n)[part]] == list(range(n))
        sizes = [part.stop - part.start for part in parts]
        assert max(sizes) <= 512
        assert max(sizes) - min(sizes) <= 1


def test_reestimate_gives_the_statistics_of_the_whole_training_set() -> None:
    network, images = made(trial())
    stem = network.stem  # a convolution and a BatchNorm, before anything that depends on statistics
    x = images.prepare(images.data.train_images)
    with torch.no_grad():
        maps = stem.conv(x)  # type: ignore[union-attr,operator]
    norm = stem.norm  # type: ignore[union-attr]
    norm.running_mean.fill_(1e6)  # type: ignore[union-attr,operator]
    weights = [p.detach().clone() for p in network.parameters()]
    reestimate(network, images)
    assert torch.allclose(norm.running_mean, maps.mean((0, 2, 3)), atol=1e-5)  # type: ignore[union-attr,arg-type]
    assert torch.allclose(norm.running_var, maps.var((0, 2, 3)), rtol=1e-3)  # type: ignore[union-attr,arg-type]
    assert all(torch.equal(p, w) for p, w in zip(network.parameters(), weights, strict=True))
    assert network.training
    assert norm.momentum == 0.1  # type: ignore[union-attr]


def test_error_is_that_of_statistics_that_fit_not_of_those_that_lag() -> None:
    """A net whose running statistics are far off its data answers at chance until they are re-estimated."""
    asked = trial(width=4, epochs=4)
    network, images = made(asked)
    train(network, images, asked, "cpu", silent)
    stored = images.data
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            module.running_mean += 100.0
    off = evaluate(network, images, stored.train_images, stored.train_labels)
    reestimate(network, images)
    loss, error = evaluate(network, images, stored.train_images, stored.train_labels)
    assert off[0] > 10 * loss
    assert error < 0.1 < off[1]


def test_reestimation_keeps_dropout_off() -> None:
    network, images = made(trial("resnet-dropout"))
    reestimate(network, images)
    first = [b.clone() for b in network.buffers()]
    reestimate(network, images)
    assert all(torch.equal(a, b) for a, b in zip(first, network.buffers(), strict=True))


def test_evaluate_counts_each_image_once_and_changes_nothing() -> None:
    class Constant(nn.Module):
        """Sure of class 1."""

        def forward(self, x: Tensor) -> Tensor:
            assert not self.training
            return torch.tensor([0.0, math.log(3.0)]).expand(len(x), 2)

    asked = trial()
    stored = data.load("synthetic")
    images = Images(stored, asked)
    x, y = torch.zeros(700, 1, 8, 8, dtype=torch.uint8), (torch.arange(700) % 7 == 0).long()
    network = Constant()
    loss, error = evaluate(network, images, x, y)
    # One in seven is of class 1, of which the net is sure by 3 to 1.
    assert error == pytest.approx(6 / 7)
    assert loss == pytest.approx(-(math.log(0.75) * 100 + math.log(0.25) * 600) / 700)
    assert network.training


def test_mode_puts_every_module_back() -> None:
    network, _ = made(trial())
    first = network.blocks[0]  # type: ignore[index]
    first.eval()
    with mode(network, training=False):
        assert not any(m.training for m in network.modules())
    assert network.training
    assert not first.training


def test_random_labels_are_learnt_less_well_than_true_ones() -> None:
    true = numbers(trial(width=4, epochs=4))["result"]
    shuffled = numbers(trial(width=4, epochs=4, dataset="random-labels:synthetic"))["result"]
    assert true["test_error"] < 0.1
    assert shuffled["test_error"] > 0.4


def test_record_says_how_its_steps_were_executed() -> None:
    record = runner.run_trial(trial(), Machine(), silent)
    assert record.environment["execution"] == "eager"
    assert record.environment["execution_note"] == ""


def test_a_trial_that_is_stopped_for_a_while_says_how_long_and_learns_the_same() -> None:
    """As by SIGSTOP, or a laptop's lid; and a machine that others use gives a process less than all of a processor."""
    asked = trial(depth=18, epochs=1)

    def pause(message: Mapping[str, Any]) -> None:
        if message["step"] == 2:
            time.sleep(1.0)

    calm, paused = runner.run_trial(asked, Machine(), silent), runner.run_trial(asked, Machine(), pause)
    assert paused.result["longest_gap_s"] > 1.0 > calm.result["longest_gap_s"]
    assert paused.result["cpu_share"] < calm.result["cpu_share"]
    assert paused.result["train_loss"] == calm.result["train_loss"]


def test_the_message_of_a_failure_can_be_printed_anywhere() -> None:
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError("bo\x1b[31mom \udcff\nmore")
    assert runner.failure(caught.value).startswith("RuntimeError: bo?[31mom ? (test_loop.py:")
