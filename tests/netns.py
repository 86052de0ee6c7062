"""Hosts on one machine: own network, processes, name, /tmp, /dev/shm and home, out of Linux namespaces.

Nothing has a name outside its namespaces, and the first process of a host ends when its standard input does: whatever
becomes of the tests, the kernel kills all that runs on a host and takes its network away.
"""

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

GATEWAY = "10.77.0.254"
"""Nobody is there, but a host without a default route believes that it has no network."""
NAMESPACES = ["--net", "--mount", "--uts", "--ipc", "--pid"]
SWITCH = """
set -e
ip link set lo up
ip link add switch type bridge
ip link set switch up
echo ready
exec cat
"""
HOST = """
set -e
hostname "$1"
ip link set lo up
mount -t tmpfs tmpfs /mnt
for shared in $SHARED; do
    mkdir -p "/mnt$shared"
    mount --rbind "$shared" "/mnt$shared"
done
mkdir -p /mnt/tmp
for hidden in $HIDDEN; do
    mount -t tmpfs tmpfs "$hidden"
    if [ -d "/mnt$hidden" ]; then mount -t tmpfs tmpfs "/mnt$hidden"; fi
done
printf '127.0.0.1 localhost\n%s %s\n' "$ADDRESS" "$1" > /mnt/hosts
mount --bind /mnt/hosts /etc/hosts
mount --bind /dev/null /etc/resolv.conf  # no name server: a look-up of another name fails at once
mount --rbind /mnt/tmp /tmp
mount -t tmpfs tmpfs /dev/shm
mkdir -p /tmp/home
echo ready
exec env --ignore-signal=CHLD cat  # as the first process it buries orphans, which Ray takes for alive otherwise
"""


def missing() -> str:
    """Why hosts cannot be made here; empty when they can."""
    try:
        with network() as hosts:
            hosts.add("probe")
    except (OSError, RuntimeError) as err:
        return f"hosts need root, Linux namespaces, util-linux and iproute2: {err}"
    return ""


@dataclass
class Host:
    """A machine of its own; `address` is the one that the others see."""

    name: str
    address: str
    port: str
    init: subprocess.Popen[str]
    pid: int
    environment: Mapping[str, str] = field(default_factory=dict)

    def start(self, *command: str | Path, **options: Any) -> subprocess.Popen[str]:
        """Start a command on the host; to kill the process that is returned kills it."""
        inside = ["nsenter", f"--target={self.pid}", *NAMESPACES, "--wd=/tmp", "--", "setpriv", "--pdeathsig=KILL"]
        environment = {
            **os.environ,
            "HOME": "/tmp/home",
            "TMPDIR": "/tmp",
            **self.environment,
            **options.pop("env", {}),
        }
        return subprocess.Popen([*inside, *map(str, command)], text=True, env=environment, **options)

    def kill(self) -> None:
        """Take the power away: every process on the host is gone, without a word to anyone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.init.communicate()


@dataclass
class Network:
    """Hosts on a switch, 10.77.0.0/24."""

    switch: subprocess.Popen[str]
    pid: int
    hosts: dict[str, Host] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    made: int = 0

    def add(self, name: str, shared: Sequence[Path] = (), hidden: Sequence[Path] = (), **environment: str) -> Host:
        """A new host, or one that is started again under its address.

        It sees the disk, apart from /tmp, /dev/shm and its home, which are its own and empty. `shared`
        folders are the same on all hosts, wherever they lie; `hidden` ones are empty here.
        """
        self.made += 1
        port = f"port{self.made}"
        address = f"10.77.0.{self.numbers.setdefault(name, self.made)}"
        places = {"SHARED": " ".join(map(str, shared)), "HIDDEN": " ".join(map(str, hidden)), "ADDRESS": address}
        init, pid = _namespace(HOST, name, **places)
        host = Host(name, address, port, init, pid, environment)
        self.hosts[name] = host
        self._ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        self._ip("link", "set", port, "master", "switch", "up")
        for command in (
            ("addr", "add", f"{address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("route", "add", "default", "via", GATEWAY),
        ):
            _run("nsenter", f"--target={pid}", "--net", "ip", *command)
        return host

    def cut(self, host: Host) -> None:
        """Pull the host's plug out of the switch."""
        self._ip("link", "set", host.port, "nomaster")

    def heal(self, host: Host) -> None:
        """Put the plug back."""
        self._ip("link", "set", host.port, "master", "switch")

    def _ip(self, *command: str) -> None:
        _run("nsenter", f"--target={self.pid}", "--net", "ip", *command)


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """A switch without hosts; all hosts are killed in the end."""
    init, pid = _namespace(SWITCH, "switch")
    made = Network(init, pid)
    try:
        yield made
    finally:
        for host in made.hosts.values():
            host.kill()
        os.kill(pid, signal.SIGKILL)
        init.communicate()


def _namespace(script: str, name: str, **environment: str) -> tuple[subprocess.Popen[str], int]:
    """A first process in new namespaces, and its number here."""
    init = subprocess.Popen(
        ["unshare", *NAMESPACES, "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, "sh", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert init.stdout is not None
    if init.stdout.readline() != "ready\n":
        raise RuntimeError(" ".join(init.communicate()[1].split()))
    (child,) = Path(f"/proc/{init.pid}/task/{init.pid}/children").read_text().split()
    return init, int(child)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)}: {done.stderr.strip()}")
