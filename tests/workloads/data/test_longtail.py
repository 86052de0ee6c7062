"""The long-tailed cut, the digits that come with packages, and what their tables say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from builders import record, score
from epochs import RECIPES, one_thread, train_one_epoch
from orchestrator.ledger.ledger import Ledger
from orchestrator.report.comparisons import Comparison, compare
from orchestrator.report.contributions import contributions
from orchestrator.report.formats import markdown
from orchestrator.report.latex import latex
from orchestrator.report.outputs import text
from orchestrator.report.scores import scores
from orchestrator.report.sections import Section
from orchestrator.report.sources import Rows
from orchestrator.report.tables import Table, tables
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.cells import expand
from orchestrator.study.spec import Study
from workloads import WORKLOADS
from workloads.data import digits
from workloads.data.longtail import class_grid, long_tail, long_tail_counts
from workloads.encoders.small import crop_and_flip, resnet32
from workloads.labels import REGIONS, regions
from workloads.loop import Fit
from workloads.metrics import shot_metrics
from workloads.recipe import Recipe
from workloads.training import settle
from workloads.workload import DataError


def test_counts_fall_from_the_largest_to_the_largest_over_the_factor() -> None:
    assert long_tail_counts(5000, 10, 100).tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert long_tail_counts(400, 10, 50)[[0, 9]].tolist() == [400, 8]
    assert long_tail_counts(7, 3, 1).tolist() == [7, 7, 7]
    assert long_tail_counts(5, 2, 100).tolist() == [5, 1]


@pytest.mark.parametrize(("classes", "factor"), [(1, 10.0), (10, 0.5)])
def test_a_tail_that_does_not_fall_is_refused(classes: int, factor: float) -> None:
    with pytest.raises(ValueError, match="two classes and a factor ≥ 1"):
        long_tail_counts(100, classes, factor)


def test_parts_are_disjoint_balanced_and_nested_over_factors() -> None:
    labels = np.repeat(np.arange(4), 30)[np.random.default_rng(0).permutation(120)]
    cuts = {f: long_tail(labels, long_tail_counts(20, 4, f), (3, 5), "made up") for f in (2.0, 10.0)}
    for train, val, test in cuts.values():
        assert len(np.unique(np.concatenate([train, val, test]))) == len(train) + len(val) + len(test)
        assert np.bincount(labels[val]).tolist() == [3] * 4
        assert np.bincount(labels[test]).tolist() == [5] * 4
    assert np.bincount(labels[cuts[10.0][0]]).tolist() == [20, 9, 4, 2]
    assert set(cuts[10.0][0]) < set(cuts[2.0][0])
    assert (cuts[10.0][1] == cuts[2.0][1]).all()


def test_the_draw_of_a_class_does_not_depend_on_the_others() -> None:
    two = np.array([0, 1, 0, 1] * 6)
    three = np.array([0, 1, 0, 2] * 6)
    a, _ = long_tail(two, np.array([4, 4]), (2,), "made up")
    b, _ = long_tail(three, np.array([4, 1, 1]), (2,), "made up")
    assert a[two[a] == 0].tolist() == b[three[b] == 0].tolist()


def test_a_class_without_rows_to_train_on_is_named() -> None:
    with pytest.raises(ValueError, match="class 1 needs more than 2 rows"):
        long_tail(np.array([0, 0, 0, 1, 1]), np.array([1, 1]), (1, 1), "made up")


def test_the_bin_of_a_class_is_its_number_up_to_thousands_of_classes() -> None:
    for classes in (2, 10, 100, 8142):
        assert (class_grid(classes).bin(np.arange(classes)) == np.arange(classes)).all()


@pytest.mark.parametrize(
    ("name", "counts", "bins"),
    [
        ("digits-lt", [130, 93, 66, 47, 34, 24, 17, 12, 9, 6], [1, 5, 4, 0]),
        ("mnist5k-lt", [400, 258, 167, 108, 70, 45, 29, 19, 12, 8], [4, 3, 3, 0]),
    ],
)
def test_the_digits_have_the_rows_that_their_pages_say(name: str, counts: list[int], bins: list[int]) -> None:
    workload = WORKLOADS[name]
    data = workload.load(None)
    found = workload.grid.counts(data.train.y.numpy())
    assert found.tolist() == counts
    assert np.bincount(workload.shots.of_counts(found), minlength=len(REGIONS)).tolist() == bins
    for split in ("train", "val", "test"):
        assert len(getattr(data, split).y) == workload.counts[split]
    assert sum(counts) == {"digits-lt": 438, "mnist5k-lt": 1116}[name]
    for held in (data.val, data.test):
        assert len(set(workload.grid.counts(held.y.numpy()).tolist())) == 1
    assert (
        data.train.inputs(torch.arange(3), torch.device("cpu")).shape[1:]
        == {
            "digits-lt": (1, 8, 8),
            "mnist5k-lt": (1, 28, 28),
        }[name]
    )


@pytest.mark.parametrize(
    ("name", "recipe"),
    [*(("digits-lt", recipe) for recipe in (*RECIPES, "cross_entropy + sqinv + rrt")), ("mnist5k-lt", "arb")],
)
def test_the_digits_train_and_score_in_every_region(name: str, recipe: str) -> None:
    train_one_epoch(WORKLOADS[name], None, recipe)


def test_a_loss_that_knows_the_counts_beats_the_plain_one_on_rare_digits() -> None:
    workload = WORKLOADS["digits-lt"]
    data = workload.load(None)
    where = regions(data.train.y.numpy(), data.test.y.numpy(), workload.grid, workload.shots)
    found = {}
    for recipe in ("cross_entropy", "arb"):
        settings = settle(Recipe.parse(recipe), workload.settings, {"train.epochs": 12})
        fit = Fit(workload, data, Recipe.parse(recipe), settings, 0, torch.device("cpu"))
        with one_thread():
            list(fit)
        found[recipe] = shot_metrics(fit.predict(data.test), data.test.y.numpy(), where, ("accuracy",))
    few = {recipe: scores["few"]["accuracy"].value or 0.0 for recipe, scores in found.items()}
    assert few["arb"] > few["cross_entropy"] + 0.05
    assert (found["arb"]["all"]["accuracy"].value or 0.0) > 0.85


def test_every_bad_row_of_a_table_of_digits_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[list[int | str]] = [[0] * 64 + [c] for c in range(10)]
    rows[2][5], rows[7][-1], rows[8][0] = 17, 12, "nan"
    path = tmp_path / "digits.csv"
    path.write_text("\n".join(",".join(map(str, row)) for row in rows))
    monkeypatch.setattr(digits, "_path", lambda *_: path)
    with pytest.raises(DataError) as caught:
        digits.load(digits.SKLEARN, "scikit-learn", 20, None)
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [f"{path}:{line}" for line in (3, 8, 9)]


def test_a_crop_moves_by_at_most_the_margin_reflects_and_mirrors_some() -> None:
    torch.manual_seed(0)
    x = torch.arange(64 * 3 * 32 * 32).view(64, 3, 32, 32)
    made = crop_and_flip(x)
    padded = torch.nn.functional.pad(x.double(), (4, 4, 4, 4), mode="reflect").long()
    crops = padded.unfold(2, 32, 1).unfold(3, 32, 1).permute(0, 2, 3, 1, 4, 5).reshape(64, 81, 3, 32, 32)
    straight = (crops == made[:, None]).flatten(2).all(2).any(1)
    mirrored = (crops.flip(4) == made[:, None]).flatten(2).all(2).any(1)
    assert (straight ^ mirrored).all()
    assert 10 < int(mirrored.sum()) < 54
    assert crop_and_flip(x.to(torch.uint8)).dtype == torch.uint8


def test_resnet32_has_the_published_size() -> None:
    net, dim = resnet32([0.5] * 3, [0.25] * 3)
    layers = sum(isinstance(module, torch.nn.Conv2d) for module in net.modules())
    assert (dim, layers + 1) == (64, 32)
    assert sum(p.numel() for p in net.parameters()) == 463_504  # 464,154 with a head of ten classes
    assert net(torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)).shape == (2, 64)


def plan(recipe: str, accuracy: float) -> CellPlan:
    study = Study.of({"study": "tiny", "workloads": ["digits-lt"], "recipes": {"also": [recipe]}})
    made = CellPlan(expand(study)[0])
    scores = (score(accuracy, metric="accuracy"), score(1 - accuracy, metric="error"))
    made.outcomes["evaluate"][0] = record(made.cell.trial("evaluate", 0, {}), accuracy, test=scores)
    return made


def test_a_table_shows_percent() -> None:
    (table,) = tables([plan("cross_entropy", 0.75), plan("arb", 0.875)])
    lines = markdown(table).splitlines()
    assert lines[0].startswith("| Recipe | Seeds | Accuracy % All | Accuracy % Many |")
    assert "| cross_entropy | 1 | 75.00 | – | – | – | 25.00 | – | – | – |" in lines
    assert "| arb | 1 | 87.50 | – | – | – | 12.50 | – | – | – |" in lines
    assert r"{Accuracy \%}" in latex([table], {})


def test_differences_of_a_classification_count_misses(tmp_path: Path) -> None:
    made = [plan("arb", 0.5), plan("arb + sqinv", 0.5)]
    data = WORKLOADS["digits-lt"].load(None)
    y = data.test.y.numpy()
    ledger = Ledger(str(tmp_path))
    for cell, missed in zip(made, (50, 28), strict=True):
        pred = y.copy()
        pred[:missed] = (pred[:missed] + 5) % 10  # how far off a wrong class is does not count
        ledger.commit_predictions(cell.outcomes["evaluate"][0].trial_id, y, pred)
    found = compare(scores(made, ledger, data), "error", "all", "arb + sqinv", "arb")
    assert found is not None
    assert found.value == pytest.approx(-10.0)


def test_a_report_says_what_its_differences_are_to() -> None:
    made = [plan("cross_entropy", 0.5), plan("arb", 0.5)]
    (table,) = tables(made)
    data = WORKLOADS["digits-lt"].load(None)

    def section_of(shown: Table) -> Section:
        return Section(shown, contributions(shown, {}), [], Rows(made, []), data, [], WORKLOADS["digits-lt"], {}, "")

    def heading(*bases: str) -> str:
        column = ("error", "all")
        found = {(f"{b} + sqinv", column): Comparison(f"{b} + sqinv", b, column, -1.0, 2.0, 1, 9, None) for b in bases}
        shown = replace(table, comparisons=found, primary=column)
        return next(line for line in text(section_of(shown)).splitlines() if "Change" in line)

    assert heading("arb") == "### Change of the test Error, in percentage points, against `arb`"
    assert heading("arb", "cross_entropy").endswith("against the objective alone")
