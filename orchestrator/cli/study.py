"""What commands on a study share: its arguments, and reading study and cluster profile from them."""

import argparse
import json
import os
from typing import TYPE_CHECKING

from orchestrator.errors import BadInput, shown

if TYPE_CHECKING:
    from clusters.profile import Profile
    from orchestrator.study.spec import Study


def add_study(command: argparse.ArgumentParser) -> None:
    """The study and what overrides it."""
    command.add_argument("study", nargs="?", default="quickstart", metavar="STUDY", help="a shipped name or a file")
    add_overrides(command)


def add_overrides(command: argparse.ArgumentParser, stores: str = "store") -> None:
    """What overrides a study, or several; of several, `stores` is `append`, for a storage of each."""
    place = "folder or s3:// for all that a study makes (results)"
    command.add_argument("--storage", action=stores, metavar="PLACE", help=place)
    command.add_argument("--trials", type=int, metavar="N", help="tuning trials per cell")
    command.add_argument("--seeds", type=int, metavar="N", help="evaluation seeds per cell")
    command.add_argument("--set", action="append", default=[], metavar="A.B=C", help="override a key of the study")
    command.add_argument("--plugin", action="append", metavar="MODULE", help="a module with methods of its own")
    command.add_argument("--stored", action="store_true", help="STUDY is one that the storage holds, as submitted")


def add_cluster(command: argparse.ArgumentParser) -> None:
    """Where to run it."""
    command.add_argument("--cluster", metavar="NAME", help="a cluster profile: a shipped name or a .yaml file")
    command.add_argument(
        "--cluster-set", action="append", default=[], metavar="A.B=C", help="override a key of the profile"
    )


def study_of(args: argparse.Namespace, place: "Profile | None" = None) -> "Study":
    """The study of the arguments; a profile's keys come between the file and the environment."""
    from orchestrator.study.spec import Study

    short = {"storage": args.storage, "tune.trials": args.trials, "evaluate.seeds": args.seeds, "plugins": args.plugin}
    given = [f"{name}={json.dumps(value)}" for name, value in short.items() if value is not None]  # JSON is YAML
    overrides, keys = [*args.set, *given], None if place is None else place.study
    if not args.stored:
        return Study.load(args.study, overrides, place=keys)
    from orchestrator.storage.store import open_store
    from orchestrator.study.stored import definition

    store = open_store(args.storage or os.environ.get("TAILSWEEP_STORAGE") or "results", write=False)
    text = definition(store, args.study)
    if text is None:
        raise BadInput(f"no study {shown(args.study)} in the storage {store.uri}; tailsweep submit brings it there")
    return Study.read(text, f"the stored study {args.study}", overrides, place=keys)


def cluster_of(args: argparse.Namespace, default: str) -> "Profile":
    """The profile of the arguments."""
    from clusters.profile import profile

    try:
        return profile(args.cluster or default, args.cluster_set, getattr(args, "address", None))
    except ValueError as err:
        raise BadInput(str(err)) from None
