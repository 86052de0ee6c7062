"""What a submission costs: machine hours times a price, with the assumptions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.engine.heartbeat import Beat

MS_PER_HOUR: Final = 3_600_000


@dataclass(frozen=True)
class Price:
    """US dollars for an hour of the machine that runs one container, from `low` to `high`; `source` is its origin."""

    low: float
    high: float
    source: str

    def of(self, hours: float) -> str:
        """What hours cost."""
        low, high = self.low * hours, self.high * hours
        return f"${low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"${low:.2f} to ${high:.2f}"


def hours(jobs: Sequence[Mapping[str, Any]], now_ms: int) -> float:
    """Hours that containers of jobs have run, in all attempts."""
    return sum((_ms(job, now_ms) for job in jobs), 0) / MS_PER_HOUR


def _ms(job: Mapping[str, Any], now_ms: int) -> int:
    ended = [attempt for attempt in job.get("attempts", ()) if {"startedAt", "stoppedAt"} <= attempt.keys()]
    ran: int = sum(attempt["stoppedAt"] - attempt["startedAt"] for attempt in ended)
    if job["status"] == "RUNNING" and "startedAt" in job:
        ran += max(0, now_ms - job["startedAt"])
    return ran


def cost_lines(ran: float, price: Price | None, beats: Sequence[Beat], attempt: int) -> list[str]:
    """Lines with the cost so far and the expected cost."""
    if price is None:
        return [f"cost: {ran:.1f} container-hours so far; options.price_per_hour turns them into money"]
    lines = [f"cost so far: {price.of(ran)} for {ran:.1f} container-hours at {price.source}, one machine per container"]
    done, total = sum(beat.done for beat in beats), sum(beat.total for beat in beats)
    if attempt > 1:
        lines.append("cost expected: unknown, as earlier submissions did part of the work")
    elif done and ran:
        left = f"{1 - done / total:.0%}"  # drivers that steal count the same trials: only their ratio means something
        lines.append(
            f"cost expected: {price.of(ran * total / done)} in all, if the other {left} of trials take as long"
        )
    return lines
