"""A sweep that is killed and started again, and what must hold for it at the end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from ikd.sweep import TrialRecord, trials_of
from ikd.sweep.study.folder import sweep_folder
from ikd.tracking.mlflow_client import local_uri, make_client
from ikd.trial import OPEN

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 300.0
Json = dict[str, Any]


class Sweep:
    """One sweep under a home of its own; every start is the same command.

    Attributes:
        kills: how many processes have died on purpose.
        saving: epochs that a checkpoint may lie behind what was saved (a newer one was damaged).
    """

    def __init__(self, home: Path, *, knobs: Json | None = None, **settings: Any) -> None:
        self.home, self.settings = home, settings
        self.folder = sweep_folder("s", home)
        self.folder.path.mkdir(parents=True, exist_ok=True)
        (self.folder.path / "fake.jsonl").touch()
        self.turn(**(knobs or {}))
        self.kills = 0
        self.damaged = 0
        self._started: list[dict[int, int]] = []

    def turn(self, **knobs: Any) -> None:
        """Set the knobs of the training."""
        (self.folder.path / "fake.json").write_text(json.dumps(knobs))

    @contextlib.contextmanager
    def start(self, **more: Any) -> Iterator[subprocess.Popen[str]]:
        """Start the driver; it is dead when the context ends."""
        command = [sys.executable, "-m", "tests.faults.sweep_driver", json.dumps({**self.settings, **more})]
        self._note_ended()
        with self.output.open("w") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, "IKD_HOME": str(self.home)}, stdout=output,
                stderr=subprocess.STDOUT, text=True, start_new_session=True,
            )  # fmt: skip
        try:
            yield process
            process.wait(LIMIT_SECONDS)
        finally:
            process.kill()
            process.wait()

    @property
    def output(self) -> Path:
        """What the last driver has printed."""
        return self.home / "driver.out"

    def run(self, status: int = 0, **more: Any) -> str:
        """Run the command until it ends by itself."""
        with self.start(**more) as process:
            process.wait(LIMIT_SECONDS)
        text = self.output.read_text()
        assert process.returncode == status, f"exit status {process.returncode}: {text}"
        return text

    def run_counting(self) -> Json:
        """Run the command until it ends, and return what the driver counted: `labels`, `slowest_tracker_call`."""
        self.run(labels=str(self.home / "labels.json"))
        return self.counted()

    def counted(self) -> Json:
        """Return what the last driver that was asked to count has counted."""
        return dict(json.loads((self.home / "labels.json").read_text()))

    def run_to(self, before: str, nth: int = 1, *, role: str | None = None) -> None:
        """Run the command until it kills itself before its `nth` write of this label (while trials have a role)."""
        self.run(-signal.SIGKILL, moment={"before": before, "nth": nth, "role": role})
        self.kills += 1

    def run_until(self, condition: Callable[[], bool], kill: Callable[[int], None]) -> None:
        """Run the command until `condition` holds, then `kill` its process."""
        with self.start() as process:
            self.wait_for(condition, process)
            kill(process.pid)
            process.wait(LIMIT_SECONDS)
        self.kills += 1

    def wait_for(self, condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
        """Wait until `condition` holds; the driver must live."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"the sweep does not get there: {self.output.read_text()}"
            assert process.poll() is None, self.output.read_text()
            time.sleep(0.02)

    def after(self, event: str, more: int) -> Callable[[], bool]:
        """Return a condition: `more` events of this kind have happened from now on."""
        before = len(self.notes(event))
        return lambda: len(self.notes(event)) >= before + more

    def notes(self, *events: str) -> list[Json]:
        """Return what the training has noted of these events, in order."""
        notes = map(json.loads, (self.folder.path / "fake.jsonl").read_text().splitlines())
        return [note for note in notes if note["event"] in events]

    def records(self) -> list[TrialRecord]:
        """Return the trials as the study has them."""
        return trials_of("s", home=self.home)

    def unsaved_epochs(self) -> int:
        """Return how many epochs were begun and then lost, because a death came before their checkpoint."""
        return len(self.notes("train")) - len(self.notes("epoch"))

    def stored(self) -> list[optuna.trial.FrozenTrial]:
        """Return the trials as Optuna alone reads them."""
        storage = optuna.storages.RDBStorage(f"sqlite:///{self.folder.path / 'study.db'}")
        try:
            return storage.get_all_trials(storage.get_study_id_from_name("s"))
        finally:
            storage.remove_session()
            storage.engine.dispose()

    def _note_ended(self) -> None:
        """Remember how often each trial that has ended was started: that must not grow."""
        if self.folder.exists:
            starts = Counter(note["trial"] for note in self.notes("start"))
            ended = [record.number for record in self.records() if record.state not in OPEN]
            self._started.append({number: starts[number] for number in ended})

    def check(self, trials: int = 8) -> Json:
        """Assert what must hold for a sweep that has ended, whatever happened on its way; return the figures."""
        records = self.records()
        assert [record.number for record in records] == list(range(trials)), "the number of trials is exact"
        assert not [record for record in records if record.state in OPEN], "every trial has ended"
        for record in records:
            assert [report.epoch for report in record.reports] == list(range(1, record.epochs + 1)), (
                "no hole, no repeat"
            )
        again = self._started_again()
        assert not again, f"finished trials ran again: {again}"
        repeated = self._repeated_epochs()
        running = self.running_in_study()
        assert running == 0, "no trial is left running in the study"
        figures = {
            "kills": self.kills, "trials": trials, "trials repeated": len(again), "epochs lost": 0,
            "saved epochs repeated": repeated, "running in study": running,
            "epochs begun again": self.unsaved_epochs(),
        }  # fmt: skip
        return figures | (self._check_mlflow(records) if self._tracked else {})

    @property
    def _tracked(self) -> bool:
        return bool(self.settings.get("runner", {}).get("tracking", {}).get("uri", "none") != "none")

    def _started_again(self) -> list[int]:
        now = Counter(note["trial"] for note in self.notes("start"))
        return [number for earlier in self._started for number, starts in earlier.items() if now[number] != starts]

    def _repeated_epochs(self) -> int:
        """Go through all starts and saved epochs in order: none begins behind the newest whole checkpoint."""
        saved: dict[int, int] = {}
        for note in self.notes("start", "epoch"):
            if note["event"] == "epoch":
                saved[note["trial"]] = note["epoch"]
            else:
                lost = saved.get(note["trial"], 0) - note["first"]
                assert lost <= self.damaged, f"trial {note['trial']} went back by {lost} epochs"
        times = Counter(map(_place, self.notes("epoch")))
        repeated = sum(count - 1 for count in times.values())
        assert repeated <= self.damaged, "an epoch whose checkpoint was saved is trained once"
        return repeated

    def running_in_study(self) -> int:
        """Return how many trials the study says are running."""
        return sum(trial.state is TrialState.RUNNING for trial in self.stored())

    def _check_mlflow(self, records: list[TrialRecord]) -> Json:
        """One run a trial and one for the sweep, none running; every epoch once, with its own value."""
        client = make_client(local_uri(self.home))
        (experiment,) = (one for one in client.search_experiments() if one.name != "Default")
        runs = client.search_runs([experiment.experiment_id], max_results=1000)
        found = Counter(run.data.tags["ikd.trial"] for run in runs)
        wanted = {"sweep", *(str(record.number) for record in records)}
        assert found == Counter(wanted), "one run a trial, and one for the sweep"
        running = [run.data.tags["ikd.trial"] for run in runs if run.info.status == "RUNNING"]
        assert not running, f"runs left running in MLflow: {running}"
        by_trial = {run.data.tags["ikd.trial"]: run for run in runs}
        for record in records:
            run = by_trial[str(record.number)]
            history = client.get_metric_history(run.info.run_id, "loss/total")
            steps = sorted((point.step, point.value) for point in history)
            assert steps == [(one.epoch, one.metrics["loss/total"]) for one in record.reports], "each step once"
            assert run.data.tags["ikd.state"] == record.state
            assert run.data.tags["ikd.reason"] == record.reason
        return {"MLflow runs": len(runs), "running in MLflow": len(running)}


def _place(note: Json) -> tuple[int, int]:
    return note["trial"], note["epoch"]


def story(sweep: Sweep) -> list[Json]:
    """Return everything that a sweep decided, without what a crash may change: attempts, seconds, times."""
    return [_told(record, trial) for record, trial in zip(sweep.records(), sweep.stored(), strict=True)]


def _told(record: TrialRecord, trial: optuna.trial.FrozenTrial) -> Json:
    return {
        "number": record.number,
        "name": record.name,
        "values": repr(dict(record.values)),
        "fingerprint": record.fingerprint,
        "role": (record.role, record.of, record.kept),
        "end": (record.state, record.reason, record.metric, record.best_epoch),
        "reports": [(one.epoch, repr(dict(one.metrics)), one.order) for one in record.reports],
        "optuna": (trial.state, trial.values, trial.params, trial.distributions, trial.intermediate_values),
    }
