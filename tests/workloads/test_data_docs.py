import re
from pathlib import Path

from workloads import WORKLOADS

TEXT = (Path(__file__).parents[2] / "docs" / "data.md").read_text("utf-8")


def test_every_workload_is_in_the_documentation() -> None:
    named = set(re.findall(r"`([a-z0-9-]+)`", TEXT))
    base = {re.sub(r"^(cifar100?-lt)-\d+$", r"\1", name) for name in WORKLOADS}
    assert base <= named, base - named
