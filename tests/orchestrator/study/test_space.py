from dataclasses import replace
from itertools import combinations

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from scipy.stats import chisquare, kstest

from builders import cell
from orchestrator.study import cells
from orchestrator.study.axes import BASE
from orchestrator.study.hyperparameters import declared
from orchestrator.study.samplers import sampler_named
from orchestrator.study.space import START, Observation, ask, distribution, frozen, suggest
from workloads import WORKLOADS
from workloads.hparams import Choice, Int

RULE = "val/mae/all"
METHODS = ["lds", "fds", "ranksim", "distloss"]


BEFORE = {"train.epochs": 30, "train.batch_size": 256, "train.lr": 1e-3, "train.schedule": "cosine"}


@pytest.fixture
def first_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """`nhanes-sbp` as it was in its first version: its weights did not decay."""
    monkeypatch.setitem(WORKLOADS, "nhanes-sbp", replace(WORKLOADS["nhanes-sbp"], settings=BEFORE, version=1))


def told(number: int, made: dict[str, object]) -> Observation:
    return Observation(made, TrialState.COMPLETE, 10.0 - number)  # type: ignore[arg-type]


def test_the_first_trial_is_the_workloads_setting_or_else_the_declared_default() -> None:
    made = suggest(cell("l1 + lds + ranksim"), "tpe", RULE, 0, [])
    settings = WORKLOADS["nhanes-sbp"].settings
    assert "ranksim.weight" in settings
    for name, value in made.items():
        part, _, hparam = name.partition(".")
        assert value == settings.get(name, declared(part)[hparam].default)


@pytest.mark.parametrize("method", METHODS)
def test_what_optuna_samples_from_is_what_the_method_declares(method: str) -> None:
    made = cell(f"l1 + {method}")
    axes = {axis.name: axis for axis in made.axes}
    assert axes
    for number in range(1, 6):
        for name, found in ask(made, optuna.samplers.RandomSampler(number), ["minimize"]).distributions.items():
            if name not in BASE:
                assert axes[name].range == declared(method)[name.split(".")[1]].range
            assert found == distribution(axes[name])


@pytest.mark.parametrize("method", METHODS)
def test_every_suggestion_is_a_valid_setting(method: str) -> None:
    made = cell(f"l1 + {method}")
    history: list[Observation] = []
    for number in range(15):
        settings = suggest(made, "tpe", RULE, number, history)
        made.trial("tune", number, settings)  # raises for a value outside its range
        history.append(told(number, settings))


def test_a_hyperparameter_without_effect_is_not_suggested() -> None:
    made = cell("l1 + lds")
    seen = set()
    for number in range(1, 30):
        settings = suggest(made, "random", RULE, number, [])
        seen.add(settings["lds.kernel"])
        assert ("lds.sigma" in settings) == (settings["lds.kernel"] != "triang")
    assert seen == {"gaussian", "triang", "laplace"}


def test_a_suggestion_is_a_function_of_its_arguments_alone() -> None:
    made = cell("l1 + lds + fds")
    history: list[Observation] = []
    for number in range(14):
        settings = suggest(made, "tpe", RULE, number, history)
        assert settings == suggest(made, "tpe", RULE, number, list(history))
        history.append(told(number, settings))


def test_results_change_what_is_suggested_once_there_are_enough() -> None:
    made = cell("l1 + lds")
    settings = [suggest(made, "random", RULE, number, []) for number in range(20)]
    up = [Observation(s, TrialState.COMPLETE, float(i)) for i, s in enumerate(settings)]
    down = [Observation(s, TrialState.COMPLETE, float(-i)) for i, s in enumerate(settings)]
    assert suggest(made, "tpe", RULE, 20, up) != suggest(made, "tpe", RULE, 20, down)


def test_a_narrowed_range_is_what_is_sampled() -> None:
    made = cell("l1 + lds", space={"lds.sigma": {"low": 1, "high": 1.5}, "lds.kernel": ["laplace"], "lds.width": 9})
    axes = {axis.name: axis.range for axis in made.axes}
    assert axes["lds.kernel"] == Choice("laplace")
    assert "lds.width" not in axes
    for number in range(10):
        settings = suggest(made, "random", RULE, number, [])
        assert settings["lds.kernel"] == "laplace"
        assert 1 <= float(settings["lds.sigma"]) <= 1.5
        assert made.trial("tune", number, settings).settings["lds.width"] == 9


def test_a_stopped_trial_reaches_optuna_as_pruned_with_its_curve() -> None:
    made = frozen(
        cell("l1 + lds"), Observation({"lds.kernel": "triang"}, TrialState.PRUNED, None, ((0, 5.0), (1, 4.0)))
    )
    assert made.state is TrialState.PRUNED
    assert made.intermediate_values == {0: 5.0, 1: 4.0}
    assert isinstance(made, optuna.trial.FrozenTrial)


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """A paper with settings that are searched, and some that are not."""
    made: dict[str, object] = {"bmse.variant": "gai", "bmse.noise": 1.0, "bmse.learn": False, "train.batch_size": 64}
    monkeypatch.setattr(cells, "first_settings", lambda workload, recipe: made)
    return made


def test_published_settings_that_are_not_searched_are_those_of_the_first_trial_alone(paper: dict[str, object]) -> None:
    made = cell("bmse")
    first = suggest(made, "tpe", RULE, 0, [])
    assert paper.items() <= first.items()
    trained = made.trial("tune", 0, first).settings
    assert (trained["bmse.learn"], trained["train.batch_size"]) == (False, 64)
    assert made.trial("evaluate", 3, first).settings == trained  # what is evaluated is what was selected
    later = made.trial("tune", 1, suggest(made, "tpe", RULE, 1, [told(0, first)])).settings
    assert "bmse.learn" not in later and later.get("train.batch_size") != 64


def test_what_a_study_says_wins_over_the_paper(paper: dict[str, object]) -> None:
    made = cell("bmse", train={"batch_size": 32}, space={"bmse.learn": True, "bmse.variant": ["bmc", "bni"]})
    trained = made.trial("tune", 0, suggest(made, "tpe", RULE, 0, [])).settings
    assert trained["train.batch_size"] == 32 and "bmse.learn" not in trained
    assert trained.get("bmse.variant", "bmc") == "bmc" and trained["bmse.noise"] == 1.0


RECIPES = ["l1", "l1 + lds", "l1 + fds", "l1 + lds + fds", "l1 + lds + fds + ranksim + distloss"]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_part_tries_the_same_settings_in_every_recipe(sampler: str) -> None:
    made = [cell(recipe) for recipe in RECIPES]
    for number in sorted(START):
        seen: dict[str, object] = {}
        for each in made:
            settings = suggest(each, sampler, RULE, number, [])
            assert settings.keys() >= BASE.keys()
            for name, value in settings.items():
                assert seen.setdefault(name, value) == value, f"{name} in {each.name}, trial {number}"


def test_copies_replicates_workloads_and_numbers_draw_other_settings() -> None:
    one = cell("l1 + lds")
    others = [replace(one, copy=1), replace(one, replicate=1), replace(one, workload="nhanes-bmi")]
    drawn = [suggest(each, "random", RULE, 1, []) for each in (one, *others)]
    drawn += [suggest(one, "random", RULE, number, []) for number in range(2, 6)]
    assert len({settings["train.lr"] for settings in drawn}) == len(drawn)


def test_paired_draws_have_the_distribution_that_is_declared() -> None:
    """Each axis alone: uniform on its scale; and two axes of one trial: without correlation."""
    made = cell("l1 + lds + fds")
    axes = {axis.name: axis for axis in made.axes}
    drawn = [suggest(made, "random", RULE, number, []) for number in range(1, 1001)]
    ranks: dict[str, dict[int, float]] = {}
    for name, axis in axes.items():
        values = {number: s[name] for number, s in enumerate(drawn) if name in s}
        limits = axis.range
        if isinstance(limits, Choice | Int):
            options = limits.options if isinstance(limits, Choice) else range(limits.low, limits.high + 1, limits.step)
            counts = [sum(value == option for value in values.values()) for option in options]
            assert chisquare(counts).pvalue > 1e-4, name
        else:
            scale = np.log if limits.log else np.asarray
            low, high = (float(scale(end)) for end in (limits.low, limits.high))
            ranks[name] = {number: (float(scale(v)) - low) / (high - low) for number, v in values.items()}
            assert kstest(list(ranks[name].values()), "uniform").pvalue > 1e-4, name
    for a, b in combinations(ranks, 2):
        both = sorted(ranks[a].keys() & ranks[b].keys())
        r = np.corrcoef([ranks[a][n] for n in both], [ranks[b][n] for n in both])[0, 1]
        assert abs(r) < 4 / np.sqrt(len(both)), f"{a} and {b}"


def test_tpe_acts_after_its_start_and_in_no_trial_of_it() -> None:
    """A trial of the start ignores the results; the first one after it draws near the better of two far settings."""
    made = cell("l1", space={"train.weight_decay": 0.0, "train.lr": {"low": 1e-6, "high": 1.0, "log": True}})
    assert [sampler_named("tpe").random(trials, 2) for trials in (1, 4, 5, 16, 100)] == [1, 4, 4, 8, 10]
    assert [sampler_named("tpe").random(trials, 1) for trials in (4, 16)] == [4, 10]
    assert sampler_named("random").random(100, 2) == 100

    def near(good: float, number: int) -> list[object]:
        known = [Observation({"train.lr": lr}, TrialState.COMPLETE, float(lr != good)) for lr in (1e-5, 1e-1)]
        copies = [replace(made, copy=copy) for copy in range(40)]
        return [suggest(each, "tpe", RULE, number, known)["train.lr"] for each in copies]

    assert near(1e-5, 3) == near(1e-1, 3)
    low, high = (np.median(np.log10(np.array(near(good, 4), dtype=float))) for good in (1e-5, 1e-1))
    assert low < -3.5 < -2.5 < high


@pytest.mark.usefixtures("first_version")
def test_tpe_is_told_a_first_setting_outside_the_range_as_the_nearest_one_inside() -> None:
    made = cell("l1")
    first = suggest(made, "tpe", RULE, 0, [])
    assert first["train.weight_decay"] == 0.0
    assert suggest(made, "tpe", RULE, 4, [told(0, first)]).keys() == BASE.keys()


@pytest.mark.usefixtures("first_version")
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_the_first_protocol_suggests_what_commit_80772a4_did_under_the_same_ids(sampler: str) -> None:
    """Printed by that commit: its ledgers are resumed."""
    made = cell("l1 + lds", protocol=1)
    assert [axis.name for axis in made.axes] == ["lds.kernel", "lds.width", "lds.sigma"]
    printed = [
        ({"lds.kernel": "triang", "lds.width": 9}, "078656727cfe0fc11c61"),
        ({"lds.kernel": "triang", "lds.width": 11}, "3e09a013a205ba0c80b9"),
        ({"lds.kernel": "laplace", "lds.width": 5, "lds.sigma": 2.4003403882673457}, "76dccda19cf9388f5205"),
    ]
    for number, (settings, trial_id) in enumerate(printed, 1):
        assert suggest(made, sampler, RULE, number, []) == settings
        assert made.trial("tune", number, settings).id == trial_id
