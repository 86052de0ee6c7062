"""The ledger as MLflow runs: a projection, made in a separate process, complete after any interruption.

Experiment = study, parent run = row of a table (a cell, a control, or the mean of the replicates of a recipe, which are
cells) with its aggregates, child run = trial. Runs are
found again by their tags; a run that was cut off before its last tag is deleted and made again, so that nothing is
logged twice. Settings of a run cannot be changed: a row whose selected setting is another one becomes another run.
"""

import hashlib
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from threading import Lock
from typing import ClassVar, Final
from urllib.parse import quote

from orchestrator.ledger import samples
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Phase, Record
from orchestrator.report.stats import spread
from orchestrator.storage.store import local_folder
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.spec import Study
from orchestrator.tracking._pictures import base_of, marked, pictures
from orchestrator.tracking._sqlite import ARTIFACTS, make_database, settle, sqlite_uri
from orchestrator.tracking._view import ROWS, VIEW, Shown, description, rows_of, views
from workloads.labels import REGIONS
from workloads.recipe import Recipe
from workloads.training import active

# A server that is away must cost seconds, not MLflow's default of minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# Of every run that ends; a server is asked for the run first.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, LifecycleStage, Metric, Param, Run, RunTag

from orchestrator.tracking._entities import metrics_of, milliseconds, name_of, params_of, system_metrics

BATCH, PARAMS = 1000, 100
"""Metrics, parameters and tags in one call, and how many of them may be parameters: the server's own limits."""
AT_ONCE: Final = 4
"""Runs that are sent to a server at the same time: it has several workers, and most of the time is spent waiting."""
KIND, NAME, DONE, PARENT = "tailsweep.kind", "tailsweep.name", "tailsweep.done", "mlflow.parentRunId"
STATUS: Final = {"completed": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
DATABASE: Final = "mlflow.db"
OUTPUTS: Final = ("table.md", "table.csv", "table.tex", "report.html")
FIGURES: Final = ".png"
SELECTED, SCORED, PICTURED = "tailsweep.selected", "tailsweep.scored", "tailsweep.pictured"
CONTROL: Final = f"{ROWS} of a control"
REPEATED: Final = f"{ROWS} of all replicates"
EXPERIMENT: Final = "mlflow.experimentKind"
NOTE: Final = "mlflow.note.content"
REPORT: Final = "[The study's report]"
"""How the note of a row begins, unless somebody wrote another one."""


def tracking_uri(study: Study) -> str:
    """Where the study is tracked: its setting, else `mlflow.db` in its storage folder, or in `results` beside S3."""
    return study.tracking.uri or database(study.storage)


def database(storage: str) -> str:
    """The address of the SQLite file of a storage."""
    return sqlite_uri(f"{local_folder(storage)}/{DATABASE}")


class Projection:
    """One study in one tracking server."""

    title: ClassVar[str] = "MLflow"
    address = staticmethod(tracking_uri)

    def __init__(self, study: Study, ledger: Ledger) -> None:
        uri = tracking_uri(study)
        if study.tracking.uri is None:
            make_database(local_folder(study.storage) / DATABASE)
        self._study, self._ledger = study, ledger
        self._on_server = uri.startswith(("http:", "https:"))
        self.client = mlflow.MlflowClient(uri)
        experiment = self.client.get_experiment_by_name(study.study)
        if experiment is None:
            folder = local_folder(study.storage) / ARTIFACTS
            self.experiment = self.client.create_experiment(
                study.study, artifact_location=folder.as_uri() if uri.startswith("sqlite:") else None
            )
        else:
            self.experiment = experiment.experiment_id
            if experiment.lifecycle_stage == LifecycleStage.DELETED:  # its name stays taken, and it takes no runs
                self.client.restore_experiment(self.experiment)
        self._tags = dict(self.client.get_experiment(self.experiment).tags)
        self._describe({EXPERIMENT: "custom_model_development"})
        self._runs = self._known()
        self._searched: dict[str, dict[str, None]] = {}
        self._plans: list[CellPlan] = []
        self._named: set[str] = set()
        self._naming = Lock()

    def _describe(self, tags: Mapping[str, str]) -> None:
        """Set tags of the experiment that are not what they are to be."""
        for name, value in tags.items():
            if self._tags.get(name) != value:
                self.client.set_experiment_tag(self.experiment, name, value)
                self._tags[name] = value

    def _known(self) -> dict[tuple[str | None, str | None], Run]:
        """Runs by kind and name, each once.

        Two trackers at once leave several, and so does an experiment that was restored, with runs that had been deleted
        before: a complete one stays, of those the first, and the others are deleted.
        """
        known: dict[tuple[str | None, str | None], Run] = {}
        for run in sorted(self._existing(), key=lambda r: (DONE not in r.data.tags, r.info.start_time, r.info.run_id)):
            key = (run.data.tags.get(KIND), run.data.tags.get(NAME))
            if key == (None, None) or known.setdefault(key, run) is run:
                continue
            self.client.delete_run(run.info.run_id)
        return known

    def _existing(self) -> Iterator[Run]:
        token: str | None = None
        while token != "":
            page = self.client.search_runs([self.experiment], max_results=1000, page_token=token)
            yield from page
            token = page.token or ""

    def update(self, plans: Iterable[CellPlan]) -> int:
        """Send what the server does not have yet; returns the number of trials sent."""
        self._plans, sent = list(plans), 0
        with ThreadPoolExecutor(AT_ONCE if self._on_server else 1) as pool:
            for plan in self._plans:
                phases: tuple[Phase, ...] = ("tune", "evaluate")
                records = [(phase, record) for phase in phases for record in plan.records(phase)]
                if records:
                    parent = self._parent(plan)
                    missing = [job for job in records if not self._there(name_of(job[1]), parent.info.run_id)]
                    runs = pool.map(partial(self._send, plan, parent), missing)
                    self._runs |= {
                        ("trial", name_of(record)): run for (_, record), run in zip(missing, runs, strict=True)
                    }
                    self._aggregate(plan, parent)
                    sent += len(missing)
        return sent

    def _there(self, name: str, parent: str) -> bool:
        """Whether the run of a trial is complete; it gets this parent, and what was cut off is deleted."""
        run = self._runs.get(("trial", name))
        if run is None:
            return False
        if DONE not in run.data.tags:
            self.client.delete_run(run.info.run_id)
            return False
        if run.data.tags.get(PARENT) != parent:  # its parent was one of two
            self.client.set_tag(run.info.run_id, PARENT, parent)
            run.data.tags[PARENT] = parent
        return True

    def _parent(self, plan: CellPlan) -> Run:
        """The run of a cell, with the selected setting once there is one."""
        names = self._searched.setdefault(plan.cell.workload, {})
        names |= dict.fromkeys(axis.name for axis in plan.cell.axes)
        key, chosen = (ROWS, plan.cell.name), "" if plan.selected is None else plan.selected.trial_id
        known = self._runs.get(key)
        if known is not None and (_outdated(known, chosen) or (plan.replicated and SCORED in known.data.tags)):
            self.client.delete_run(known.info.run_id)
            known = None
        if known is None:
            recipe = str(plan.cell.recipe)
            tags = {KIND: ROWS, NAME: plan.cell.name, "workload": plan.cell.workload, "recipe": recipe}
            known = self.client.create_run(self.experiment, tags=tags, run_name=f"{recipe}{plan.cell.again}")
            self.client.set_terminated(known.info.run_id)
            self._runs[key] = known
        if plan.selected is not None and known.data.tags.get(SELECTED) != chosen:
            params = params_of(active(plan.cell.recipe, plan.selected.settings))
            self._log(known.info.run_id, params, [], RunTag(SELECTED, chosen))
            known.data.tags[SELECTED] = chosen
        return known

    def _log(self, run_id: str, params: Sequence[Param], metrics: Sequence[Metric], last: RunTag) -> None:
        """Everything in as few calls as a server takes; within a call, tags are written when all else is."""
        while len(params) > PARAMS:
            self.client.log_batch(run_id, params=params[:PARAMS])
            params = params[PARAMS:]
        while len(params) + len(metrics) >= BATCH:
            self.client.log_batch(run_id, metrics=metrics[:BATCH])
            metrics = metrics[BATCH:]
        self.client.log_batch(run_id, metrics=metrics, params=params, tags=[last])

    def _send(self, plan: CellPlan, parent: Run, job: tuple[Phase, Record]) -> Run:
        """One run, in four calls where its numbers fit into one; the tag that it is complete comes with the last."""
        phase, record = job
        rescores = (plan.rescoring or {}).get(record.number) if phase == "tune" else None
        tags = {
            KIND: "trial",
            NAME: name_of(record),
            PARENT: parent.info.run_id,
            "phase": phase,
            "workload": record.workload,
            "recipe": record.recipe,
            "status": record.status,
            "device": record.device,
            "host": record.host,
        }
        if rescores is not None:
            tags["rescores"] = str(rescores)  # the trial of the search whose settings it trains with another seed
        if record.error:
            tags["error"] = record.error[:500]
        run = self.client.create_run(
            self.experiment,
            start_time=milliseconds(record.started),
            tags=tags,
            run_name=f"{'rescore' if rescores is not None else phase} {record.number}",
        )
        run_id, stamp = run.info.run_id, milliseconds(record.finished)
        self._log_data(run_id, record, phase)
        self.client.set_terminated(run_id, STATUS[record.status], end_time=stamp)
        settings = active(Recipe.parse(record.recipe), record.settings)
        params = params_of({**settings, "seed": record.seed, "epochs": record.epochs})
        metrics = [*metrics_of(record, stamp), *self._sampled(record)]
        self._log(run_id, params, metrics, RunTag(DONE, "1"))
        run.data.tags[DONE] = "1"
        return run

    def _sampled(self, record: Record) -> Iterator[Metric]:
        """What the machine did meanwhile, where the study asks for it."""
        if self._study.tracking.system_metrics:
            yield from system_metrics(samples.find(self._ledger.store, (record.trial_id, record.attempt)))

    def _log_data(self, run_id: str, record: Record, phase: Phase) -> None:
        """The data set of a trial; of several that name a new one at once, a server would take only the first."""
        data = Dataset(record.workload, record.data, "tailsweep", json.dumps({"fingerprint": record.data}))
        with self._naming if record.data not in self._named else nullcontext():
            self.client.log_inputs(run_id, [DatasetInput(data, [InputTag("mlflow.data.context", phase)])])
            self._named.add(record.data)

    def _aggregate(self, plan: CellPlan, parent: Run) -> None:
        """Mean and sd of the test scores on the cell's run, updated when a seed is added."""
        records = [record for record in plan.records("evaluate") if record.status == "completed"]
        mark = ",".join(record.trial_id for record in records)
        if not records or parent.data.tags.get(DONE) == mark:
            return
        stamp = max(milliseconds(record.finished) for record in records)
        metrics = [Metric("seeds", len(records), stamp, 0)]
        for metric, region in {(s.metric, s.region): None for r in records for s in r.test or ()}:
            values = [v for r in records if (v := r.score(f"test/{metric}/{region}")) is not None]
            if values:
                s = spread(values)
                for what, value in (("mean", s.mean), ("sd", s.sd)):
                    if value is not None:
                        metrics.append(Metric(f"test/{metric}/{region}/{what}", value, stamp, 0))
        self._log(parent.info.run_id, [], metrics, RunTag(DONE, mark))
        parent.data.tags[DONE] = mark

    def upload(self) -> None:
        """Attach the study's tables, page and figures to a separate run, and bring rows and description up to date.

        A row has its own pictures, and a link to the page.
        """
        key = ("study", self._study.study)
        if key not in self._runs:
            tags = {KIND: "study", NAME: self._study.study}
            self._runs[key] = self.client.create_run(self.experiment, tags=tags, run_name="tables and report")
            self.client.set_terminated(self._runs[key].info.run_id)
        folder = f"{self._study.study}/"
        names = [*OUTPUTS, *self._figures(folder)]
        contents = {name: self._ledger.store.get(folder + name) for name in names}
        whole = hashlib.sha256(repr(contents).encode()).hexdigest()
        if self._runs[key].data.tags.get(DONE) != whole:
            self._attach(self._runs[key].info.run_id, contents)
            self.client.set_tag(self._runs[key].info.run_id, DONE, whole)
        table, tidy = contents["table.md"], self._ledger.store.get(f"{folder}tidy.json")
        if table is not None and tidy is not None:
            shown, seen = rows_of(json.loads(tidy))
            for row in shown:
                self._score(row)
            saved = {VIEW + name: state for name, state in views(seen, self._searched)}
            self._describe({NOTE: description(table.decode()), **saved})
        for plan in self._plans:
            self._picture(plan)
        if contents["report.html"] is not None:
            self._link(self._runs[key].info.run_id, self._ledger.store.locate(f"{folder}report.html"))
        if self._study.tracking.uri is None:
            settle(local_folder(self._study.storage) / DATABASE)

    def _picture(self, plan: CellPlan) -> None:
        """The pictures of a row, drawn again when it has other seeds."""
        row, base = self._runs.get((ROWS, plan.cell.name)), base_of(plan, self._plans)
        mark = marked(plan, base)
        if row is not None and mark and row.data.tags.get(PICTURED) != mark:
            self._attach(row.info.run_id, pictures(plan, base, self._study.tune.rules[0], self._ledger))
            self.client.set_tag(row.info.run_id, PICTURED, mark)

    def _link(self, run_id: str, place: str) -> None:
        """A link to the report in the description of every row that nobody has described."""
        page = f"#/experiments/{self.experiment}/runs/{run_id}/artifacts/report.html?workflowType=machine_learning"
        note = f"{REPORT}({page}), `{place}`"
        for (kind, _), run in self._runs.items():
            there = run.data.tags.get(NOTE, REPORT)
            if (kind or "").startswith(ROWS) and there.startswith(REPORT) and there != note:
                self.client.set_tag(run.info.run_id, NOTE, note)
                run.data.tags[NOTE] = note

    def _figures(self, folder: str) -> list[str]:
        keys = self._ledger.store.keys(f"{folder}figures/")
        return [key.removeprefix(folder) for key in keys if key.endswith(FIGURES)]

    def _attach(self, run_id: str, contents: Mapping[str, bytes | None]) -> None:
        with tempfile.TemporaryDirectory(prefix="tailsweep-") as place:
            for name, data in contents.items():
                if data is not None:
                    path = Path(place) / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)
            self.client.log_artifacts(run_id, place)

    def _score(self, row: Shown) -> None:
        """The scores of a row of the report on its run, at step 0.

        A control has a run of its own, and so has a row of several replicates, each of which is a cell.
        """
        name = f"{row.workload}/{row.recipe}"
        kind = CONTROL if (ROWS, name) not in self._runs else REPEATED if self._study.tune.replicates > 1 else ROWS
        run = self._runs.get((kind, name))
        if run is None:
            tags = {KIND: kind, NAME: name, "workload": row.workload, "recipe": row.recipe}
            run = self.client.create_run(self.experiment, tags=tags, run_name=row.recipe)
            self.client.set_terminated(run.info.run_id)
            self._runs[kind, name] = run
        mark = hashlib.sha256(json.dumps(row.metrics, sort_keys=True).encode()).hexdigest()
        if run.data.tags.get(SCORED) == mark:
            return
        stamp = int(time.time() * 1000)  # of several values at one step the latest is shown
        sent = _AGGREGATED if kind == ROWS else ()  # with the seeds of the row
        metrics = [
            Metric(name, value, stamp, 0)
            for name, value in row.metrics.items()
            if math.isfinite(value) and not name.endswith(sent)
        ]
        self._log(run.info.run_id, [], metrics, RunTag(SCORED, mark))
        run.data.tags[SCORED] = mark


_AGGREGATED: Final = tuple(f"/{region}/{what}" for region in ("all", *REGIONS) for what in ("mean", "sd"))


def _outdated(row: Run, chosen: str) -> bool:
    """Whether a row has another selected setting, or was made by a release that logged none."""
    tags = row.data.tags
    return tags[SELECTED] != chosen if SELECTED in tags else DONE in tags


TRACKER: Final = Projection


def links(uri: str, page: str) -> Iterator[str]:
    """Addresses of the views of all studies in a server whose pages are at `page`."""
    client = mlflow.MlflowClient(uri)
    for experiment in client.search_experiments():
        for name in experiment.tags:
            if name.startswith(VIEW):
                share = quote(name.removeprefix(VIEW))
                runs = f"{page}/#/experiments/{experiment.experiment_id}/runs"
                yield f"{experiment.name}: {runs}?viewStateShareKey={share}&workflowType=machine_learning"


if __name__ == "__main__":  # `make ui` asks for the address of a storage's database, or for the pages of its studies
    storage, *port = sys.argv[1:]
    if not port:
        sys.stdout.write(database(storage))
    elif (local_folder(storage) / DATABASE).exists():
        sys.stdout.write("".join(f"{line}\n" for line in links(database(storage), f"http://127.0.0.1:{port[0]}")))
