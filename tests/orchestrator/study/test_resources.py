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


def test_a_type_of_accelerator_is_a_trace_of_what_a_node_of_that_type_has() -> None:
    share = Resources(gpus=1, accelerator_type="H100").share("any")
    assert share.amounts() == {"CPU": 1, "GPU": 1, "accelerator_type:H100": 0.001}
    assert str(share) == "1 CPUs and 1 GPUs of type H100"
    assert Resources().share("any").amounts() == {"CPU": 1}


@pytest.mark.parametrize(
    "tree", [{}, {"recycle_after": 9}, {"gpus": 0.5, "accelerator_type": "A100", "of": {"digits": {"cpus": 2}}}]
)
def test_resources_are_read_as_they_were_written(tree: dict[str, Any]) -> None:
    resources = Resources.model_validate(tree)
    assert Resources.model_validate(resources.model_dump(mode="json")) == resources


def test_the_defaults_of_newer_keys_are_not_stored() -> None:
    assert Resources().model_dump() == {"cpus": 1, "gpus": 0, "concurrent": None}
    assert Resources(recycle_after=RECYCLE_AFTER + 1).model_dump()["recycle_after"] == RECYCLE_AFTER + 1


@pytest.mark.parametrize(
    ("resources", "law"),
    [
        (
            {"gpus": 2},
            r"gpus must be at most 1, for a trial trains on one GPU or a share of it: got 2; several GPUs train",
        ),
        ({"of": {"digits": {"gpus": 1.5}}}, r"gpus must be at most 1, .*: got 1\.5"),
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
