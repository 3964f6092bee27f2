"""Where the pages of a sweep lie in MLflow."""

from __future__ import annotations

import importlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ikd.errors import BadInput, JobError
from ikd.tracking.mlflow_client import find_run, hide_password, http_settings, make_client, plain_reason
from ikd.tracking.mlflow_view import VIEW, chart_address, run_address, runs_address, view_key, view_tag
from ikd.tracking.protocol import Page
from ikd.tracking.tracker import sweep_identity


@dataclass(frozen=True)
class SweepPages:
    """Addresses behind that of the server.

    Attributes:
        runs: the trials in their order, with the columns that tell them apart.
        charts: the same in pictures.
        sweep: the sweep's own run, with its description.
    """

    runs: str
    charts: str
    sweep: str

    def lines(self, server: str) -> list[str]:
        """Return a line for each page."""
        named = {"trials, ranked": self.runs, "in pictures": self.charts, "the sweep": self.sweep}
        return [f"  {name}: {server}/{page}" for name, page in named.items()]


def sweep_pages(uri: str, *, folder: Path, experiment: str, page: Page, artifacts: Path | None = None) -> SweepPages:
    """Return the pages of a sweep; its view is written where it is not what it should be.

    Args:
        uri: tracking URI of a server or a database.
        folder: of the sweep.
        experiment: name of the MLflow experiment.
        page: how the sweep is shown.
        artifacts: see `make_client`.

    Raises:
        BadInput: MLflow does not know the sweep.
        JobError: MLflow does not answer.
    """
    errors = importlib.import_module("mlflow.exceptions")
    try:
        with http_settings(uri):
            client, identity = make_client(uri, artifacts), sweep_identity(folder, create=False)
            found = client.get_experiment_by_name(experiment)
            run = find_run(client, found.experiment_id, identity, None) if found is not None and identity else None
            if run is None:
                cure = f"ikd track rebuild {folder.name} writes it"
                raise BadInput(f"sweep {folder.name}: is not in MLflow at {hide_password(uri)}; {cure}")
            name, view = view_tag(asdict(page), identity)
            if found.tags.get(name) != view:
                client.set_experiment_tag(found.experiment_id, name, view)
    except errors.MlflowException as error:
        raise JobError(f"MLflow at {hide_password(uri)} cannot be asked: {plain_reason(error)}") from error
    number = found.experiment_id
    return SweepPages(
        runs_address(number, identity), chart_address(number, identity), run_address(number, run.info.run_id)
    )


def newest_page(client: Any) -> str:
    """Return the page to open where no sweep is named: the newest sweep of the experiment last written to.

    Without a sweep that has a view it is the experiment's list, and without an experiment all of them; always those of
    model training, as MLflow's own first page is about chat traces.
    """
    experiments = [experiment for experiment in client.search_experiments() if experiment.name != "Default"]
    newest = max(experiments, key=lambda experiment: experiment.last_update_time or 0, default=None)
    if newest is None:
        return "#/experiments?workflowType=machine_learning"
    sweeps = client.search_runs(
        [newest.experiment_id], "tags.`ikd.trial` = 'sweep'", max_results=1, order_by=["attributes.start_time DESC"]
    )
    identity = sweeps[0].data.tags.get("ikd.sweep_id", "") if sweeps else ""
    if f"{VIEW}{view_key(identity)}" in newest.tags:
        return runs_address(newest.experiment_id, identity)
    return f"#/experiments/{newest.experiment_id}/runs?workflowType=machine_learning"
