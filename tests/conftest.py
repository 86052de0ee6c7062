"""What holds for every test."""

import contextlib
import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from s3_server import CREDENTIALS, serving

# How fast a machine is says nothing of what a test looks at; a machine may be busy.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# A shell that starts the tests in the background has them ignore SIGINT, and what they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Nobody's settings reach a test, nor the commands that it starts; where data and caches lie may be said.
for name in list(os.environ):
    if name.startswith("TAILSWEEP_") and name not in {"TAILSWEEP_DATA", "TAILSWEEP_CACHE"}:
        del os.environ[name]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """One torch thread, as a trial has: small batches crawl on several busy cores."""
    torch.set_num_threads(1)


@contextlib.contextmanager
def declarations_restored() -> Iterator[None]:
    """A data set that a test declares is known to the whole process: the next one must not meet it."""
    from orchestrator.study import cells
    from workloads import WORKLOADS

    declared, known = dict(cells._DECLARED), dict(WORKLOADS)
    yield
    for name in cells._DECLARED.keys() - declared.keys():
        WORKLOADS.pop(name, None)
    WORKLOADS.update({name: known[name] for name in declared})
    cells._DECLARED.clear()
    cells._DECLARED.update(declared)


@pytest.fixture(autouse=True)
def _no_declared_data_left() -> Iterator[None]:
    with declarations_restored():
        yield


@pytest.fixture(autouse=True, scope="module")
def _no_declared_data_left_by_a_module() -> Iterator[None]:
    """Its own fixtures may declare some for all of its tests."""
    with declarations_restored():
        yield


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of decoded data that is this test's own, and cold."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("TAILSWEEP_CACHE", str(folder))
    return folder


@pytest.fixture
def svg_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures beside a page in the one format that the page needs as well: the others take most of a report's time."""
    monkeypatch.setattr("orchestrator.report.outputs.FIGURES", ("svg",))


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database without a study, to be copied into a storage: making one takes seconds of migrations."""
    from orchestrator.tracking._sqlite import make_database

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make_database(path)
    return path


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Its address."""
    with serving() as address:
        yield address


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its address, for a test that has credentials."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    return s3_server
