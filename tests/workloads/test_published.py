import pytest

from workloads import WORKLOADS
from workloads.hparams import Value
from workloads.loop import settle
from workloads.metrics import METRICS
from workloads.published import Published, first_settings, published
from workloads.recipe import Recipe


@pytest.mark.parametrize("row", published(), ids=lambda row: f"{row.workload}:{row.recipe}:{row.source[:4]}")
def test_every_published_row_names_what_exists_within_its_range(row: Published) -> None:
    assert row.workload in WORKLOADS
    settings = settle(row.recipe, WORKLOADS[row.workload].settings, row.settings)
    parts = {*row.recipe.parts, "train"}
    assert {name.split(".")[0] for name in row.settings} <= parts
    assert settings is not None
    for metric, numbers in row.results.items():
        assert metric in METRICS
        assert list(numbers) == ["all", "many", "medium", "few"][: len(numbers)]
        assert all(0 < number < 100 for number in numbers.values())
    assert "arXiv:" in row.source


def test_the_papers_setting_is_the_first_trial() -> None:
    wanted: dict[str, Value] = {"ranksim.weight": 100.0, "ranksim.strength": 2.0}
    assert first_settings("agedb-dir", Recipe.parse("l1 + ranksim")) == wanted
    assert first_settings("agedb-dir", Recipe.parse("l1")) == {}
