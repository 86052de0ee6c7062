"""The stack of clusters/aws_batch, deployed on moto, where jobs succeed at once, and submissions to it."""

import json
import urllib.request
from pathlib import Path

import boto3

from clusters.profile import profile
from clusters.submission import Submission
from orchestrator.study.spec import Study

TEMPLATE = Path(__file__).parent.parent / "clusters" / "aws_batch" / "stack.yaml"
REGION = "us-east-1"
STUDY = "study: tiny\nworkloads: [nhanes-sbp]\nrecipes: {also: [l1 + lds, l1 + fds]}\n"
OPTIONS = {"QueueSpot": "queue", "JobRole": "job_role", "ExecutionRole": "execution_role", "LogGroup": "log_group"}
WORLD = {
    "QueueSpot": "spot",
    "JobRole": "arn:aws:iam::1:role/job",
    "ExecutionRole": "arn:aws:iam::1:role/execution",
    "LogGroup": "/tailsweep",
    "ImageRepository": "registry/tailsweep",
    "Storage": "s3://bucket/prefix",
}
"""Outputs of a stack that is nowhere."""


def template() -> str:
    """The template as moto takes it: it asks for a role that AWS makes by itself, and has no bucket policies."""
    text = TEMPLATE.read_text("utf-8")
    text = text.replace("Type: MANAGED\n", "Type: MANAGED\n      ServiceRole: !GetAtt InstanceRole.Arn\n")
    return text[: text.index("  BucketPolicy:")] + text[text.index("  LogGroup:") :]


def deploy(endpoint_url: str | None = None) -> dict[str, str]:
    """The outputs of a new stack, on a server or within `mock_aws`."""
    if endpoint_url is not None:
        asked = json.dumps({"batch": {"use_docker": False}}).encode()
        urllib.request.urlopen(urllib.request.Request(f"{endpoint_url}/moto-api/config", asked, method="POST")).close()
    ec2 = boto3.client("ec2", REGION, endpoint_url=endpoint_url)
    given = {
        "Vpc": ec2.describe_vpcs()["Vpcs"][0]["VpcId"],
        "Subnets": ec2.describe_subnets()["Subnets"][0]["SubnetId"],
        "InstanceTypes": "g5.xlarge,g4dn.xlarge",
        "OnDemandInstanceTypes": "g4dn.xlarge",
    }
    cloud = boto3.client("cloudformation", REGION, endpoint_url=endpoint_url)
    cloud.create_stack(
        StackName="tailsweep",
        TemplateBody=template(),
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
    )
    (found,) = cloud.describe_stacks(StackName="tailsweep")["Stacks"]
    assert found["StackStatus"] == "CREATE_COMPLETE"
    return {each["OutputKey"]: each["OutputValue"] for each in found["Outputs"]}


def submission(stack: dict[str, str], *more: str, study: str = "tiny") -> Submission:
    """A study of two cells for a stack with these outputs, with changes of its profile."""
    told = [f"options.{option}={stack[output]}" for output, option in OPTIONS.items()]
    image = f"image={stack['ImageRepository']}@sha256:1"
    made = profile("aws-batch", [*told, image, f"options.region={REGION}", "shards=3", *more])
    return Submission(Study.read(STUDY.replace("tiny", study), study), made, stack["Storage"], cells=4)
