"""What a process that ikd starts has in common with this one: where modules come from, and what no proxy may see."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from urllib.parse import urlsplit

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy", "grpc_proxy")
NO_PROXY = "no_proxy"
LOCAL = ("localhost", "127.0.0.1", "127.0.0.0/8", "0.0.0.0", "::1", "[::1]")
"""What every machine calls itself, in the spellings that requests, urllib and gRPC compare with."""


def import_path() -> list[str]:
    """Return the folders that this process imports from, first come, first served; all absolute."""
    return [os.path.abspath(folder) for folder in sys.path]


def python_code(code: str, *arguments: str) -> list[str]:
    """Return the command line of a Python that runs `code` and imports from where this process does.

    `-c` and `-m` put the current folder first, so that a file `json.py` or a folder `mmdet` there would take the place
    of the real one. Until the path is set, `code` has imported nothing but `sys`, which is built in.
    """
    return [sys.executable, "-c", f"import sys; sys.path[:] = {import_path()!r}\n{code}", *arguments]


def python_module(name: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module as `python -m` does, importing from where this process does."""
    return python_code(f"import runpy; runpy.run_module({name!r}, run_name='__main__', alter_sys=True)", *arguments)


def reach_this_machine_directly(address: str = "") -> None:
    """Except this machine from the proxies that the environment names; for every other host they stay what they were.

    Nothing is set where no proxy is named: with `no_proxy` alone urllib would no longer ask the system for its proxies.

    Args:
        address: a URL that is going to be asked. Its host is excepted too when it is one of this machine's; other names
            of the machine are not, because requests takes `no_proxy` for endings and would spare strangers the proxy.
    """
    if not any(os.environ.get(name) or os.environ.get(name.upper()) for name in PROXIES):
        return
    said = os.environ.get(NO_PROXY) or os.environ.get(NO_PROXY.upper()) or ""
    given = [name.strip() for name in said.split(",") if name.strip()]
    if "*" in given:
        return
    host = urlsplit(address).hostname
    own = (host,) if host and host not in (*LOCAL, *given) and _is_ours(host) else ()
    names = [*given, *(name for name in (*LOCAL, *own) if name not in given)]
    os.environ[NO_PROXY] = os.environ[NO_PROXY.upper()] = ",".join(names)


def _is_ours(host: str) -> bool:
    """Tell whether an address of `host` is one of this machine: only those can be bound."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)
    except OSError:  # a name that only the proxy knows
        return False
    for family, kind, protocol, _, address in found:
        with contextlib.suppress(OSError), socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
            return True
    return False
