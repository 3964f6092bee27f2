"""Pictures of a sweep's report and of its pages in MLflow, as the documentation shows them.

    python -m pages.browser SWEEP --width 1600 --to docs/pictures/sweep

MLflow's UI is started over the home ($IKD_HOME or ~/ikd) on a free port of this machine, and a headless Chromium
(playwright's, or the one at $CHROMIUM) looks at the pages that `ikd ui SWEEP` names: the trials in their order, the
same in pictures, a comparison of the best, the sweep's own run, its best trial, and a registered model where there is
one. The report is shown as far as a screen shows it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import TimeoutError, sync_playwright

from ikd.errors import JobError
from ikd.home import home
from ikd.sweep import experiment_of, sweep_status
from ikd.tracking.mlflow_client import find_runs, local_uri, make_client
from ikd.tracking.mlflow_ui import ui_command
from ikd.tracking.mlflow_view import chart_address, run_address, runs_address
from ikd.tracking.tracker import sweep_identity

HEIGHT = 1000
COMPARED = 8
"""Trials in the comparison."""
COLOURS = 64
"""Of a picture: pages have few, and the pictures lie in the repository."""
SERVER_SECONDS = 180.0
PAGE_MILLISECONDS = 120_000
IDLE_MILLISECONDS = 8_000
SETTLING_MILLISECONDS = 2500
"""After the last request, for charts that are still drawn."""
PANEL = "mlflow.assistant.chat_panel.close"
SHOWN = {
    "runs": "text=matching run",
    "charts": ".js-plotly-plot",
    "compare": ".parcoords",
    "parent": "text=Sought",
    "child": "text=Parameters",
    "model": "text=Schema",
    "report": "figure.chart .main-svg",
}
"""What is there when a page is."""
BROWSER = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]


def pages(name: str) -> dict[str, str]:
    """Return what to look at, by the name of its picture: whole, or to be put behind the address of the server."""
    status = sweep_status(name)
    client = make_client(local_uri(home()))
    experiment = client.get_experiment_by_name(experiment_of(status.files))
    identity = sweep_identity(status.directory, create=False)
    if experiment is None or not identity:
        raise JobError(f"sweep {name} is not in the MLflow of {home()}")
    number, runs = experiment.experiment_id, find_runs(client, experiment.experiment_id, identity)
    ids = {trial: run.info.run_id for trial, run in runs.items()}
    known = status.standing
    best = [str(one.number) for one in known.configurations] if known is not None else []
    compared = [ids[trial] for trial in [*best, *ids] if trial != "sweep"][:COMPARED]
    listed = "[" + ",".join(f'"{one}"' for one in dict.fromkeys(compared)) + "]"
    listed, experiments = quote(listed), quote(f'["{number}"]')
    found = {
        "runs": runs_address(number, identity),
        "charts": chart_address(number, identity),
        "compare": f"#/compare-runs?runs={listed}&experiments={experiments}&workflowType=machine_learning",
        "parent": run_address(number, ids["sweep"]),
        "child": run_address(number, ids[best[0]] if best else compared[0]),
    }
    for model in client.search_registered_models(max_results=1):
        version = max(int(one.version) for one in client.search_model_versions(f"name = '{model.name}'"))
        found["model"] = f"#/models/{quote(model.name)}/versions/{version}?workflowType=machine_learning"
    report = status.directory / "report.html"
    if report.is_file():
        found["report"] = report.as_uri()
    return found


@contextlib.contextmanager
def served() -> Iterator[str]:
    """Serve MLflow's UI over the home; give its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as empty, (Path(empty) / "log").open("wb") as log:
        command = ui_command(home(), port=port, host="127.0.0.1")
        with subprocess.Popen(command, cwd=empty, stdout=log, stderr=log) as server:
            try:
                _wait(f"http://127.0.0.1:{port}/health", server)
                yield f"http://127.0.0.1:{port}"
            finally:
                server.terminate()


def _wait(address: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + SERVER_SECONDS
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(address, timeout=2):
            return
        time.sleep(0.3)
    raise JobError(f"MLflow does not answer at {address}")


def take(address: str, found: dict[str, str], folder: Path, widths: list[int]) -> None:
    """Look at every page in every width, and keep what is seen."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as player:
        own = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = player.chromium.launch(executable_path=own, args=BROWSER)
        for width in widths:
            page = browser.new_page(viewport={"width": width, "height": HEIGHT})
            for name, place in found.items():
                whole = place if "://" in place else f"{address}/{place}"
                _look(page, whole, SHOWN[name], folder / f"{name}-{width}.png")
            page.close()
        browser.close()


def _look(page: Any, address: str, shown: str, file: Path) -> None:
    page.goto("about:blank")  # another fragment alone would not load anything
    page.goto(address, wait_until="load", timeout=PAGE_MILLISECONDS)
    page.locator(shown).first.wait_for(timeout=PAGE_MILLISECONDS)
    with contextlib.suppress(TimeoutError):  # lists refresh themselves, so that some pages never are idle
        page.wait_for_load_state("networkidle", timeout=IDLE_MILLISECONDS)
    with contextlib.suppress(TimeoutError):  # MLflow's panel for chats takes a quarter of the width
        page.locator(f"[data-component-id='{PANEL}']").first.click(timeout=SETTLING_MILLISECONDS)
    page.wait_for_timeout(SETTLING_MILLISECONDS)
    page.screenshot(path=str(file), timeout=PAGE_MILLISECONDS)
    _reduce(file)
    print(f"{file}: {file.stat().st_size / 1e3:.0f} kB", flush=True)


def _reduce(file: Path) -> None:
    from PIL import Image

    with Image.open(file) as image:
        small = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(file, optimize=True)


def main() -> None:
    """Read the arguments and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep")
    parser.add_argument("--to", type=Path, default=Path("pictures"))
    parser.add_argument("--width", type=int, action="append")
    parser.add_argument("--only", action="append", help="name of a page, such as runs; may come several times")
    given = parser.parse_args()
    found = pages(given.sweep)
    found = {name: place for name, place in found.items() if not given.only or name in given.only}
    with served() as address:
        take(address, found, given.to, given.width or [1600, 1100])


if __name__ == "__main__":
    main()
