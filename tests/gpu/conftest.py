"""`make gpu`: what only a machine with a GPU can show. Without one all is skipped, and says so."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from workloads.speed import repeat_exactly

HERE = Path(__file__).parent
TRIED = os.environ.get("GPU_SUITE_ON") == "cpu"
"""To try the suite itself out, `GPU_SUITE_ON=cpu` runs it on the CPU, as far as it can; it then shows nothing."""
REASON = "torch finds no GPU on this machine"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.gpu)
            item.add_marker(pytest.mark.skipif(not (torch.cuda.is_available() or TRIED), reason=REASON))


@pytest.fixture
def device() -> Iterator[torch.device]:
    """The GPU, with algorithms that repeat to the bit."""
    repeat_exactly(True)
    yield torch.device("cpu" if TRIED else "cuda:0")
    repeat_exactly(False)


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str], device: torch.device) -> Callable[[str], None]:
    """Say a figure with the name of the card, past pytest's capture."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU: no figure of a GPU"

    def write(figure: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n  {figure} [{name}]")

    return write
