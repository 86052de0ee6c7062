"""Saying once, on standard error, what was met in a ledger and does not stop the work."""

import logging
from functools import lru_cache

logger = logging.getLogger("tailsweep.ledger")


@lru_cache(maxsize=4096)
def tell(message: str) -> None:
    """Say it as a warning of the logger `tailsweep.ledger`, once per process."""
    logger.warning("%s", message)
