import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from builders import cell, study
from orchestrator.errors import BadInput
from orchestrator.ledger.records import canonical
from orchestrator.study.axes import BASE, Axis
from orchestrator.study.cells import IDENTITY, Cell, expand, sketch
from orchestrator.study.spec import Study
from orchestrator.study.stored import difference
from workloads import WORKLOADS
from workloads.hparams import Float
from workloads.methods import METHODS
from workloads.published import first_settings, published
from workloads.training import Training


def test_cells_are_every_workload_with_every_recipe_in_table_order() -> None:
    made = study(recipes={"objectives": ["l1"], "combine": ["fds", "lds"], "also": ["sqinv + l1", "l1"]})
    assert [c.name for c in expand(made)] == [
        "nhanes-sbp/l1",
        "nhanes-sbp/l1 + fds",
        "nhanes-sbp/l1 + lds",
        "nhanes-sbp/l1 + lds + fds",
        "nhanes-sbp/l1 + sqinv",
    ]


def test_the_id_of_a_trial_depends_on_what_its_numbers_depend_on() -> None:
    base = cell().trial("tune", 0, {"lds.width": 7})
    assert base.id == cell().trial("tune", 0, {"lds.width": 7}).id
    others = [
        cell().trial("tune", 1, {"lds.width": 7}),
        cell().trial("evaluate", 0, {"lds.width": 7}),
        cell().trial("tune", 0, {"lds.width": 9}),
        cell("mse + lds").trial("tune", 0, {"lds.width": 7}),
        cell(train={"epochs": 3}).trial("tune", 0, {"lds.width": 7}),
        replace(base, cell=replace(base.cell, data="other data")),
    ]
    assert len({base.id, *(other.id for other in others)}) == len(others) + 1


def test_the_id_of_a_trial_is_the_hash_of_its_identity_in_canonical_json() -> None:
    made = cell("l1 + lds").trial("tune", 0, {"lds.width": 7, "train.lr": 1e-5})
    for one in (made, made.again("evaluate", 3, 2)):
        identity = {
            "identity": IDENTITY,
            **one.cell.identity,
            "versions": one.versions,
            "settings": dict(one.settings),
            "seed": one.seed,
            "phase": one.phase,
        }
        assert one.id == hashlib.blake2b(canonical(identity).encode(), digest_size=10).hexdigest()


def test_the_id_of_a_trial_ignores_where_and_under_which_name_it_runs() -> None:
    there = cell(study="other", storage="/there", resources={"cpus": 2, "gpus": 0.5}, tune={"trials": 9})
    several = cell(resources={"gpus": 4})
    assert cell().trial("tune", 0, {}).id == there.trial("tune", 0, {}).id == several.trial("tune", 0, {}).id


def test_a_setting_that_equals_its_default_or_does_not_act_leaves_the_id() -> None:
    plain = cell().trial("tune", 0, {})
    assert plain.id == cell().trial("tune", 0, {"lds.width": 5}).id
    triang = cell().trial("tune", 0, {"lds.kernel": "triang"})
    assert triang.id == cell().trial("tune", 0, {"lds.kernel": "triang", "lds.sigma": 1.0}).id


def test_recipes_share_their_seeds_and_phases_do_not() -> None:
    assert cell().trial("evaluate", 1, {}).seed == cell("l1").trial("evaluate", 1, {}).seed
    seeds = {cell().trial(phase, number, {}).seed for phase in ("tune", "evaluate") for number in range(5)}
    assert len(seeds) == 10


def test_a_tuned_value_that_equals_a_default_wins_over_the_workload() -> None:
    made = cell(space={"train.lr": [0.001, 0.01]}, train={"nhanes-sbp": {"lr": 0.01}})
    assert "train.lr" not in made.trial("tune", 0, {"train.lr": 0.001}).settings
    assert made.trial("tune", 0, {}).settings["train.lr"] == 0.01


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workloads": ["nhanes-spb"]}, "no workload 'nhanes-spb'.*did you mean 'nhanes-sbp'"),
        ({"recipes": {"objectives": ["l1"], "combine": ["lsd"]}}, "no method 'lsd'.*did you mean 'lds'"),
        ({"recipes": {"objectives": ["l2"]}}, "no objective 'l2'"),
        ({"recipes": {"also": ["l1 + mse"]}}, "exactly one objective: got 2"),
        ({"recipes": {"also": ["lds"]}}, "exactly one objective: got 0"),
        ({"recipes": {"also": ["l1 + sqinv + lds"]}}, "sqinv and lds contradict each other"),
        ({"recipes": {"also": ["l1 + lds + lds"]}}, "names a method once"),
        ({"recipes": {"also": ["l1 + once + rrt"]}}, "at most one plan"),
        ({"recipes": {}}, "recipes must name at least one"),
        ({"space": {"lds.sigma": {"low": 0.1, "high": 2}}}, r"lds.sigma must lie in \[0.5, 4\]: got 0.1"),
        ({"space": {"lds.sigma": {"low": 3, "high": 2}}}, "low must not exceed high"),
        ({"space": {"lds.width": 4}}, "lds.width must be .*got 4"),
        ({"space": {"lds.kernel": ["gaussian", "box"]}}, "lds.kernel must be one of .*got 'box'"),
        ({"space": {"lds.kernel": {"low": 1, "high": 2}}}, "list values instead"),
        ({"space": {"lds.wdth": 5}}, "no hyperparameter 'wdth'.*did you mean 'width'"),
        ({"space": {"fds.width": 5}}, "no recipe has fds"),
        ({"space": {"ldds.width": 5}}, "no part 'ldds'.*did you mean 'lds'"),
        ({"train": {"epochs": 0}}, "train.epochs must lie in .*got 0"),
        ({"train": {"epoch": 1}}, "no hyperparameter 'epoch'.*did you mean 'epochs'"),
        ({"train": {"agedb": {"epochs": 1}}}, "workloads of the study: got 'agedb'"),
        ({"tune": {"select_by": "test/mae/all"}}, "tune.select_by is val/METRIC/REGION.*got 'test/mae/all'"),
        ({"tune": {"select_by": "val/mae/zero"}}, "nhanes-sbp has none in zero"),
        ({"data": "/nowhere", "recipes": {"also": ["cross_entropy"]}}, "cross_entropy is for classification"),
    ],
)
def test_a_study_that_cannot_run_is_refused_before_it_runs(changes: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        expand(study(**changes))


def test_a_difference_between_studies_names_the_key_and_both_values() -> None:
    lines = difference(study().definition(), study(train={"epochs": 9}).definition())
    assert lines == ["train.epochs: 2 there, 9 here"]


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry of workloads that a test may enter something into."""
    monkeypatch.setattr("orchestrator.study.cells.WORKLOADS", dict(WORKLOADS))
    monkeypatch.setattr("orchestrator.study.cells._DECLARED", {})


@pytest.mark.usefixtures("registry")
def test_a_data_set_that_a_study_declares_is_a_workload_of_it(tmp_path: Path) -> None:
    rows = ["x,y", *(f"{n % 7},{n % 10}" for n in range(300))]
    (tmp_path / "mine.csv").write_text("\n".join(rows))
    own = {"name": "mine", "type": "table", "file": "mine.csv", "target": "y", "bin_width": 1}
    made = study(workloads=["nhanes-sbp", own], data=str(tmp_path), train={"epochs": 2, "mine": {"lr": 0.01}})
    cells = expand(made)
    assert [c.name for c in cells] == ["nhanes-sbp/l1", "nhanes-sbp/l1 + lds", "mine/l1", "mine/l1 + lds"]
    assert cells[2].trial("tune", 0, {}).settings["train.lr"] == 0.01


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"name": "nhanes-sbp"}, "'nhanes-sbp' is taken by a shipped workload"),
        ({"name": "mine"}, "mine.csv is missing"),
        (
            {"name": "mine", "type": "tables"},
            "type of a data set must be one of table, arrays, images, text, maps: got 'tables'",
        ),
        ({"name": "mine", "size": 64}, "workload mine: unknown key 'size' in data of type table"),
        (
            {"name": "mine", "encoder": "resnet18"},
            "workload mine: no encoder 'resnet18' in type table; known: clipped-mlp",
        ),
        (
            {"name": "mine", "type": "images", "encoder": "resnet19"},
            "no encoder 'resnet19' in type images; known: cnn, resnet18, .*timm/NAME .did you mean 'resnet18'",
        ),
        (
            {"name": "mine", "type": "images", "encoder": "resnet18", "hidden": [8]},
            "hidden sets the layers of cnn: got it with resnet18, which has its own",
        ),
        (
            {"name": "mine", "type": "images", "weights": "w.pt"},
            "weights are read by resnet18, resnet50, timm/NAME: got them with the default, cnn",
        ),
        ({"name": "mine", "type": "images", "augment": ["turn"]}, "no augmentation 'turn'; known: crop, flip"),
        ({"name": "mine", "bin_width": -1}, "workload mine: bin_width: .*greater than 0: got -1"),
        (
            {"name": "mine", "bin_widht": 1},
            "workload mine: unknown key 'bin_widht' in data of type table; .*did you mean 'bin_width'",
        ),
    ],
)
@pytest.mark.usefixtures("registry")
def test_a_wrong_declaration_is_refused(tmp_path: Path, own: dict[str, object], message: str) -> None:
    if own["name"] == "nhanes-sbp":
        (tmp_path / "mine.csv").write_text("x,y\n1,2\n")
    base = {"type": "table", "file": "mine.csv", "target": "y", "bin_width": 1}
    with pytest.raises(BadInput, match=message):
        expand(study(workloads=[{**base, **own}], data=str(tmp_path)))


@pytest.mark.parametrize("method", [name for name, m in METHODS.items() if not m.dense and "regression" in m.tasks])
def test_a_method_of_whole_rows_is_refused_where_labels_are_maps(method: str) -> None:
    made = study(workloads=["stereo-depth"], recipes={"objectives": ["l1"], "combine": [], "also": [f"l1 + {method}"]})
    law = METHODS[method].needs_rows
    with pytest.raises(BadInput, match=rf"{method} {law}, .* got 'l1 \+ {method}' on stereo-depth"):
        expand(made)


def test_inputs_that_a_part_cannot_act_on_are_refused_with_the_workload_and_the_recipe(tmp_path: Path) -> None:
    recipes = {"also": ["l1 + reconstruct"]}
    WORKLOADS["agedb-dir"].fixture(tmp_path)  # type: ignore[misc]
    with pytest.raises(
        BadInput, match=r"workload agedb-dir: reconstruct gives .* 150,528: .*: got 'l1 \+ reconstruct'"
    ):
        expand(study(workloads=["agedb-dir"], recipes=recipes, data=str(tmp_path)))
    assert len(expand(study(recipes=recipes))) == 1


def test_recalibration_is_refused_where_labels_are_maps_or_classes() -> None:
    recipes = {"objectives": ["l1"], "combine": [], "also": ["l1 + affine"]}
    with pytest.raises(BadInput, match=r"affine sorts all held-out labels .* got 'l1 \+ affine' on stereo-depth"):
        expand(study(workloads=["stereo-depth"], recipes=recipes))
    recipes = {"objectives": ["arb"], "combine": [], "also": ["arb + isotonic"]}
    with pytest.raises(BadInput, match=r"isotonic is for regression: got 'arb \+ isotonic' on digits-lt"):
        expand(study(workloads=["digits-lt"], recipes=recipes))


@pytest.mark.parametrize("primary", ["rmse/few", "mae/fewest", "mae/natural"])
def test_a_primary_column_that_no_table_has_is_refused_before_training(primary: str) -> None:
    with pytest.raises(BadInput, match=r"report\.primary is METRIC/REGION, with a metric of mae, gm for nhanes-sbp"):
        expand(study(report={"primary": primary}))


def test_a_primary_column_of_the_table_is_taken() -> None:
    assert expand(study(report={"primary": "gm/medium"}))


def base_axes(made: Cell) -> dict[str, Axis]:
    return {axis.name: axis for axis in made.axes if axis.name in BASE}


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_every_recipe_searches_learning_rate_and_weight_decay_alike_around_the_workloads_own(name: str) -> None:
    objectives = ["cross_entropy"] if WORKLOADS[name].task == "classification" else ["l1", "mse"]
    cells = sketch(study(workloads=[name], recipes={"objectives": objectives, "combine": ["sqinv"]}, train={}))
    for made in cells:
        axes = base_axes(made)
        assert axes.keys() == BASE.keys()
        rate = made.fixed.get("train.lr", Training().lr)
        assert axes["train.lr"].first == rate
        assert axes["train.lr"].range == Float(rate / 10**0.5, min(1.0, rate * 10**0.5), log=True, tune=False)
        decay = made.fixed.get("train.weight_decay", Training().weight_decay)
        low, high = (decay / 10, min(1.0, decay * 10)) if decay else (1e-6, 1e-2)
        found = axes["train.weight_decay"]
        assert (found.first, found.range.low, found.range.high, found.range.log) == (decay, low, high, True)


def test_a_published_rate_of_one_recipe_is_its_first_trial_and_leaves_the_range_alone() -> None:
    plain, ranksim = sketch(study(workloads=["agedb-dir"], recipes={"also": ["l1", "l1 + sqinv + ranksim"]}))
    assert base_axes(ranksim)["train.lr"].first == 2.5e-4
    assert (
        base_axes(ranksim)["train.lr"].range
        == base_axes(plain)["train.lr"].range
        == Float(1e-3 / 10**0.5, 1e-3 * 10**0.5, log=True, tune=False)
    )


@pytest.mark.parametrize("where", [{"train": {"lr": 0.01}}, {"space": {"train.lr": 0.01}}])
def test_a_rate_that_the_study_writes_is_not_searched(where: dict[str, object]) -> None:
    made = cell("l1", **where)
    assert base_axes(made).keys() == {"train.weight_decay"} and made.fixed["train.lr"] == 0.01


def test_a_range_of_the_study_wins_over_that_of_the_base() -> None:
    made = cell("l1", space={"train.lr": {"low": 1e-4, "high": 2e-4}})
    found = base_axes(made)["train.lr"]
    assert (found.range.low, found.range.high, found.first) == (1e-4, 2e-4, 2e-4)


def test_of_trees_no_learning_rate_is_searched_and_none_is_part_of_an_id() -> None:
    made = cell("boosting + lds", space={"train.lr": [0.001, 0.01]})
    names = {axis.name for axis in made.axes}
    assert {"boosting.rate", "boosting.leaves", "lds.width"} <= names and not {*BASE} & names
    other = cell("boosting + lds", train={"lr": 0.5, "batch_size": 7, "epochs": 2})
    assert made.trial("tune", 0, {}).id == other.trial("tune", 0, {}).id


def test_trees_where_they_cannot_grow_are_refused_before_any_work() -> None:
    with pytest.raises(BadInput, match="boosting is for regression"):
        expand(study(workloads=["mnist5k-lt"], recipes={"also": ["boosting"]}))
    with pytest.raises(BadInput, match="boosting grows trees, and fds acts on a network: got 'boosting \\+ fds'"):
        expand(study(recipes={"also": ["boosting + fds"]}))
    with pytest.raises(BadInput, match="boosting grows trees on the columns of a table, and cannot act where every"):
        expand(study(workloads=["stereo-depth"], recipes={"also": ["boosting"]}))


PAPERS = {
    "agedb": ("agedb-dir",),
    "imdb-wiki": ("imdb-wiki-dir",),
    "stsb-lstm": ("sts-b-dir",),
    "nyud2": ("nyud2-dir-imagenet",),
    "longtail-full": ("cifar10-lt-200", "cifar10-lt", "cifar100-lt-200", "cifar100-lt-20"),
}


@pytest.mark.parametrize(("name", "workloads"), PAPERS.items())
def test_a_study_of_the_papers_has_a_row_for_each_that_they_print_and_starts_from_their_settings(
    name: str, workloads: tuple[str, ...]
) -> None:
    cells = sketch(Study.load(name, environ={}))
    for workload in workloads:
        ours = {cell.recipe: cell for cell in cells if cell.workload == workload}
        rows = [row for row in published() if row.workload == workload]
        assert {row.recipe for row in rows} <= set(ours)
        for row in (row for row in rows if row.settings):
            cell, settings = ours[row.recipe], first_settings(workload, row.recipe)
            first = {**cell.fixed, **{axis.name: axis.first for axis in cell.axes}, **cell.published}
            assert {key: first[key] for key in settings} == settings
