"""Where a tracker shows a sweep."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ikd.errors import BadInput
from ikd.sweep.mirror.announce import page_of
from ikd.sweep.status import sweep_status
from ikd.sweep.study.folder import existing_folder, experiment_of, read_files
from ikd.tracking import ARTIFACTS, SweepPages, local_uri, serve_ui, sweep_pages


def show_in_tracker(
    name: str, *, port: int = 5000, browser: bool = False, announce: Callable[[str], None] = print
) -> int:
    """Show a sweep in MLflow: of a server of its own the addresses, over a database by a server until interrupted.

    Args:
        name: of the sweep.
        port: of a server that is started here.
        browser: open the page in the person's browser, too.
        announce: takes the lines for the person.

    Returns:
        Exit status of the command.

    Raises:
        BadInput: there is no such sweep, it has no tracker, or its tracker does not know it; the port is taken.
        JobError: the server does not answer.
    """
    folder = existing_folder(name)
    files, status = read_files(folder), sweep_status(name)
    uri = files.runner.tracking.uri
    if uri == "none":
        raise BadInput(f"{folder.files}: runner.tracking.uri: must name a tracker that shows it, but got 'none'")
    store = local_uri(folder.home) if uri == "local" else uri
    page = page_of(name, files, status.trials, status.standing)
    find: Callable[[], SweepPages] = partial(
        sweep_pages,
        store,
        folder=folder.path,
        experiment=experiment_of(files),
        page=page,
        artifacts=folder.home / ARTIFACTS,
    )
    if not uri.startswith("http"):
        return serve_ui(folder.home, port=port, pages=find, store=store, browser=browser, announce=announce)
    pages = find()
    announce(f"MLflow: {uri.rstrip('/')}/{pages.runs}")
    for line in pages.lines(uri.rstrip("/"))[1:]:
        announce(line)
    return 0
