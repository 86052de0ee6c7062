"""The part of KubeRay's API `ray.io/v1` that Tailsweep writes, with the rules that KubeRay checks only once it runs.

The server accepts a misspelt `submissionMode` and a RayJob that its operator then fails; here they are refused at once.
Types and rules are those of KubeRay 1.7 (RayJob, RayCluster, the operator's validation of both); pod templates are
Kubernetes' own, of which only what KubeRay asks for is looked at.
"""

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

TOKENS_SINCE: Final = (2, 52)
LONGEST_NAME: Final = 47


def _label(value: str) -> str:
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", value) or len(value) > LONGEST_NAME:
        raise ValueError(f"a name is lower-case letters, digits and dashes, at most {LONGEST_NAME}, a letter first")
    return value


def _template(value: dict[str, Any]) -> dict[str, Any]:
    if not value.get("spec", {}).get("containers"):
        raise ValueError("a pod template has at least one container")
    return value


Name = Annotated[str, AfterValidator(_label)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]
Template = Annotated[dict[str, Any], AfterValidator(_template)]


class Part(BaseModel):
    """A part of the API: unknown keys and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Metadata(Part):
    """What names an object."""

    name: Name
    namespace: Name | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Auth(Part):
    """Whether calls to Ray need a token; KubeRay makes the token."""

    mode: Literal["disabled", "token"]
    secretName: str | None = None


class Autoscaler(Part):
    """How a cluster grows and shrinks."""

    version: Literal["v1", "v2"] | None = None
    upscalingMode: Literal["Default", "Aggressive", "Conservative"] | None = None
    idleTimeoutSeconds: Natural | None = None
    resources: dict[str, dict[str, str]] | None = None
    securityContext: dict[str, Any] | None = None


class Head(Part):
    """The pod that runs the driver."""

    template: Template
    rayStartParams: dict[str, str] = {}
    serviceType: Literal["ClusterIP", "NodePort", "LoadBalancer"] | None = None


class Group(Part):
    """Pods that train."""

    groupName: str
    minReplicas: Natural
    maxReplicas: Natural
    replicas: Natural | None = None
    idleTimeoutSeconds: Natural | None = None
    numOfHosts: Positive | None = None
    rayStartParams: dict[str, str] = {}
    template: Template

    @model_validator(mode="after")
    def _bounds(self) -> "Group":
        if not self.minReplicas <= (self.minReplicas if self.replicas is None else self.replicas) <= self.maxReplicas:
            raise ValueError("minReplicas <= replicas <= maxReplicas must hold")
        return self


class ClusterSpec(Part):
    """A Ray cluster."""

    rayVersion: str | None = None
    authOptions: Auth | None = None
    enableInTreeAutoscaling: bool = False
    autoscalerOptions: Autoscaler | None = None
    headGroupSpec: Head
    workerGroupSpecs: list[Group] = []

    @model_validator(mode="after")
    def _rules(self) -> "ClusterSpec":
        groups: list[Head | Group] = [self.headGroupSpec, *self.workerGroupSpecs]
        if any("labels" in group.rayStartParams for group in groups):
            raise ValueError("rayStartParams must not hold labels")
        names = [group.groupName for group in self.workerGroupSpecs]
        if len(set(names)) < len(names):
            raise ValueError("groupNames must differ")
        if self.enableInTreeAutoscaling and (self.autoscalerOptions or Autoscaler()).version != "v1":
            policies = {group.template["spec"].get("restartPolicy", "Never") for group in groups}
            if policies != {"Never"}:
                raise ValueError("restartPolicy must be Never, or left out, under autoscaler v2")
        if self.authOptions is not None and self.authOptions.mode == "token":
            found = re.match(r"(\d+)\.(\d+)", self.rayVersion or "")
            if found is None or (int(found[1]), int(found[2])) < TOKENS_SINCE:
                raise ValueError("authOptions.mode token needs a rayVersion of 2.52 or later")
        return self


class JobSpec(Part):
    """A command on a Ray cluster that is made for it."""

    entrypoint: str
    submissionMode: Literal["K8sJobMode", "HTTPMode", "SidecarMode"] = "K8sJobMode"
    submitterPodTemplate: Template | None = None
    backoffLimit: Natural = 0
    activeDeadlineSeconds: Positive | None = None
    preRunningDeadlineSeconds: Positive | None = None
    shutdownAfterJobFinishes: bool = False
    ttlSecondsAfterFinished: Natural = 0
    rayClusterSpec: ClusterSpec

    @model_validator(mode="after")
    def _rules(self) -> "JobSpec":
        if self.ttlSecondsAfterFinished and not self.shutdownAfterJobFinishes:
            raise ValueError("ttlSecondsAfterFinished works with shutdownAfterJobFinishes only")
        if self.submissionMode == "SidecarMode" and self.submitterPodTemplate is not None:
            raise ValueError("SidecarMode takes no submitterPodTemplate")
        return self


class RayJob(Part):
    """A RayJob."""

    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: Metadata
    spec: JobSpec


class RayCluster(Part):
    """A RayCluster."""

    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayCluster"]
    metadata: Metadata
    spec: ClusterSpec
