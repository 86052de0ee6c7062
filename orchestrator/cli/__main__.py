"""`python -m orchestrator.cli`, as `tailsweep`."""

import sys

if not sys.flags.safe_path:
    # `-m` puts the current folder first, where a scipy.py of somebody else may lie. A checkout that is not installed is
    # needed, but comes last.
    here = sys.path.pop(0)
    if __file__.startswith(f"{here}/"):
        sys.path.append(here)

from orchestrator.cli.main import entry

entry()
