"""A submission as what `ray up` reads: its own Ray cluster on EC2, which grows with the work and shrinks after it.

The head is on demand and trains nothing; workers are on spot. All run one image; the storage knows them by their
instance profiles, so that no key is written down. Calls to Ray need a token, and from outside only SSH is open.
"""

import copy
import re
import shlex
from importlib import resources
from typing import Annotated, Any

import yaml
from pydantic import Field

from clusters.shared.growing import check_growing
from clusters.submission import Options, Submission
from orchestrator.errors import BadInput

Count = Annotated[int, Field(ge=0)]
Disk = Annotated[int, Field(ge=50)]
Arn = Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:instance-profile/.+$")]


class Machine(Options):
    """The machine of the head. `profile` is the ARN of an instance profile."""

    instance: str
    disk_gb: Disk = 100
    profile: Arn


class Machines(Options):
    """Machines that train. Several instance types make spot capacity more likely."""

    instances: Annotated[tuple[str, ...], Field(min_length=1)]
    min: Count = 0
    max: Annotated[int, Field(ge=1)]
    spot: bool = True
    disk_gb: Disk = 200
    profile: Arn


class AwsRayOptions(Options):
    """The keys of an `aws-ray` profile; clusters/aws_ray/profile.yaml says what each is for."""

    region: str
    zones: tuple[str, ...] = ()
    ami: Annotated[str, Field(pattern=r"^ami-[0-9a-f]{8,17}$")]
    ssh_user: str = "ubuntu"
    ssh_private_key: str | None = None
    key_name: str | None = None
    subnets: tuple[str, ...] = ()
    security_group: str | None = None
    internal: bool = False
    head: Machine
    workers: Machines
    idle_minutes: Annotated[float, Field(gt=0)] = 5
    up_s: Annotated[float, Field(gt=0)] = 1800
    down: bool = True


def cluster(submission: Submission, options: AwsRayOptions) -> dict[str, Any]:
    """clusters/aws_ray/ray-up.yaml with what the profile says; raises BadInput for what could never run."""
    _check(submission, options)
    workers, image = options.workers, submission.profile.image or ""
    tree: dict[str, Any] = yaml.safe_load((resources.files("clusters.aws_ray") / "ray-up.yaml").read_text("utf-8"))
    tree["cluster_name"] = cluster_name(submission)
    tree["provider"] |= {"region": options.region, "use_internal_ips": options.internal}
    if options.zones:
        tree["provider"]["availability_zone"] = ",".join(options.zones)
    if options.security_group:
        del tree["provider"]["security_group"]
    tree["auth"] = {"ssh_user": options.ssh_user}
    if options.ssh_private_key:
        tree["auth"]["ssh_private_key"] = options.ssh_private_key
    tree["docker"]["image"] = image
    plain = submission.profile.environment.items()
    tree["docker"]["run_options"] += [f"-e {shlex.quote(f'{name}={value}')}" for name, value in plain]
    tree["max_workers"] = workers.max
    tree["idle_timeout_minutes"] = options.idle_minutes
    types = tree["available_node_types"]
    _set(types["head"]["node_config"], options, options.head.instance, options.head)
    worker = types.pop("worker") | {"max_workers": workers.max}
    for number, instance in enumerate(workers.instances):
        kind = copy.deepcopy(worker) | {"min_workers": 0 if number else workers.min}
        _set(kind["node_config"], options, instance, workers)
        if not workers.spot:
            del kind["node_config"]["InstanceMarketOptions"]
        types[f"worker-{instance.replace('.', '-')}"] = kind
    tree["initialization_commands"] = _login(image)
    return tree


def cluster_name(submission: Submission) -> str:
    """One for all attempts: the next one finds the machines that are still up."""
    return submission.name.rpartition("-")[0]


def _check(submission: Submission, options: AwsRayOptions) -> None:
    profile = submission.profile
    name = f"profile {profile.name}"
    check_growing(submission, options.workers.min, options.workers.max, options.workers.max)
    if not submission.storage.startswith("s3://"):
        raise BadInput(f"{name}: the storage must be reached from every machine: s3://: got {submission.storage}")
    if profile.secrets:
        raise BadInput(
            f"{name}: the machines have the rights of their instance profiles, and take no secrets: got "
            f"{', '.join(profile.secrets)}; give the profiles the rights instead"
        )
    if (options.key_name is None) != (options.ssh_private_key is None):
        raise BadInput(f"{name}: options.key_name and options.ssh_private_key are one key: give both or none")


def _set(node: dict[str, Any], options: AwsRayOptions, instance: str, machine: Machine | Machines) -> None:
    node |= {"InstanceType": instance, "ImageId": options.ami, "IamInstanceProfile": {"Arn": machine.profile}}
    (disk,) = node["BlockDeviceMappings"]
    node["BlockDeviceMappings"] = [{**disk, "Ebs": {**disk["Ebs"], "VolumeSize": machine.disk_gb}}]
    if options.key_name:
        node["KeyName"] = options.key_name
    if options.subnets:
        node["SubnetIds"] = list(options.subnets)
    if options.security_group:
        node["SecurityGroupIds"] = [options.security_group]


def _login(image: str) -> list[str]:
    """Amazon's registry lets machines in by their instance profile."""
    found = re.match(r"(\d{12}\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?)/", image)
    if found is None:
        return []
    return [f"aws ecr get-login-password --region {found[2]} | docker login --username AWS --password-stdin {found[1]}"]
