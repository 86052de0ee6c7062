"""Reports of several studies, or of a part: the numbers that a study of all would give, and the same bytes."""

import random
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders import study
from orchestrator.api import Outcome, merged, outcome
from orchestrator.errors import BadInput
from orchestrator.ledger.copying import copy
from orchestrator.ledger.ledger import Ledger
from orchestrator.report.asked import Asked, thresholds
from orchestrator.report.outputs import FORMATS
from orchestrator.report.page.assemble import partial
from orchestrator.report.page.parts.provenance import provenance, rows_again
from orchestrator.report.sections import Results
from orchestrator.study.cells import Trial
from orchestrator.study.spec import Study
from reported import declared, fill, filled
from workloads.labels import REGIONS, Shots
from workloads.metrics import shot_metrics


def words(results: Results) -> str:
    (section,) = results.sections
    return "\n".join([section.partial, *section.verdict, *section.notes])


def asked(state: Outcome, **changes: Any) -> Results:
    return merged([state], Asked(**changes))


def test_studies_that_share_a_workload_are_one_table_with_the_numbers_of_a_study_of_both(tmp_path: Path) -> None:
    whole = filled(tmp_path, recipes={"also": ["l1", "l1 + lds", "l1 + fds"]}, storage=str(tmp_path / "whole"))
    halves = [
        filled(tmp_path, study=name, recipes={"also": recipes}, storage=str(tmp_path / name))
        for name, recipes in (("one", ["l1", "l1 + lds"]), ("two", ["l1 + fds"]))
    ]
    (together,), (apart,) = merged(halves).sections, whole.results.sections
    assert together.table == apart.table
    assert together.table.comparisons["l1 + fds", together.table.primary].base == "l1"
    assert any(note.startswith("Study two. Budget") for note in together.notes)


def test_a_recipe_of_two_studies_is_told_apart_by_their_names_unless_it_is_the_same_trials(tmp_path: Path) -> None:
    first = filled(tmp_path, study="one", recipes={"also": ["l1", "l1 + lds"]})
    same = filled(tmp_path, study="two", recipes={"also": ["l1", "l1 + fds"]})
    (section,) = merged([first, same]).sections
    assert [row.recipe for row in section.table.recipes] == ["l1", "l1 + lds", "l1 + fds"]
    other = filled(tmp_path, study="three", recipes={"also": ["l1", "l1 + fds"]}, train={"lr": 0.5})
    (section,) = merged([first, other]).sections
    assert [row.recipe for row in section.table.recipes] == ["l1 (one)", "l1 + lds", "l1 (three)", "l1 + fds"]
    bases = {recipe: made.base for (recipe, _), made in section.table.comparisons.items()}
    assert (bases["l1 + lds"], bases["l1 + fds"]) == ("l1 (one)", "l1 (three)")


def test_the_page_of_several_studies_has_the_definition_of_each_and_makes_a_row_again_from_its_own(
    tmp_path: Path,
) -> None:
    both = [
        filled(tmp_path, study=name, recipes={"also": recipes})
        for name, recipes in (("one", ["l1"]), ("two", ["l1 + fds"]))
    ]
    results = merged(both)
    text = "".join(part.body for part in (*(rows_again(results, one) for one in results.sections), provenance(results)))
    for name, recipe in (("one", "l1"), ("two", "l1 + fds")):
        assert f'download="{name}.yaml"' in text
        (command,) = (line for line in unescape(text).splitlines() if f'{{"also": ["{recipe}"]}}' in line)
        assert command.startswith(f"<dd><code>tailsweep sweep {name}.yaml --set ")
    assert not partial(results)


def test_studies_that_repeat_tuning_differently_are_no_rows_of_one_table(tmp_path: Path) -> None:
    once = filled(tmp_path, study="one")
    again = {"trials": 2, "sampler": "random", "rescore": 1, "replicates": 2}
    twice = filled(tmp_path, study="two", recipes={"also": ["l1", "l1 + fds"]}, tune=again, evaluate={"seeds": 1})
    law = (
        "rows of one table must repeat tuning alike: potassium has no replicates in study one, 2 replicates of 1 seeds"
    )
    with pytest.raises(BadInput, match=law):
        merged([once, twice])


def test_rows_of_other_data_are_no_rows_of_one_table(tmp_path: Path) -> None:
    first = filled(tmp_path, study="one")
    mine = declared(tmp_path / "elsewhere", rows=300)
    other = filled(tmp_path, study="two", workloads=[mine])
    with pytest.raises(BadInput, match=r"must be of the same data: potassium is .* in study one, .* in study two"):
        merged([first, other])
    with pytest.raises(BadInput, match="names of their own"):
        merged([first, first])


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return filled(tmp_path_factory.mktemp("state"), recipes={"also": ["l1", "l1 + lds", "l1 + fds"]})


def test_a_part_has_the_rows_that_were_named_with_their_base_and_the_controls(state: Outcome) -> None:
    (section,) = asked(state, recipes=("l1 + fds",)).sections
    assert [row.recipe for row in section.table.recipes] == ["l1", "l1 + fds"]
    assert section.table.control is not None
    with pytest.raises(BadInput, match=r"no recipe 'l1 \+ fd'.*did you mean 'l1 \+ fds'"):
        asked(state, recipes=("l1 + fd",))
    with pytest.raises(BadInput, match="no workload 'sodium' in the report; known: potassium"):
        asked(state, workloads=("sodium",))


def test_other_metrics_and_regions_are_computed_from_kept_predictions(state: Outcome) -> None:
    (section,) = asked(state, metrics=("rmse", "mae"), regions=(30.0, 10.0)).sections
    assert {metric for metric, _ in section.table.columns} == {"rmse", "mae"}
    workload, data = section.workload, section.data
    assert workload.shots == Shots(30, 10)
    counts = workload.grid.counts(data.train.y.numpy())
    n = counts[workload.grid.bin(data.test.y.numpy())]
    expected = np.select([n == 0, n > 30, n < 10], [3, 0, 2], default=1)
    (plan,) = (plan for plan in section.plans if plan.row == "l1 + lds")
    values = []
    for record in plan.records("evaluate"):
        kept = state.ledger.predictions(record)
        y, pred = kept["y"].to_numpy(), kept["pred"].to_numpy()
        values.append({r: float(np.abs(pred - y)[expected == i].mean()) for i, r in enumerate(REGIONS) if r != "zero"})
        made = shot_metrics(pred, y, expected, ("rmse",), 1.0)
        assert made["few"]["rmse"].value is not None
    (row,) = (row for row in section.table.rows if row.recipe == "l1 + lds")
    for region in ("many", "medium", "few"):
        assert row.scores["mae", region].mean == pytest.approx(np.mean([value[region] for value in values]))
        assert section.table.counts[region] == (expected == REGIONS.index(region)).sum()
    assert "many > 30, few < 10" in section.notes[0]
    as_before = asked(state, regions=(40.0, 15.0)).sections[0].table
    for ours, theirs in zip(as_before.rows, state.sections[0].table.rows, strict=True):
        assert ours.scores.keys() == theirs.scores.keys()
        for column, score in ours.scores.items():
            assert score.mean == pytest.approx(theirs.scores[column].mean)


@pytest.mark.parametrize("text", ["50", "a,b", "10,50", "50,0", "1,2,3"])
def test_thresholds_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="regions"):
        thresholds(text)


def test_a_metric_that_nobody_knows_is_refused(state: Outcome) -> None:
    with pytest.raises(BadInput, match=r"no metric 'mea'; known: absrel, .*mae"):
        asked(state, metrics=("mea",))


def test_rows_are_compared_with_any_row_or_the_best_recipe_or_control(state: Outcome) -> None:
    table = state.sections[0].table
    assert table.leader is not None and table.control is not None
    for against, base in (("l1 + fds", "l1 + fds"), ("best", table.leader.recipe), ("control", table.control.recipe)):
        (section,) = asked(state, against=against).sections
        assert section.table.bases == (base,)
        assert base not in section.table.compared and "l1" in section.table.compared
    with pytest.raises(BadInput, match="no row 'l2'"):
        asked(state, against="l2")


def texts(results: Results) -> dict[str, str | bytes]:
    """What can be made without drawing."""
    return {name: make(results) for name, make in FORMATS.items() if name != "html"}


def test_a_report_is_the_same_bytes_from_shuffled_merged_and_compacted_storages(state: Outcome, tmp_path: Path) -> None:
    expected = texts(state.results)
    source = Ledger(state.study.storage)
    keys = source.store.keys("ledger/")

    def moved(name: str, change: Callable[[Ledger, Ledger], None]) -> Results:
        made = state.study.model_copy(update={"storage": str(tmp_path / name)})
        halves = [Ledger(str(tmp_path / f"{name}-{half}")) for half in "ab"]
        random.Random(name).shuffle(keys)
        for number, key in enumerate(keys):
            halves[number % 2].store.put(key, source.store.get(key) or b"")
        change(*halves)
        for half in halves:
            copy(half, Ledger(made.storage), lambda said: None)
        return outcome(made).results

    def compacted(first: Ledger, second: Ledger) -> None:
        first.compact("tune")
        second.compact("evaluate")

    assert texts(moved("shuffled", lambda a, b: None)) == expected
    assert texts(moved("compacted", compacted)) == expected
    again = Ledger(state.study.storage)
    again.compact("evaluate")
    assert texts(outcome(state.study).results) == expected


def without(recipe: str, number: int) -> Callable[[Trial], bool]:
    return lambda trial: str(trial.cell.recipe) == recipe and trial.phase == "evaluate" and trial.number >= number


def test_a_base_that_is_not_in_the_study_is_told(tmp_path: Path) -> None:
    state = filled(tmp_path, recipes={"also": ["l1 + lds", "l1 + fds"]})
    assert "Not compared, since l1 without methods is not in the study: l1 + lds, l1 + fds." in words(state.results)
    assert not state.sections[0].table.comparisons
    state = filled(tmp_path, recipes={"also": ["l1", "l1 + lds", "mse + lds"]}, study="other")
    assert "Not compared, since mse without methods is not in the study: mse + lds." in words(state.results)
    assert texts(state.results)


def test_one_seed_is_told(tmp_path: Path) -> None:
    state = filled(tmp_path, evaluate={"seeds": 1})
    assert "One seed says nothing of the error: no interval, p or mark for l1, l1 + lds." in words(state.results)
    assert texts(state.results)


def test_missing_cells_and_seeds_make_a_report_that_says_first_that_it_is_partial(tmp_path: Path) -> None:
    state = filled(tmp_path, without("l1 + lds", 1), recipes={"also": ["l1", "l1 + lds", "l1 + fds"]})
    (section,) = state.sections
    assert section.partial == "Partial: 1 of 3 recipes lack seeds: `l1 + lds` 1 of 3."
    assert "Recipes have 1 to 3 seeds" in words(state.results)
    assert "**Partial: 1 of 3" in str(texts(state.results)["md"])
    none = filled(tmp_path, without("l1 + lds", 0), study="none", train={"lr": 0.1})
    assert none.sections[0].partial.startswith("Partial: 1 of 2 recipes lack seeds: `l1 + lds` 0 of 3")
    assert texts(none.results)


def test_a_study_that_has_only_begun_is_reported(tmp_path: Path) -> None:
    made = study(workloads=[declared(tmp_path)], storage=str(tmp_path / "results"))
    state = outcome(made)
    assert state.sections[0].partial == "Partial: 2 of 2 recipes lack seeds: `l1` 0 of 2, `l1 + lds` 0 of 2."
    assert not state.sections[0].verdict
    assert texts(state.results)


def test_unequal_budgets_are_told(tmp_path: Path) -> None:
    first = filled(tmp_path, study="one", recipes={"also": ["l1", "l1 + lds"]})
    other = filled(tmp_path, study="two", recipes={"also": ["l1 + fds"]}, tune={"trials": 4, "sampler": "random"})
    said = words(merged([first, other]))
    assert "Unequal budgets: recipes were tuned with 2 to 4 trials." in said
    assert "Study one. Budget of every recipe: 2 settings" in said
    assert "Study two. Budget of every recipe: 4 settings" in said
    assert texts(merged([first, other]))


def test_a_region_without_rows_is_told(tmp_path: Path) -> None:
    state = filled(tmp_path)
    results = asked(state, regions=(400.0, 1.0))
    assert "No test rows: many, few." in words(results)
    assert results.sections[0].table.primary == ("mae", "all")
    assert texts(results)
    chosen = fill(
        Study.of(
            {**state.study.model_dump(), "study": "chosen", "report": {"primary": "mae/few"}, "tune": {"trials": 2}}
        )
    )
    said = words(asked(chosen, regions=(400.0, 1.0)))
    assert "The primary column MAE Few has no scores: this study decides nothing." in said


def test_trials_of_two_storages_are_read_where_they_are(tmp_path: Path) -> None:
    first = filled(tmp_path, study="one", storage=str(tmp_path / "a"))
    other = filled(tmp_path, study="two", recipes={"also": ["l1 + fds"]}, storage=str(tmp_path / "b"))
    (section,) = merged([first, other]).sections
    assert ("l1 + fds", section.table.primary) in section.table.comparisons
    shutil.rmtree(tmp_path / "b" / "ledger" / "predictions")
    (section,) = merged([first, other]).sections
    assert ("l1 + fds", section.table.primary) not in section.table.comparisons
    assert next(row for row in section.table.rows if row.recipe == "l1 + fds").scores
