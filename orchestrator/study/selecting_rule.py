"""The rule by which trials and epochs are chosen, `val/METRIC/REGION`: that it exists, and has a value."""

from orchestrator.errors import BadInput
from workloads.labels import REGIONS
from workloads.metrics import METRICS, undefined
from workloads.training import Training
from workloads.workload import Data, Workload


def check_rule(rule: str) -> None:
    """Raises ValueError for what is no such rule."""
    try:
        Training.declared()["monitor"].range.check(rule)
    except ValueError:
        raise ValueError(
            f"tune.select_by is val/METRIC/REGION, with a metric of {', '.join(METRICS)} and a region of "
            f"{', '.join(('all', *REGIONS))}: got {rule!r}"
        ) from None


def check_defined(workload: Workload, data: Data, key: str, rule: str) -> None:
    """Refuse a rule that has no value on the validation rows, whatever is predicted."""
    _, metric, region = rule.split("/")
    grid = workload.grid
    labels = grid.labels(grid.learnt(data.val.y.numpy()))  # with the digits that scores see
    if region != "all":
        labels = labels[workload.regions(data, data.val) == REGIONS.index(region)]
    reason = f"{workload.name} has none in {region}" if not len(labels) else undefined(metric, labels)
    if reason:
        raise BadInput(
            f"{key} must be defined on the validation rows: got {rule!r}; of {workload.name}'s {len(labels)}, "
            f"{reason}; take another metric or region, such as val/mae/all"
            if len(labels)
            else f"{key} needs validation rows: got {rule!r}, and {reason}"
        )
