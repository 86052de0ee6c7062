from builders import cell, record, score
from orchestrator.study.selection import select_best


def made(*values: float, status: str = "completed", metric: str = "mae"):  # type: ignore[no-untyped-def]
    return [
        record(cell().trial("tune", n, {}), v, status, val=(score(v, metric=metric),))  # type: ignore[arg-type]
        for n, v in enumerate(values)
    ]


def test_the_lowest_error_is_selected() -> None:
    best = select_best(made(3.0, 1.0, 2.0), "val/mae/all")
    assert best is not None
    assert best.number == 1


def test_the_highest_correlation_is_selected() -> None:
    best = select_best(made(0.3, 0.9, 0.2, metric="pearson"), "val/pearson/all")
    assert best is not None
    assert best.number == 1


def test_of_equal_trials_the_first_is_selected_whatever_their_order() -> None:
    best = select_best(reversed(made(1.0, 1.0, 1.0)), "val/mae/all")
    assert best is not None
    assert best.number == 0


def test_stopped_and_failed_trials_cannot_be_selected() -> None:
    assert select_best(made(1.0, status="stopped"), "val/mae/all") is None
    assert select_best(made(1.0, status="failed"), "val/mae/all") is None


def test_a_trial_without_the_score_cannot_be_selected() -> None:
    assert select_best(made(1.0), "val/mae/zero") is None
