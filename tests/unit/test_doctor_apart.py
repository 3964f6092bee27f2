"""A diagnosis in a process of its own: it goes on being told, whatever that process meets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ikd import doctor_apart
from ikd.doctor import Check
from ikd.doctor_apart import diagnose_apart


def pretend(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(doctor_apart, "COMMAND", [sys.executable, "-c", code])


FOUND = '{"name": "git", "status": "ok", "detail": "2.39", "advice": ""}'


def test_looks_and_checks_come_from_the_other_process(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, f"print('\"python\"'); print('a library speaks'); print('\"git\"'); print('{FOUND}')")
    told: list[str] = []
    assert diagnose_apart(told.append) == [Check("git", "ok", "2.39")]
    assert told == ["python", "git"]


@pytest.mark.parametrize(
    ("end", "detail"),
    [
        ("import os; os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("import sys; sys.exit('libc10.so: cannot open shared object file')", "libc10.so: cannot open"),
        ("import os; os._exit(3)", "exit status 3"),
    ],
)
def test_a_process_that_dies_is_a_failed_check(end: str, detail: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, f"print('{FOUND}', flush=True); print('\"gpu\"', flush=True); {end}")
    git, gpu = diagnose_apart(lambda look: None)
    assert git.status == "ok"
    assert (gpu.name, gpu.status) == ("gpu", "fail")
    assert detail in gpu.detail
    assert gpu.advice


@pytest.mark.slow
def test_the_real_one_looks_from_where_it_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("raise RuntimeError('the wrong one')")
    monkeypatch.setenv("IKD_HOME", str(tmp_path / "home"))
    told: list[str] = []
    found = {check.name: check for check in diagnose_apart(told.append)}
    assert told[:3] == ["python", "packages", "imports"]
    assert found["Python"].status == found["disk"].status == "ok"
