"""A study that is bounded, on a real Ray: it ends with a word and goes on with more."""

from pathlib import Path

import pytest

from orchestrator import Ledger
from running import results, tailsweep, write

STUDY = """
study: tiny
workloads: [nhanes-sbp]
recipes: {also: [l1, l1 + lds]}
tune: {trials: 2, parallel: 2, rescore: 1}
evaluate: {seeds: 2}
train: {epochs: 2}
priority: [l1 + lds]
tracking: {enabled: false}
"""


@pytest.mark.slow
def test_a_study_that_has_spent_its_budget_says_so_and_goes_on_with_a_larger_one(tmp_path: Path) -> None:
    path, storage = write(tmp_path, STUDY), tmp_path / "results"
    args = ("sweep", path, "--storage", storage, "--set", "resources.concurrent=2")
    said = tailsweep(*args, "--set", "budget.trials=5", code=3)
    assert "The budget is spent: 5 trials, 10 epochs, " in said and "3 trials are left. The same command with a" in said
    table = (storage / "tiny" / "table.md").read_text("utf-8")
    assert "Partial: 1 of 2 recipes lack seeds: `l1` 0 of 2" in table
    recipes = [row["recipe"] for row in Ledger(str(storage)).read("evaluate").to_pylist()]
    assert recipes == ["l1 + lds"] * 2, "what comes first is whole"
    assert len(results(storage)) == 5
    assert "The budget is spent" not in tailsweep(*args, "--set", "budget.trials=8")
    assert len(results(storage)) == 8
