"""On the device: the numbers of the CPU within rounding, the same bits again, and no hidden wait."""

import io
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from steps import backward_of
from toys import TOYS
from workloads.hparams import Value
from workloads.loop import Fit
from workloads.methods import METHODS
from workloads.objectives import OBJECTIVES
from workloads.plans import PLANS
from workloads.recipe import PARTS, Recipe
from workloads.seam import Adjustment
from workloads.training import settle

PARTS_OF_STEPS = [
    *(name for name, objective in OBJECTIVES.items() if objective.trainer == "network"),
    *(name for name, method in METHODS.items() if not issubclass(method, Adjustment)),
]
WAITS = frozenset({"ranksim", "ordinal_entropy"})
"""Methods that wait for the device once a step; the reason is written beside the line."""
DRAWS = (torch.rand, torch.randn, torch._sample_dirichlet)
HEAVY = ["l1 + lds + fds + ranksim + distloss", "bmse + fds + smogn + rrt", "arb + fds + ot", "l1 + lds + affine_oof"]


class SameNoise(TorchFunctionMode):
    """Draws on the CPU, whatever the device: streams of devices differ, and what is made of them should not."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func not in DRAWS:
            return func(*args, **kwargs)
        device = kwargs.pop("device", None) or next((a.device for a in args if torch.is_tensor(a)), "cpu")
        args = tuple(a.cpu() if torch.is_tensor(a) else a for a in args if not isinstance(a, torch.Generator))
        return func(*args, **{**kwargs, "generator": self.generator}).to(device)


def recipe_with(part: str) -> Recipe:
    if part in OBJECTIVES:
        return Recipe(part)
    return Recipe("l1" if "regression" in PARTS[part].tasks else "cross_entropy", (part,))


def fit(recipe: Recipe, device: torch.device, epochs: int = 4, **settings: Value) -> Fit:
    task = next(task for task in TOYS if all(task in PARTS[part].tasks for part in recipe.parts))
    toy = TOYS[task]
    named = {f"train.{name}": value for name, value in settings.items()}
    complete = settle(recipe, toy.settings, {"train.epochs": epochs, "train.keep": "last"}, named)
    return Fit(toy, toy.load(None), recipe, complete, 0, device)


def warm(recipe: Recipe, device: torch.device) -> Fit:
    """A run that was trained on the CPU past every warm-up, on the device: both sides start from the same state."""
    trained = fit(recipe, torch.device("cpu"))
    for _ in trained:
        pass
    state = {name: value for name, value in trained.model.state_dict().items() if not name.endswith("_extra_state")}
    run = fit(recipe, device)
    run.model.load_state_dict(state, strict=False)
    run.model.eval()  # dropout is torch's own
    return run


def backward(run: Fit, rows: Tensor) -> Tensor:
    """Add the gradient of a batch in the last stage; returns its loss."""
    return backward_of(run, run.train.batch(rows, 4, len(run.model.stages()) - 1, 0.5))


def gradient(run: Fit) -> Mapping[str, Tensor]:
    rows = torch.arange(32)
    with SameNoise():
        loss = backward(run, rows)
    found = {name: p.grad.cpu() for name, p in run.model.named_parameters() if p.grad is not None}
    return {"loss": loss.cpu(), **found}


@pytest.mark.parametrize("part", PARTS_OF_STEPS)
def test_loss_and_gradient_of_every_part_are_those_of_the_cpu_within_rounding(part: str, device: torch.device) -> None:
    recipe = recipe_with(part)
    expected, found = (gradient(warm(recipe, each)) for each in (torch.device("cpu"), device))
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        scale = float(value.abs().max()) or 1.0
        assert torch.allclose(value, found[name], rtol=1e-3, atol=1e-3 * scale), name


@pytest.mark.parametrize("text", HEAVY)
def test_statistics_of_a_pass_are_those_of_the_cpu_within_rounding(text: str, device: torch.device) -> None:
    recipe = Recipe.parse(text)
    found = []
    for each in (torch.device("cpu"), device):
        run = warm(recipe, each)
        run.model.end_epoch(4, len(run.model.stages()) - 1, run._features(4))
        found.append(
            {name: held.cpu() for name, held in run.model.methods.named_buffers() if held.dtype.is_floating_point}
        )
    for name, value in found[0].items():
        assert torch.allclose(value, found[1][name], rtol=1e-3, atol=1e-3 * (float(value.abs().max()) or 1.0)), name


def ended(run: Fit) -> dict[str, Tensor]:
    for _ in run:
        pass
    state = {name: value for name, value in run.model.state_dict().items() if torch.is_tensor(value)}
    losses = torch.tensor([epoch.loss for epoch in run.curve])
    return {**state, "losses": losses, "predictions": torch.from_numpy(run.predict(run.data.test))}


@pytest.mark.parametrize("precision", ["full", "bf16", "fp16"])
@pytest.mark.parametrize("text", HEAVY)
def test_an_interrupted_run_equals_an_uninterrupted_one_bit_for_bit(
    text: str, precision: str, device: torch.device
) -> None:
    recipe = Recipe.parse(text)
    whole = ended(fit(recipe, device, precision=precision))
    for stop in (1, 3):
        first = fit(recipe, device, precision=precision)
        for epoch in first:
            if epoch.epoch == stop - 1:
                break
        saved = io.BytesIO()
        torch.save(first.state_dict(), saved)
        saved.seek(0)
        continued = fit(recipe, device, precision=precision)
        continued.load_state_dict(torch.load(saved, map_location=device, weights_only=True))
        found = ended(continued)
        assert whole.keys() == found.keys()
        assert all(torch.equal(whole[name], found[name]) for name in whole), f"interrupted after epoch {stop}"


@pytest.fixture
def waiting_is_an_error(device: torch.device) -> Iterator[None]:
    """From the step on: before it, a run is made and its tables are moved to the device, which waits."""
    yield
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("part", [part for part in PARTS_OF_STEPS if part not in WAITS])
def test_no_step_waits_for_the_device(part: str, device: torch.device, waiting_is_an_error: None) -> None:
    run = fit(recipe_with(part), device)
    for _ in run:  # past every warm-up; all memory is there
        pass
    run.model.train()
    rows = torch.arange(32)
    for mode in ("default", "error"):
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode(mode)
        run.optimizer.zero_grad(set_to_none=True)
        backward(run, rows)
        run.scaler.step(run.optimizer)
        run.scaler.update()


def test_batches_in_pieces_have_the_gradient_of_the_batch(device: torch.device) -> None:
    whole, halves = warm(Recipe("l1", ("lds", "fds")), device), warm(Recipe("l1", ("lds", "fds")), device)
    halves.pieces = 2
    expected, found = gradient(whole), gradient(halves)
    assert all(torch.allclose(expected[name], found[name], rtol=1e-3, atol=1e-4) for name in expected)


def test_every_plan_trains_on_the_device(device: torch.device) -> None:
    for name, plan in PLANS.items():
        regression = "regression" in plan.tasks
        recipe = Recipe("l1" if regression else "arb", ("fds", *(("lds", "rnc") if regression else ())), name)
        assert torch.isfinite(ended(fit(recipe, device))["predictions"]).all()
