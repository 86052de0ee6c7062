"""tailsweep init and schema: parse, call one function each."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from orchestrator.cli.console import progress, say
from orchestrator.cli.guard import COMPLETE
from orchestrator.errors import BadInput

STUDY: Final = "study.yaml"


def init(args: argparse.Namespace) -> int:
    """Look at a table, and write a first study of it, with comments, that `tailsweep plan` takes at once."""
    out = Path(args.out)
    if out.exists():
        raise BadInput(f"--out names a new file: {out} is there; choose another, or delete it")
    from orchestrator.catalogue.first_study import cores, first_study, look, name_of

    found = look(args.file, args.target)
    text = first_study(found, name_of(args.file), cores())
    out.write_text(text, encoding="utf-8")
    for name, why in found.dropped.items():
        progress(f"note: {name} is left out: {why}")
    for name in found.doubtful:
        progress(f"note: {name} goes with {args.target} almost perfectly; drop it if it is made of it")
    say(f"{out}: look at it, then: tailsweep plan {out}; tailsweep sweep {out}")
    return COMPLETE


def schema(args: argparse.Namespace) -> int:
    """Print the JSON schema of a study or of a cluster profile, for editors."""
    say(json.dumps(SCHEMAS[args.of](), indent=1))
    return COMPLETE


def _study() -> dict[str, object]:
    from orchestrator.study.schema import study_schema

    return study_schema()


def _profile() -> dict[str, object]:
    from clusters.profile import Profile
    from orchestrator.study.schema import schema_of

    return schema_of(Profile, "A cluster profile of Tailsweep")


SCHEMAS: Final[dict[str, Callable[[], dict[str, object]]]] = {"study": _study, "profile": _profile}


def add_init(command: argparse.ArgumentParser) -> None:
    """The table, and what is to be predicted."""
    command.add_argument("file", metavar="FILE", help="a .csv, .tsv or .parquet table")
    command.add_argument("--target", required=True, metavar="COLUMN", help="what is to be predicted")
    command.add_argument("--out", default=STUDY, metavar="FILE", help=f"the study ({STUDY})")


def add_schema(command: argparse.ArgumentParser) -> None:
    """Of what."""
    command.add_argument("of", choices=list(SCHEMAS))
