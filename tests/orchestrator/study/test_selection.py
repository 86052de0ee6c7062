from builders import cell, record, score
from orchestrator.study.selection import ranked, select


def made(*values: float, status: str = "completed", metric: str = "mae"):  # type: ignore[no-untyped-def]
    return [
        record(cell().trial("tune", n, {}), v, status, val=(score(v, metric=metric),))  # type: ignore[arg-type]
        for n, v in enumerate(values)
    ]


def best_of(records, rule):  # type: ignore[no-untyped-def]
    """The best of some trials without rescoring."""
    chosen = select([(r, ()) for r in ranked(records, rule)], rule)
    return None if chosen is None else chosen.record


def test_the_lowest_error_is_selected() -> None:
    best = best_of(made(3.0, 1.0, 2.0), "val/mae/all")
    assert best is not None
    assert best.number == 1


def test_the_highest_correlation_is_selected() -> None:
    best = best_of(made(0.3, 0.9, 0.2, metric="pearson"), "val/pearson/all")
    assert best is not None
    assert best.number == 1


def test_of_equal_trials_the_first_is_selected_whatever_their_order() -> None:
    best = best_of(reversed(made(1.0, 1.0, 1.0)), "val/mae/all")
    assert best is not None
    assert best.number == 0


def test_stopped_and_failed_trials_cannot_be_selected() -> None:
    assert best_of(made(1.0, status="stopped"), "val/mae/all") is None
    assert best_of(made(1.0, status="failed"), "val/mae/all") is None


def test_a_trial_without_the_score_cannot_be_selected() -> None:
    assert best_of(made(1.0), "val/mae/zero") is None


def test_a_lucky_first_seed_does_not_win_over_a_better_mean() -> None:
    lucky, steady = made(1.0, 2.0)
    again = [(lucky, made(5.0, 5.0)), (steady, made(2.0, 2.0))]
    best = select(again, "val/mae/all")
    assert best is not None
    assert (best.record, best.score, best.lacks) == (steady, 2.0, 0)


def test_a_setting_that_failed_with_a_seed_comes_behind_those_that_did_not() -> None:
    broken, whole = made(1.0, 9.0)
    again = [(broken, [*made(1.0), *made(1.0, status="failed")]), (whole, made(9.0, 9.0))]
    best = select(again, "val/mae/all")
    assert best is not None and best.record == whole
    alone = select(again[:1], "val/mae/all")
    assert alone is not None and (alone.record, alone.lacks) == (broken, 1)
