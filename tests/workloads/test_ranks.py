"""Two processes that train one run: the curve, the predictions and the checkpoint of one process, within rounding."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import beside
from beside import CPU, Beside, Case
from toys import TOYS
from workloads.loop import Fit
from workloads.methods import METHODS
from workloads.objectives import OBJECTIVES
from workloads.ranks import LEAST, Ranks, Undivided, check_statistics
from workloads.recipe import Recipe
from workloads.training import settle

CLIP = "l1 + lds + grad clip, in batches of 31 and 27"
SGD = {"train.optimizer": "sgd", "train.lr": 1e-3}
"""Adam takes the sign of a first gradient, which rounding decides where the slopes of l1 cancel."""
CLIPPED = {"train.grad_clip": 0.5, **SGD}
CASES = {
    CLIP: Case("l1 + lds", {"train.batch_size": 31, **CLIPPED}),
    "a last batch that is too small to be split": Case("l1 + lds", {"train.batch_size": 39, **SGD}),
    "statistics of features": Case("mse + fds", {"fds.variant": "official"}),
    "sampled rows, and a later stage from the best epoch": Case("mse + balanced + two_stages"),
    "an adjustment with models of its own": Case("mse + affine_oof"),
    "several stages and a learned noise": Case("bmse + lds + rrt", {"bmse.variant": "gai", "bmse.learn": True}),
    "a decoder of the inputs": Case("mse + reconstruct"),
    "labels that are maps": Case("l1 + lds + fds", CLIPPED, dense=True),
}


@pytest.fixture(scope="module")
def other() -> Iterator[Beside]:
    with beside.process() as started:
        yield started


def same(one: Fit, two: Fit, rel: float = 1e-5) -> None:
    assert [epoch.loss for epoch in two.curve] == pytest.approx([epoch.loss for epoch in one.curve], rel=rel)
    for mine, theirs in zip(one.curve, two.curve, strict=True):
        for region, scores in mine.val.items():
            for name, score in scores.items():
                found = theirs.val[region][name]
                assert (found.value is None, found.count) == (score.value is None, score.count)
                assert (found.value or 0.0) == pytest.approx(score.value or 0.0, rel=10 * rel)
    test = one.data.test
    assert np.allclose(one.predict(test), two.predict(test), rtol=10 * rel, atol=1e-4)
    assert one.kept().epoch == two.kept().epoch


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_two_processes_train_what_one_trains(case: Case, other: Beside) -> None:
    same(case.run(), other.run(case))


def test_a_checkpoint_is_continued_by_another_number_of_processes(other: Beside) -> None:
    case = CASES[CLIP]
    whole = case.run()
    of_one, of_two = case.run(epochs=2).state_dict(), other.run(case, epochs=2).state_dict()
    same(whole, other.run(replace(case, state=of_one)))
    same(whole, replace(case, state=of_two).run())


def test_a_run_of_two_processes_repeats_bit_for_bit_and_so_does_a_continued_one(other: Beside) -> None:
    case = Case("l1 + vir")  # it draws noise for every row
    whole = other.run(case)
    first = other.run(case, epochs=2)
    continued = other.run(replace(case, state=first.state_dict()))
    assert [epoch.loss for epoch in continued.curve] == [epoch.loss for epoch in whole.curve]
    assert np.array_equal(continued.predict(whole.data.test), whole.predict(whole.data.test))


def test_a_run_that_loses_its_way_ends_in_both_processes(other: Beside) -> None:
    with pytest.raises(Exception, match=r"not finite|became"):
        other.run(Case("mse", {"train.lr": 1.0, "train.optimizer": "sgd"}))
    assert math.isfinite(other.run(Case("l1")).curve[-1].loss)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 6, 7, 25])
def test_parts_are_the_batch_in_its_order_or_all_take_it_where_it_is_small(rows: int, size: int) -> None:
    batch = torch.randperm(rows)
    parts = Ranks(0, size).parts(batch)
    assert torch.equal(torch.cat([*parts]), batch)
    assert len(parts) == (size if rows >= LEAST * size else 1)
    assert size == 1 or len(parts) == 1 or min(map(len, parts)) >= LEAST
    assert [part.tolist() for part in parts] == [Ranks(k, size).part(batch).tolist() for k in range(len(parts))]


ACTING = [name for name, made in OBJECTIVES.items() if made.trainer == "network"] + list(METHODS)


@pytest.mark.parametrize("name", [*ACTING, "fds, streaming"])
def test_a_part_that_can_be_shared_keeps_nothing_of_single_batches(name: str) -> None:
    part, _, streaming = name.partition(", ")
    task = "regression" if "regression" in {**OBJECTIVES, **METHODS}[part].tasks else "classification"
    recipe = Recipe(part) if part in OBJECTIVES else Recipe("l1" if task == "regression" else "arb", (part,))
    toy = TOYS[task]
    settings = settle(recipe, toy.settings, {"fds.statistics": "streaming"} if streaming else {})
    fit = Fit(toy, toy.load(None), recipe, settings, 0, CPU)
    held = fit.model.methods[part] if part in METHODS else fit.model.objective
    for epoch in range(3):
        fit.model.end_epoch(epoch, 0, fit._features(epoch))  # past every warm-up
    before = {key: value.clone() for key, value in held.named_buffers()}
    fit.model.train()
    fit.model.loss(fit.train.batch(torch.arange(32), 3, 0, 0.5))
    changed = [key for key, value in held.named_buffers() if not torch.equal(value, before[key])]
    assert not changed or part in fit.model.undivided, changed


def test_parts_that_must_see_a_batch_whole_are_refused_by_name() -> None:
    for recipe, named in (("bmse + ranksim + lds", "bmse and ranksim"), ("l1 + gar", "gar")):
        with pytest.raises(Undivided, match=f"{named} must see a batch whole, which several processes share: give"):
            Case(recipe).run(Ranks(0, 2))
    with pytest.raises(Undivided, match="fds must see"):
        Case("l1 + fds", {"fds.statistics": "streaming"}).run(Ranks(0, 2))


def test_batch_norm_is_shared_on_gpus_and_refused_on_the_cpu() -> None:
    encoder = TOYS["regression"].encoder(TOYS["regression"].load(None))[0]
    with pytest.raises(Undivided, match="BatchNorm, whose statistics several processes share on GPUs only"):
        Ranks(0, 2).together(encoder, CPU)
    keys = encoder.state_dict().keys()
    shared = Ranks(0, 2).together(encoder, torch.device("cuda"))
    assert any(isinstance(module, nn.SyncBatchNorm) for module in shared.modules())
    assert shared.state_dict().keys() == keys, "checkpoints of one process and of several are alike"
    check_statistics(nn.Linear(2, 2))
