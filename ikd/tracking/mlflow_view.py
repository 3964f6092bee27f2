"""A view of a sweep's runs in MLflow's own form: what it writes when a person shares a view of a list of runs."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

VIEW = "mlflow.sharedViewState."
"""Begins the tag of an experiment that holds a view; what follows is the key in its address."""
LONGEST = 5000
"""Characters that MLflow keeps of such a tag."""
COMPARED = 12
"""Parameters in the picture of all trials; more are no picture."""


def view_key(sweep_id: str) -> str:
    """Return the key of a sweep's view."""
    return f"ikd-{sweep_id[:24]}"


def runs_address(experiment_id: str, sweep_id: str) -> str:
    """Return the address, behind that of the server, of the trials of a sweep in their order."""
    asked = urlencode({"viewStateShareKey": view_key(sweep_id), "workflowType": "machine_learning"})
    return f"#/experiments/{experiment_id}/runs?{asked}"


def chart_address(experiment_id: str, sweep_id: str) -> str:
    """Return the address, behind that of the server, of the same trials in pictures."""
    return f"{runs_address(experiment_id, sweep_id)}&compareRunsMode=CHART"


def run_address(experiment_id: str, run_id: str) -> str:
    """Return the address, behind that of the server, of one run."""
    return f"#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"


def view_tag(page: Mapping[str, Any], sweep_id: str) -> tuple[str, str]:
    """Return name and value of the tag that holds the view of a sweep.

    Args:
        page: fields of `ikd.tracking.protocol.Page`.
        sweep_id: of the sweep.
    """
    text = json.dumps(_state(page, sweep_id), separators=(",", ":"))
    if len(text) > LONGEST:
        text = "deflate;" + base64.b64encode(zlib.compress(text.encode(), 9)).decode()
    return f"{VIEW}{view_key(sweep_id)}", text


def _state(page: Mapping[str, Any], sweep_id: str) -> dict[str, Any]:
    columns = [
        *_columns("metrics", page["metrics"]),
        *_columns("params", page["params"]),
        *_columns("tags", page["tags"]),
    ]
    charts, sections = _charts(page)
    return {
        "searchFilter": f"tags.`ikd.sweep_id` = '{sweep_id}' and tags.`ikd.trial` != 'sweep'",
        "orderByKey": _columns("metrics", [page["order_by"]])[0],
        "orderByAsc": not page["rising"],
        "selectedColumns": columns,
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": charts,
        "compareRunSections": sections,
        "isAccordionReordered": True,
    }


def _columns(kind: str, names: list[str]) -> list[str]:
    return [f"{kind}.`{name}`" for name in names]


def _charts(page: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the pictures: ranks, the metric over epochs, and the parameters that every trial has."""
    section = {"uuid": "ikd-sweep", "name": "Sweep", "display": True, "isReordered": True, "deleted": False}
    shared = {"metricSectionId": section["uuid"], "deleted": False, "isGenerated": False, "runsCountToCompare": 100}
    rank, metric = page["order_by"], page["objective"]
    charts: list[dict[str, Any]] = [
        {"uuid": "ikd-rank", "type": "BAR", "metricKey": rank, "displayName": f"{rank}: what is expected"},
        {"uuid": "ikd-curves", "type": "LINE", "metricKey": metric, "selectedMetricKeys": [metric], "xAxisKey": "step"}
        | {"displayName": f"{metric} over epochs", "scaleType": "linear", "xAxisScaleType": "linear"}
        | {"lineSmoothness": 0, "selectedXAxisMetricKey": "", "range": {}, "ignoreOutliers": False}
        | {"useGlobalXaxisKey": True, "useGlobalLineSmoothing": True, "yAxisKey": "metric", "yAxisExpressions": []},
    ]
    if page["axes"]:
        charts.append(
            {"uuid": "ikd-parallel", "type": "PARALLEL", "selectedParams": page["axes"][:COMPARED]}
            | {"selectedMetrics": [rank], "showAllRuns": False, "displayName": f"parameters and {rank}"}
        )
    return [{**one, **shared} for one in charts], [section]
