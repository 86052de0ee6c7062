"""A study on EC2 by `ray up`: what is sent, what is refused, what becomes of it on machines that are stood in for."""

import json
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws
from ray.autoscaler._private.aws.config import bootstrap_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.tags import TAG_RAY_NODE_KIND

from clusters.profile import profile
from clusters.submission import State, Submission, Target, target
from orchestrator.errors import BadInput
from orchestrator.study.spec import Study

ROOT = Path(__file__).parents[3]
PROFILE = [
    "image=123456789012.dkr.ecr.eu-west-1.amazonaws.com/tailsweep:cuda",
    "options.region=eu-west-1",
    "options.ami=ami-0123456789abcdef0",
    "options.head.profile=arn:aws:iam::123456789012:instance-profile/head",
    "options.workers.profile=arn:aws:iam::123456789012:instance-profile/worker",
]


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of clusters that `ray` starts; `tailsweep` says what it is given."""
    home, programs = tmp_path / "clusters", tmp_path / "programs"
    home.mkdir()
    programs.mkdir()
    scripts = {
        "ray": f'exec {sys.executable} {ROOT}/tests/programs/ray_up.py "$@"',
        "tailsweep": 'echo "tailsweep $*"; test ! -e "$CLUSTERS/slow" || exec sleep 60; exit "${CODE:-0}"',
        "python": f'exec {sys.executable} "$@"',
    }
    for name, script in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n", "utf-8")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("CLUSTERS", str(home))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return home


def submission(
    *overrides: str, storage: str = "s3://bucket/a?endpoint_url=http://h&x='y'", **changes: Any
) -> Submission:
    place = profile("aws-ray", [*PROFILE, *overrides])
    tree = {
        "study": "tiny",
        "workloads": ["nhanes-sbp"],
        "recipes": {"also": ["l1", "l1 + lds"]},
        "resources": dict(place.study["resources"]),
    }
    return Submission(Study.of({**tree, **changes}), place, storage, cells=2)


def cluster(*overrides: str) -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load(target(submission(*overrides), {}).preview())
    return tree


def test_the_cluster_is_one_that_ray_takes() -> None:
    tree = cluster()
    validate_config(prepare_config(tree))
    types = tree["available_node_types"]
    assert set(types) == {"head", "worker-g5-xlarge", "worker-g6-xlarge"}
    assert types["head"]["resources"] == {"CPU": 0, "GPU": 0}
    assert "InstanceMarketOptions" not in types["head"]["node_config"]
    assert all(types[name]["node_config"]["InstanceMarketOptions"] for name in types if name != "head")
    assert {node["node_config"]["MetadataOptions"]["HttpTokens"] for node in types.values()} == {"required"}
    assert [types[name]["node_config"]["InstanceType"] for name in types] == ["m7i.xlarge", "g5.xlarge", "g6.xlarge"]
    disks = [node["node_config"]["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] for node in types.values()]
    assert disks == [100, 200, 200]
    assert "null" not in yaml.safe_dump(tree)
    misspelt = {**tree, "idle_timeout_minuts": 5}
    with pytest.raises(Exception, match="idle_timeout_minuts"):
        validate_config(prepare_config(misspelt))


def test_calls_need_a_token_and_only_ssh_is_open() -> None:
    tree = cluster()
    assert tree["file_mounts"] == {"/home/tailsweep/ray_auth_token": "~/.ray/auth_token"}
    assert "-e RAY_AUTH_MODE=token" in tree["docker"]["run_options"]
    (_, start) = tree["head_start_ray_commands"]
    assert "--dashboard-host=127.0.0.1" in start
    assert "IpPermissions" not in tree["provider"]["security_group"]
    own = cluster("options.security_group=sg-1")
    assert "security_group" not in own["provider"]
    assert all(node["node_config"]["SecurityGroupIds"] == ["sg-1"] for node in own["available_node_types"].values())
    assert tree["initialization_commands"] == [
        "aws ecr get-login-password --region eu-west-1 | docker login --username AWS --password-stdin "
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    ]


def test_ray_starts_just_those_machines_and_opens_just_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("HOME", str(tmp_path))  # where Ray keeps the key that it makes
    (tmp_path / ".ssh").mkdir()
    with mock_aws():
        ec2, iam = (boto3.client(name, region_name="eu-west-1") for name in ("ec2", "iam"))
        arns = [
            iam.create_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Arn"]
            for name in ("head", "worker")
        ]
        image = ec2.describe_images()["Images"][0]["ImageId"]
        config = prepare_config(
            cluster(f"options.ami={image}", f"options.head.profile={arns[0]}", f"options.workers.profile={arns[1]}")
        )
        config = AWSNodeProvider.fillout_available_node_types_resources(bootstrap_aws(config))
        types = config["available_node_types"]
        assert types["head"]["resources"] == {"CPU": 0, "GPU": 0}
        assert types["worker-g5-xlarge"]["resources"]["GPU"] == 1
        provider = AWSNodeProvider(config["provider"], config["cluster_name"])
        for name in ("head", "worker-g5-xlarge"):
            provider.create_node(dict(types[name]["node_config"]), {TAG_RAY_NODE_KIND: name}, 1)
        started = [machine for group in ec2.describe_instances()["Reservations"] for machine in group["Instances"]]
        assert [(machine["InstanceType"], machine.get("InstanceLifecycle")) for machine in started] == [
            ("m7i.xlarge", None),
            ("g5.xlarge", "spot"),
        ]
        assert [machine["IamInstanceProfile"]["Arn"] for machine in started] == arns
        assert all(volume["Encrypted"] for volume in ec2.describe_volumes()["Volumes"])
        assert iam.list_roles()["Roles"] == []  # Ray's own would be allowed to do anything with S3
        (group,) = ec2.describe_security_groups(GroupIds=types["head"]["node_config"]["SecurityGroupIds"])[
            "SecurityGroups"
        ]
        outside = [rule for rule in group["IpPermissions"] if not rule["UserIdGroupPairs"]]
        assert [(rule["FromPort"], rule["ToPort"], rule["IpProtocol"]) for rule in outside] == [(22, 22, "tcp")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overrides": ["image=null"]}, "image must name an image with Tailsweep: got none"),
        (
            {"overrides": ["options.region=null", "options.workers.profile=null"]},
            "options.region, options.workers.profile must be set: by --cluster-set options.region=..., or in",
        ),
        ({"overrides": ["options.ami=latest"]}, "options.ami: "),
        ({"overrides": ["options.head.profile=head"]}, "options.head.profile: "),
        ({"overrides": ["options.workers.instances=[]"]}, "options.workers.instances: "),
        ({"overrides": ["shards=2"]}, "one Ray cluster takes one driver of a study: got 2 shards"),
        ({"overrides": ["secrets.KEY=env:KEY"]}, "take no secrets: got KEY"),
        ({"overrides": ["options.key_name=mine"]}, "options.key_name and options.ssh_private_key are one key"),
        ({"overrides": ["options.workers.min=9"]}, "workers.min <= workers.max must hold: got 9 and 4"),
        ({"storage": "/results"}, "the storage must be reached from every machine: s3://: got /results"),
        ({"resources": {}}, "set resources.concurrent"),
    ],
)
def test_what_could_never_run_is_refused(changes: dict[str, Any], message: str) -> None:
    overrides = changes.pop("overrides", [])
    with pytest.raises(BadInput) as caught:
        target(submission(*overrides, **changes), {})
    assert message in str(caught.value)


def wait(job: Target, word: str) -> State:
    deadline = time.monotonic() + 60
    while (state := job.state()).word != word and time.monotonic() < deadline:
        time.sleep(0.1)
    assert state.word == word, state
    return state


def test_a_study_is_sent_once_run_to_its_end_and_taken_down(machines: Path) -> None:
    sent = submission()
    job = target(sent, {})
    ticket = job.submit()
    assert target(sent, {}).submit() == ticket  # with no ticket of the first
    name = sent.name.rpartition("-")[0]
    assert (machines / name / "given.yaml").read_text("utf-8") == "".join(
        line for line in job.preview().splitlines(keepends=True) if not line.startswith("#")
    )
    shown = [line.removeprefix("# ray ") for line in job.preview().splitlines() if line.startswith("# ray ")]
    called = [shlex.split(line) for line in (machines / "calls").read_text("utf-8").splitlines()]
    files = [["FILE" if word.endswith(f"{name}.yaml") else word for word in call] for call in called]
    assert files[:3] == [shlex.split(line) for line in shown]
    state = wait(job, "ended")
    assert f"the head of {name} still runs" in state.lines[-1]
    said = list(job.logs(follow=True))
    assert said[0] == f"{' '.join(sent.driver(0))} --address auto"  # an address that a shell would have read otherwise
    assert said[1] == " ".join(sent.reporter)
    job.cancel()
    assert not (machines / name).exists()
    assert job.state() == State("ended", (f"no cluster {name} in eu-west-1: it was taken down",))
    job.cancel()


def test_a_driver_that_fails_keeps_its_exit_code(machines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE", "3")
    job = target(submission(), {})
    job.submit()
    assert "exit code 3" in wait(job, "failed").lines[1]


def test_a_driver_is_stopped_and_the_machines_stay_where_asked(machines: Path) -> None:
    (machines / "slow").touch()
    sent = submission("options.down=false")
    job = target(sent, {})
    job.submit()
    wait(job, "running")
    job.cancel()
    assert wait(job, "stopped").lines[0] == "job was stopped"
    assert (machines / sent.name.rpartition("-")[0]).exists()


def test_a_cluster_without_the_job_is_told(machines: Path) -> None:
    sent = submission()
    (machines / sent.name.rpartition("-")[0]).mkdir()
    assert "was not given the job" in target(sent, {}).state().lines[0]


def test_a_head_names_and_ends_machines_of_its_own_and_starts_no_others() -> None:
    policy = json.loads((ROOT / "clusters" / "aws_ray" / "ray-up-head-policy.json").read_text("utf-8"))
    by_action: dict[str, list[dict[str, Any]]] = {}
    for statement in policy["Statement"]:
        if isinstance(statement["Action"], str):
            by_action.setdefault(statement["Action"], []).append(statement)
    ours = "tailsweep-*"
    tags = [each["Condition"] for each in by_action["ec2:CreateTags"]]
    assert {
        "StringEquals": {"ec2:CreateAction": "RunInstances"},
        "StringLike": {"aws:RequestTag/ray-cluster-name": ours},
    } in tags
    assert {"StringLike": {"aws:ResourceTag/ray-cluster-name": ours}} in tags
    assert len(tags) == 2
    (end,) = by_action["ec2:TerminateInstances"]
    assert end["Condition"] == {"StringLike": {"aws:ResourceTag/ray-cluster-name": ours}}
    starts = {json.dumps(each["Resource"]): each for each in by_action["ec2:RunInstances"]}
    assert '"*"' not in starts
    machine = starts['"arn:aws:ec2:*:*:instance/*"']["Condition"]
    assert machine["StringLike"]["aws:RequestTag/ray-cluster-name"] == ours
    assert "*" not in machine["StringLike"]["ec2:InstanceType"]
    assert machine["ArnLike"]["ec2:InstanceProfile"].endswith("instance-profile/tailsweep-worker")
