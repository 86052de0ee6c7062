"""Pods of manifests, checked by Kubernetes' own schema, in which no unknown key is let through."""

import json
from functools import cache
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

SCHEMAS = "kubernetes-json-schema/v1.34.0-local-strict"


@cache
def validator(name: str) -> Draft202012Validator:
    folder = resources.files("kubernetes_validate").joinpath(SCHEMAS)
    schema, shared = (json.loads(folder.joinpath(f"{name}.json").read_text("utf-8")) for name in (name, "_definitions"))
    registry: Registry[Any] = Registry()
    return Draft202012Validator(
        schema, registry=registry.with_resources([("_definitions.json", Resource.from_contents(shared))])
    )


def check(manifest: dict[str, Any]) -> None:
    """Raises ValueError for an object of Kubernetes itself that is not one."""
    group, _, version = manifest["apiVersion"].rpartition("/")
    name = "-".join(filter(None, (manifest["kind"].lower(), group.split(".")[0], version)))
    for error in validator(name).iter_errors(manifest):
        raise ValueError(f"{manifest['kind']}: {'.'.join(map(str, error.absolute_path))}: {error.message}")


def check_pods(manifest: dict[str, Any]) -> None:
    """The same for the pod templates of a RayJob or a RayCluster."""
    spec = manifest["spec"]
    cluster = spec.get("rayClusterSpec", spec)
    templates = [cluster["headGroupSpec"]["template"], *(group["template"] for group in cluster["workerGroupSpecs"])]
    for template in [*templates, *([spec["submitterPodTemplate"]] if "submitterPodTemplate" in spec else [])]:
        check({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "pod"}, "template": template})
