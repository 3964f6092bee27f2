"""Whether code that a detector's config brings along may run: only where a person has said so.

A config of mmdet is Python, and nearly all of them only assign values. Those are read by everybody. One that does more,
or whose `custom_imports` name modules of a person's own, is a program; whoever starts ikd says that it may run.
"""

from __future__ import annotations

import os

VARIABLE = "IKD_TRUST_CODE"
"""Environment variable that says so, which the workers of a command see too; `ikd --trust-code` sets it."""
HOW = f"if you trust its author, say so: ikd --trust-code ..., or {VARIABLE}=1"


def trust_code() -> None:
    """Let this process, and those that it starts, run the code of detector configs."""
    os.environ[VARIABLE] = "1"


def code_is_trusted() -> bool:
    """Return whether code of detector configs may run."""
    return os.environ.get(VARIABLE, "").lower() in ("1", "true", "yes")
