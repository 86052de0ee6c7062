import optuna
import pytest
from optuna.trial import TrialState

from builders import cell
from orchestrator.study import cells
from orchestrator.study.space import Observation, ask, distribution, suggest
from workloads import WORKLOADS
from workloads.hparams import Choice
from workloads.recipe import PARTS

RULE = "val/mae/all"
METHODS = ["lds", "fds", "ranksim", "distloss"]


def told(number: int, made: dict[str, object]) -> Observation:
    return Observation(made, TrialState.COMPLETE, 10.0 - number)  # type: ignore[arg-type]


def test_the_first_trial_is_the_workloads_setting_or_else_the_declared_default() -> None:
    made = suggest(cell("l1 + lds + ranksim"), "tpe", RULE, 0, [])
    settings = WORKLOADS["nhanes-sbp"].settings
    assert "ranksim.weight" in settings
    for name, value in made.items():
        part, _, hparam = name.partition(".")
        assert value == settings.get(name, PARTS[part].Hparams.declared()[hparam].default)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.parametrize("method", METHODS)
def test_what_optuna_samples_from_is_what_the_method_declares(sampler: str, method: str) -> None:
    made = cell(f"l1 + {method}")
    axes = {axis.name: axis for axis in made.axes}
    assert axes
    for number in range(1, 6):
        for name, found in ask(made, sampler, RULE, number, []).distributions.items():
            declared = PARTS[method].Hparams.declared()[name.split(".")[1]].range
            assert axes[name].range == declared
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
    from orchestrator.study.space import _frozen

    frozen = _frozen(
        cell("l1 + lds"), Observation({"lds.kernel": "triang"}, TrialState.PRUNED, None, ((0, 5.0), (1, 4.0)))
    )
    assert frozen.state is TrialState.PRUNED
    assert frozen.intermediate_values == {0: 5.0, 1: 4.0}
    assert isinstance(frozen, optuna.trial.FrozenTrial)


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
