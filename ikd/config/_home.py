"""Where ikd keeps sweeps, caches and the local MLflow store."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Return the ikd home: `$IKD_HOME` when set, else `~/ikd`.

    Below it lie `sweeps/NAME`, `cache/{teachers,perturbations,drawn,checkpoints}`, `mlflow.db` and `mlartifacts`.
    Nothing is created here; whoever writes makes the folder.
    """
    return Path(os.environ.get("IKD_HOME") or "~/ikd").expanduser().absolute()
