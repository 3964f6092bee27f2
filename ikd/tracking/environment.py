"""What a run was made with."""

from __future__ import annotations

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


def environment_tags() -> dict[str, str]:
    """Return versions of what matters (`version.torch`, ...) and the git commit of the working directory as tags.

    A package that is not installed has no tag. Outside a git repository, or without git, there are no git tags.
    """
    tags = {"version.python": platform.python_version()}
    for name, distributions in _DISTRIBUTIONS.items():
        found = next((text for text in map(_version, distributions) if text), None)
        if found:
            tags[f"version.{name}"] = found
    commit = _git("rev-parse", "HEAD")
    if commit:
        tags["git.commit"] = commit
        tags["git.dirty"] = "true" if _git("status", "--porcelain") else "false"
        tags["mlflow.source.git.commit"] = commit  # what MLflow's own list shows as the version
    return tags


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=_GIT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
