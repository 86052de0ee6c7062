"""What the counts of `make chaos` must not lose, and what its scenes must not leave behind."""

import subprocess
import sys
from pathlib import Path

import pytest

from chaos.run import Chaos
from chaos.scene import Command, Scene
from chaos.tally import Tally


def test_an_exception_in_a_scene_is_counted_and_the_next_scene_is_played() -> None:
    tally, played = Tally(), []
    for scene in (1, 2):
        with tally.counted(f"scene {scene}"):
            played.append(scene)
            raise OSError("a record that cannot be read")
    assert played == [1, 2]
    assert tally.wrong["unclear"] == 2
    assert ["OSError: a record that cannot be read" in words for words in tally.words] == [True, True]


def test_an_interrupt_ends_the_run_and_not_only_the_scene() -> None:
    with pytest.raises(KeyboardInterrupt), Tally().counted("scene"):
        raise KeyboardInterrupt


def test_a_scene_that_is_closed_leaves_no_command_behind(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Scene(tmp_path, str(tmp_path), commands=[Command(process, tmp_path / "said")]).close()
    assert process.returncode == -9


@pytest.mark.slow
def test_sweeps_that_are_killed_and_stopped_at_random_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    """The short form of `make chaos`: other seeds and more faults are its own."""
    tally = Chaos(tmp_path, seed=4).run(4, ["folder", "tracked"], minutes=20)
    assert tally.faults.total() >= 4
    assert not tally.wrong, "\n".join([str(tally), *tally.words])
