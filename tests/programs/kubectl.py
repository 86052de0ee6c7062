"""A stand-in for kubectl and the cluster behind it: objects are files of $KUBE, and a RayJob is run on this machine.

Objects are checked as a server does that knows KubeRay: Kubernetes' strict schema for pods, the API of RayJobs. What
the operator does for a RayJob is done by a process of its own: a Ray, the entrypoint on its head with the head's
environment, another Ray when that fails, up to the backoff limit. $KUBE/hold keeps it from beginning.
"""

import argparse
import contextlib
import json
import os
import secrets
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

HOME = Path(os.environ["KUBE"])


def main() -> int:
    with (HOME / "calls").open("a", encoding="utf-8") as calls:
        calls.write(shlex.join(sys.argv[1:]) + "\n")
    options = argparse.ArgumentParser()
    options.add_argument("--namespace")
    options.add_argument("--context")
    options.add_argument("verb", choices=["create", "get", "logs", "delete"])
    options.add_argument("kind", nargs="?", default="")
    options.add_argument("name", nargs="?", default="")
    options.add_argument("-f")
    options.add_argument("-o", choices=["json"])
    options.add_argument("-l")
    options.add_argument("--validate", choices=["strict"])
    options.add_argument("--tail", type=int)
    for flag in ("--ignore-not-found", "--follow", "--wait"):
        options.add_argument(flag, nargs="?", const="true")
    given = options.parse_args()
    if (HOME / "refusal").exists():
        return refuse((HOME / "refusal").read_text("utf-8"))
    return {"create": create, "get": get, "logs": logs, "delete": delete}[given.verb](given)


def refuse(said: str) -> int:
    sys.stderr.write(said + "\n")
    return 1


def create(given: argparse.Namespace) -> int:
    from pydantic import ValidationError

    from clusters.kuberay.api import RayJob
    from pods import check_pods

    text = sys.stdin.read()
    manifest = yaml.safe_load(text)
    try:
        RayJob.model_validate(manifest)
        check_pods(manifest)
    except (ValidationError, ValueError) as err:
        return refuse(f"Error from server (BadRequest): strict decoding error: {err}")
    name = manifest["metadata"]["name"]
    try:
        with path(name).open("x", encoding="utf-8") as stream:
            json.dump(manifest, stream)
    except FileExistsError:
        return refuse(f'Error from server (AlreadyExists): rayjobs.ray.io "{name}" already exists')
    (HOME / "given.yaml").write_text(text, "utf-8")
    if not (HOME / "hold").exists():
        operator = subprocess.Popen(
            [sys.executable, __file__, "operate", name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(HOME / "operator.log").open("w"),
            start_new_session=True,
        )
        (HOME / f"{name}.pid").write_text(str(operator.pid), "utf-8")
    sys.stdout.write(f"rayjob.ray.io/{name} created\n")
    return 0


def get(given: argparse.Namespace) -> int:
    if given.kind == "pods":
        pods = HOME / "pods.json"
        sys.stdout.write(pods.read_text("utf-8") if pods.exists() else '{"items": []}')
        return 0
    if not path(given.name).exists():
        return 0 if given.ignore_not_found else refuse(f'rayjobs.ray.io "{given.name}" not found')
    status = HOME / f"{given.name}.status"
    manifest = json.loads(path(given.name).read_text("utf-8"))
    if status.exists():
        manifest["status"] = json.loads(status.read_text("utf-8"))
    sys.stdout.write(json.dumps(manifest))
    return 0


def logs(given: argparse.Namespace) -> int:
    name = given.kind.removeprefix("job/")
    log = HOME / f"{name}.log"
    if not log.exists():
        return refuse(f'error: pods for job "{name}" not found')
    with log.open(encoding="utf-8") as stream:
        while True:
            sys.stdout.write(stream.read())
            sys.stdout.flush()
            if not (given.follow and alive(name)):
                break
            time.sleep(0.1)
        sys.stdout.write(stream.read())
    return 0


def delete(given: argparse.Namespace) -> int:
    if path(given.name).exists():
        path(given.name).unlink()
        if alive(given.name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int((HOME / f"{given.name}.pid").read_text()), signal.SIGTERM)
    return 0


def operate(name: str) -> int:
    """What KubeRay's operator does for a RayJob."""
    spec = json.loads(path(name).read_text("utf-8"))["spec"]
    cluster = spec["rayClusterSpec"]
    (head,) = cluster["headGroupSpec"]["template"]["spec"]["containers"]
    status: dict[str, object] = {}

    def tell(**changes: object) -> None:
        status.update(changes)
        scratch = HOME / f"{name}.writing"
        scratch.write_text(json.dumps(status), "utf-8")
        scratch.replace(HOME / f"{name}.status")

    for failed in range(spec["backoffLimit"] + 1):
        token = secrets.token_hex(32)
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)
        tell(jobDeploymentStatus="Initializing", jobStatus="", rayClusterName=f"{name}-{failed}", failed=failed)
        import ray

        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        tell(jobDeploymentStatus="Running", jobStatus="RUNNING")
        environment = {
            **os.environ,
            **{entry["name"]: entry["value"] for entry in head["env"]},
            "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        with (HOME / f"{name}.log").open("a") as log:
            child = subprocess.Popen(
                spec["entrypoint"], shell=True, env=environment, stdout=log, stderr=log, start_new_session=True
            )
            stopped: list[int] = []

            def stop(*_: object, child: subprocess.Popen[bytes] = child, stopped: list[int] = stopped) -> None:
                stopped.append(1)
                os.killpg(child.pid, signal.SIGTERM)  # Ray tells the whole tree, and waits for it

            signal.signal(signal.SIGTERM, stop)
            code = child.wait()
            with contextlib.suppress(ProcessLookupError):
                while True:
                    os.killpg(child.pid, 0)
                    time.sleep(0.1)
        ray.shutdown()
        if stopped:
            tell(jobDeploymentStatus="Complete", jobStatus="STOPPED")
            return 0
        if code == 0:
            tell(jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")
            return 0
        message = f"Job entrypoint command failed with exit code {code}, last available logs (truncated): ..."
        tell(jobStatus="FAILED", reason="AppFailed", message=message, failed=failed + 1)
    tell(jobDeploymentStatus="Failed")
    return 0


def path(name: str) -> Path:
    return HOME / f"{name}.json"


def alive(name: str) -> bool:
    try:
        pid = int((HOME / f"{name}.pid").read_text())
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(operate(sys.argv[2]) if sys.argv[1] == "operate" else main())
