"""`python -m orchestrator.cli`, as `tailsweep`."""

from orchestrator.cli.main import entry

entry()
