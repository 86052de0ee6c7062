"""What a job inside a cluster runs: commands one after the other, in a separate process.

A cluster's job takes its command through several shells, each of which would expand a storage's address again. So the
command is this module, and the real ones come as JSON in the environment.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from orchestrator.errors import REPORTED

COMMANDS: Final = "STUDY_COMMANDS"
ENTRYPOINT: Final = "python -P -m clusters.shared.inside"


def environment(commands: Sequence[Sequence[str]]) -> dict[str, str]:
    """The variables that bring the commands along, and keep the current folder off the path of all that they start."""
    return {COMMANDS: json.dumps([list(command) for command in commands]), "PYTHONSAFEPATH": "1"}


def run(commands: Sequence[Sequence[str]]) -> int:
    """Run commands until one leaves nothing to report; returns the first exit code that is not 0.

    Ray sends SIGTERM to all processes of a job. A second signal would interrupt a driver that saves its trials, so
    SIGTERM is not passed on.
    """
    signal.signal(signal.SIGTERM, lambda *_: None)  # unlike SIG_IGN, not what the commands begin with
    first = 0
    for command in commands:
        code = subprocess.run(command, check=False).returncode
        code = 128 - code if code < 0 else code
        first = first or code
        if code not in REPORTED:
            break
    return first


if __name__ == "__main__":
    sys.exit(run(json.loads(os.environ[COMMANDS])))
