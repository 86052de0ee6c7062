"""The table of all parts."""

from pathlib import Path

from workloads.catalog import catalog
from workloads.recipe import PARTS

DOCUMENT = Path(__file__).parents[2] / "docs" / "methods.md"


def test_the_document_is_what_the_registries_say():
    assert DOCUMENT.read_text("utf-8") == catalog(), "run `python -m workloads.catalog > docs/methods.md`"


def test_every_part_and_hyperparameter_is_in_the_table():
    text = catalog()
    for name, part in PARTS.items():
        assert f"### {name}\n" in text
        for hparam in part.Hparams.declared():
            assert f"| `{name}.{hparam}` |" in text


def test_what_to_know_of_licences_and_patents_is_said():
    assert "US patent application 2023/0214651" in catalog()
