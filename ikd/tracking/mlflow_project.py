"""The run that `mlflow run` makes for a project, and the sweep that the project started: each names the other."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any

from ikd.tracking.mlflow_client import hide_password, load_mlflow

RUN, STORE = "MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI"
"""What `mlflow run` tells the command of a project: its run, and the store that holds it."""


def project_run(environment: Mapping[str, str] | None = None) -> tuple[str, str] | None:
    """Return run and store of the project that this process belongs to, None where it belongs to none.

    Args:
        environment: to look at; this process's own where there is none.
    """
    given = os.environ if environment is None else environment
    run, store = given.get(RUN, ""), given.get(STORE, "")
    return (run, store) if run and store else None


def link_project(client: Any, uri: str, experiment_id: str, run_id: str, sweep: str) -> str:
    """Let the run of a project point at a sweep's own run, and this one back; nothing where there is no project.

    Args:
        client: for the store that holds the sweep's run.
        uri: of that store.
        experiment_id: that the sweep's run is in.
        run_id: of the sweep's run.
        sweep: name of the sweep.

    Returns:
        Why the project's run could not be told; empty when all is well.
    """
    found = project_run()
    if found is None or found[0] == run_id:
        return ""
    project, store = found
    client.set_tag(run_id, "ikd.project_run", project)
    page = f"{uri}/#/experiments/{experiment_id}/runs/{run_id}" if uri.startswith("http") else ""
    where = f"[{sweep}]({page})" if page else f"{sweep} in {hide_password(uri)}"
    tags = {
        "ikd.sweep": sweep,
        "ikd.sweep_run": run_id,
        "ikd.sweep_uri": hide_password(uri),
        "mlflow.note.content": f"Started the sweep {where}, run `{run_id}`.",
    }
    try:
        of_project = load_mlflow().MlflowClient(tracking_uri=store)
        for name, value in tags.items():
            of_project.set_tag(project, name, value)
    except importlib.import_module("mlflow.exceptions").MlflowException as error:
        return f"the project's run {project} in {hide_password(store)} cannot be told of the sweep: {error.message}"
    return ""
