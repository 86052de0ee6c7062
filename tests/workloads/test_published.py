import pytest

from workloads import WORKLOADS
from workloads.hparams import Value
from workloads.metrics import METRICS
from workloads.published import Published, first_settings, protocol, published
from workloads.recipe import Recipe
from workloads.training import settle


@pytest.mark.parametrize("row", published(), ids=lambda row: f"{row.workload}:{row.recipe}:{row.source[:4]}")
def test_every_published_row_names_what_exists_within_its_range(row: Published) -> None:
    assert row.workload in WORKLOADS
    settings = settle(row.recipe, WORKLOADS[row.workload].defaults(row.recipe.objective), row.settings)
    parts = {*row.recipe.parts, "train"}
    assert {name.split(".")[0] for name in row.settings} <= parts
    assert not {"train.epochs", "train.keep", "train.monitor"} & set(row.settings)  # every trial has the study's
    assert settings is not None
    for metric, numbers in row.results.items():
        assert metric in METRICS
        assert numbers and [region for region in ("all", "many", "medium", "few") if region in numbers] == [*numbers]
        assert all(0 < number < 100 for number in numbers.values())
    assert "arXiv:" in row.source


def test_the_papers_setting_is_the_first_trial() -> None:
    wanted: dict[str, Value] = {"ranksim.weight": 100.0, "ranksim.strength": 2.0}
    assert first_settings("agedb-dir", Recipe.parse("l1 + ranksim")) == wanted
    assert first_settings("agedb-dir", Recipe.parse("l1")) == {}


def test_published_settings_for_ranksim_on_scores_are_in_the_units_of_the_loss() -> None:
    """3e-4 and 2 are for scores divided by 5: 25 times smaller squared errors, 5 times smaller absolute ones."""
    ranksim = Recipe.parse("mse + ranksim")
    paper = first_settings("sts-b-dir-ranksim", ranksim)
    assert (paper["ranksim.weight"], paper["ranksim.strength"]) == (0.0075, 0.08)
    for objective, scale in (("mse", 25), ("focal_mse", 25), ("bmse", 25), ("l1", 5), ("huber", 5), ("focal_l1", 5)):
        made = WORKLOADS["sts-b-dir"].defaults(objective)
        assert made["train.weight_decay"] == pytest.approx(scale * 1e-5)
        assert made["train.grad_clip"] == pytest.approx(scale * 5.0)
        assert made["ranksim.weight"] == pytest.approx(scale * 3e-4)
        assert made["ranksim.strength"] == pytest.approx(2.0 / scale)


def test_the_published_network_on_sts_b_has_the_published_rows() -> None:
    rows = {name: [row for row in published() if row.workload == name] for name in ("sts-b-dir-840b", "sts-b-dir")}
    assert len(rows["sts-b-dir-840b"]) == 12
    assert [row.results for row in rows["sts-b-dir-840b"]] == [row.results for row in rows["sts-b-dir"]]


@pytest.mark.parametrize(
    ("workload", "recipe", "metric", "region", "number"),
    [
        ("agedb-dir", "l1 + sqinv + ranksim", "mae", "all", 6.91),
        ("agedb-dir", "focal_l1 + lds + fds + ranksim", "mae", "many", 6.17),
        ("agedb-dir", "focal_l1 + fds + ranksim", "gm", "medium", 4.84),
        ("agedb-dir", "l1 + lds + ranksim + rrt", "mae", "medium", 7.54),
        ("imdb-wiki-dir", "l1 + sqinv + fds + ranksim + rrt", "mae", "all", 7.35),
        ("imdb-wiki-dir", "l1 + lds + fds + ranksim", "mae", "few", 21.43),
        ("imdb-wiki-dir", "bmse + two_stages", "bmae", "few", 28.077),
        ("agedb-dir", "grc + group_contrast", "mae", "all", 6.87),
        ("imdb-wiki-dir", "grc + group_contrast", "gm", "few", 11.13),
        ("sts-b-dir-ranksim", "mse + inv + ranksim + rrt", "mse", "few", 0.670),
        ("nyud2-dir", "mse + fds", "rmse", "few", 2.059),
        ("cifar10-lt-200", "arb + rrt", "accuracy", "all", 0.822),
        ("places-lt", "arb + rrt", "accuracy", "all", 0.383),
    ],
)
def test_numbers_that_papers_print_stand_beside_their_recipe(
    workload: str, recipe: str, metric: str, region: str, number: float
) -> None:
    rows = [row for row in published() if (row.workload, str(row.recipe)) == (workload, str(Recipe.parse(recipe)))]
    assert number in [row.results.get(metric, {}).get(region) for row in rows]


def test_what_is_known_of_a_protocol_is_told_of_every_data_set_of_the_tables() -> None:
    told = {row.workload for row in published()} - {"imagenet-lt", "places-lt"}
    assert all(protocol(workload) for workload in told)
    assert "lowest validation L1" in protocol("agedb-dir") and "on *test*" in protocol("nyud2-dir")
    assert protocol("sts-b-dir") != protocol("sts-b-dir-ranksim") and protocol("nhanes-sbp") == ""
