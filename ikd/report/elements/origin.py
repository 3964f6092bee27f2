"""Where a result comes from: files, hashes, versions, data, command."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from ikd.report.parts import Element, Table
from ikd.report.source import Source
from ikd.sweep import duration
from ikd.tracking import environment_tags


def provenance(source: Source) -> Element:
    """Show what is needed to make the same again, and to know that it was the same."""
    status, space = source.status, source.space
    best = status.best
    began = min((one.began for one in source.records if one.began), default=None)
    rows: list[tuple[str, str]] = [
        ("sweep", f"{status.name}, {status.state}: {status.progress} trials ended"),
        ("folder", str(status.directory)),
        ("began", _when(began)),
        ("last change", _when(status.changed)),
        ("by the clock", duration(status.wall_seconds)),
        ("recipe", f"{source.recipe.name}, fingerprint {source.recipe.fingerprint()}"),
        ("chosen recipe", f"trial {best.number}, fingerprint {best.fingerprint}" if best is not None else "-"),
        ("data", f"{status.data}, fingerprint {status.notes.get('data_fingerprint') or 'not noted'}"),
        ("seed of the search", str(space.seed)),
        ("sampler, scheduler", f"{space.sampler.kind}, {space.scheduler.kind}"),
    ]
    starts = status.notes.get("starts") or []
    rows += [(f"start {index}", _start(one)) for index, one in enumerate(starts, start=1)]
    if not starts:
        rows.append(("command", "not noted; sweep.yaml in the folder holds its three files as they were used"))
    rows += [
        (f"{name} (report)", text) for name, text in sorted(environment_tags().items()) if not name.startswith("mlflow")
    ]
    table = Table("provenance", ("", ""), tuple(rows), words=(0, 1))
    lead = (
        "sweep.yaml in the sweep's folder holds space, recipe and runner as they were used; study.db every validation."
    )
    return Element("provenance", "Provenance", lead, [table])


def _start(one: Mapping[str, Any]) -> str:
    return f"{one['time']}: {one['command']} ({_versions(one['versions'])})"


def _versions(tags: Mapping[str, str]) -> str:
    own = {name.removeprefix("version."): text for name, text in tags.items() if not name.startswith("mlflow.")}
    return ", ".join(f"{name} {text}" for name, text in sorted(own.items()))


def _when(time: float | None) -> str:
    return "-" if time is None else datetime.datetime.fromtimestamp(time).strftime("%Y-%m-%d %H:%M")
