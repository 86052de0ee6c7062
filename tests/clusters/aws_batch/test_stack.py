"""The stack that users deploy, its scripts, and that its outputs fit the profile."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint_all
from cfnlint.decode import cfn_yaml

from batch_stack import TEMPLATE
from clusters.aws_batch.requests import MUST, BatchOptions
from clusters.profile import profile

SHELLCHECK = Path(sys.executable).parent / "shellcheck"
ENTRYPOINT = TEMPLATE.parent / "entrypoint.sh"


@pytest.fixture(scope="module")
def stack() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(cfn_yaml.load(str(TEMPLATE))))
    return found


def test_the_template_breaks_no_rule_of_cloudformation() -> None:
    found = lint_all(TEMPLATE.read_text("utf-8"))
    assert not [str(each) for each in found if each.rule.severity != "informational"]


def test_every_output_says_which_option_it_is_and_all_that_must_be_set_are_there(stack: dict[str, Any]) -> None:
    said = " ".join(output["Description"] for output in stack["Outputs"].values())
    named = set(re.findall(r"options\.(\w+)", said))
    assert set(MUST) <= named <= set(BatchOptions.model_fields)
    assert {"--storage", "`image`"} <= set(said.split())


def test_the_shipped_profile_lists_every_option_with_its_default() -> None:
    shipped = profile("aws-batch").options
    left_out = {"endpoint_url", "shared_memory_mib"}
    assert set(shipped) == set(BatchOptions.model_fields) - left_out
    for name, value in shipped.items():
        assert value == BatchOptions.model_fields[name].default, name


def test_nobody_is_let_in_and_the_bucket_is_closed_and_encrypted(stack: dict[str, Any]) -> None:
    resources = stack["Resources"]
    assert "SecurityGroupIngress" not in resources["SecurityGroup"]["Properties"]
    own = {"Fn::GetAtt": ["SecurityGroup", "GroupId"]}
    rules = [each["Properties"] for each in resources.values() if each["Type"] == "AWS::EC2::SecurityGroupIngress"]
    assert [(rule["GroupId"], rule["SourceSecurityGroupId"]) for rule in rules] == [(own, own)]
    bucket = resources["Bucket"]["Properties"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["BucketEncryption"]
    assert resources["Bucket"]["DeletionPolicy"] == "Retain"


def test_trials_may_do_what_the_storage_needs_and_no_more(stack: dict[str, Any]) -> None:
    (policy,) = stack["Resources"]["JobRole"]["Properties"]["Policies"]
    statements = policy["PolicyDocument"]["Statement"]
    shipped = json.loads((TEMPLATE.parent.parent / "aws" / "iam-policy.json").read_text("utf-8"))["Statement"]
    assert [each["Action"] for each in statements] == [each["Action"] for each in shipped]
    assert "*" not in [each["Resource"] for each in statements]


def test_what_the_target_asks_of_aws_is_what_its_policy_allows(stack: dict[str, Any]) -> None:
    target = (TEMPLATE.parent / "target.py").read_text("utf-8")
    calls = set(re.findall(r'_aws\.(?:call|pages)\("(\w+)", "(\w+)"', target))
    asked = {f"{service}:{name.title().replace('_', '')}" for service, name in calls}
    statements = stack["Resources"]["Submitter"]["Properties"]["PolicyDocument"]["Statement"]
    allowed = {
        action
        for each in statements
        for action in ([each["Action"]] if isinstance(each["Action"], str) else each["Action"])
    }
    assert asked
    own = {action for action in allowed if action.split(":")[0] in {"batch", "ec2", "logs"}}
    assert own == asked | {"batch:TagResource"}


def spot_watch() -> str:
    """The script in the machines' user data that watches for the end of a spot machine."""
    found = re.search(r"<<'WATCH'\n(.*?)\n +WATCH\n", TEMPLATE.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return re.sub(r"(?m)^ {10}", "", found[1]) + "\n"


@pytest.mark.parametrize("script", [ENTRYPOINT.read_text("utf-8"), spot_watch()], ids=["entrypoint", "spot watch"])
def test_scripts_have_no_fault_that_shellcheck_knows(script: str) -> None:
    checked = subprocess.run([SHELLCHECK, "-"], input=script, text=True, check=False)
    assert checked.returncode == 0


def test_containers_are_told_when_their_spot_machine_is_announced_to_go(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    programs = {  # no notice at first, for which `curl -f` fails, then one
        "sleep": "exit 0",
        "curl": f'case "$*" in *PUT*) echo t;; *) [ -e {asked} ] || {{ touch {asked}; exit 22; }}; esac',
        "docker": f'case "$1" in ps) echo one; echo two;; *) echo "$@" > {tmp_path}/told;; esac',
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    script = "enable -n sleep 2>/dev/null\n" + spot_watch()
    subprocess.run(["bash", "-c", script], env=environment, check=True, timeout=60)
    assert asked.exists()
    assert (tmp_path / "told").read_text() == "kill --signal TERM one two\n"


def test_a_node_that_finds_no_head_gives_up_with_a_reason() -> None:
    node = {"INDEX": "1", "MAIN_NODE_INDEX": "0", "NUM_NODES": "2", "MAIN_NODE_PRIVATE_IPV4_ADDRESS": "127.0.0.1"}
    names = {name if name != "INDEX" else "NODE_INDEX": value for name, value in node.items()}
    environment = {
        **{f"AWS_BATCH_JOB_{name}": value for name, value in names.items()},
        **{"NODE_CPUS": "1", "HEAD_PORT": "9", "NODES_WAIT_S": "0", "PATH": os.environ["PATH"]},
    }
    done = subprocess.run(
        ["bash", "-c", ENTRYPOINT.read_text("utf-8"), "entrypoint.sh"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "node 1: no head at 127.0.0.1:9 within 0 s" in done.stderr


def test_whoever_submits_ends_and_tags_jobs_of_tailsweep_only(stack: dict[str, Any]) -> None:
    statements = stack["Resources"]["Submitter"]["Properties"]["PolicyDocument"]["Statement"]
    of_jobs = [each for each in statements if "job/*" in json.dumps(each["Resource"])]
    conditions = {each["Action"]: each["Condition"] for each in of_jobs}
    assert conditions.keys() == {"batch:TerminateJob", "batch:TagResource"}
    ours = "tailsweep-*"
    assert conditions["batch:TerminateJob"]["StringLike"] == {"aws:ResourceTag/tailsweep-submission": ours}
    assert conditions["batch:TagResource"]["StringLike"] == {"aws:RequestTag/tailsweep-submission": ours}
    assert set(conditions["batch:TagResource"]["ForAllValues:StringEquals"]["aws:TagKeys"]) == {
        "tailsweep-study",
        "tailsweep-submission",
    }


def test_what_is_deleted_or_overwritten_in_the_bucket_can_be_brought_back(stack: dict[str, Any]) -> None:
    assert stack["Resources"]["Bucket"]["Properties"]["VersioningConfiguration"] == {"Status": "Enabled"}
    allowed = json.dumps([stack["Resources"]["JobRole"], stack["Resources"]["Submitter"]])
    assert "s3:DeleteObjectVersion" not in allowed
    assert "s3:*" not in allowed
