"""The same server with Docker Compose and on Kubernetes: what the files ask for is there, and they hold no password."""

import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from pods import check

ROOT = Path(__file__).parents[3]
COMPOSE = ROOT / "clusters" / "mlflow" / "compose.yaml"
MANIFESTS = ROOT / "clusters" / "kuberay" / "manifests"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:.*Any type hint")
SECRET = re.compile("PASSWORD|SECRET|ACCESS_KEY|TOKEN")
REFERENCE = re.compile(r"\$\{(\w+)(?::([-+?])([^}]*))?\}")
AUTH_FILE = Path("/opt/tailsweep")
"""Where the image has the folder `clusters`."""


def filled(text: str, given: dict[str, str]) -> str:
    """A text with its variables filled in as Compose does."""

    def value(found: re.Match[str]) -> str:
        name, sign, word = found.groups()
        if sign == "+":
            return word if given.get(name) else ""
        return given.get(name) or word or ""

    return REFERENCE.sub(value, text)


def composed(**given: str) -> Any:
    return yaml.safe_load(filled(COMPOSE.read_text("utf-8"), given))["services"]


def taken(command: list[str]) -> dict[str, Any]:
    """Options of `mlflow server` as MLflow reads them."""
    from mlflow.cli import server

    assert command[:2] == ["mlflow", "server"]
    return server.make_context("mlflow server", command[2:]).params


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"MLFLOW_AUTH_ADMIN_PASSWORD": "y", "MLFLOW_FORMS_KEY": "z"},
        {
            "MLFLOW_ARTIFACTS_DESTINATION": "s3://bucket/mlflow",
            "PORT": "5001",
            "TAILSWEEP_IMAGE": "registry/tailsweep:1",
        },
    ],
    ids=["plain", "basic auth", "another place"],
)
def test_compose_is_what_its_specification_says_with_any_of_its_variables(given: dict[str, str]) -> None:
    text = filled(COMPOSE.read_text("utf-8"), {"MLFLOW_DATABASE_PASSWORD": "x", **given})
    assert PyCompose.from_yaml(text).service_names() == ["database", "mlflow"]
    for right, wrong in (("healthcheck:", "healthchek:"), ("service_healthy", "service_ready"), ("5s", "5 s.")):
        assert right in text
        with pytest.raises(ValueError):
            PyCompose.from_yaml(text.replace(right, wrong, 1))


def test_compose_serves_this_machine_only_and_holds_no_password() -> None:
    services = composed(MLFLOW_DATABASE_PASSWORD="from-the-environment")
    assert services["mlflow"]["ports"] == ["127.0.0.1:5000:5000"]
    assert "ports" not in services["database"]
    raw = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]
    secrets = [value for one in raw.values() for name, value in one["environment"].items() if SECRET.search(name)]
    assert len(secrets) == 7
    assert all(value is None or REFERENCE.fullmatch(value) for value in secrets)
    assert "${MLFLOW_DATABASE_PASSWORD:?" in COMPOSE.read_text("utf-8"), "nothing starts without one"


def test_compose_asks_for_a_password_where_one_is_given() -> None:
    plain = composed(MLFLOW_DATABASE_PASSWORD="x")["mlflow"]["command"].split()
    asking = composed(MLFLOW_DATABASE_PASSWORD="x", MLFLOW_AUTH_ADMIN_PASSWORD="y")["mlflow"]["command"].split()
    assert taken(plain)["app_name"] is None
    assert taken(asking)["app_name"] == "basic-auth"
    assert "localhost:5000" in taken(plain)["allowed_hosts"].split(",")


def test_artifacts_lie_in_s3_where_that_is_named_and_on_a_volume_elsewhere() -> None:
    s3 = {"MLFLOW_DATABASE_PASSWORD": "x", "MLFLOW_ARTIFACTS_DESTINATION": "s3://bucket/mlflow"}
    assert composed(**s3)["mlflow"]["environment"]["MLFLOW_ARTIFACTS_DESTINATION"] == "s3://bucket/mlflow"
    beside = composed(MLFLOW_DATABASE_PASSWORD="x")["mlflow"]
    (volume,) = beside["volumes"]
    assert beside["environment"]["MLFLOW_ARTIFACTS_DESTINATION"].startswith(f"{volume.partition(':')[2]}/")


def test_both_run_the_same_database_and_find_the_file_of_accounts_in_the_image() -> None:
    services = composed(MLFLOW_DATABASE_PASSWORD="x")
    postgres = next(yaml.safe_load_all((MANIFESTS / "postgres.yaml").read_text("utf-8")))
    assert services["database"]["image"] == postgres["spec"]["template"]["spec"]["containers"][0]["image"]
    named = Path(services["mlflow"]["environment"]["MLFLOW_AUTH_CONFIG_PATH"])
    assert str(named) in (MANIFESTS / "basic-auth" / "kustomization.yaml").read_text("utf-8")
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    assert f"WORKDIR {AUTH_FILE}\n" in dockerfile and "COPY clusters/ clusters/\n" in dockerfile
    accounts = ConfigParser()
    accounts.read(ROOT / named.relative_to(AUTH_FILE))
    assert accounts["mlflow"]["database_uri"] == services["mlflow"]["environment"]["MLFLOW_BACKEND_STORE_URI"]
    assert "admin_password" not in accounts["mlflow"]


def built(folder: Path, *components: str) -> list[Any]:
    """What `kubectl apply -k` would send of a copy of the folder with these components."""
    shutil.copytree(MANIFESTS, folder)
    kustomization = folder / "kustomization.yaml"
    text = kustomization.read_text("utf-8")
    assert "components: []" in text
    kustomization.write_text(text.replace("components: []", f"components: [{', '.join(components)}]"), "utf-8")
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on the PATH, which knows kustomizations")
@pytest.mark.parametrize("components", [(), ("s3",), ("basic-auth",), ("s3", "basic-auth")], ids=" and ".join)
def test_kubernetes_takes_the_server_with_any_of_its_options(tmp_path: Path, components: tuple[str, ...]) -> None:
    trees = built(tmp_path / "manifests", *components)
    for tree in trees:
        if tree["kind"] != "RayCluster":
            check(tree)
    (deployment,) = [tree for tree in trees if tree["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environment = {entry["name"]: entry for entry in container["env"]}
    assert (taken([*container["command"], *container["args"]])["app_name"] == "basic-auth") == (
        "basic-auth" in components
    )
    assert ("MLFLOW_AUTH_ADMIN_PASSWORD" in environment) == ("basic-auth" in components)
    assert all("value" not in entry for name, entry in environment.items() if SECRET.search(name))
    on_a_volume = environment["MLFLOW_ARTIFACTS_DESTINATION"]["value"] == "/artifacts"
    assert on_a_volume == ("s3" not in components)
    assert on_a_volume == any(mount["mountPath"] == "/artifacts" for mount in container["volumeMounts"])
    assert on_a_volume == any(tree["kind"] == "PersistentVolumeClaim" for tree in trees)
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.skipif(
    subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0
    if shutil.which("docker")
    else True,
    reason="no Docker Compose on this machine",
)
def test_docker_compose_takes_the_file() -> None:
    done = subprocess.run(
        ["docker", "compose", "-f", str(COMPOSE), "config", "--quiet"],
        env={"MLFLOW_DATABASE_PASSWORD": "x", "PATH": "/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
