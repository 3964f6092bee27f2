"""PostgreSQL as the store of a study: its driver, and locks that end with the process that holds them."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import socket
from collections.abc import Iterator

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from ikd.errors import BadInput, first_line

DRIVERS = ("psycopg", "psycopg2")
"""Python packages that SQLAlchemy reaches PostgreSQL through, the one that is taken first."""
TABLES = "tables"
"""Name of the lock under which the tables are made."""
_HOLDER = text(
    "SELECT activity.application_name FROM pg_locks JOIN pg_stat_activity AS activity USING (pid) "
    "WHERE locktype = 'advisory' AND granted AND (classid::bigint << 32 | objid::bigint) = :key "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def address(url: str) -> str:
    """Return the URL with the driver that is installed, where it names none.

    Raises:
        BadInput: the driver is not installed.
    """
    scheme, _, rest = url.partition("://")
    named = scheme.partition("+")[2]
    for driver in [named] if named else DRIVERS:
        if importlib.util.find_spec(driver) is not None:
            return f"postgresql+{driver}://{rest}"
    which = f"the Python package {named!r}, which its URL names" if named else "a PostgreSQL driver"
    raise BadInput(f"runner: study: needs {which}, but it is not installed: pip install 'ikd[postgresql]'")


@contextlib.contextmanager
def held(store: str, name: str) -> Iterator[None]:
    """Hold a sweep for this process alone among all that share its database, on whatever machine they are.

    The lock is the connection's: it ends with the process, and a machine that was cut off loses it in a minute. A
    sweep in SQLite has the lock of its folder.

    Args:
        store: of the runner.
        name: of the sweep.

    Raises:
        BadInput: another process holds it, or the database cannot be reached.
    """
    if store == "sqlite":
        yield
        return
    key = _key(f"sweep {name}")
    with _connection(store, f"ikd {name}: process {os.getpid()} on {socket.gethostname()}") as connection:
        if not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}):
            who = (connection.scalar(_HOLDER, {"key": key}) or "an unknown process").partition(": ")[2]
            advice = f"wait for it, or end it there with: ikd stop {name}"
            raise BadInput(f"sweep {name}: is already being run by {who} with the same database; {advice}")
        yield


@contextlib.contextmanager
def making_tables(store: str) -> Iterator[None]:
    """Wait until no other process makes the tables of a new database.

    Raises:
        BadInput: the database cannot be reached.
    """
    if store == "sqlite":
        yield
        return
    with _connection(store, "ikd") as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _key(TABLES)})
        yield


@contextlib.contextmanager
def _connection(store: str, application: str) -> Iterator[Connection]:
    with contextlib.ExitStack() as stack:
        try:
            engine = create_engine(address(store), poolclass=NullPool, isolation_level="AUTOCOMMIT")
            connection = stack.enter_context(engine.connect())
            settings = {"application_name": application[:63], "tcp_keepalives_idle": "30"}
            settings |= {"tcp_keepalives_interval": "10", "tcp_keepalives_count": "3", "idle_session_timeout": "0"}
            for name, value in settings.items():
                connection.execute(text("SELECT set_config(:name, :value, false)"), {"name": name, "value": value})
        except (SQLAlchemyError, ValueError) as error:  # the text names no password
            raise BadInput(f"runner: study: cannot reach the database: {first_line(error)}") from error
        yield connection


def _key(name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"ikd {name}".encode()).digest()[:8], "big") >> 1


def check_reachable(store: str) -> None:
    """Refuse a database that cannot be reached; nothing is written to it.

    Raises:
        BadInput: says why.
    """
    if store != "sqlite":
        with _connection(store, "ikd"):
            pass
