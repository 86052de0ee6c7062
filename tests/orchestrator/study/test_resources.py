"""What a trial is given: of all workloads, of one; what earlier releases stored; what is refused."""

from typing import Any

import pytest

from builders import study
from orchestrator.errors import BadInput
from orchestrator.study.resources import RECYCLE_AFTER, Resources

TWO = ["nhanes-sbp", "digits"]


def test_a_workload_is_given_what_all_are_but_what_is_its_own() -> None:
    resources = Resources.model_validate({"cpus": 2, "gpus": 0.5, "of": {"digits": {"gpus": 1}}})
    assert str(resources.share("nhanes-sbp")) == "2 CPUs and 0.5 GPUs"
    assert str(resources.share("digits")) == "2 CPUs and 1 GPUs"
    assert str(resources.largest(["nhanes-sbp", "digits"])) == "2 CPUs and 1 GPUs"
    assert str(resources.largest(["nhanes-sbp"])) == "2 CPUs and 0.5 GPUs"
    apart = Resources.model_validate({"of": {"digits": {"processes": 3}}})
    assert apart.largest(TWO).devices == 3.0, "as a budget and a forecast count them"


def test_a_type_of_accelerator_is_a_trace_of_what_a_node_of_that_type_has() -> None:
    share = Resources(gpus=1, accelerator_type="H100").share("any")
    assert share.amounts() == {"CPU": 1, "GPU": 1, "accelerator_type:H100": 0.001}
    assert str(share) == "1 CPUs and 1 GPUs of type H100"
    assert Resources().share("any").amounts() == {"CPU": 1}


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"recycle_after": 9},
        {"processes": 2, "of": {"digits": {"processes": 3}}},
        {"gpus": 0.5, "accelerator_type": "A100", "of": {"digits": {"cpus": 2}}},
    ],
)
def test_resources_are_read_as_they_were_written(tree: dict[str, Any]) -> None:
    resources = Resources.model_validate(tree)
    assert Resources.model_validate(resources.model_dump(mode="json")) == resources


def test_the_defaults_of_newer_keys_are_not_stored() -> None:
    assert Resources().model_dump() == {"cpus": 1, "gpus": 0, "concurrent": None}
    assert Resources(recycle_after=RECYCLE_AFTER + 1).model_dump()["recycle_after"] == RECYCLE_AFTER + 1


@pytest.mark.parametrize(
    ("resources", "processes", "devices"),
    [
        ({}, 1, 1.0),
        ({"gpus": 0.25}, 1, 0.25),
        ({"gpus": 1, "processes": 1}, 1, 1.0),
        ({"gpus": 4, "cpus": 6}, 4, 4.0),
        ({"processes": 3}, 3, 3.0),
        ({"gpus": 1, "of": {"digits": {"gpus": 0, "processes": 7}}}, 7, 7.0),
        ({"processes": 64, "cpus": 0.001, "accelerator_type": "H100"}, 64, 64.0),
    ],
)
def test_what_a_trial_is_given_is_split_among_its_processes(
    resources: dict[str, Any], processes: int, devices: float
) -> None:
    share = Resources.model_validate(resources).share("digits")
    bundles = share.bundles()
    assert (share.processes, len(bundles), share.devices) == (processes, processes, devices)
    assert bundles[0].keys() == share.amounts().keys() and all("GPU" in each for each in bundles) == bool(share.gpus)
    for name, amount in share.amounts().items():
        given = [round(10_000 * each.get(name, 0)) for each in bundles]
        assert sum(given) <= max(10_000 * amount + 1e-6, processes), "in the steps in which Ray counts"
        assert name not in ("CPU", "GPU") or given == given[:1] * processes


@pytest.mark.parametrize(
    ("resources", "law"),
    [
        ({"gpus": 2.5}, r"gpus must be a share of one GPU or a whole number of GPUs: got 2\.5; take 2"),
        ({"of": {"digits": {"gpus": 1.5}}}, r"gpus must be a share .*: got 1\.5; take 1"),
        (
            {"gpus": 1, "processes": 2},
            r"have a GPU each: got 2 processes and 1 GPUs for nhanes-sbp; leave resources\.pro",
        ),
        ({"gpus": 4, "of": {"digits": {"processes": 2}}}, r"got 2 processes and 4 GPUs for digits"),
        ({"gpus": 2, "processes": 1}, r"got 1 processes and 2 GPUs"),
        ({"gpus": 0.5, "processes": 2}, r"got 2 processes and 0\.5 GPUs"),
        ({"processes": 0}, r"resources\.processes: .*: got 0"),
        ({"of": {"nhanes": {"gpus": 1}}}, r"unknown workload 'nhanes' in resources\.of; .*did you mean 'nhanes-sbp'"),
        ({"of": {"digits": {"gpu": 1}}}, r"unknown key 'gpu'"),
        ({"of": {"digits": {"cpus": 0}}}, r"resources\.of\.digits\.cpus: .*: got 0"),
        ({"accelerator_type": "A100:2"}, r"resources\.accelerator_type: .*: got 'A100:2'"),
        ({"recycle_after": 0}, r"resources\.recycle_after: .*: got 0"),
    ],
)
def test_what_cannot_be_given_is_refused(resources: dict[str, Any], law: str) -> None:
    with pytest.raises(BadInput, match=law):
        study(workloads=TWO, resources=resources)
