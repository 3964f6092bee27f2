"""Processes that ikd starts import what this one does, and reach this machine without a proxy."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import requests.utils

from ikd.world import PROXIES, import_path, python_code, python_module, reach_this_machine_directly

TRAP = "raise SystemExit(f'{__name__} was imported from the folder of the command')\n"


@pytest.fixture
def trapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder full of modules that end whoever imports them."""
    for name in ("json", "runpy", "pickle", "torch", "typing", "os"):
        (tmp_path / f"{name}.py").write_text(TRAP)
    (tmp_path / "mmdet").mkdir()
    (tmp_path / "mmdet" / "__init__.py").write_text(TRAP)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_code_runs_with_the_path_of_this_process(trapped: Path) -> None:
    printed = said(python_code("import json, runpy, sys; print(json.dumps([sys.path, sys.argv[1:]]))", "a b", "c"))
    assert json.loads(printed) == [import_path(), ["a b", "c"]]
    assert str(trapped) not in import_path()


def test_a_module_runs_as_with_m(trapped: Path) -> None:
    (trapped / "ours").mkdir()
    (trapped / "ours" / "seen.json").write_text('{"a": 1}')
    assert said(python_module("json.tool", "--compact", "ours/seen.json")) == '{"a":1}'


def test_what_this_process_imports_from_the_folder_others_do_too(
    trapped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (trapped / "my_losses.py").write_text("VALUE = 7\n")
    for file in trapped.glob("[!m]*.py"):
        file.unlink()
    monkeypatch.setattr(sys, "path", ["", *sys.path])  # as of `python -m` or a notebook
    assert import_path()[0] == os.path.realpath(trapped)
    monkeypatch.chdir("/")
    monkeypatch.setattr(sys, "path", [str(trapped), *sys.path[1:]])
    assert said(python_code("import my_losses; print(my_losses.VALUE)")) == "7"


PROXY = "http://proxy.invalid:3128"
OWN = ["http://127.0.0.1:5000", "http://localhost:5000", "http://[::1]:5000", "http://127.0.0.1"]


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*PROXIES, "no_proxy"):
        for spelling in (name, name.upper()):
            monkeypatch.setenv(spelling, "")  # so that what is set in a test is taken back
            monkeypatch.delenv(spelling)
    return monkeypatch


def proxied(url: str) -> tuple[bool, bool]:
    """Tell whether requests and urllib ask a proxy for a URL."""
    host = url.split("/")[2]
    by_urllib = bool(urllib.request.getproxies()) and not urllib.request.proxy_bypass(host)
    chosen = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))
    return chosen is not None, by_urllib


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("spared", [None, ("no_proxy", "a.corp, .lan"), ("NO_PROXY", "a.corp,.lan")])
def test_this_machine_is_asked_directly_and_others_as_before(
    name: str, spared: tuple[str, str] | None, no_proxies: pytest.MonkeyPatch
) -> None:
    no_proxies.setenv(name, PROXY)
    if spared:
        no_proxies.setenv(*spared)
    others = ["http://mlflow.corp:5000", "http://a.corp", "http://b.lan:80", "http://128.0.0.1", "http://localhost.com"]
    before = [proxied(url) for url in others]
    assert any(all(both) for both in before)
    assert all(all(proxied(url)) for url in OWN), "else the test shows nothing"
    reach_this_machine_directly()
    assert [proxied(url) for url in OWN] == [(False, False)] * len(OWN)
    assert [proxied(url) for url in others] == before
    set_now = os.environ["no_proxy"]
    reach_this_machine_directly()
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == set_now, "a second time adds nothing"


def test_the_address_of_this_machine_by_its_own_name_is_direct(no_proxies: pytest.MonkeyPatch) -> None:
    no_proxies.setenv("http_proxy", PROXY)
    addresses = {"thismachine": "127.0.1.1", "elsewhere": "192.0.2.1"}  # the second is reserved for examples

    def look_up(host: str, port: int, **_: object) -> list[object]:
        if host not in addresses:
            raise socket.gaierror("unknown")
        return [(socket.AF_INET, socket.SOCK_DGRAM, 0, "", (addresses[host], port))]

    no_proxies.setattr(socket, "getaddrinfo", look_up)
    for host, asks_proxy in {"thismachine": False, "elsewhere": True, "only.the.proxy.knows": True}.items():
        url = f"http://{host}:5000"
        reach_this_machine_directly(url)
        assert proxied(url) == (asks_proxy, asks_proxy), host


@pytest.mark.parametrize("values", [{}, {"http_proxy": PROXY, "no_proxy": "*"}])
def test_nothing_is_set_where_there_is_nothing_to_do(values: dict[str, str], no_proxies: pytest.MonkeyPatch) -> None:
    for name, value in values.items():
        no_proxies.setenv(name, value)
    reach_this_machine_directly("http://localhost:5000")
    assert os.environ.get("no_proxy") == values.get("no_proxy")
    assert "NO_PROXY" not in os.environ
