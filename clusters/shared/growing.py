"""Checks of a study whose own Ray cluster grows and shrinks with the work."""

from clusters.submission import Submission
from orchestrator.errors import BadInput


def check_growing(submission: Submission, smallest: int, largest: int, most: int) -> None:
    """Raises BadInput unless one driver with an image can fill `smallest` to `largest` workers; `most` trials do."""
    name = f"profile {submission.profile.name}"
    if submission.profile.image is None:
        raise BadInput(
            f"{name}: image must name an image with Tailsweep: got none; docs/clusters.md tells how to make one"
        )
    if submission.shards > 1:
        raise BadInput(
            f"{name}: one Ray cluster takes one driver of a study: got {submission.shards} shards; options.workers.max "
            "is what bounds how much runs at once"
        )
    if largest < smallest:
        raise BadInput(f"{name}: workers.min <= workers.max must hold: got {smallest} and {largest}")
    if submission.study.resources.concurrent is None:
        raise BadInput(
            f"{name}: a cluster that grows must be told how many trials may run at once: set resources.concurrent; "
            f"--set resources.concurrent={most} makes use of {largest} workers"
        )
