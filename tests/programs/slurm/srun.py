"""srun of the small Slurm: every task is a process of this machine; TERM and INT end them all."""

import signal
import subprocess
import sys

given = dict(word.removeprefix("--").partition("=")[::2] for word in sys.argv[1:] if word.startswith("--"))
command = sys.argv[1:]
while command[0].startswith("--"):
    command.pop(0)
tasks = [subprocess.Popen(command) for _ in range(int(given["ntasks"]))]


def stop(number: int, frame: object) -> None:
    for task in tasks:
        task.send_signal(signal.SIGTERM)


signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
sys.exit(max(task.wait() for task in tasks))
