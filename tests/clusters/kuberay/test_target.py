"""A study on Kubernetes: what is sent, what is refused, and what becomes of it on a cluster that is stood in for."""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from clusters.kuberay.api import RayCluster, RayJob
from clusters.profile import profile
from clusters.shared.inside import run
from clusters.submission import State, Submission, target
from orchestrator.cli.main import main
from orchestrator.engine.heartbeat import beats
from orchestrator.errors import BadInput, ClusterFailed
from orchestrator.storage.store import open_store
from orchestrator.study.spec import Study
from pods import check, check_pods
from running import HUNG_S

ROOT = Path(__file__).parents[3]
STUDY: dict[str, Any] = {
    "study": "tiny",
    "workloads": ["nhanes-sbp"],
    "recipes": {"also": ["l1", "l1 + lds"]},
    "tune": {"trials": 1, "parallel": 1},
    "evaluate": {"seeds": 1},
    "train": {"epochs": 1},
    "tracking": {"enabled": False},
}
PROFILE = ["image=registry.example.com/tailsweep:1", "study.resources={cpus: 1, gpus: 0, concurrent: 2}"]


@pytest.fixture
def kube(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a cluster that kubectl talks to; a RayJob is held in it until `hold` is removed."""
    home, programs = tmp_path / "kube", tmp_path / "programs"
    home.mkdir()
    programs.mkdir()
    kubectl = programs / "kubectl"
    kubectl.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/programs/kubectl.py "$@"\n', "utf-8")
    kubectl.chmod(0o755)
    monkeypatch.setenv("KUBE", str(home))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests'}")
    (home / "hold").touch()
    return home


def submission(*overrides: str, storage: str = "s3://bucket/studies", **changes: Any) -> Submission:
    place = profile("kuberay", [*PROFILE, *overrides])
    study = Study.of({**STUDY, "resources": dict(place.study["resources"]), **changes})
    return Submission(study, place, storage, cells=2)


def manifest(*overrides: str, **changes: Any) -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load(target(submission(*overrides, **changes), {}).preview())
    return tree


def container(tree: Mapping[str, Any], group: str) -> dict[str, Any]:
    cluster = tree["spec"]["rayClusterSpec"]
    pods = {"head": cluster["headGroupSpec"], "workers": cluster["workerGroupSpecs"][0]}
    found: dict[str, Any]
    (found,) = pods[group]["template"]["spec"]["containers"]
    return found


def test_the_rayjob_is_one_that_kuberay_and_kubernetes_take() -> None:
    tree = manifest(
        "secrets.AWS_SECRET_ACCESS_KEY=storage/secret-key",
        "options.volumes={datasets: /data}",
        "options.service_account=studies",
        "options.pull_secrets=[registry]",
        "options.waiting_deadline_s=1800",
    )
    RayJob.model_validate(tree)
    check_pods(tree)
    assert tree["metadata"]["name"] == submission().name or len(tree["metadata"]["name"]) <= 47
    assert tree["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}


def test_a_secret_goes_along_as_a_reference_and_commands_as_they_are() -> None:
    tree = manifest("secrets.AWS_SECRET_ACCESS_KEY=storage/secret-key", "environment.PLAIN=plain")
    for group in ("head", "workers"):
        env = {entry["name"]: entry for entry in container(tree, group)["env"]}
        assert env["AWS_SECRET_ACCESS_KEY"]["valueFrom"] == {"secretKeyRef": {"name": "storage", "key": "secret-key"}}
        assert env["PLAIN"]["value"] == "plain"
    env = {entry["name"]: entry.get("value") for entry in container(tree, "head")["env"]}
    driver, reporter = json.loads(env["STUDY_COMMANDS"])
    sent = submission("secrets.AWS_SECRET_ACCESS_KEY=storage/secret-key", "environment.PLAIN=plain")
    assert driver == [*sent.driver(0), "--address", "auto"]
    assert reporter == sent.reporter


def test_workers_have_the_gpus_and_the_places_that_the_profile_names() -> None:
    tree = manifest("options.workers.gpus=2", "options.workers.node_selector={kind: spot}", "options.workers.max=7")
    (group,) = tree["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert (group["minReplicas"], group["maxReplicas"]) == (0, 7)
    assert container(tree, "workers")["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert "nvidia.com/gpu" not in container(tree, "head")["resources"]["limits"]
    assert group["template"]["spec"]["nodeSelector"] == {"kind": "spot"}
    assert group["template"]["spec"]["tolerations"][0]["key"] == "nvidia.com/gpu"


Change = Callable[[dict[str, Any]], object]
WRONG: dict[str, Change] = {
    "spec.backofLimit": lambda tree: tree["spec"].update(backofLimit=3),
    "spec.backoffLimit": lambda tree: tree["spec"].update(backoffLimit="3"),
    "spec.submissionMode": lambda tree: tree["spec"].update(submissionMode="K8sJob"),
    "spec.activeDeadlineSeconds": lambda tree: tree["spec"].update(activeDeadlineSeconds=0),
    "metadata.name": lambda tree: tree["metadata"].update(name="1-" + "x" * 50),
    "groupName": lambda tree: tree["spec"]["rayClusterSpec"]["workerGroupSpecs"][0].pop("groupName"),
    "minReplicas": lambda tree: tree["spec"]["rayClusterSpec"]["workerGroupSpecs"][0].update(minReplicas=9),
    "rayVersion": lambda tree: tree["spec"]["rayClusterSpec"].update(rayVersion="2.50.0"),
    "restartPolicy": lambda tree: tree["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"].update(
        restartPolicy="Always"
    ),
    "at least one container": lambda tree: tree["spec"]["submitterPodTemplate"]["spec"].pop("containers"),
    "shutdownAfterJobFinishes": lambda tree: tree["spec"].update(shutdownAfterJobFinishes=False),
    "imagePolicy": lambda tree: container(tree, "head").update(imagePolicy="Always"),
    "valueFrom": lambda tree: container(tree, "head")["env"].append({"name": "X", "valueFrom": "storage/key"}),
}


@pytest.mark.parametrize(("where", "change"), WRONG.items(), ids=list(WRONG))
def test_a_wrong_rayjob_is_caught_before_a_server_sees_it(where: str, change: Change) -> None:
    tree = manifest()
    change(tree)
    with pytest.raises((ValidationError, ValueError)) as caught:
        RayJob.model_validate(tree)
        check_pods(tree)
    if isinstance(caught.value, ValidationError):
        first = caught.value.errors()[0]
        said = ".".join(map(str, first["loc"])) + " " + first["msg"]
    else:
        said = str(caught.value)
    assert where in said


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overrides": ["image=null"]}, "image must name an image with Tailsweep: got none"),
        ({"overrides": ["shards=2"]}, "one Ray cluster takes one driver of a study: got 2 shards"),
        ({"storage": "/results"}, "the storage must be reached from every pod"),
        ({"resources": {"cpus": 1}}, "--set resources.concurrent=16 makes use of 4 workers"),
        (
            {"resources": {"cpus": 1, "gpus": 0.6}, "overrides": ["options.workers.gpus=2"]},
            "--set resources.concurrent=8 makes use of 4 workers",
        ),
        ({"resources": {"cpus": 8}}, "a trial must fit into a worker: it asks for 8 CPUs and 0 GPUs"),
        ({"resources": {"of": {"nhanes-sbp": {"cpus": 9}}}}, "it asks for 9 CPUs and 0 GPUs"),
        ({"overrides": ["options.workers.min=5"]}, "workers.min <= workers.max must hold: got 5 and 4"),
        ({"overrides": ["secrets.KEY=plain"]}, "a secret is NAME/KEY of a Secret of Kubernetes: got 'plain'"),
        ({"overrides": ["options.namespace=No_Such"]}, "metadata.namespace"),
        ({"overrides": ["options.worker.max=2"]}, "options.worker: Extra inputs are not permitted"),
        ({"overrides": ["options.head.memory=8GB"]}, "options.head.memory"),
        ({"overrides": ["options.ray_version=2.40.0"]}, "needs a rayVersion of 2.52 or later"),
    ],
)
def test_what_could_never_run_is_refused(changes: dict[str, Any], message: str) -> None:
    overrides = changes.pop("overrides", [])
    with pytest.raises(BadInput) as caught:
        target(submission(*overrides, **changes), {})
    assert message in str(caught.value)


def test_what_is_sent_is_what_was_shown_and_twice_is_once(kube: Path) -> None:
    sent = target(submission(), {})
    ticket = sent.submit()
    assert (kube / "given.yaml").read_text("utf-8") == sent.preview()
    assert sent.preview().startswith("# kubectl --namespace tailsweep create --validate=strict -f -\n")
    assert target(submission(), {}).submit() == ticket  # with no ticket of the first
    assert target(submission(), ticket).state() == State("waiting", ("RayJob new, job not begun",))
    assert len(list(kube.glob("tailsweep-*.json"))) == 1


def told(kube: Path, **status: Any) -> State:
    """What the target makes of a status."""
    (kube / f"{submission().name}.status").write_text(json.dumps(status), "utf-8")
    return target(submission(), {}).state()


def test_reasons_come_in_words(kube: Path) -> None:
    target(submission(), {}).submit()
    pods = [
        {"metadata": {"name": "head"}, "status": {"phase": "Running"}},
        {
            "metadata": {"name": "worker-1"},
            "status": {
                "phase": "Pending",
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
                    }
                ],
            },
        },
        {
            "metadata": {"name": "worker-2"},
            "status": {
                "phase": "Pending",
                "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}}],
            },
        },
    ]
    (kube / "pods.json").write_text(json.dumps({"items": pods}), "utf-8")
    assert told(kube, jobDeploymentStatus="Running", jobStatus="RUNNING", rayClusterName="c") == State(
        "running",
        (
            "RayJob Running, job running",
            "pod worker-1: Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
            "pod worker-2: ImagePullBackOff: no such tag",
            "1 pods run",
        ),
    )
    failed = told(
        kube,
        jobDeploymentStatus="Failed",
        jobStatus="FAILED",
        reason="AppFailed",
        message="Job entrypoint command failed with exit code 3, last\navailable logs: ...",
        failed=4,
    )
    assert failed.word == "failed"
    assert "AppFailed: the driver ended with an error" in failed.lines
    assert "exit code 3: some trials failed; the report has their reasons" in failed.lines
    assert "4 of 4 clusters failed" in failed.lines
    late = told(kube, jobDeploymentStatus="Failed", jobStatus="RUNNING", reason="DeadlineExceeded")
    assert "DeadlineExceeded: options.deadline_s is over" in late.lines


def test_a_status_that_nobody_knows_is_taken_as_alive(kube: Path) -> None:
    target(submission(), {}).submit()
    for deployment, job, word in (
        ("Complete", "SUCCEEDED", "ended"),
        ("Complete", "STOPPED", "stopped"),
        ("Retrying", "FAILED", "waiting"),
        ("Suspended", "", "waiting"),
        ("SomethingNew", "RUNNING", "unknown"),
    ):
        assert told(kube, jobDeploymentStatus=deployment, jobStatus=job).word == word
    assert State("unknown").live


SAID: dict[str, type[Exception]] = {
    "Unable to connect to the server: dial tcp 192.0.2.1:6443: i/o timeout": ClusterFailed,
    'error validating "STDIN": error validating data: failed to download openapi: connection refused': ClusterFailed,
    'error: error validating "STDIN": error validating data: ValidationError(RayJob.spec): unknown field "x"': BadInput,
    'Error from server (Forbidden): rayjobs.ray.io is forbidden: User "me" cannot create resource': BadInput,
    'Error from server (NotFound): namespaces "tailsweep" not found': BadInput,
    'error: resource mapping not found: no matches for kind "RayJob" in version "ray.io/v1"': BadInput,
    'error: context "other" does not exist': BadInput,
}


@pytest.mark.parametrize(("said", "kind"), SAID.items())
def test_a_refusal_is_bad_input_and_silence_a_failure_of_the_cluster(
    kube: Path, said: str, kind: type[Exception]
) -> None:
    (kube / "refusal").write_text(said, "utf-8")
    with pytest.raises(kind, match=re.escape(said)):
        target(submission(), {}).submit()


def test_a_kubectl_that_is_not_there_is_told(kube: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(kube))
    with pytest.raises(BadInput, match="kubectl must be on the PATH"):
        target(submission(), {}).submit()


def test_the_commands_of_a_job_run_in_turn_and_keep_the_first_exit_code(tmp_path: Path) -> None:
    def command(code: int) -> list[str]:
        return ["sh", "-c", f"echo {code} >> {tmp_path}/ran; exit {code}"]

    def ran(*codes: int) -> tuple[int, str]:
        (tmp_path / "ran").unlink(missing_ok=True)
        return run([command(code) for code in codes]), (tmp_path / "ran").read_text().replace("\n", "")

    assert ran(0, 0) == (0, "00")
    assert ran(3, 0) == (3, "30")  # some trials failed: the tables are made all the same
    assert ran(0, 4) == (4, "04")
    assert ran(143, 0) == (143, "143")  # stopped: nothing to report yet
    assert ran(2, 0) == (2, "2")


@pytest.mark.slow
def test_a_study_runs_as_a_rayjob_from_submit_to_tables(
    kube: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (kube / "hold").unlink()
    place = tmp_path / "mine.yaml"
    volumes = {"volumes": {"results": str(tmp_path)}}
    settings = {
        "extends": "kuberay",
        "image": "tailsweep",
        "study": {"resources": {"cpus": 1, "gpus": 0, "concurrent": 2}},
    }
    place.write_text(yaml.safe_dump({**settings, "options": volumes}), "utf-8")
    study = tmp_path / "tiny.yaml"
    study.write_text(yaml.safe_dump(STUDY), "utf-8")
    where = ["--cluster", str(place), "--storage", str(tmp_path / "results")]
    assert main(["submit", str(study), *where]) == 0
    assert main(["submit", str(study), *where]) == 0
    assert "under way already" in capsys.readouterr().out
    assert main(["logs", str(study), *where, "--follow"]) in {0, 2, 3}
    deadline = time.monotonic() + HUNG_S
    while ": ended\n" not in (said := status(study, where, capsys)) and time.monotonic() < deadline:
        assert ": failed\n" not in said, said
        time.sleep(1)
    assert "shard 0/1" in said
    assert "4/4 trials" in said
    assert (tmp_path / "results" / "tiny" / "table.md").exists()
    assert main(["logs", str(study), *where]) == 0
    assert "shard 0/1 is complete" in capsys.readouterr().out
    assert main(["cancel", str(study), *where]) == 0
    assert "it was deleted" in status(study, where, capsys)


@pytest.mark.slow
def test_a_rayjob_that_is_deleted_lets_its_trials_save(kube: Path, tmp_path: Path) -> None:
    (kube / "hold").unlink()
    sent = submission(
        f"options.volumes={{results: {tmp_path}}}", storage=str(tmp_path / "results"), train={"epochs": 2000}
    )
    store = open_store(sent.storage)
    store.put("tiny/study.json", sent.study.model_dump_json().encode())
    job = target(sent, {})
    job.submit()
    deadline = time.monotonic() + HUNG_S
    while time.monotonic() < deadline and job.state().word != "running":
        time.sleep(0.2)
    log = kube / f"{sent.name}.log"
    while time.monotonic() < deadline and not any(beat.epochs for beat in beats(store, "tiny")):
        time.sleep(0.2)
    job.cancel()
    assert job.state().word == "ended"
    while time.monotonic() < deadline and "told to stop, and saved" not in log.read_text("utf-8"):
        time.sleep(0.2)
    assert "told to stop, and saved" in log.read_text("utf-8")


def status(study: Path, where: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    main(["status", str(study), *where])
    return capsys.readouterr().out


MANIFESTS = ROOT / "clusters" / "kuberay" / "manifests"
FILES = sorted(MANIFESTS.glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_shipped_manifest_is_what_kubernetes_takes(path: Path) -> None:
    for tree in yaml.safe_load_all(path.read_text("utf-8")):
        if tree["kind"] == "Kustomization":
            assert {MANIFESTS / name for name in tree["resources"]} == set(FILES) - {path}
        elif tree["kind"] == "RayCluster":
            RayCluster.model_validate(tree)
            check_pods(tree)
        else:
            check(tree)


def test_shipped_pods_are_confined_watched_and_hold_no_secret() -> None:
    trees = [tree for path in FILES for tree in yaml.safe_load_all(path.read_text("utf-8"))]
    policies = [tree["spec"]["podSelector"].get("matchLabels") for tree in trees if tree["kind"] == "NetworkPolicy"]
    for tree in trees:
        if tree["kind"] not in {"Deployment", "StatefulSet"}:
            continue
        pod = tree["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert tree["spec"]["selector"]["matchLabels"] in policies
        for entry in pod["containers"]:
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(entry)
            assert entry["securityContext"]["allowPrivilegeEscalation"] is False
            assert entry["securityContext"]["readOnlyRootFilesystem"] is True
            passwords = [item for item in entry["env"] if "PASSWORD" in item["name"]]
            assert passwords
            assert all("secretKeyRef" in item["valueFrom"] for item in passwords)
