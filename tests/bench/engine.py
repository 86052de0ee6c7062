"""What the engine adds to training, beside plain Tune in one run: `python -m bench.engine [--sizes 100,1000]`.

Trials of a tiny table with one epoch, one at a time: at once, a trial's own time would hold what the driver does for
others on the same cores. What a trial costs beyond its training is compared with a Tune class trainable that does
nothing, both on warm actors. Both keep what a trial gave: Tune in the result files that it writes by itself, we in a
record that is synced. Tune without its files is told, too. Every measurement has a process of its own.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from ray import cloudpickle, tune

from clusters.profile import profile
from orchestrator.engine import tune as engine
from orchestrator.engine.observer import Observer
from orchestrator.engine.trial import Job
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Record
from orchestrator.study.cells import Trial, expand
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study

SIZES: Final = (100, 1_000)
MOST: Final = 10_000
TUNE_TRIALS: Final = 1_000
"""At most, of plain Tune: its time for a trial is known by then."""
OF_A_CELL: Final = 10
RESULTS: Final = 2_000
"""Of each of two trials, where results are counted."""
RATIO, GROWTH, PER_SECOND, GIGABYTES = 2.0, 1.5, 500.0, 1.5
"""The bounds: time of a trial against Tune's, that of many trials against that of few, results, memory."""


@dataclass(frozen=True)
class Cost:
    """What was measured with a number of trials: seconds of a trial beyond training, of one of Tune alone with and
    without its result files, and the driver's memory."""

    trials: int
    engine_s: float
    tune_s: float
    bare_s: float
    gigabytes: float

    @property
    def times(self) -> tuple[float, float, float]:
        """Its seconds."""
        return self.engine_s, self.tune_s, self.bare_s

    @property
    def ratio(self) -> float:
        """The engine's time against that of Tune alone."""
        return self.engine_s / self.tune_s


class Ends(Observer):
    """An observer that notes when trials end, and how long they trained."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float]] = []

    def finished(self, trial: Trial, record: Record) -> None:
        """Note the time and the training time."""
        self.ends.append((time.monotonic(), record.wall_s))


class Nothing(tune.Trainable):  # type: ignore[misc]  # ray is untyped here
    """The floor: a class trainable that does nothing, on warm actors."""

    def setup(self, config: dict[str, Any]) -> None:
        """Nothing."""

    def step(self) -> dict[str, Any]:
        """One result."""
        return {"done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Ready."""
        return True


class Talks(tune.Trainable):  # type: ignore[misc]
    """Reports epochs as a trial does, and trains nothing."""

    def setup(self, config: Mapping[str, Any]) -> None:
        """Begin."""
        (job,) = config["jobs"]
        self._job, self._epoch = Job(**job), 0

    def step(self) -> dict[str, Any]:
        """A result of one epoch; all but the last, which a worker commits."""
        val = [{"metric": m, "region": r, "value": 1.0, "count": 10} for m in ("mae", "gm") for r in ("all", "few")]
        row = {"trial_id": self._job.trial_id, "epoch": self._epoch, "stage": 0, "loss": 1.0, "val": val}
        self._epoch += 1
        done = self._epoch + 1 >= self._job.epochs
        return {"rows": [row], "told": [], "ended": {}, "done": done, "worn": False}

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """Begin again."""
        self.setup(new_config)
        return True


class TuneEnds(tune.Callback):  # type: ignore[misc]
    """Times at which Tune saw trials end."""

    times: list[float] = []  # noqa: RUF012  # shared on purpose: Tune works on a copy

    def on_trial_complete(self, **info: Any) -> None:
        """Note the time."""
        self.times.append(time.monotonic())


def tiny(folder: str, trials: int, **changes: Any) -> Study:
    """A study of so many trials of one epoch, ten to a cell, on a made-up table of three inputs."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    rows = (f"{a:.3f},{b:.3f},{c:.3f},{10 * a + 50:.1f}" for a, b, c in x)
    (Path(folder) / "tiny.csv").write_text("\n".join(["a,b,c,y", *rows]) + "\n")
    own = {"name": "tiny", "type": "table", "file": f"{folder}/tiny.csv", "target": "y", "bin_width": 1, "hidden": [4]}
    tree: dict[str, Any] = {
        "study": "bench",
        "workloads": [own],
        "recipes": {"also": ["l1"]},
        "tune": {
            **{"trials": OF_A_CELL // 2, "parallel": OF_A_CELL // 2, "sampler": "random", "rescore": 1},
            "replicates": trials // OF_A_CELL,
        },
        "evaluate": {"seeds": OF_A_CELL - OF_A_CELL // 2},
        "train": {"epochs": 1, "batch_size": 256},
        "storage": folder,
        "resources": {"cpus": 1, "concurrent": 1, "pack": "off"},
        "tracking": {"enabled": False},
    }
    return Study.of({**tree, **changes})


def gaps(times: list[float]) -> list[float]:
    """Differences of neighbours, without the first third: actors are warm then."""
    later = sorted(times)[len(times) // 3 :]
    return [b - a for a, b in pairwise(later)]


def floor(trials: int) -> float:
    """Seconds that plain Tune takes from one trial that does nothing to the next."""
    TuneEnds.times.clear()
    with tempfile.TemporaryDirectory() as storage, engine.connect(profile("local")):
        tune.Tuner(
            tune.with_resources(Nothing, {"cpu": 1}),
            tune_config=tune.TuneConfig(num_samples=trials, max_concurrent_trials=1, reuse_actors=True),
            run_config=tune.RunConfig(
                storage_path=storage,
                verbose=0,
                callbacks=[TuneEnds()],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    return median(gaps(TuneEnds.times))


def swept(study: Study) -> Ends:
    """Sweep a study into its empty storage."""
    ledger, observer = Ledger(study.storage), Ends()
    engine.sweep(study, Planner(study, expand(study), ledger.find), ledger, profile("local"), observer)
    return observer


def ours(trials: int) -> tuple[float, float]:
    """Seconds that one of so many trials takes beyond its training, and the most gigabytes that the driver held."""
    profile("local").apply()
    with tempfile.TemporaryDirectory() as folder:
        ends, walls = zip(*swept(tiny(folder, trials)).ends, strict=True)
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    return median(gaps(list(ends))) - median(walls), int(peak[1]) / 1e6


def alone(trials: int) -> float:
    """Plain Tune."""
    profile("local").apply()
    return floor(trials)


def results_per_second() -> float:
    """Results that the driver takes, one of every epoch; two trials talk at once."""
    profile("local").apply()
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with tempfile.TemporaryDirectory() as folder:
        study = tiny(
            folder,
            OF_A_CELL,
            tune={"trials": 4, "parallel": 4, "sampler": "random", "rescore": 1},
            evaluate={"seeds": 1},
            train={"epochs": RESULTS},
            resources={"cpus": 1, "concurrent": 2, "pack": "off"},
        )
        real, engine.TrialActor = engine.TrialActor, Talks  # type: ignore[misc,assignment]
        try:
            ends = sorted(end for end, _ in swept(study).ends)
        finally:
            engine.TrialActor = real  # type: ignore[misc]
    return 2 * (RESULTS - 1) / (ends[-1] - ends[1])


HERE: Final[Mapping[str, Any]] = {"ours": ours, "alone": alone, "results": lambda _: results_per_second()}


def apart(what: str, trials: int = 0, files: bool = False) -> Any:
    """One measurement in a process of its own; with `files`, Tune writes those that it writes by itself.

    Ray's workers give way to all other processes unless told otherwise: on a busy machine that would be measured.
    """
    environment = {**os.environ, "RAY_worker_niceness": "0"}
    if files:
        environment["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "0"
    command = [sys.executable, "-m", "bench.engine", "--one", what, "--sizes", str(trials)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def cost(trials: int) -> Cost:
    """What so many trials cost, between two measurements of plain Tune."""
    of_tune = min(trials, TUNE_TRIALS)
    before = apart("alone", of_tune, files=True)
    engine_s, gigabytes = apart("ours", trials)
    bare = apart("alone", of_tune)
    after = apart("alone", of_tune, files=True)
    return Cost(trials, engine_s, (before + after) / 2, bare, gigabytes)


def measured(sizes: tuple[int, ...]) -> tuple[list[Cost], float]:
    """Costs by size, and results a second.

    The first size, with which the others are compared, is measured again at the end: a machine that was busy for the
    seconds that it takes would make all others look cheap or dear.
    """
    first, *others = [cost(size) for size in sizes]
    if others:
        first = mean_of(first, cost(first.trials))
    return [first, *others], float(apart("results"))


def mean_of(one: Cost, other: Cost) -> Cost:
    """Of two measurements of one size: mean times, and the most memory."""
    times = ((a + b) / 2 for a, b in zip(one.times, other.times, strict=True))
    return Cost(one.trials, *times, max(one.gigabytes, other.gigabytes))


def told(costs: list[Cost], per_second: float) -> list[tuple[str, str, bool]]:
    """What was measured, with its bound, and whether it holds."""
    least = min(costs, key=lambda one: one.trials)
    lines = []
    for one in costs:
        lines.append(
            (
                f"engine, {one.trials:,} trials",
                f"{1000 * one.engine_s:.0f} ms a trial beyond training; Tune alone {1000 * one.tune_s:.0f} ms, "
                f"{1000 * one.bare_s:.0f} ms without its files; ratio {one.ratio:.2f} (hold ≤ {RATIO:g})",
                one.ratio <= RATIO,
            )
        )
        if one is not least:
            growth = one.ratio / least.ratio
            words = f"{growth:.2f}× the ratio of {least.trials:,} trials (hold ≤ {GROWTH:g})"
            lines.append(("  flat", words, growth <= GROWTH))
        words = f"{one.gigabytes:.2f} GB at most (hold ≤ {GIGABYTES:g})"
        lines.append(("  the driver's memory", words, one.gigabytes <= GIGABYTES))
    rate = f"{per_second:,.0f} a second (hold ≥ {PER_SECOND:g})"
    return [*lines, ("results that the driver takes", rate, per_second >= PER_SECOND)]


def main() -> int:
    """Print every measurement; 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="numbers of trials, tens of them")
    parser.add_argument("--one", choices=HERE, help="measure that here, and print it as JSON")
    args = parser.parse_args()
    sizes = tuple(int(size) for size in args.sizes.split(","))
    if args.one is not None:
        found = HERE[args.one](sizes[0])
        sys.stdout.write(f"{json.dumps(found)}\n")
        sys.stdout.flush()
        os._exit(0)  # what was measured is told: nothing is gained by waiting for Ray to forget itself
    lines = told(*measured(sizes))
    for name, value, holds in lines:
        sys.stdout.write(f"{name:46} {value}{'' if holds else ': NO'}\n")
    return int(not all(holds for *_, holds in lines))


if __name__ == "__main__":
    raise SystemExit(main())
