"""A forecast in words: hours, money and disk."""

from orchestrator.report.forecast import Forecast

BYTES = ("B", "kB", "MB", "GB", "TB")


def expected(made: Forecast) -> list[str]:
    """Lines for people."""
    lines = [_hours(made)]
    if made.money is not None:
        lines.append(
            f"Money: {_money(made.money.all)} in all, {_money(made.money.left)} of it to come, at "
            f"{made.money.per_device_hour:g} a device hour"
        )
    disk = made.disk
    models = f", kept models {size(disk.models)}" if disk.models else ""
    lines.append(
        f"Disk, of the whole study: records {size(disk.records)}, predictions {size(disk.predictions)}{models}; "
        f"checkpoints {size(disk.checkpoints)} at once, gone afterwards; images decoded on this node "
        f"{size(disk.image_cache)}"
    )
    return lines


def _hours(made: Forecast) -> str:
    known = [cell.measured for cell in made.cells]
    counts = {source: known.count(source) for source in ("ledger", "probe", "similar", "")}
    words = {"ledger": "by the ledger", "probe": "by a probe", "similar": "like others of the workload", "": "unknown"}
    told = ", ".join(f"{count} {words[source]}" for source, count in counts.items() if count)
    if made.device_hours is None or made.left_hours is None:
        return f"Hours: unknown ({told} of {len(known)} cells); tailsweep plan --probe trains a few epochs to tell"
    return (
        f"Hours: {_hour(made.device_hours)} of a device in all, {_hour(made.left_device_hours)} of it to come, which "
        f"is {_hour(made.left_hours)} with {made.at_once} trials at once ({told} of {len(known)} cells)"
    )


def _hour(hours: float | None) -> str:
    """`0.04 h`: two digits that say something."""
    return "unknown" if hours is None else f"{hours:.2g} h" if hours < 10 else f"{hours:,.0f} h"


def _money(amount: float | None) -> str:
    return "unknown" if amount is None else f"{amount:,.2f}"


def size(count: float) -> str:
    """`1.5 MB`."""
    unit = 0
    while count >= 999.5 and unit + 1 < len(BYTES):
        count, unit = count / 1000, unit + 1
    return f"{count:.3g} {BYTES[unit]}"
