from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from ikd.tracking import environment_tags


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def test_versions() -> None:
    tags = environment_tags()
    assert tags["version.python"] == platform.python_version()
    assert tags["version.torch"] == version("torch")
    assert tags["version.mlflow"] == version("mlflow")
    assert {"version.mmdet", "version.ray", "version.optuna"} <= set(tags)


def test_commit_and_dirty_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "A")
    monkeypatch.chdir(tmp_path)
    tags = environment_tags()
    assert tags["git.commit"] == tags["mlflow.source.git.commit"] == git(tmp_path, "rev-parse", "HEAD")
    assert tags["git.dirty"] == "false"
    (tmp_path / "a").write_text("2")
    assert environment_tags()["git.dirty"] == "true"


def test_outside_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert not [name for name in environment_tags() if "git" in name]


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git.commit" not in environment_tags()
