"""How many bins of a width there are, and how many there may be."""

from typing import Final

import numpy as np

BINS: Final = 1 << 18
"""Most bins: what methods keep of each, features of a few hundred numbers, then fits into memory."""


def bins_between(low: float, high: float, width: float) -> int:
    """Bins of a width from `low` to `high`; raises ValueError for more than `BINS`, and for bins of no width."""
    with np.errstate(over="ignore", divide="ignore"):
        bins = float(np.divide(np.float64(high) - np.float64(low), np.float64(width)))
    if not bins <= BINS:
        raise ValueError(
            f"bin_width {width:g} makes {f'{bins:,.0f}' if bins < 1e15 else f'{bins:.0e}'} bins from {low:g} to "
            f"{high:g}, at most {BINS:,} are worked with"
        )
    if width < 4 * np.spacing(max(abs(low), abs(high))):
        raise ValueError(
            f"bin_width {width:g} is less than what numbers near {max(abs(low), abs(high)):g} can tell apart"
        )
    return max(1, round(bins))
