"""A pack: every member has the digits that it has alone, whoever else is in it and whatever becomes of them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from toys import TOYS
from training import fit
from workloads.diverged import Diverged
from workloads.hparams import Value
from workloads.loop import Fit
from workloads.pack import Pack, Work

LIGHT = replace(TOYS["regression"], light=True, augment=lambda x: x + 0.01 * torch.randn_like(x))
"""With BatchNorm, dropout and random augmentation, which draw from the global stream."""
DATA = LIGHT.load(None)
RECIPES = (
    "l1",
    "mse + lds + fds",
    "bmse + sqinv + ranksim + rrt",
    "l1 + cmixup",
    "l1 + affine_oof",
    "l1 + vir + reconstruct",
)
EPOCHS = 4


def made(recipe: str, **settings: Value) -> Fit:
    named = {name.replace("__", "."): value for name, value in settings.items()}
    return fit(LIGHT, DATA, recipe, {"train.epochs": EPOCHS, **named})


def work(recipe: str, kept: dict[str, Fit], name: str, **settings: Value) -> Work[int]:
    """A run from its beginning, as a member: its results are the numbers of epochs."""
    run = kept[name] = made(recipe, **settings)
    while len(run.curve) < EPOCHS:
        try:
            yield from run.steps()
        except (Diverged, RuntimeError):
            return
        yield len(run.curve)


def packed(members: Mapping[str, tuple[str, dict[str, Any]]], rounds: int = EPOCHS + 1) -> dict[str, Fit]:
    kept: dict[str, Fit] = {}
    pack = Pack([work(recipe, kept, name, **more) for name, (recipe, more) in members.items()])
    for _ in range(rounds):
        pack.advance()
    assert pack.ended == (rounds > EPOCHS)
    pack.close()
    return kept


def same(a: Fit, b: Fit) -> bool:
    one, other = a.model.state_dict(), b.model.state_dict()
    losses = [e.loss for e in a.curve] == [e.loss for e in b.curve]
    return losses and one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def alone() -> dict[str, Fit]:
    """Every recipe trained by itself."""
    torch.set_num_threads(1)
    runs = {}
    for recipe in RECIPES:
        runs[recipe] = made(recipe)
        list(runs[recipe])
    return runs


def test_members_equal_the_runs_that_they_are_alone(alone: dict[str, Fit]) -> None:
    together = packed({recipe: (recipe, {}) for recipe in RECIPES})
    assert all(same(together[recipe], alone[recipe]) for recipe in RECIPES)


@pytest.mark.parametrize("others", [0, 1, 7])
def test_the_number_of_others_changes_no_digit(others: int, alone: dict[str, Fit]) -> None:
    members: dict[str, tuple[str, dict[str, Any]]] = {
        str(k): ("mse", {"train__lr": 0.001 * (k + 1), "train__weight_decay": 0.01 * k}) for k in range(others)
    }
    together = packed({**members, "mine": (RECIPES[1], {})})
    assert same(together["mine"], alone[RECIPES[1]])


def test_members_may_be_validated_after_other_epochs(alone: dict[str, Fit]) -> None:
    every = {"train__validate_every": 3, "train__keep": "last"}
    together = packed({"seldom": ("l1", every), "mine": (RECIPES[1], {})})
    assert [bool(epoch.val) for epoch in together["seldom"].curve] == [False, False, True, True]
    assert same(together["seldom"], alone["l1"]) and same(together["mine"], alone[RECIPES[1]])


def test_a_member_that_diverges_leaves_the_others_as_they_are(alone: dict[str, Fit]) -> None:
    together = packed({"wild": ("mse", {"train__lr": 1.0, "train__optimizer": "sgd"}), "mine": ("l1", {})})
    assert len(together["wild"].curve) < EPOCHS
    assert same(together["mine"], alone["l1"])


def test_a_run_goes_on_in_a_pack_and_out_of_one(alone: dict[str, Fit]) -> None:
    recipe = RECIPES[2]
    state = packed({"other": ("l1", {}), "mine": (recipe, {})}, rounds=2)["mine"].state_dict()
    by_itself = made(recipe)
    by_itself.load_state_dict(state)
    list(by_itself)
    assert same(by_itself, alone[recipe])

    in_pack = made(recipe)

    def rest() -> Work[int]:
        in_pack.load_state_dict(state)
        while len(in_pack.curve) < EPOCHS:
            yield from in_pack.steps()
            yield len(in_pack.curve)

    pack = Pack([work("l1", {}, "other"), rest()])
    while not pack.ended:
        pack.advance()
    assert same(in_pack, alone[recipe])


def test_what_fails_in_a_backward_pass_is_raised_in_the_run_that_is_alone_and_by_a_pack_of_several() -> None:
    def failing(seen: list[str]) -> Work[int]:
        try:
            yield torch.zeros(())  # a loss that nothing led to
        except RuntimeError as err:
            seen.append(str(err))

    seen: list[str] = []
    single = Pack([failing(seen)])
    assert single.advance() == [] and single.ended and "does not require grad" in seen[0]
    several = Pack([failing(seen), failing(seen)])
    with pytest.raises(RuntimeError, match="does not require grad"):
        several.advance()


def test_members_share_the_time() -> None:
    packed({"first": ("l1", {})})  # torch imports two seconds of modules with the first optimizer of a process
    pack = Pack([work("l1", {}, "a"), work("l1 + affine_oof", {}, "b")])
    while not pack.ended:
        pack.advance()
    cheap, dear = (member.seconds() for member in pack.members)
    assert 0 < 2 * cheap < dear  # it trains five further models
