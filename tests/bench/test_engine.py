"""The benchmark of the engine compares like with like and tells what does not hold; nothing is timed here."""

from pathlib import Path

import pytest

from bench import performance
from bench.engine import OF_A_CELL, Cost, gaps, mean_of, tiny, told
from orchestrator.study.cells import expand
from orchestrator.study.planner import Planner


def test_a_study_of_the_benchmark_has_as_many_trials_as_it_says(tmp_path: Path) -> None:
    made = tiny(str(tmp_path), 3 * OF_A_CELL)
    planner = Planner(made, expand(made), lambda trial_id, phase: None)
    assert planner.total == 30 and len(planner.plans) == 3
    trial = planner.next()
    assert trial is not None and trial.epochs == 1


def test_time_between_trials_is_that_of_warm_actors() -> None:
    assert gaps([0.0, 9.0, 10.0, 11.0, 12.0, 14.0]) == [1.0, 1.0, 2.0]


def test_of_two_measurements_of_a_size_times_are_averaged_and_memory_is_the_most() -> None:
    made = mean_of(Cost(100, 0.01, 0.02, 0.004, 0.7), Cost(100, 0.03, 0.01, 0.006, 0.5))
    assert made == Cost(100, 0.02, 0.015, 0.005, 0.7)


def test_what_is_too_slow_grows_or_swells_is_told() -> None:
    good = [Cost(100, 0.018, 0.01, 0.005, 0.5), Cost(1000, 0.019, 0.01, 0.005, 0.6)]
    assert all(holds for *_, holds in told(good, 800.0))
    for costs, rate, broken in (
        ([Cost(100, 0.03, 0.01, 0.005, 0.5)], 800.0, "engine, 100 trials"),
        ([Cost(100, 0.01, 0.01, 0.005, 0.5), Cost(1000, 0.019, 0.01, 0.005, 0.5)], 800.0, "  flat"),
        ([Cost(100, 0.02, 0.01, 0.005, 1.6)], 800.0, "  the driver's memory"),
        (good, 400.0, "results that the driver takes"),
    ):
        assert broken in [name for name, _, holds in told(costs, rate) if not holds]


def test_the_page_gets_the_table_and_the_machine_and_keeps_its_words_and_other_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "performance.md"
    page.write_text("# Words\n<!-- measured -->\n\n### c\n\nkept\n\n### a\n\nold\n\n<!-- end of measured -->\nmore\n")
    monkeypatch.setattr(performance, "PAGE", page)
    for name in ("a", "b"):
        performance.write(name, [(f"{name}1", "1 ms"), (f"  {name}2", "2 ms")], "abc", f"--only {name} --write")
    text = page.read_text()
    assert text.startswith("# Words\n<!-- measured -->\n\n### a\n") and text.endswith("end of measured -->\nmore\n")
    assert "\n\n### c\n\nkept\n" in text and "old" not in text and text.count("### ") == 3
    for name in ("a", "b"):
        assert f"### {name}\n\n`make bench ARGS='--only {name} --write'` on " in text
        assert f"| {name}1 | 1 ms |\n| – {name}2 | 2 ms |\n\n" in text


def test_the_chart_is_drawn_of_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performance, "CHART", tmp_path / "chart.svg")
    performance.draw([Cost(10, 0.01, 0.01, 0.005, 0.1), Cost(100, 0.01, 0.01, 0.005, 0.1)])
    assert (tmp_path / "chart.svg").read_bytes().startswith(b"<?xml")
