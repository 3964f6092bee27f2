"""A sweep's folder: names, the lock of its driver, the resolved files, the request to stop."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
import socket
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic
import yaml
from filelock import FileLock, Timeout

from ikd.config import ABSENT, DRAWN, Recipe, Runner, SearchSpace, SweepFiles, changes, dotted
from ikd.errors import LONGEST_VALUE, BadInput, first_line
from ikd.files import parsed, sweep_partials, write_text
from ikd.home import home as usual_home
from ikd.masking import has_secret
from ikd.sweep.study.foreign import read_plain, refuse_links

FORMAT = 1
"""Of the notes in the study; a later ikd that writes another one says so."""
BEFORE = "best"
"""Value of the objective in sweeps from before there were others."""
UNWRITTEN: dict[str, Any] = {"scheduler": {"asha": {}}, "sampler": {"tpe": {}}}
"""What a sweep that says nothing of them began with: they were left out when these were the defaults."""
WITHIN: dict[str, Any] = {"objective": {"value": BEFORE}, "budget": {"confirm": {"share": 0.0, "apart": 0}}}
"""The same of fields of sections: how sweeps counted trials, and that nothing was repeated or kept apart."""
COMPLETE = "complete_trials"
"""Note of the study: number of its trials when it last was complete."""


@dataclass(frozen=True)
class SweepFolder:
    """Paths of one sweep."""

    name: str
    path: Path

    @property
    def home(self) -> Path:
        """The ikd home it lies in."""
        return self.path.parents[1]

    @property
    def stop_file(self) -> Path:
        """There while somebody asks the driver to stop."""
        return self.path / "stop"

    @property
    def files(self) -> Path:
        """The three files of the sweep, resolved."""
        return self.path / "sweep.yaml"

    @property
    def log(self) -> Path:
        """What its drivers have printed, with times."""
        return self.path / "driver.log"

    @property
    def exists(self) -> bool:
        """Whether a sweep was ever started here."""
        return self.files.is_file()


def sweep_folder(name: str, home_folder: Path | None = None) -> SweepFolder:
    """Return the folder of a sweep, there or not.

    Raises:
        BadInput: the name cannot be a folder's.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        rule = "must be 1 to 64 letters, digits, dots, dashes or underscores, starting with a letter or digit"
        raise BadInput(f"sweep name: {rule}, but got {name!r}")
    return SweepFolder(name, (home_folder or usual_home()) / "sweeps" / name)


def existing_folder(name: str, home_folder: Path | None = None) -> SweepFolder:
    """Return the folder of a sweep that was started.

    Raises:
        BadInput: there is none of this name, naming the nearest, or it has links that lead elsewhere.
    """
    folder = sweep_folder(name, home_folder)
    if folder.exists:
        refuse_links(folder.path, folder.home)
        return folder
    names = sweep_names(home=home_folder)
    near = difflib.get_close_matches(name, names, n=1)
    known = f"did you mean {near[0]!r}?" if near else f"the sweeps there are {', '.join(names) or 'none'}"
    raise BadInput(f"sweep name: must be a sweep under {folder.path.parent}, but got {name!r}; {known}")


def sweep_names(*, home: Path | None = None) -> list[str]:
    """Return the names of all sweeps under a home, the latest started first."""
    folder = (home or usual_home()) / "sweeps"
    found = [path for path in folder.glob("*/sweep.yaml")] if folder.is_dir() else []
    return [path.parent.name for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)]


def has_trials(folder: SweepFolder) -> bool:
    """Tell whether a trial of the sweep was ever proposed, from the study's file; of one in a server this says no."""
    file = folder.path / "study.db"
    if not file.is_file():
        return False
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=60)) as connection:
        try:
            return connection.execute("SELECT 1 FROM trials LIMIT 1").fetchone() is not None
        except sqlite3.DatabaseError:  # another message says what the file is
            return False


@contextlib.contextmanager
def driving(folder: SweepFolder) -> Iterator[None]:
    """Hold the sweep for one driver. The lock ends with the process, however it ends.

    Raises:
        BadInput: another process holds it, or it has links that lead elsewhere.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    refuse_links(folder.path, folder.home)
    lock = FileLock(folder.path / "driver.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = driver_of(folder)
        advice = f"wait for it, or end it with: ikd stop {folder.name}"
        raise BadInput(f"sweep {folder.name}: is already being run by {who}; {advice}") from None
    try:
        sweep_partials(folder.path)
        write_text(folder.path / "driver.json", json.dumps({"pid": os.getpid(), "host": socket.gethostname()}) + "\n")
        folder.stop_file.unlink(missing_ok=True)
        yield
    finally:
        folder.stop_file.unlink(missing_ok=True)
        lock.release()


def is_driven(folder: SweepFolder) -> bool:
    """Tell whether a process holds the sweep."""
    if not (folder.path / "driver.lock").exists():
        return False
    lock = FileLock(folder.path / "driver.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def driver_of(folder: SweepFolder) -> str:
    """Name the process that runs, or last ran, the sweep."""
    try:
        content = parsed((folder.path / "driver.json").read_text())
        return f"process {content['pid']} on {content['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "an unknown process"


def stop_sweep(name: str, *, home: Path | None = None) -> bool:
    """Ask the driver of a sweep to save and end, as the first Ctrl-C would.

    Returns:
        Whether a driver was running.

    Raises:
        BadInput: there is no such sweep.
    """
    folder = existing_folder(name, home)
    if not is_driven(folder):
        return False
    folder.stop_file.touch()
    return True


def write_files(folder: SweepFolder, files: SweepFiles) -> None:
    """Write the resolved files; runner and budget may differ from the last start's."""
    content = {
        "space": files.space.model_dump(mode="json", by_alias=True),
        "recipe": files.recipe.as_dict(),
        "runner": files.runner.model_dump(mode="json"),
    }
    head = "# The three files of this sweep as they were used at its last start. Read by people and by ikd status.\n"
    text = head + yaml.safe_dump(content, sort_keys=False)
    write_text(folder.files, text, private=has_secret(text))  # passwords of database and tracker, keys of the store


def read_files(folder: SweepFolder) -> SweepFiles:
    """Read the resolved files back; of a sweep from before there was something, as it was without.

    Raises:
        BadInput: the file is broken.
    """
    try:
        content = read_plain(folder.files.read_text(encoding="utf-8"))
        return SweepFiles(
            SearchSpace.model_validate_json(json.dumps(_as_meant(content["space"]))),
            Recipe.model_validate_json(json.dumps(content["recipe"])),
            Runner.model_validate_json(json.dumps(content["runner"])),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        text = first_line(error)
        if isinstance(error, pydantic.ValidationError):
            faults = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3]]
            text = (
                f"{text}: {'; '.join(faults)} (written with another version, or with a package that is missing here?)"
            )
        raise BadInput(
            f"{folder.files}: must be the file that ikd sweep wrote, but it cannot be read: {text}"
        ) from error


def _as_meant(space: dict[str, Any]) -> dict[str, Any]:
    """Return a written space with what the ikd that wrote it did where it wrote nothing."""
    meant = {section: {**before, **space[section]} for section, before in WITHIN.items()}
    return {**UNWRITTEN, **space, **meant}


def dataset_name(recipe: Recipe) -> str:
    """Return what people call the data of a recipe: the name of its folder."""
    return "drawn" if recipe.data.root == DRAWN else Path(recipe.data.root).name or "data"


def experiment_of(files: SweepFiles, began: SweepFiles | None = None) -> str:
    """Return the MLflow experiment of a sweep: the runner's; that in which it began; one of its data set and recipe.

    Args:
        files: of the sweep.
        began: the same of its last start, None where there was none.
    """
    before = began.runner.tracking.experiment if began is not None else None
    return files.runner.tracking.experiment or before or f"{dataset_name(files.recipe)} {files.recipe.name}"


def with_experiment(files: SweepFiles, began: SweepFiles | None = None) -> SweepFiles:
    """Return the files of a sweep with its experiment written into the runner; see `experiment_of`."""
    tracking = files.runner.tracking.model_copy(update={"experiment": experiment_of(files, began)})
    return SweepFiles(files.space, files.recipe, files.runner.model_copy(update={"tracking": tracking}))


def identity(files: SweepFiles) -> dict[str, Any]:
    """Return what makes the sweep this one: everything in space and recipe but budget, description and names."""
    space = files.space.model_dump(mode="json", by_alias=True)
    for key in ("budget", "description", "recipe", "set", "include"):  # the recipe stands below, with `set` in it
        space.pop(key, None)
    # What is empty or was added with a default is left out, so that a later ikd with more fields knows the sweep.
    space["parameters"] = {name: {k: v for k, v in one.items() if v} for name, one in space["parameters"].items()}
    if space["objective"]["value"] == BEFORE:
        space["objective"].pop("value")
    for section in ("scheduler", "sampler"):
        space[section] = {kind: one for kind, one in space[section].items() if one is not None}
    if (asha := space["scheduler"].get("asha")) is not None:
        new = {"rungs": "geometric", "first_stage_grace": False, "by": "objective"}
        space["scheduler"]["asha"] = {key: value for key, value in asha.items() if new.get(key) != value}
    space = {key: value for key, value in space.items() if value not in (None, [], {})}
    return {"format": FORMAT, "space": space, "recipe": files.recipe.effective()}


def check_identity(
    name: str, was: dict[str, Any], now: dict[str, Any], recipes: tuple[Recipe, Recipe] | None = None
) -> None:
    """Refuse to go on with another space or recipe under the same name.

    Args:
        name: of the sweep.
        was: its identity.
        now: that of the files it is given.
        recipes: both recipes, to name the fields as they are written rather than all that follows from them.

    Raises:
        BadInput: names each field that changed, once.
    """
    changed = list(changes(was, json.loads(json.dumps(now))))
    if not changed:
        return
    before, after = (None, None) if recipes is None else map(_written, recipes)
    if written := list(changes(before, after, ("recipe",))):
        changed = [one for one in changed if one[0][:1] != ("recipe",)] + written
    lines = [f"  {dotted(place)}: was {_shown(old)}, is now {_shown(new)}" for place, old, new in changed[:20]]
    more = [f"  and {len(changed) - 20} more"] if len(changed) > 20 else []
    head = f"sweep {name}: its trials were made with another space or recipe, so new ones could not be compared:"
    advice = "use another name for the changed sweep (--name), or undo the change; only budget and runner may change"
    raise BadInput("\n".join([head, *lines, *more, advice]))


def _written(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as a person wrote it when it began: data that have moved are no change."""
    content = recipe.as_dict()
    content["data"]["root"] = content["data"].pop("began_at") or content["data"]["root"]
    content["data"].pop("test")  # which may change: no trial looks at it
    return content


def _shown(value: Any) -> str:
    text = "absent" if value is ABSENT else repr(value)
    return text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + "..."
