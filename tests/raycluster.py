"""A Ray cluster of several hosts on one machine: tokens on, GPUs declared, the code on the driver's host only."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path

from netns import Host, Network, network
from running import HUNG_S

PROJECT = Path(__file__).parent.parent
PACKAGES = ("clusters", "orchestrator", "workloads")
PORT = 6379
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "5eed" * 16}
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
BRISK = {"RAY_worker_niceness": "0"}
"""Workers wait for nobody: by default they yield to whatever else the machine does."""
HEALTH = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "4",
}
"""The head misses a node after some seconds, not half a minute."""


@dataclass
class Cluster:
    """Head, workers and the driver's host.

    `shared` is the same on all hosts, as a network disk would be; `code` and what is in `plugins` the driver alone has.
    """

    network: Network
    shared: Path
    plugins: Path
    gpus: dict[str, int]
    commands: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Where the head listens."""
        return f"{self.network.hosts['head'].address}:{PORT}"

    def start(self, *names: str) -> None:
        """Make hosts and start their Ray: head first, the others at once."""
        for name in names:
            self._host(name, coded=name == "driver")
        if "head" in names:
            self._finish([self._ray("head", "--head", f"--port={PORT}", "--include-dashboard=false", "--num-cpus=0")])
        others = [name for name in names if name != "head"]
        cpus = {name: int(name in self.gpus) for name in others}
        self._finish([self._ray(name, f"--address={self.address}", f"--num-cpus={cpus[name]}") for name in others])

    def kill(self, *names: str) -> None:
        """Take hosts away."""
        for name in names:
            self.network.hosts.pop(name).kill()

    def visit(self, name: str) -> None:
        """Make a host that is no node, but has the code."""
        self._host(name, coded=True)

    def run(self, *command: str | Path, host: str = "driver", **environment: str) -> subprocess.Popen[str]:
        """Start Python on a host, with a path of the project and the plugins."""
        path = os.pathsep.join(map(str, (PROJECT, self.plugins)))
        self.commands.append(
            self.network.hosts[host].start(
                sys.executable,
                *command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={"PYTHONPATH": path, **environment},
            )
        )
        return self.commands[-1]

    def stop(self) -> None:
        """Kill the commands that still run."""
        for command in self.commands:
            command.kill()
            command.communicate(timeout=HUNG_S)
        self.commands.clear()

    @property
    def installed(self) -> Path:
        """What workers have installed: nothing, unless a test puts it there."""
        return self.shared / "installed"

    def _host(self, name: str, coded: bool) -> Host:
        code = [folder / package for folder in _sources() for package in PACKAGES]
        return self.network.add(
            name,
            shared=[Path(sys.prefix), *_sources(), self.shared, self.plugins],
            hidden=[] if coded else [*code, self.plugins],
            **({} if coded else {"PYTHONPATH": str(self.installed)}),
            **TOKEN,
            **QUIET,
            **BRISK,
            **HEALTH,
        )

    def _ray(self, name: str, *options: str) -> subprocess.Popen[str]:
        host = self.network.hosts[name]
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", *options]
        common = [f"--num-gpus={self.gpus.get(name, 0)}", "--object-store-memory=80000000", "--disable-usage-stats"]
        return host.start(
            *ray, f"--node-ip-address={host.address}", *common, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    @staticmethod
    def _finish(commands: list[subprocess.Popen[str]]) -> None:
        for command in commands:
            said, _ = command.communicate(timeout=HUNG_S)
            assert command.returncode == 0, said


@contextmanager
def cluster(folder: Path, **gpus: int) -> Iterator[Cluster]:
    """A head, workers with so many declared GPUs each, and the driver's host, which is a node that trains nothing."""
    with network() as made:
        there = Cluster(made, folder / "shared", folder / "plugins", gpus)
        there.shared.mkdir()
        there.plugins.mkdir()
        there.start("head", "driver", *gpus)
        yield there


def _sources() -> set[Path]:
    """Where the code lies: here, and where an editable install points."""
    told = json.loads(distribution("tailsweep").read_text("direct_url.json") or "{}")
    return {PROJECT, *([Path(told["url"].removeprefix("file://"))] if "dir_info" in told else [])}
