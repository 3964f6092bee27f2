"""What a run was made with."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

_DISTRIBUTIONS = {
    "ikd": ("ikd",),
    "torch": ("torch",),
    "mmdet": ("onedl-mmdetection", "mmdet"),
    "ray": ("ray",),
    "optuna": ("optuna",),
    "mlflow": ("mlflow", "mlflow-skinny"),
}
_GIT_SECONDS = 5.0
_HARMLESS = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "protocol.allow": "never",
    "safe.bareRepository": "explicit",
}
"""Settings of git that win over those of the folder's own repository, which may name programs to run."""
_SURROUNDINGS = {"GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
_FILTERS = r"^filter\..*\.(clean|process)$"
_OWN_SCOPES = ("local", "worktree")


def environment_tags() -> dict[str, str]:
    """Return versions of what matters (`version.torch`, ...) and the git commit of the working directory as tags.

    A package that is not installed has no tag. Outside a git repository, or without git, there are no git tags. Nothing
    that the repository names is run: where it has filters of its own, which `git status` would run, whether it is dirty
    is not said.
    """
    tags = {"version.python": platform.python_version()}
    for name, distributions in _DISTRIBUTIONS.items():
        found = next((text for text in map(_version, distributions) if text), None)
        if found:
            tags[f"version.{name}"] = found
    commit = _git("rev-parse", "HEAD")
    if commit:
        tags["git.commit"] = commit
        if not _has_filters():
            tags["git.dirty"] = "true" if _git("status", "--porcelain", "--ignore-submodules=all") else "false"
        tags["mlflow.source.git.commit"] = commit  # what MLflow's own list shows as the version
    return tags


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _has_filters() -> bool:
    """Tell whether the repository itself says which programs its files go through, or git cannot tell."""
    found = _git("config", "--show-scope", "--includes", "--get-regexp", _FILTERS, none=1)
    return found is None or any(line.startswith(_OWN_SCOPES) for line in found.splitlines())


def _git(*arguments: str, none: int = 0) -> str | None:
    """Return what git says, or None; `none` is the exit status with which it says that there is nothing."""
    settings = [part for name, value in _HARMLESS.items() for part in ("-c", f"{name}={value}")]
    command, surroundings = ["git", *settings, *arguments], {**os.environ, **_SURROUNDINGS}
    try:
        done = subprocess.run(
            command, env=surroundings, capture_output=True, text=True, timeout=_GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode in (0, none) else None
