"""Every sampler: what it draws is what is declared, and the same again from the same arguments."""

import math
from collections import Counter
from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState
from scipy.stats import chisquare, kstest

from builders import cell, record, study
from orchestrator.errors import BadInput
from orchestrator.study import samplers
from orchestrator.study.axes import Axis, at, share_of
from orchestrator.study.cells import Cell, expand
from orchestrator.study.planner import Planner
from orchestrator.study.samplers import FAMILIES, sampler_named
from orchestrator.study.samplers.family import Family
from orchestrator.study.samplers.grid import POINTS, points
from orchestrator.study.space import Observation, acts, suggest
from orchestrator.study.spec import Study
from workloads.hparams import Choice, Float, Int

RULE = "val/mae/all"
NUMBERS = {"train.lr": {"low": 1e-4, "high": 1e-2, "log": True}, "train.weight_decay": {"low": 0.0, "high": 0.1}}
MIXED: dict[str, Any] = {
    **NUMBERS,
    "lds.width": {"low": 3, "high": 9},
    "lds.kernel": ["gaussian", "laplace", "triang"],
    "lds.sigma": {"low": 1.0, "high": 3.0, "when": {"lds.kernel": ["gaussian"]}},
}
DRAWS = 2000


def drawn(made: Cell, sampler: str, numbers: int) -> list[dict[str, Any]]:
    return [suggest(made, sampler, RULE, number, []) for number in range(1, numbers + 1)]


def shares(axis: Axis, values: list[Any]) -> list[float]:
    assert isinstance(axis.range, Float)
    return [share_of(axis, value) for value in values]


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_what_is_drawn_has_the_distribution_that_is_declared(sampler: str) -> None:
    """Floats and their logarithms uniform, whole numbers with their step and words alike, conditions as written."""
    made = cell("l1 + lds", space=MIXED)
    found = drawn(made, sampler, DRAWS)
    for axis in made.axes:
        values = [settings[axis.name] for settings in found if axis.name in settings]
        if axis.name == "lds.sigma":
            assert all((axis.name in s) == (s["lds.kernel"] == "gaussian") for s in found)
        else:
            assert len(values) == DRAWS
        if isinstance(axis.range, Float):
            assert kstest(shares(axis, values), "uniform").pvalue > 1e-3, axis.name
            continue
        limits = axis.range
        options = limits.options if isinstance(limits, Choice) else range(limits.low, limits.high + 1, limits.step)
        counts = Counter(values)
        assert counts.keys() == set(options)
        assert chisquare([counts[option] for option in options]).pvalue > 1e-3, axis.name


def test_quasi_random_points_are_spread_more_evenly_than_random_ones() -> None:
    made = cell("l1", space=NUMBERS)
    axis = made.axes[0]
    worst = {
        sampler: kstest(shares(axis, [s[axis.name] for s in drawn(made, sampler, 255)]), "uniform").statistic
        for sampler in ("qmc", "random")
    }
    assert worst["qmc"] < worst["random"] / 3


@given(share=st.floats(0, 1), low=st.floats(1e-6, 1), wide=st.floats(1, 1e3), log=st.booleans())
def test_a_share_of_a_range_lies_inside_and_leads_back(share: float, low: float, wide: float, log: bool) -> None:
    axis = Axis("a.b", Float(low, low * wide, log), low, {})
    value = at(axis, share)
    assert low <= float(value) <= low * wide
    assert wide < 1.01 or math.isclose(share_of(axis, value), share, abs_tol=1e-6)
    whole = Axis("a.b", Int(2, 13, 3), 2, {})
    assert at(whole, share) in (2, 5, 8, 11)
    assert at(Axis("a.b", Int(1, 100, log=True), 1, {}), share) in range(1, 101)


@pytest.mark.parametrize("sampler", FAMILIES)
def test_a_suggestion_depends_on_its_arguments_alone_and_is_a_valid_setting(sampler: str) -> None:
    space = {**NUMBERS, "lds.sigma": 2.0, "lds.width": {"low": 3, "high": 9}, "lds.kernel": "gaussian"}
    made = cell("l1 + lds", space=space, tune={"trials": 30, "sampler": sampler})
    history: list[Observation] = []
    for number in range(6 if sampler == "gp" else 14):
        settings = suggest(made, sampler, RULE, number, history)
        assert settings == suggest(made, sampler, RULE, number, list(history))
        made.trial("tune", number, settings)  # raises for a value outside its range
        state = TrialState.FAIL if number == 5 else TrialState.COMPLETE
        value = None if number == 5 else abs(math.log10(float(settings["train.lr"])) + 3.5)
        history.append(Observation(settings, state, value))


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes"])
def test_a_sampler_that_learns_comes_near_the_best_where_random_draws_do_not(sampler: str) -> None:
    made = cell("l1", space=NUMBERS)
    history: list[Observation] = []
    for number in range({"gp": 12, "tpe": 24, "cmaes": 40}[sampler]):
        settings = suggest(made, sampler, RULE, number, history)
        far = (math.log10(float(settings["train.lr"])) + 3.5) ** 2 + (
            10 * float(settings["train.weight_decay"]) - 0.2
        ) ** 2
        history.append(Observation(settings, TrialState.COMPLETE, far))
    learnt = [seen.score for n, seen in enumerate(history) if sampler_named(sampler).learns(n, 2)]
    assert np.median(learnt[-6:]) < np.median([seen.score for seen in history[:8]]) / 2


def test_a_grid_has_every_combination_once_and_the_study_ends_with_it() -> None:
    space = {"train.lr": [0.001, 0.01], "train.weight_decay": 0.0, "lds.width": {"low": 3, "high": 9}, "lds.sigma": 2.0}
    tree: dict[str, Any] = {"recipes": {"also": ["l1 + lds"]}, "space": space}
    made = study(**tree, tune={"trials": 40, "sampler": "grid", "rescore": 1, "parallel": 3})
    (only,) = expand(made)
    size = sampler_named("grid").size(only)
    assert size == 2 * 3 * POINTS
    found = [tuple(s.items()) for s in drawn(only, "grid", size)]
    assert len(set(found)) == size
    planner = Planner(made, [only], lambda trial_id, phase: None)
    while (trial := planner.next()) is not None:
        planner.finish(trial, record(trial, 1.0))
    first = size + 1 - len(planner.plans[0].repeats)
    assert (len(planner.plans[0].suggested), planner.total) == (size + 1, first + 2)


def test_a_grid_leaves_out_what_a_condition_leaves_out() -> None:
    made = cell("l1 + lds", space={**MIXED, "train.lr": 0.001, "train.weight_decay": 0.0, "lds.width": 5})
    assert [("lds.sigma" in point) for point in points(made)] == [True] * POINTS + [False] * 2


@pytest.mark.parametrize("sampler", ["tpe", "nsgaii"])
def test_several_objectives_are_searched_together(sampler: str) -> None:
    """Of two errors that fall towards different rates, a search by both tries more of what lies between."""
    made = cell("l1", space={**NUMBERS, "train.weight_decay": 0.0, "train.lr": {"low": 1e-6, "high": 1.0, "log": True}})
    rules = ("val/mae/many", "val/mae/few")
    history: list[Observation] = []
    for number in range(40):
        settings = suggest(made, sampler, rules, number, history)
        x = math.log10(float(settings["train.lr"]))
        history.append(Observation(settings, TrialState.COMPLETE, (abs(x + 3.5), abs(x + 2.5))))
    late = [math.log10(float(seen.settings["train.lr"])) for seen in history[24:]]
    assert sum(-4.5 < x < -1.5 for x in late) > len(late) / 2


def test_children_of_nsga_ii_descend_from_the_pareto_set_of_whole_generations() -> None:
    """Of ten trials the first eight are a generation: what the others found changes no child."""
    made = cell("l1", space={"train.lr": {"low": 0.1, "high": 0.9, "log": False}, "train.weight_decay": 0.0})
    rules, rates = ("val/mae/many", "val/mae/few"), [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85]
    first = [Observation({"train.lr": x}, TrialState.COMPLETE, (x, 1.0 - x)) for x in rates]
    spread = [suggest(made, "nsgaii", rules, 10, first)["train.lr"]]
    for best in (0.15, 0.45):
        more = [Observation({"train.lr": best}, TrialState.COMPLETE, (0.0, 0.0))] * 2
        assert suggest(made, "nsgaii", rules, 10, [*first, *more])["train.lr"] == spread[0]
    beaten = [Observation(seen.settings, TrialState.COMPLETE, (1.0, 1.0)) for seen in first[:-1]]
    alone = Observation({"train.lr": 0.85}, TrialState.COMPLETE, (0.0, 0.0))
    second = [Observation({"train.lr": 0.85}, TrialState.COMPLETE, (0.5, 0.5))] * 8
    children = [suggest(made, "nsgaii", rules, n, [*beaten, alone, *second])["train.lr"] for n in range(16, 40)]
    assert all(abs(float(child) - 0.85) < 0.2 for child in children), "no parent is one that all others beat"


class Halves(Family):
    """A sampler of another package."""

    words = "by halves"

    def suggest(self, cell: Cell, number: int, history: Any, directions: Any) -> dict[str, Any]:
        """The middle of every axis."""
        values: dict[str, Any] = {}
        for axis in cell.axes:
            if acts(cell, axis, values):
                values[axis.name] = at(axis, 0.5)
        return values


def test_a_sampler_of_another_package_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("halves", f"{__name__}:Halves", samplers.GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda self: Halves)
    monkeypatch.setattr(samplers, "entry_points", lambda group: [point])
    made = study(space=NUMBERS, tune={"trials": 2, "sampler": "halves"})
    planner = Planner(made, expand(made), lambda trial_id, phase: None)
    assert planner.plans[0].suggested[1]["train.weight_decay"] == pytest.approx(0.05)


def refused(**changes: Any) -> str:
    with pytest.raises(BadInput) as told:
        expand(study(**changes))
    assert "\n" not in str(told.value)
    return str(told.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tune": {"sampler": "tpo"}}, "tune.sampler is one of tpe, random, grid, qmc, gp, cmaes, nsgaii: got 'tpo'"),
        (
            {"tune": {"sampler": "grid"}},
            "tune.trials must cover the grid of nhanes-sbp/l1 + lds and its first setting: got 16",
        ),
        ({"tune": {"sampler": "gp"}}, "gp models spaces without conditions: got nhanes-sbp/l1 + lds, where lds.sigma"),
        ({"tune": {"sampler": "cmaes"}, "recipes": {"also": ["l1 + lds"]}}, "cmaes searches two or more numbers"),
        ({"tune": {"sampler": "cmaes"}, "space": {"train.lr": 0.001}}, "train.weight_decay alone is searched"),
        ({"tune": {"sampler": "qmc"}, "protocol": 1}, "tune.sampler must be tpe or random under protocol: 1"),
        ({"tune": {"sampler": "cmaes", "select_by": ["val/mae/many", "val/mae/few"]}}, "cmaes searches by one rule"),
        (
            {"tune": {"select_by": ["val/mae/all"], "pick": "luck"}},
            "tune.pick is one of ideal, knee, first, worst_rank",
        ),
        ({"tune": {"select_by": ["val/mae/all", "val/mae/all"]}}, "tune.select_by names every rule once"),
        ({"tune": {"select_by": ["val/mae/all", "test/mae/few"]}}, "tune.select_by is val/METRIC/REGION"),
        ({"tune": {"select_by": []}}, "tune.select_by lists at least one rule"),
        (
            {"tune": {"select_by": ["val/mae/many", "val/mae/few"], "scheduler": "asha"}},
            "tune.scheduler stops trials by one rule: got asha with 2",
        ),
    ],
)
def test_a_search_that_cannot_be_is_refused_before_any_work(changes: dict[str, Any], message: str) -> None:
    assert message in refused(**changes)


def test_a_missing_package_of_a_sampler_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workloads.extras.find_spec", lambda module: None if module == "cmaes" else object())
    assert "pip install 'tailsweep[search]'" in refused(tune={"sampler": "cmaes"}, recipes={"also": ["l1"]})


KERNELS = ["gaussian", "triang"]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"lds.sigma": {"low": 1, "high": 2, "when": {"lds.kernl": KERNELS}}}, "no hyperparameter 'kernl'"),
        ({"lds.sigma": {"low": 1, "high": 2, "when": {"ldz.kernel": KERNELS}}}, "no part 'ldz'"),
        ({"lds.sigma": {"low": 1, "high": 2, "when": {"lds.kernel": ["box"]}}}, "must be one of gaussian"),
        ({"lds.sigma": {"low": 1, "high": 2, "when": {"lds.kernel": "triang"}}}, "must list at least one value"),
        ({"lds.sigma": {"low": 1, "high": 2, "when": {}}}, "when maps part.hyperparameter to a list of values"),
        (
            {"lds.sigma": {"low": 1, "high": 2, "when": {"lds.kernel": ["triang"]}}},
            "acts only if lds.kernel is gaussian",
        ),
        (
            {"lds.width": {"low": 3, "high": 9, "when": {"lds.kernel": ["triang"]}}, "lds.kernel": ["laplace"]},
            "would never be searched: it needs lds.kernel to be triang, and that is laplace",
        ),
        ({"lds.width": {"low": 3, "high": 9, "when": {"train.lr": [0.001]}}}, "looks at listed values"),
        (
            {
                "lds.width": {"values": [3, 5], "when": {"lds.kernel": ["gaussian"]}},
                "lds.kernel": {"values": KERNELS, "when": {"lds.width": [3]}},
            },
            "conditions must not go in a circle",
        ),
        ({"lds.width": {"values": [3, 5]}}, "with values has a condition"),
        ({"lds.width": {"low": 3, "values": [3, 5], "when": {"lds.kernel": KERNELS}}}, "unknown key 'low'"),
    ],
)
def test_a_condition_that_cannot_hold_is_refused_with_the_way_out(space: dict[str, Any], message: str) -> None:
    assert message in refused(space=space, recipes={"also": ["l1 + lds"]})


def test_conditions_of_a_study_hold_across_parts_and_in_any_order() -> None:
    space = {
        "train.lr": {"low": 1e-4, "high": 1e-2, "when": {"lds.width": [3]}},
        "lds.width": {"values": [3, 5], "when": {"lds.kernel": ["gaussian"]}},
        "lds.kernel": KERNELS,
        "train.weight_decay": 0.0,
    }
    made = cell("l1 + lds", space=space)
    for settings in drawn(made, "random", 60):
        assert ("lds.width" in settings) == (settings["lds.kernel"] == "gaussian")
        width = settings.get("lds.width", 5)  # the default where it is not searched
        assert ("train.lr" in settings) == (width == 3)
    both = expand(study(recipes={"also": ["l1", "l1 + lds"]}, space=space))
    assert both[0].axes == ()  # nothing is there that its condition could hold on


def test_what_a_study_says_in_new_keys_changes_nothing_of_one_that_does_not_use_them() -> None:
    plain = study()
    assert not {"beside", "pick"} & plain.definition()["tune"].keys()
    several = study(tune={"select_by": ["val/mae/many", "val/mae/few"], "pick": "knee"})
    assert several.tune.rules == ("val/mae/many", "val/mae/few")
    assert Study.of(several.model_dump(mode="json")) == several
    assert study(tune={"select_by": ["val/mae/all"]}).tune == study(tune={}).tune
    narrow = study(space={"lds.sigma": {"low": 1, "high": 2}})
    assert "when" not in narrow.model_dump(mode="json")["space"]["lds.sigma"]
