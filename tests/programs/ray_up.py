"""A stand-in for the ray command and the machines behind it: a cluster is a folder of $CLUSTERS, its head is here.

What `ray up` is given is checked by Ray itself. Jobs are processes, told of in the words of Ray's job server.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

HOME = Path(os.environ["CLUSTERS"])


def main(verb: str, *words: str) -> int:
    with (HOME / "calls").open("a", encoding="utf-8") as calls:
        calls.write(shlex.join([verb, *words]) + "\n")
    return {"get-auth-token": token, "up": up, "exec": execute, "down": down}[verb](*words)


def token(*_: str) -> int:
    sys.stdout.write("0123456789abcdef")
    return 0


def up(*words: str) -> int:
    from ray.autoscaler._private.util import prepare_config, validate_config

    text = Path(words[-1]).read_text("utf-8")
    config = yaml.safe_load(text)
    validate_config(prepare_config(config))
    folder = HOME / config["cluster_name"]
    folder.mkdir(exist_ok=True)
    (folder / "given.yaml").write_text(text, "utf-8")
    return 0


def down(*words: str) -> int:
    folder = cluster(words[-1])
    if folder.exists():
        folder.rename(HOME / f"down-{folder.name}")
    return 0


def execute(file: str, command: str) -> int:
    folder = cluster(file)
    if not folder.exists():
        sys.stderr.write(f"Head node of cluster ({folder.name}) not found!\n")
        return 1
    _, _, verb, _, address, *rest = shlex.split(command.removesuffix(" 2>&1"))
    assert address == "http://127.0.0.1:8265"
    return {"submit": submit, "status": status, "logs": logs, "stop": stop}[verb](folder, *rest)


def submit(folder: Path, *words: str) -> int:
    name = words[words.index("--submission-id") + 1]
    if (folder / f"{name}.pid").exists():
        sys.stderr.write(f"RuntimeError: Job with submission_id {name} already exists. Please use another.\n")
        return 1
    variables = json.loads(words[words.index("--runtime-env-json") + 1])["env_vars"]
    entrypoint = shlex.join(words[words.index("--") + 1 :])
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            ["sh", "-c", f"{entrypoint}; echo $? > {folder / name}.code"],
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    (folder / f"{name}.pid").write_text(str(process.pid), "utf-8")
    sys.stdout.write(f"Job '{name}' submitted successfully\r\n")
    return 0


def status(folder: Path, name: str) -> int:
    if not (folder / f"{name}.pid").exists():
        sys.stderr.write(f"RuntimeError: Request failed with status code 404: Job {name} does not exist.\n")
        return 1
    code = folder / f"{name}.code"
    if (folder / f"{name}.stopped").exists():
        sys.stdout.write(f"Job '{name}' was stopped\r\n")
    elif not code.exists():
        sys.stdout.write(f"Status for job '{name}': RUNNING\r\nStatus message: Job is currently running.\r\n")
    elif code.read_text().strip() == "0":
        sys.stdout.write(f"\x1b[32mJob '{name}' succeeded\x1b[39m\r\n")
    else:
        message = f"Job entrypoint command failed with exit code {code.read_text().strip()}, last available logs: ..."
        sys.stdout.write(f"Job '{name}' failed\r\nStatus message: {message}\r\n")
    return 0


def logs(folder: Path, *words: str) -> int:
    with (folder / f"{words[-1]}.log").open(encoding="utf-8") as stream:
        while True:
            sys.stdout.write(stream.read())
            sys.stdout.flush()
            ended = [folder / f"{words[-1]}.code", folder / f"{words[-1]}.stopped"]
            if "--follow" not in words or any(path.exists() for path in ended):
                break
            time.sleep(0.1)
        sys.stdout.write(stream.read())
    return 0


def stop(folder: Path, name: str) -> int:
    if not (folder / f"{name}.code").exists():
        (folder / f"{name}.stopped").touch()
        os.killpg(int((folder / f"{name}.pid").read_text()), signal.SIGTERM)
    return status(folder, name)


def cluster(file: str) -> Path:
    return HOME / yaml.safe_load(Path(file).read_text("utf-8"))["cluster_name"]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
