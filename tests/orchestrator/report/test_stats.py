import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.report.stats import holm, spread


def test_mean_and_deviation_of_three_values_done_by_hand() -> None:
    s = spread([1.0, 2.0, 6.0])
    assert s.mean == 3.0
    assert s.sd == pytest.approx(7.0**0.5)  # (4 + 1 + 9) / 2
    assert s.n == 3


def test_one_value_has_no_deviation_and_none_is_refused() -> None:
    assert spread([2.0]).sd is None
    with pytest.raises(ValueError, match="at least one value"):
        spread([])


def test_four_p_values_are_adjusted_as_done_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), max_size=20))
def test_adjusted_p_values_keep_the_order_are_no_smaller_and_at_most_bonferronis(p: list[float]) -> None:
    adjusted = holm(p)
    assert all(a <= b <= min(1.0, len(p) * a) + 1e-12 for a, b in zip(p, adjusted, strict=True))
    order = np.argsort(p, kind="stable")
    assert list(np.array(adjusted)[order]) == sorted(adjusted)
