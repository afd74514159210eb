"""The training step: the learning rate every depth gets, the data order twins share, and what a step leaves behind."""

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bench.data import datasets as data
from bench.data.images import Images
from bench.plan import trial as plan
from bench.plan.trial import Trial
from bench.train.graph import restored
from bench.train.network import network_of
from bench.train.optimizers import OPTIMIZERS
from bench.train.step import Step, learning_rates, steps_per_epoch
from models.spec import ARCHITECTURES

RECIPE = {"dataset": "synthetic", "width": 8, "batch_size": 64, "lr": 0.1, "epochs": 2, "warmup_epochs": 1.0}


def trial(architecture: str = "preact", depth: int = 18, seed: int = 0, **fields: object) -> Trial:
    return Trial("test", ARCHITECTURES[architecture], depth, seed, **{**RECIPE, **fields})  # type: ignore[arg-type]


def images_of(asked: Trial, n: int | None = None) -> Images:
    stored = data.load(asked.dataset)
    if n:
        stored = dataclasses.replace(stored, train_images=stored.train_images[:n], train_labels=stored.train_labels[:n])
    return Images(stored, asked)


def step_of(asked: Trial, n: int | None = None, **more: object) -> Step:
    images = images_of(asked, n)
    return Step(network_of(asked, images), images, asked, "cpu", **more)  # type: ignore[arg-type]


def test_learning_rates_warm_up_linearly_then_follow_half_a_cosine_to_zero() -> None:
    rates = learning_rates(trial(lr=0.4, epochs=3, warmup_epochs=1.0), per_epoch=4)
    assert rates[:4] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert rates[4] == pytest.approx(0.4)
    assert rates[8] == pytest.approx(0.2)  # half of the cosine is over
    assert rates[11] == pytest.approx(0.4 * 0.5 * (1 + math.cos(math.pi * 7 / 8)))
    assert rates == [*rates[:4], *sorted(rates[4:], reverse=True)]


def test_step_schedule_divides_by_ten_at_half_and_at_three_quarters() -> None:
    rates = learning_rates(trial(schedule="step", warmup_epochs=0.0, epochs=8, lr=1.0), per_epoch=10)
    changes = [k for k in range(1, 80) if rates[k] != rates[k - 1]]
    assert changes == [40, 60]
    assert [rates[0], rates[40], rates[60]] == pytest.approx([1.0, 0.1, 0.01])


@pytest.mark.parametrize("depth", [18, 34, 66, 1002])
def test_optimizer_uses_the_recipes_learning_rate_at_every_depth(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best-known trainer gives its deepest nets a tenth of the rate, by a scheduler that is stepped wrongly."""
    asked = trial(depth=depth, width=1, batch_size=2, drop_last=True, epochs=2, schedule="step")
    step = step_of(asked, n=4)
    used: list[float] = []
    monkeypatch.setattr("bench.train.optimizers.sgd", lambda *_, lr, **__: used.append(float(lr)))
    for _ in range(len(step.rates)):
        step()
    # Worked out by hand: two epochs of two steps, one epoch of warm-up to 0.1; then half and three quarters are over.
    assert used == pytest.approx([0.05, 0.1, 0.01, 0.001])


def test_weights_move_by_the_learning_rate_of_their_own_step() -> None:
    """Without momentum and decay a step is -lr times the gradient: the rate that the update really used."""
    step = step_of(trial(momentum=0.0, weight_decay=0.0, epochs=2))
    for rate in step.rates:
        before = [p.detach().clone() for p in step.network.parameters()]
        step()
        for p, old in zip(step.network.parameters(), before, strict=True):
            assert p.grad is not None
            assert torch.allclose(p, old - rate * p.grad, atol=1e-7)


def of_torch(asked: Trial, network: nn.Module) -> torch.optim.Optimizer:
    if asked.optimizer == "adamw":
        return torch.optim.AdamW(network.parameters(), lr=0.1, betas=(asked.momentum, 0.999), weight_decay=0.01)
    return torch.optim.SGD(network.parameters(), lr=0.1, momentum=asked.momentum, weight_decay=0.01, foreach=False)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_momentum_and_weight_decay_are_those_of_torchs_own_class(optimizer: str) -> None:
    asked = trial(schedule="constant", warmup_epochs=0.0, optimizer=optimizer, momentum=0.8, weight_decay=0.01)
    step = step_of(asked)
    images = images_of(asked)
    twin = network_of(asked, images)
    plain = of_torch(asked, twin)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        step()
        plain.zero_grad()
        at = (step.done - 1) * 64
        nn.functional.cross_entropy(twin(images.train(step.order[at : at + 64], generator)[0]),
                                    images.data.train_labels[step.order[at : at + 64]]).backward()  # fmt: skip
        plain.step()
    for ours, theirs in zip(step.network.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5 if optimizer == "sgd" else 1e-3)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_all_that_an_update_changes_is_state_that_a_capture_puts_back(optimizer: str) -> None:
    step = step_of(trial(optimizer=optimizer))
    step()
    before = [tensor.clone() for tensor in step.state()]
    with restored(step.state(), [step.augment_generator]):
        step.body(64)
        assert not all(map(torch.equal, step.state(), before))
    assert all(map(torch.equal, step.state(), before))
    once = step_of(trial(optimizer=optimizer))
    for _ in range(2):
        once()
    step()
    assert all(map(torch.equal, once.state(), step.state()))


def batches(step: Step) -> list[Tensor]:
    """The labels and pixel sums of every batch of a run."""
    seen: list[Tensor] = []
    true_train: Callable[..., tuple[Tensor, Tensor]] = step.images.train

    def watched(indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x, y = true_train(indices, generator)
        seen.append(torch.cat([indices.double(), x.double().sum((1, 2, 3)), y.double()]))
        return x, y

    step.images.train = watched  # type: ignore[method-assign]
    for _ in step.rates:
        step()
    return seen


def test_twins_and_depths_see_the_same_images_in_the_same_order() -> None:
    runs = [
        batches(step_of(trial(a, d, augment="crop-flip"))) for a, d in (("plain", 18), ("resnet", 18), ("preact", 34))
    ]
    assert all(torch.equal(x, y) for other in runs[1:] for x, y in zip(runs[0], other, strict=True))
    other_seed = batches(step_of(trial("plain", seed=1, augment="crop-flip")))
    assert not torch.equal(runs[0][0], other_seed[0])


def test_an_epoch_visits_every_image_once_and_the_next_in_another_order() -> None:
    step = step_of(trial(batch_size=60, drop_last=False))
    assert step.per_epoch == 5
    seen = batches(step)
    indices = [b[: len(b) // 3].long() for b in seen]
    assert [len(i) for i in indices] == [60, 60, 60, 60, 16] * 2
    for epoch in (indices[:5], indices[5:]):
        assert sorted(torch.cat(epoch).tolist()) == list(range(256))
    assert not torch.equal(indices[0], indices[5])


def test_drop_last_leaves_out_only_the_partial_batch() -> None:
    assert steps_per_epoch(trial(batch_size=60, drop_last=True), 256) == 4
    assert steps_per_epoch(trial(batch_size=64, drop_last=True), 256) == 4
    assert steps_per_epoch(trial(batch_size=60, drop_last=False), 256) == 5


def test_read_weighs_images_equally_and_starts_again() -> None:
    step = step_of(trial(batch_size=60, drop_last=False))
    true_forward = step.forward
    losses, wrong = [], []

    def forward(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        logits, loss = true_forward(x, y)
        losses.append(nn.functional.cross_entropy(logits.detach(), y, reduction="none"))
        wrong.append(logits.argmax(1) != y)
        return logits, loss

    step.forward = forward  # type: ignore[method-assign]
    for _ in range(5):  # four batches of 60 and one of 16
        step()
    loss, error = step.read()
    assert loss == pytest.approx(float(torch.cat(losses).mean()), rel=1e-6)
    assert error == float(torch.cat(wrong).double().mean())
    assert step.read() == (0.0, 0.0)


def test_clip_norm_bounds_the_update() -> None:
    step = step_of(trial(clip_norm=0.01, momentum=0.0, weight_decay=0.0))
    step()
    norm = torch.stack([p.grad.norm() for p in step.network.parameters() if p.grad is not None]).norm()
    assert float(norm) == pytest.approx(0.01, rel=1e-3)


def test_label_smoothing_keeps_the_loss_of_a_sure_answer_above_zero() -> None:
    logits = torch.tensor([[40.0, 0.0, 0.0, 0.0]])
    losses = []
    for smoothing in (0.0, 0.1):
        step = step_of(trial(label_smoothing=smoothing))
        step.network = nn.Identity()
        losses.append(float(step.forward(logits, torch.tensor([0]))[1]))
    # 0.1 is spread over 4 classes: three of them cost 40 each.
    assert losses == pytest.approx([0.0, 0.1 * 3 / 4 * 40], abs=1e-4)


@pytest.mark.parametrize("k", [1, 3, 7])
def test_first_step_whose_loss_is_not_finite_is_remembered(k: int) -> None:
    step = step_of(trial())
    true_forward = step.forward

    def forward(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        logits, loss = true_forward(x, y)
        # Infinite once, then finite again: a look that comes late must still find it.
        return logits, loss * float("inf") if step.done == k - 1 else loss

    step.forward = forward  # type: ignore[method-assign]
    for _ in range(8):
        step()
    assert step.diverged_step() == k


def test_a_step_that_goes_well_is_not_called_diverged() -> None:
    step = step_of(trial())
    step()
    assert step.diverged_step() is None


def test_checkpointed_blocks_give_the_same_training_and_update_statistics_once() -> None:
    plain, saved = step_of(trial("resnet-b")), step_of(trial("resnet-b", checkpoint_blocks=True))
    for _ in range(5):
        plain()
        saved()
    for (name, a), b in zip(plain.network.state_dict().items(), saved.network.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    saved.close()
    assert not any("forward" in vars(m) for m in saved.network.modules())


@pytest.mark.parametrize("row", ["resnet-dropout", "stochastic-depth"])
def test_a_net_that_draws_does_so_alike_under_checkpointing_and_whatever_ran_before(row: str) -> None:
    assert trial(row).architecture.draws
    ends = []
    for checkpointed in (False, True):
        torch.rand(17)
        step = step_of(trial(row, checkpoint_blocks=checkpointed))
        for _ in range(4):
            step()
        ends.append([p.detach().clone() for p in step.network.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_bf16_computes_blocks_in_bfloat16_and_keeps_weights_in_float32() -> None:
    step = step_of(trial(precision="bf16"))
    dtypes = set()
    for block in step.network.blocks:  # type: ignore[union-attr]
        block.register_forward_hook(lambda m, i, out: dtypes.add(out.dtype))
    step()
    assert dtypes <= {torch.bfloat16, torch.float32}
    assert torch.bfloat16 in dtypes
    assert {p.dtype for p in step.network.parameters()} == {torch.float32}
    assert step.loss.dtype == torch.float32


def test_the_optimizers_that_a_study_may_name_are_those_there_are() -> None:
    assert tuple(OPTIMIZERS) == plan.OPTIMIZERS
