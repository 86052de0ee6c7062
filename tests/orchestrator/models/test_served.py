"""A model of MLflow, and an ONNX file, give the predictions of the model."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from in_process import swept
from orchestrator.cli.main import main
from orchestrator.models.folder import load_model
from orchestrator.study.spec import Study
from own_table import of

NEW = {"x": [0.5, -1.0], "z": [None, 2.0], "kind": ["red", "blue"]}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a swept study."""
    folder = tmp_path_factory.mktemp("own")
    made: Study = of(folder, recipes={"also": ["l1", "l1 + affine"]}, evaluate={"seeds": 1, "keep_models": "all"})
    swept(made)
    (folder / "study.json").write_text(made.model_dump_json(), encoding="utf-8")
    return folder / "study.json"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_loads_the_folder_and_checks_its_signature(study: Path, tmp_path: Path) -> None:
    import mlflow.pyfunc
    import pandas as pd

    out = tmp_path / "model"
    assert main(["fit", str(study), "--recipe", "l1 + affine", "--out", str(out), "--mlflow"]) == 0
    served = mlflow.pyfunc.load_model(str(out))
    said = served.predict(pd.DataFrame(NEW), params={"level": 0.8})
    assert said["prediction"].to_list() == load_model(out).predict(pd.DataFrame(NEW))["prediction"].to_pylist()
    with pytest.raises(mlflow.exceptions.MlflowException, match="missing inputs"):
        served.predict(pd.DataFrame({"x": [0.5]}))


@pytest.mark.slow
def test_mlflow_serves_the_model_on_this_machine(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    assert main(["fit", str(study), "--recipe", "l1", "--out", str(out), "--mlflow"]) == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(out), "--env-manager", "local"]
    beside = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # where MLflow looks for its server
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)], start_new_session=True, env={**os.environ, **beside}
    )
    try:
        content = json.dumps({"dataframe_split": {"columns": list(NEW), "data": list(zip(*NEW.values(), strict=True))}})
        said = _asked(process, f"http://127.0.0.1:{port}/invocations", content)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
    import pandas as pd

    expected = load_model(out).predict(pd.DataFrame(NEW))
    assert [row["prediction"] for row in said] == expected["prediction"].to_pylist()
    assert [row["low"] for row in said] == expected["low"].to_pylist()


def _asked(process: "subprocess.Popen[bytes]", address: str, content: str) -> list[dict[str, float]]:
    request = urllib.request.Request(address, content.encode(), {"Content-Type": "application/json"})
    while process.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                found: list[dict[str, float]] = json.load(answer)["predictions"]
                return found
        except ConnectionError:
            time.sleep(1)
        except urllib.error.URLError as err:
            if not isinstance(err.reason, ConnectionError):
                raise
            time.sleep(1)
    raise AssertionError("the server ended")


def test_an_onnx_file_gives_the_predictions_of_the_model(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    assert main(["fit", str(study), "--recipe", "l1", "--out", str(out), "--onnx"]) == 0
    model = load_model(out)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(7, *model.about.inputs)).astype(np.float32))
    (said,) = onnxruntime.InferenceSession(str(out / "model.onnx")).run(None, {"x": x.numpy()})
    np.testing.assert_allclose(said, model.predictor.predict(x), rtol=1e-5)


def test_onnx_refuses_what_is_fitted_after_training_and_writes_nothing(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model"
    assert main(["fit", str(study), "--recipe", "l1 + affine", "--out", str(out), "--onnx"]) == 2
    assert "affine is fitted after training" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
