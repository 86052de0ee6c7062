"""Terms of the equation: a second view, a map, weights inside a loss, heads, own learning rates, own stages."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from toys import TOYS
from workloads.heads import Cosine, Scaled
from workloads.hparams import Value
from workloads.loop import Fit
from workloads.methods import METHODS
from workloads.objectives import OBJECTIVES
from workloads.objectives.pointwise import L1
from workloads.recipe import PARTS, Recipe
from workloads.seam import Method, Step
from workloads.training import settle
from workloads.workload import Workload

CPU = torch.device("cpu")
TOY, CLASSES = TOYS["regression"], TOYS["classification"]


def run_of(recipe: str, settings: Mapping[str, Value] = {}, toy: Workload = TOY) -> Fit:
    parsed = Recipe.parse(recipe)
    return Fit(toy, toy.load(None), parsed, settle(parsed, toy.settings, settings), 0, CPU)


class Views(Method):
    """Remembers the views that it asked for."""

    source = "made up"
    asked: ClassVar[list[tuple[Tensor, Tensor, Tensor]]] = []

    def penalty(self, step: Step) -> Tensor | None:
        if step.again is None:
            return None
        self.asked.append((step.batch.x, step.again().z, step.again().pred))
        return step.again().z.mean()


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch):
    def add(registry: dict[str, type], **parts: type) -> None:
        for name, part in parts.items():
            monkeypatch.setitem(registry, name, part)
            monkeypatch.setitem(PARTS, name, part)

    return add


def test_a_second_view_is_augmented_anew_once_a_step_and_only_when_a_part_asks(added) -> None:
    added(METHODS, views=Views)
    calls: list[Tensor] = []

    def augment(x: Tensor) -> Tensor:
        calls.append(x)
        return x + len(calls)

    toy = replace(TOY, augment=augment)
    run = run_of("l1 + views", {"train.epochs": 1}, toy)
    Views.asked.clear()
    list(run)
    assert len(calls) == 2 * len(Views.asked) == 8  # 120 rows in batches of 32
    assert all(torch.equal(calls[2 * i], calls[2 * i + 1]) for i in range(4))  # of the same rows as they were
    assert all(z.shape == (len(x), 6) and pred.shape == (len(x),) for x, z, pred in Views.asked)
    assert all(z.requires_grad for _, z, _ in Views.asked)
    calls.clear()
    list(run_of("l1", {"train.epochs": 1}, toy))
    assert len(calls) == 4


@pytest.mark.parametrize(("recipe", "augmented"), [("l1 + views", False), ("l1 + views + cmixup", True)])
def test_there_is_no_second_view_of_rows_that_a_method_made_or_that_nothing_changes(
    added, recipe: str, augmented: bool
) -> None:
    added(METHODS, views=Views)
    Views.asked.clear()
    run = run_of(recipe, {"train.epochs": 1}, replace(TOY, augment=(lambda x: x) if augmented else None))
    with pytest.warns(UserWarning, match="views changed nothing"):
        list(run)
    assert not Views.asked


class Doubled(Method):
    """Features times two, everywhere."""

    source = "made up"

    def map(self, z: Tensor) -> Tensor:
        return 2.0 * z


def test_a_map_acts_in_training_in_evaluation_and_in_what_statistics_see(added) -> None:
    added(METHODS, doubled=Doubled)
    plain, mapped = run_of("l1"), run_of("l1 + doubled")
    assert torch.equal(plain._features(0)()[0] * 2.0, mapped._features(0)()[0])
    x = plain.data.train.inputs(torch.arange(4), CPU)
    for run in (plain, mapped):
        run.model.eval()
    assert torch.equal(mapped.model(x), mapped.model.predict(2.0 * plain.model.encoder(x)))
    assert not torch.equal(mapped.model(x), plain.model(x))


class Halved(L1):
    """An objective that puts half of each weight into its loss."""

    def weighted(self, step: Step) -> Tensor:
        return self(step) * (0.5 + 0.5 * step.w)


def test_an_objective_may_take_weights_into_its_loss(added) -> None:
    added(OBJECTIVES, halved=Halved)
    losses = {}
    for recipe in ("l1", "l1 + inv", "halved + inv", "halved"):  # weights of this batch do not have the mean 1
        run = run_of(recipe)
        run.model.train(False)
        batch = run.train.batch(torch.arange(32), 0, 0)
        losses[recipe] = float(run.model.loss(batch).detach())
    assert losses["halved + inv"] == pytest.approx((losses["l1"] + losses["l1 + inv"]) / 2)
    assert losses["halved"] == pytest.approx(losses["l1"])


def test_a_part_learns_at_its_own_rate_under_the_schedule_of_the_rest() -> None:
    settings: dict[str, Value] = {"train.epochs": 2, "train.schedule": "halfway", "bmse.rate": 0.5}
    run = run_of("bmse", settings)
    rates = []
    for _ in run:
        rates.append([group["lr"] for group in run.optimizer.param_groups])
    assert rates == [[0.01, 0.5], [pytest.approx(0.001), pytest.approx(0.05)]]
    assert run.optimizer.param_groups[1]["params"] == [run.model.objective.log_noise]


def test_a_cosine_head_ignores_how_long_features_are_and_a_scaled_one_multiplies_outputs() -> None:
    torch.manual_seed(0)
    h = torch.randn(5, 4)
    cosine = Cosine(4, 3)
    expected = [[float((a @ w / a.norm() / w.norm()).detach()) for w in cosine.direction] for a in h]
    assert torch.allclose(cosine(h), torch.tensor(expected), atol=1e-6)
    assert torch.allclose(cosine(h), cosine(7.0 * h), atol=1e-6)
    assert torch.equal(cosine(torch.zeros(1, 4)), torch.zeros(1, 3))
    inner = nn.Linear(4, 3)
    scaled = Scaled(inner)
    with torch.no_grad():
        scaled.factor.copy_(torch.tensor([1.0, 2.0, 0.5]))
    assert torch.allclose(scaled(h), inner(h) * scaled.factor)
    assert torch.allclose(scaled(h), h @ scaled.weight.T + scaled.bias)
    assert [name for name, own in scaled.named_parameters() if own.requires_grad] == ["factor"]


def states(run: Fit) -> list[dict[str, Tensor]]:
    held = []
    for _ in run:
        held.append({name: value.clone() for name, value in run.model.named_parameters()})
    return held


def losses_of(run: Fit) -> list[float]:
    return [epoch.loss for epoch in run]


def moved(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> set[str]:
    return {name.split(".")[0] for name in after if name not in before or not torch.equal(before[name], after[name])}


def test_lws_learns_a_factor_for_every_class_and_nothing_else() -> None:
    run = run_of("cross_entropy + balanced + lws", {"train.epochs": 4, "lws.share": 0.5, "train.keep": "last"}, CLASSES)
    held = states(run)
    assert moved(held[0], held[1]) == {"encoder", "head"}
    changed = {name for name in held[3] if not torch.equal(held[2][name], held[3][name])}
    assert changed == {"head.factor"}
    assert torch.equal(held[1]["head.weight"], held[3]["head.inner.weight"])


def test_rank_n_contrast_trains_the_encoder_alone_and_then_a_head_on_it() -> None:
    settings: dict[str, Value] = {
        "train.epochs": 4,
        "two_stages.first": "none",
        "two_stages.trains": "head",
        "two_stages.fresh_head": True,
        "two_stages.lr": 0.05,
        "two_stages.optimizer": "sgd",
    }
    run = run_of("l1 + rnc + two_stages", settings)
    start = {name: value.clone() for name, value in run.model.named_parameters()}
    held = []
    for _ in run:
        held.append({name: value.clone() for name, value in run.model.named_parameters()})
        optimizer = run.optimizer
    assert moved(start, held[1]) == {"encoder"}
    assert moved(held[1], held[3]) == {"head"}
    assert isinstance(optimizer, torch.optim.SGD) and optimizer.param_groups[0]["lr"] == 0.05


def test_balanced_mse_starts_on_a_backbone_that_was_trained_with_l1() -> None:
    settings: dict[str, Value] = {"train.epochs": 4, "two_stages.first": "l1", "two_stages.trains": "head"}
    alone = losses_of(run_of("l1", {"train.epochs": 2}))
    staged = run_of("bmse + two_stages", settings)
    assert losses_of(staged)[:2] == alone
    assert isinstance(staged.model.objective, OBJECTIVES["bmse"])


def test_dist_loss_joins_a_model_that_was_trained_without_it() -> None:
    alone = states(run_of("l1", {"train.epochs": 2}))
    held = states(run_of("l1 + distloss + two_stages", {"train.epochs": 4}))
    assert all(torch.equal(held[1][name], alone[1][name]) for name in alone[1])
    assert moved(held[2], held[3]) == {"encoder", "head"}


def test_another_objective_of_another_width_gets_a_fresh_head() -> None:
    run = run_of("uvote + two_stages", {"train.epochs": 2, "two_stages.first": "l1"})
    shapes = [state["head.weight"].shape[0] for state in states(run)]
    assert shapes == [1, 4]


def test_deferred_weights_leave_optimizer_and_schedule_as_they_are() -> None:
    settings: dict[str, Value] = {"train.epochs": 4, "train.schedule": "cosine", "drw.share": 0.5}
    plain, deferred, weighted = (
        losses_of(run_of(recipe, settings)) for recipe in ("l1", "l1 + drw", "l1 + sqinv + drw")
    )
    assert deferred == plain
    assert weighted[:2] == plain[:2] and weighted[2] != plain[2]


def test_a_stage_that_would_minimise_nothing_is_refused_before_anything_runs() -> None:
    recipe = Recipe.parse("l1 + lds + two_stages")
    with pytest.raises(ValueError, match="such as rnc: got none in stage 0"):
        settle(recipe, {"two_stages.first": "none"})
