import re
from pathlib import Path

import yaml

from workloads import WORKLOADS
from workloads.data.custom.schema import kind_of
from workloads.encoders.named import ENCODERS

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "data.md").read_text("utf-8")


def test_every_workload_is_in_the_documentation() -> None:
    named = set(re.findall(r"`([a-z0-9-]+)`", TEXT))
    base = {re.sub(r"^(cifar100?-lt)-\d+$", r"\1", name) for name in WORKLOADS}
    assert base <= named, base - named


def test_the_declarations_in_the_manual_are_valid_and_every_encoder_is_named_there() -> None:
    text = (DOCS / "studies.md").read_text(encoding="utf-8")
    declared = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)]
    items = [item for tree in declared for item in (tree.get("workloads", ()) if isinstance(tree, dict) else tree)]
    assert [kind_of(item).model_validate(item).type for item in items] == ["table", "images", "text", "maps"]
    for kind, encoders in ENCODERS.items():
        (row,) = (line for line in text.splitlines() if line.startswith(f"| `{kind}` |"))
        assert all(f"`{name}`" in row for name in encoders)
