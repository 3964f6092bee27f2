"""The folder of a command is a git repository of somebody else's, whose settings name programs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ikd.tracking import environment_tags


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, check=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "theirs"
    folder.mkdir()
    git(folder, "init")
    (folder / "a").write_text("1")
    git(folder, "add", "a")
    git(folder, "commit", "-m", "A")
    return folder


def settings(touched: Path) -> dict[str, dict[str, str]]:
    program = f"touch {touched}; cat"
    return {
        "fsmonitor": {"core.fsmonitor": f"touch {touched}; false"},
        "clean": {"filter.evil.clean": program},
        "process": {"filter.evil.process": program},
        "ssh": {"core.sshCommand": program, "extensions.partialClone": "origin", "remote.origin.url": "ssh://x/y"},
        "pager": {"core.pager": program, "pager.status": "true"},
    }


@pytest.mark.parametrize("name", sorted(settings(Path("x"))))
def test_its_settings_run_nothing(name: str, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touched = tmp_path / "touched"
    for key, value in settings(touched)[name].items():
        git(repository, "config", key, value)
    (repository / ".gitattributes").write_text("* filter=evil\n")
    (repository / "a").write_text("2")
    monkeypatch.chdir(repository)
    tags = environment_tags()
    assert not touched.exists()
    assert len(tags["git.commit"]) == 40
    if name in ("clean", "process"):
        assert "git.dirty" not in tags
    else:
        assert tags["git.dirty"] == "true"


def test_its_hooks_run_not(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touched = tmp_path / "touched"
    hook = repository / ".git" / "hooks" / "post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {touched}\n")
    hook.chmod(0o755)
    os.utime(repository / "a", (1, 1))
    monkeypatch.chdir(repository)
    assert environment_tags()["git.dirty"] == "false"
    assert not touched.exists()


def test_included_settings_are_its_own(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touched = tmp_path / "touched"
    (repository / "more").write_text(f'[filter "evil"]\nclean = touch {touched}; cat\n')
    git(repository, "config", "include.path", "../more")
    (repository / ".gitattributes").write_text("* filter=evil\n")
    (repository / "a").write_text("2")
    monkeypatch.chdir(repository)
    assert "git.dirty" not in environment_tags()
    assert not touched.exists()
