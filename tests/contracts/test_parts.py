"""Laws that every objective, method and plan obeys."""

import io
import itertools
import warnings
from collections.abc import Iterator

import pytest
import torch
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from part_runs import CPU, DATA, EPOCHS, OBJECTIVES, PARTS, Finished, fit, outcome, recipe_with, same, task_of
from toys import TOYS
from workloads.features import Encoded
from workloads.loop import Fit
from workloads.methods import METHODS
from workloads.model import Model
from workloads.plans import PLANS
from workloads.predictor import Predictor, Setup
from workloads.recipe import PARTS as EVERY_PART
from workloads.recipe import Recipe
from workloads.seam import Adjustment, Batch, Method, NoEffectWarning
from workloads.training import settle


def compatible(names: tuple[str, ...]) -> bool:
    slots = [PARTS[name].slot for name in names if PARTS[name].slot]
    return len(slots) == len(set(slots))


def subsets(objective: str, most: int) -> Iterator[tuple[str, ...]]:
    """Every `most` methods or fewer that may meet, and all that no slot keeps apart; of pairs, with each of a slot."""
    task = OBJECTIVES[objective].tasks[0]
    # An adjustment acts after training only: that it leaves training as it is, is a law of its own.
    methods = {name: method for name, method in METHODS.items() if not issubclass(method, Adjustment)}
    names = [name for name, method in methods.items() if task in method.tasks and compatible((objective, name))]
    for size in range(most + 1):
        yield from filter(compatible, itertools.combinations(names, size))
    free = tuple(name for name in names if METHODS[name].slot is None)
    yield free
    if most == 2:
        yield from ((*free, name) for name in names if name not in free)


def most_methods(objective: str, plan: str) -> int:
    """Of objectives, plans and methods any two meet; so do any two methods, where a plan has one stage."""
    plain = objective in ("l1", "arb")
    return (2 if plain else 1) if plan == "once" else (1 if plain else 0)


PLANNED = [(o, p) for o, p in itertools.product(OBJECTIVES, PLANS) if OBJECTIVES[o].tasks[0] in PLANS[p].tasks]


@pytest.mark.parametrize(("objective", "plan"), PLANNED)
def test_every_method_trains_with_every_objective_every_pair_and_all_at_once(objective, plan):
    task = OBJECTIVES[objective].tasks[0]
    toy, data = TOYS[task], DATA[task]
    rows = torch.arange(24)
    x, y = data.train.inputs(rows, CPU), data.train.y[rows]
    bins = torch.from_numpy(toy.grid.bin(y.numpy()))
    train = toy.train_labels(data, 6, 24)
    everything = data.train.inputs(torch.arange(len(data.train.y)), CPU)
    for methods in subsets(objective, most_methods(objective, plan)):
        recipe = Recipe(objective, methods, plan)
        encoder, dim = toy.encoder(data)
        model = Model(encoder, dim, recipe, {}, data.units)
        model.fit(train)
        model.seed(dict.fromkeys(("objective", "plan", *recipe.methods), 0), CPU)
        model.train()
        for stage in range(len(model.stages())):
            loss = model.loss(Batch(x, y, bins, rows, stage, stage))
            loss.backward()
            assert torch.isfinite(loss), recipe
            assert any(own.grad is not None for own in model.head.parameters()), recipe

            everywhere = torch.arange(len(everything)), model.encoder(everything).detach()
            features = Encoded(data.train.y, lambda train_mode, whole=everywhere: iter([whole]))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NoEffectWarning)  # one step may hold nothing to change
                model.end_epoch(stage, stage, features)


def test_methods_that_fill_one_slot_are_refused_together():
    slotted = [name for name, method in METHODS.items() if method.slot]
    for pair in itertools.combinations(slotted, 2):
        if compatible(pair):
            continue
        with pytest.raises(ValueError, match="contradict each other"):
            Recipe("l1", pair)
    for method in (name for name in slotted if METHODS[name].slot == "density"):
        with pytest.raises(ValueError, match=f"uvote and {method} contradict each other, both set how rows count"):
            Recipe("uvote", (method,))


LONG_RUNS = [
    *(recipe_with(part) for part in PARTS),
    Recipe("bmse", ("lds", "fds", "ranksim", "distloss", "smoter", "smogn"), "rrt"),
    Recipe("l1", ("fds", "ranksim", "distloss", "ot", "smogn")),
    Recipe("arb", ("fds", "ranksim", "ot"), "rrt"),
    Recipe("l1", ("lds", "isotonic"), "rrt"),
    Recipe("l1", ("smogn", "affine_oof"), "rrt"),
]
VARIANTS = [
    *((recipe, {}) for recipe in LONG_RUNS),
    (Recipe("l1", ("fds",)), {"fds.variant": "official"}),
    (Recipe("l1", ("fds", "ranksim")), {"fds.variant": "official", "fds.statistics": "streaming"}),
    (Recipe("bmse"), {"bmse.variant": "gai"}),
    (Recipe("l1", ("lds", "fds")), {"train.optimizer": "sgd", "train.keep": "best"}),
    (Recipe("l1", ("affine",)), {"train.keep": "best"}),
    (Recipe("l1", ("affine_oof",), "rrt"), {"train.keep": "best"}),
    (Recipe("l1", (), "rrt"), {"train.grad_clip": 0.3}),
    (Recipe("bmse", (), "two_stages"), {"train.grad_clip": 0.3, "two_stages.first": "l1", "two_stages.trains": "head"}),
    (Recipe("cross_entropy", (), "lws"), {"train.grad_clip": 0.3, "lws.share": 0.5}),
    (Recipe("cross_entropy", ("balanced",), "lws"), {"lws.share": 0.5, "train.keep": "best"}),
    (
        Recipe("uvote", ("rnc",), "two_stages"),
        {"two_stages.first": "l1", "two_stages.trains": "head", "two_stages.optimizer": "sgd", "train.keep": "best"},
    ),
    (Recipe("l1", ("sqinv", "rnc"), "two_stages"), {"two_stages.first": "none", "two_stages.fresh_head": True}),
    (Recipe("cross_entropy", ("class_balanced",), "drw"), {"train.schedule": "cosine", "drw.share": 0.5}),
]


@pytest.mark.parametrize(("recipe", "settings"), VARIANTS, ids=lambda value: str(value))
def test_an_interrupted_run_equals_an_uninterrupted_one_bit_for_bit(recipe, settings):
    whole = Finished.of(recipe, settings).outcome
    first, checkpoints = fit(recipe, settings), []
    for _ in itertools.islice(first, EPOCHS - 1):
        saved = io.BytesIO()
        torch.save(first.state_dict(), saved)
        checkpoints.append(saved.getvalue())
    for epoch, checkpoint in enumerate(checkpoints):
        torch.rand(7)  # a new process has drawn other numbers
        continued = fit(recipe, settings)
        continued.load_state_dict(torch.load(io.BytesIO(checkpoint), weights_only=True))
        assert same(whole, outcome(continued)), f"interrupted after epoch {epoch}"


def test_a_run_gives_the_same_numbers_first_or_after_others():
    first = [Finished.of(recipe).outcome for recipe in LONG_RUNS]
    again = [outcome(fit(recipe)) for recipe in reversed(LONG_RUNS)]
    assert all(same(a, b) for a, b in zip(first, reversed(again), strict=True))


ADJUSTMENTS = [name for name, method in METHODS.items() if issubclass(method, Adjustment)]


@pytest.mark.parametrize("name", ADJUSTMENTS)
def test_an_adjustment_leaves_training_as_it_is_and_changes_what_is_predicted(name):
    others = ("lds", "ranksim", "smogn")
    task = next(task for task in METHODS[name].tasks)
    objective = "l1" if task == "regression" else "arb"
    methods = tuple(other for other in others if task in METHODS[other].tasks)
    plain, adjusted = (outcome(fit(Recipe(objective, (*methods, *more), "rrt"))) for more in ((), (name,)))
    changed = {key for key in plain if not torch.equal(plain[key], adjusted.get(key, plain[key]))}
    assert changed <= {"prediction", "effective"} and "prediction" in changed


PREDICTED = [
    *((recipe_with(part), {}) for part in PARTS if part != "lws"),
    (Recipe("pseudo_counts", ("lds", "vir"), "two_stages"), {"two_stages.first": "l1"}),
    (Recipe("ldam", ("class_balanced",), "drw"), {}),
    (Recipe("cross_entropy", ("tau_norm",), "lws"), {"lws.share": 0.5, "train.keep": "best"}),
]


@pytest.mark.parametrize(("recipe", "settings"), PREDICTED, ids=str)
def test_a_model_apart_from_its_data_predicts_what_its_run_does(recipe, settings):
    run = Finished.of(recipe, settings).run
    toy, data = TOYS[task_of(recipe)], DATA[task_of(recipe)]
    complete = settle(recipe, settings)
    setup = Setup(str(recipe), complete, toy.grid, data.units, toy.bin_counts(data))
    model = Predictor(setup, toy.encoder(data), run.tensors())
    x = data.test.inputs(torch.arange(len(data.test.y)), CPU)
    assert torch.equal(torch.from_numpy(model.predict(x)), torch.from_numpy(run.predict(data.test)))


def test_another_seed_gives_other_numbers():
    recipe = Recipe("l1", ("ranksim", "smogn"))
    assert not same(outcome(fit(recipe)), outcome(fit(recipe, seed=1)))


class Idle(Method):
    """Does nothing."""

    source = "made up"
    tasks = ("regression", "classification")


class IdleAfterwards(Adjustment):
    """Does nothing after training."""

    source = "made up"

    def adjust(self, held_out):
        return lambda output: output


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("idle", [Idle, IdleAfterwards])
def test_a_method_that_changes_nothing_warns_once(monkeypatch, plan, idle):
    monkeypatch.setitem(METHODS, "idle", idle)
    monkeypatch.setitem(PARTS, "idle", idle)
    monkeypatch.setitem(EVERY_PART, "idle", idle)
    with pytest.warns(NoEffectWarning, match="idle changed nothing up to epoch 0") as caught:
        outcome(fit(Recipe("l1" if "regression" in PLANS[plan].tasks else "cross_entropy", ("idle",), plan)))
    assert len(caught) == 1


@pytest.mark.parametrize("part", ["inv", "sqinv", "class_balanced", "balanced", "smoter"])
def test_a_method_of_rare_labels_warns_where_none_is_rare(part):
    toy, data = TOYS["regression"], DATA["regression"]
    even = type(data)(
        type(data.train)(torch.randn(60, 5), torch.arange(60.0) % 30), data.val, data.test, data.units, "e"
    )
    recipe = Recipe("l1", (part,))
    run = Fit(toy, even, recipe, settle(recipe, toy.settings, {"train.epochs": 1}), 0, CPU)
    with pytest.warns(NoEffectWarning, match=f"{part} changed nothing"):
        outcome(run)


def test_a_continued_run_does_not_warn_of_a_method_that_acted_before():
    recipe = Recipe("l1", ("ranksim",), "rrt")  # a frozen encoder leaves RankSim nothing to do in stage 2
    first = fit(recipe)
    for epoch in first:
        if epoch.epoch == EPOCHS - 2:
            break
    continued = fit(recipe)
    continued.load_state_dict(first.state_dict())
    outcome(continued)  # warnings are errors here


@pytest.mark.parametrize("recipe", LONG_RUNS, ids=str)
def test_every_part_trains_in_half_precision(recipe):
    run = fit(recipe, {"train.precision": "bf16"}, epochs=2)
    finished = outcome(run)
    assert torch.isfinite(finished["loss"]).all() and torch.isfinite(finished["prediction"]).all()


WAITS = frozenset({"ranksim", "ordinal_entropy"})
"""Methods that wait for the device once a step; the reason is written beside the line."""


class NoHiddenWait(TorchDispatchMode):
    """Refuses operations that read a value inside, where fake tensors cannot see it."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        # It looks at the sum of its weights when it draws one, or without replacement.
        assert func is not torch.ops.aten.multinomial.default, "multinomial waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("part", [name for name, part in PARTS.items() if name not in PLANS])
def test_no_hook_waits_for_the_device_unless_it_says_so(part):
    # Fake tensors have no values: whatever would read one (item, a mask as an index, if) raises.
    recipe = recipe_with(part)
    toy = TOYS[task_of(recipe)]
    run = fit(recipe)
    run.load_state_dict(Finished.of(recipe).run.state_dict())  # past every warm-up
    run.model.train()
    rows = torch.arange(16)
    x, y = run.data.train.inputs(rows, CPU), run.data.train.y[rows]
    batch = (x, y, torch.from_numpy(toy.grid.bin(y.numpy())), rows)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, NoHiddenWait():
        given = Batch(*(mode.from_tensor(value) for value in batch), EPOCHS, 0)
        if part in WAITS:
            with pytest.raises(DynamicOutputShapeException):
                run.model.loss(given)
        else:
            run.model.loss(given).backward()


@pytest.mark.parametrize("part", EVERY_PART)
def test_every_part_says_what_it_computes_and_where_from(part):
    doc = EVERY_PART[part].__doc__
    assert doc and doc.splitlines()[0].endswith((".", ":")), part
    assert EVERY_PART[part].source
