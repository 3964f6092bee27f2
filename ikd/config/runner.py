"""The runner: where and with which resources a sweep runs."""

from __future__ import annotations

import re
from typing import Annotated

import pydantic
from pydantic import Field

from ikd.config.paths import absolute, absolute_database
from ikd.config.section import Count, NonNegative, Positive, Section


class RayCluster(Section):
    """The Ray that executes trials."""

    address: str = "local"
    """`local` starts a private one, `auto` joins the cluster of this machine, `host:port` one this machine is in."""
    temp: str | None = None
    """Folder for a private Ray's sockets and logs, a short path; null is the system's."""
    start_seconds: Positive = 180.0
    """A sweep whose first trial has not begun after this long ends with a message."""

    @pydantic.field_validator("address")
    @classmethod
    def _joinable(cls, address: str) -> str:
        if address.startswith("ray://"):
            # Ray Client would run Tune's controller over there, without the study that decides here.
            raise ValueError("must not be a ray:// address: start the sweep on a node of the cluster, with host:port")
        if not re.fullmatch(r"local|auto|[^:/ ]+:\d+", address):
            raise ValueError("must be local, auto or host:port")
        return address

    @pydantic.field_validator("temp")
    @classmethod
    def _absolute(cls, temp: str | None) -> str | None:
        return temp if temp is None else absolute(temp)

    @pydantic.model_validator(mode="after")
    def _own_temp(self) -> RayCluster:
        if self.temp is not None and self.address != "local":
            raise ValueError("temp goes only with address: local")
        return self


class TrialResources(Section):
    """What one trial may use."""

    cpus: Annotated[float, Field(gt=0.0)] = 1.0
    """CPU cores; also the number of torch threads."""
    gpus: NonNegative = 0.0
    """GPUs; a fraction shares one, and is the share of its memory that a trial may take."""
    max_retries: Annotated[int, Field(ge=0)] = 2
    """Restarts from the last checkpoint after a crash."""
    processes: Count = 1
    """Training processes of one trial, data parallel; cpus and gpus are shared among them evenly."""

    @pydantic.model_validator(mode="after")
    def _even(self) -> TrialResources:
        if self.processes > 1 and self.gpus % self.processes:
            raise ValueError(f"gpus must be 0 or a multiple of processes ({self.processes}), and is {self.gpus:g}")
        return self


class Tracking(Section):
    """Where metrics go."""

    uri: str = "local"
    """`local` (SQLite under the home), `none`, or the address of an MLflow server."""
    experiment: Annotated[str, Field(min_length=1, max_length=250)] | None = None
    """MLflow experiment that a sweep's runs go to, one for all sweeps of a project. By default it is named by data set
    and recipe, as `aquarium small_r18`. A sweep that has begun goes on in the one that it began in. On a server with
    passwords whoever makes an experiment owns it."""

    @pydantic.field_validator("uri")
    @classmethod
    def _absolute(cls, uri: str) -> str:
        return absolute_database(uri)


class Runner(Section):
    """Where and with which resources a sweep runs."""

    ray: RayCluster = RayCluster()
    """Ray."""
    trial: TrialResources = TrialResources()
    """Resources of one trial."""
    concurrency: Count = 1
    """Trials at once, at most."""
    storage: str | None = None
    """Folder for sweeps and caches, by its path from the file that says it; null is the ikd home ($IKD_HOME or ~/ikd).
    An object store (`s3://bucket/path`) holds the trials' checkpoints, the home the rest."""
    keep_top: Count | None = 5
    """Checkpoints of so many configurations are kept, anchors besides: those from which most is expected, with their
    repeats. Up to 5 others that may still prove the best (with a probability of 0.01) keep theirs. Null keeps all."""
    pictures: bool = True
    """When the sweep is over, pictures are made of its anchors and of the training that is exported, where the sweep's
    command runs; see `ikd show NAME TRIAL --pictures`."""
    study: Annotated[str, Field(pattern=r"^(sqlite|postgresql(\+\w+)?://.+)$")] = "sqlite"
    """Store of the study: `sqlite` (a file in the sweep's folder) or a PostgreSQL URL."""
    tracking: Tracking = Tracking()
    """Tracking."""

    @pydantic.field_validator("storage")
    @classmethod
    def _absolute(cls, storage: str | None) -> str | None:
        return storage if storage is None else absolute(storage)
