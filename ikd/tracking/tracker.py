"""The tracker that cannot hurt a sweep: what happens is queued, kept on disk and delivered by a thread."""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from time import time_ns
from types import TracebackType
from typing import Any, cast

from ikd.errors import refuse
from ikd.files import parsed, write_text
from ikd.tracking.events import Event, Kind
from ikd.tracking.protocol import NullTracker, Page, SweepState, TrialState
from ikd.tracking.writer import Sink, Writer

_log = logging.getLogger("ikd.tracking")

SPOOL = "tracking-spool.jsonl"
IDENTITY = "tracking.json"


class SpooledTracker:
    """Tells a sink from a thread of its own, so that no call waits; see `Tracker` for the calls.

    Args:
        sink: the other side.
        folder: the sweep's folder. It holds the sweep's identity, so that a sweep of the same name in another folder
            is another one to the sink, and what could not be delivered. None: the name is the identity, the rest is in
            memory.
        spool: keep what could not be delivered in that folder; without it, in memory.
    """

    def __init__(self, sink: Sink, *, folder: Path | None = None, spool: bool = True) -> None:
        self._sink = sink
        self._folder = folder
        self._spool = folder / SPOOL if folder is not None and spool else None
        self._writer: Writer | None = None
        self._compared = 0  # when worth was told last, in milliseconds since 1970
        self._sweep = ""

    writes = True

    def start_sweep(
        self, name: str, *, tags: Mapping[str, object], params: Mapping[str, object], page: Page | None = None
    ) -> None:
        """Open the sweep's run, or find it again; must be the first call, or `attach`."""
        self.attach(name)
        shown = {"page": asdict(page)} if page is not None else {}
        self._put("start_sweep", None, {"tags": _plain(tags), "params": _plain(params), **shown})

    def attach(self, name: str) -> None:
        """Go on with a sweep that has ended, and leave its state."""
        if self._writer is None:
            if self._folder is None:
                self._sink.open(name.replace("'", "_"))
                self._writer = Writer(self._sink)
            else:
                self._sink.open(sweep_identity(self._folder, create=True))
                self._writer = Writer(self._sink, self._spool)
        self._sweep = name

    def start_trial(
        self,
        number: int,
        *,
        name: str,
        params: Mapping[str, object],
        tags: Mapping[str, object],
        time: float | None = None,
    ) -> None:
        """Open the run of one trial, or find it again."""
        self._put("start_trial", number, {"name": name, "tags": _plain(tags), "params": _plain(params)}, time)

    def log(self, number: int, epoch: int, metrics: Mapping[str, float], *, time: float | None = None) -> None:
        """Note the one report of an epoch."""
        values = {name: float(value) for name, value in metrics.items()}
        self._put("log", number, {"epoch": int(epoch), "metrics": values}, time)

    def end_trial(self, number: int, state: TrialState, reason: str = "", *, time: float | None = None) -> None:
        """Close a trial's run, saying why it ended."""
        self._put("end_trial", number, {"state": state, "reason": reason}, time)

    def compare(
        self,
        number: int | None,
        metrics: Mapping[str, float | None],
        *,
        step: int,
        tags: Mapping[str, str] | None = None,
        name: str = "",
        time: float | None = None,
    ) -> None:
        """Note what a trial is worth among the others; its state stays."""
        values = {key: None if value is None else float(value) for key, value in metrics.items()}
        data = {"metrics": values, "step": int(step), "tags": _plain(tags or {}), "name": name}
        if time is None:  # of two values of one step the later counts, and both may be told within a millisecond
            self._compared = max(self._compared + 1, time_ns() // 1_000_000)
            time = self._compared / 1000
        self._put("compare", number, data, time)

    def log_data(self, number: int | None, data: Mapping[str, Any]) -> None:
        """Note what a run learns from."""
        self._put("data", number, _plain(data))

    def log_artifacts(self, number: int | None, path: Path, folder: str = "") -> None:
        """Copy a file or the content of a directory to a run."""
        self._put("artifacts", number, {"path": str(path.absolute()), "folder": folder})

    def end_sweep(self, state: SweepState, reason: str = "") -> None:
        """Close the sweep's run and every run of its trials that is still open."""
        self._put("end_sweep", None, {"state": state, "reason": reason})

    def delete_sweep(self) -> None:
        """Delete the runs of the sweep and its trials."""
        self._put("delete_sweep", None, {})

    def flush(self, timeout: float) -> bool:
        """Wait until everything is delivered, at most `timeout` seconds; says whether it is."""
        return self._writer is None or self._writer.flush(timeout)

    def close(self, timeout: float = 60.0) -> None:
        """Deliver what can be delivered within `timeout` seconds, keep the rest for the next start, and stop."""
        left = 0 if self._writer is None else self._writer.close(timeout)
        self._writer = None
        if left and self._spool is None:
            _log.warning("tracking: %d results of sweep %s never reached %s", left, self._sweep, self._sink.place)
        elif left:
            text = "tracking: %d results of sweep %s did not reach %s; they wait in %s and go out when the same sweep "
            _log.warning(text + "is started again", left, self._sweep, self._sink.place, self._spool)

    def _put(self, kind: Kind, number: int | None, data: dict[str, Any], time: float | None = None) -> None:
        assert self._writer is not None, "start_sweep comes first, close last"
        when = time_ns() // 1_000_000 if not time else round(1000 * time)
        self._writer.put(Event(kind, self._sweep, number, when, data))

    def __enter__(self) -> SpooledTracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[NullTracker], tuple[()]]:
        return NullTracker, ()  # Ray pickles callbacks and what hangs on them; only the original writes


def sweep_identity(folder: Path, *, create: bool) -> str:
    """Return the identity of the sweep in `folder`, empty when it has none and `create` is off."""
    file = folder / IDENTITY
    if file.exists():
        identity = str(parsed(file.read_text(encoding="utf-8"))["sweep_id"])
        if not re.fullmatch(r"[\w.-]{1,200}", identity):  # it stands in what MLflow is asked for
            refuse(f"{file}: sweep_id", "must be letters, digits, dots, dashes and underscores", identity)
        return identity
    if not create:
        return ""
    folder.mkdir(parents=True, exist_ok=True)
    identity = uuid.uuid4().hex
    write_text(file, json.dumps({"sweep_id": identity}) + "\n")
    return identity


def _plain(values: Mapping[str, object]) -> dict[str, Any]:
    """Return a copy in JSON types, taken now: the caller may change its own."""
    return cast(dict[str, Any], json.loads(json.dumps(dict(values), default=str)))
