"""How many trials fit on the nodes of a cluster, and what is told where one does not."""

from typing import Any

import pytest

from builders import study
from orchestrator.engine.capacity import concurrency
from orchestrator.errors import BadInput


def nodes(*resources: dict[str, float]) -> list[dict[str, Any]]:
    """As `ray.nodes()` gives them, with one that is gone."""
    gone = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}
    return [gone, *({"Alive": True, "Resources": {"memory": 1e9, **each}} for each in resources)]


def asked(*there: dict[str, float], **resources: Any) -> int:
    return concurrency(study(workloads=["nhanes-sbp", "digits"], resources=resources), nodes(*there))


SMALL = {"CPU": 4.0}
H100 = {"CPU": 16.0, "GPU": 2.0, "accelerator_type:H100": 1.0}
A100 = {"CPU": 16.0, "GPU": 4.0, "accelerator_type:A100": 1.0}


@pytest.mark.parametrize(
    ("there", "resources", "fit"),
    [
        ((SMALL, SMALL), {}, 8),
        ((SMALL, SMALL), {"cpus": 3}, 2),
        ((SMALL, H100, A100), {"gpus": 1}, 6),
        ((SMALL, H100, A100), {"gpus": 0.3}, (2 + 4) * 3),
        ((SMALL, H100, A100), {"gpus": 1, "accelerator_type": "H100"}, 2),
        ((SMALL, H100, A100), {"gpus": 1, "of": {"digits": {"gpus": 0}}}, 36),
        ((SMALL, H100, A100), {"gpus": 2}, 1 + 2),
        ((SMALL, H100, A100), {"gpus": 3}, 1),
        ((SMALL, SMALL), {"processes": 3, "cpus": 3, "of": {"digits": {"cpus": 4}}}, 2),
        ((), {"concurrent": 7}, 7),
    ],
)
def test_trials_are_counted_by_node(there: tuple[dict[str, float], ...], resources: dict[str, Any], fit: int) -> None:
    assert asked(*there, **resources) == fit


@pytest.mark.parametrize(
    ("there", "resources", "law"),
    [
        ((SMALL,), {"gpus": 0.5}, "it asks for 1 CPUs and 0.5 GPUs, nodes have 4 and 0; lower resources, or set"),
        ((SMALL, SMALL), {"cpus": 8}, "it asks for 8 CPUs and 0 GPUs, nodes have 4 and 0; lower"),
        ((SMALL, A100), {"gpus": 1, "accelerator_type": "H100"}, "of type H100, .*accelerator_type, of which .* A100$"),
        ((SMALL, H100, A100), {"gpus": 8}, "it asks for 1 CPUs and 8 GPUs, nodes have 16 and 4, 16 and 2, 4 and 0"),
        ((SMALL,), {"of": {"digits": {"gpus": 1}}}, "a trial of digits must fit into a node of the cluster"),
        ((), {}, "there is no node"),
    ],
)
def test_a_trial_that_fits_nowhere_is_refused_before_training(
    there: tuple[dict[str, float], ...], resources: dict[str, Any], law: str
) -> None:
    with pytest.raises(BadInput, match=law):
        asked(*there, **resources)
