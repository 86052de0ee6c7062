"""How many trials a cluster can train at once, and whether it can train each at all."""

from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.errors import BadInput
from orchestrator.study.resources import Share
from orchestrator.study.spec import Study

KIND = "accelerator_type:"
"""How Ray names the type of a node's accelerator among its resources."""


def concurrency(study: Study, nodes: Iterable[Mapping[str, Any]]) -> int:
    """Trials that the nodes (`ray.nodes()`) can train at once; raises BadInput when those of a workload fit nowhere.

    A trial is on one node, so it must fit into one. Where workloads are given different things, it is the number of the
    smallest trials: Ray lets what does not fit wait.
    """
    there = [node["Resources"] for node in nodes if node["Alive"]]
    shares = {name: study.resources.share(name) for name in study.names}
    counts = {name: sum(fits(share, node) for node in there) for name, share in shares.items()}
    if study.resources.concurrent is not None:
        return study.resources.concurrent
    for name, count in counts.items():
        if not count:
            raise BadInput(f"{_what(name, shares)}, {_has(there)}; lower resources, {_way_out(shares[name], there)}")
    return max(counts.values())


def fits(share: Share, node: Mapping[str, float]) -> int:
    """Trials on a node; those that share a GPU are all on one, so a third of each of four is not a whole.

    The processes of a trial are on one node, too.
    """
    counts = {name: int(node.get(name, 0) / amount + 1e-9) for name, amount in share.amounts().items()}
    if share.gpus:
        whole = int(node.get("GPU", 0))
        counts["GPU"] = whole // int(share.gpus) if share.gpus >= 1 else whole * int(1 / share.gpus + 1e-9)
    return min(counts.values())


def _what(name: str, shares: Mapping[str, Share]) -> str:
    of = f" of {name}" if len(set(map(str, shares.values()))) > 1 else ""
    return f"a trial{of} must fit into a node of the cluster: it asks for {shares[name]}"


def _has(there: Iterable[Mapping[str, float]]) -> str:
    sizes = sorted({(node.get("CPU", 0), node.get("GPU", 0)) for node in there}, reverse=True)
    return "nodes have " + ", ".join(f"{cpus:g} and {gpus:g}" for cpus, gpus in sizes) if sizes else "there is no node"


def _way_out(share: Share, there: Iterable[Mapping[str, float]]) -> str:
    kinds = sorted({name.removeprefix(KIND) for node in there for name in node if name.startswith(KIND)})
    if share.accelerator_type and share.accelerator_type not in kinds:
        return f"or accelerator_type, of which the nodes have {', '.join(kinds) or 'none'}"
    return "or set resources.concurrent for a cluster that grows"
