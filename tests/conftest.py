"""What holds for every test."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread_and_no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """One torch thread, as a trial has (small batches crawl on several busy cores), and nobody's environment."""
    torch.set_num_threads(1)
    for name in ("TAILSWEEP_STORAGE", "TAILSWEEP_TRACKING__URI"):
        monkeypatch.delenv(name, raising=False)
