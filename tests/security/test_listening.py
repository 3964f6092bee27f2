"""Who can reach what a sweep starts: only this machine, and only with the token."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

RAY = """
from ikd.sweep.tune.environment import prepare_environment
prepare_environment("local")
from ikd.config import Runner
from ikd.sweep.tune.cluster import ray_session
with ray_session(Runner()):
    import ray
    assert ray.get(ray.remote(lambda: 7).remote()) == 7
    from tests.security.test_listening import listeners
    print("listens", *listeners())
"""


def listeners() -> list[str]:
    """Return the addresses on which this process and all below it listen."""
    from tests.processes import descendants

    sockets = {inode for pid in [os.getpid(), *descendants(os.getpid())] for inode in _sockets(pid)}
    found = []
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                found.append(_address(fields[1].partition(":")[0]))
    return found


def _sockets(pid: int) -> list[str]:
    try:
        links = [os.readlink(one) for one in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:  # it has ended meanwhile
        return []
    return [match[1] for link in links if (match := re.fullmatch(r"socket:\[(\d+)\]", link))]


def _address(text: str) -> str:
    words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
    return socket.inet_ntop(socket.AF_INET if len(words) == 1 else socket.AF_INET6, b"".join(words))


def test_a_private_ray_listens_on_loopback_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RAY], capture_output=True, text=True, timeout=300, check=False, cwd=Path.cwd()
    )
    assert done.returncode == 0, done.stderr
    addresses = re.search(r"^listens (.+)$", done.stdout, re.MULTILINE)
    assert addresses, done.stdout
    found = [ip_address(one) for one in addresses[1].split()]
    assert found, "it listens nowhere at all, so the test sees nothing"
    assert all((getattr(one, "ipv4_mapped", None) or one).is_loopback for one in found), addresses[1]
