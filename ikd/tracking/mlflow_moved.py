"""The local database of a home that was moved or copied: MLflow writes into it where artifacts lie, for good."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOCATIONS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
"""Table and columns of MLflow's database that hold addresses of artifacts."""


def follow(database: Path, artifacts: Path) -> list[str]:
    """Let the addresses in a home's database begin with the home's own folder of artifacts.

    Args:
        database: SQLite file with MLflow's tables, in the home.
        artifacts: the folder there; it need not exist yet.

    Returns:
        The addresses that were replaced.
    """
    own = artifacts.resolve().as_uri()
    with contextlib.closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        used = connection.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
        others = [place for (place,) in used if place != own and _is_of_a_home(place, artifacts)]
        for other in others:
            for table, columns in LOCATIONS.items():
                for column in columns:
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (own, len(other) + 1, other, len(other) + 1, f"{other}/"),
                    )
    return others


def _is_of_a_home(location: str, artifacts: Path) -> bool:
    """Tell whether an address is a home's folder of artifacts, and not this very one by another path."""
    if not location.startswith("file:"):
        return False
    path = Path(unquote(urlsplit(location).path))
    here = path.exists() and artifacts.exists() and os.path.samefile(path, artifacts)
    return path.name == artifacts.name and not here
