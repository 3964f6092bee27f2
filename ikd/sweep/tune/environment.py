"""The environment variables under which Ray is imported: it reads many of them only then."""

from __future__ import annotations

import os
import secrets
import sys

from ikd.trust import VARIABLE as TRUST
from ikd.world import reach_this_machine_directly

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths in recipes mean the folder where the command was run
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a trial with no GPU of its own sees none
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ikd.sweep.signals has its own
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # our messages are not Tune's metrics
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # Tune's snapshot is not used
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "120",  # a stopped trial may take this long to leave its worker
}


def workers_environment() -> dict[str, str]:
    """Return what workers of a cluster must be told, which inherit nothing of this process."""
    return {**QUIET, **{name: os.environ[name] for name in (TRUST,) if name in os.environ}}


def prepare_environment(address: str) -> None:
    """Set what Ray reads at import; a variable that is set already is left alone.

    A private Ray (`local`) gets a token of its own, so that no other user of the machine can send it work. How a
    running cluster authenticates is for the person to say (RAY_AUTH_MODE and its token). No proxy comes between
    processes of one machine.
    """
    reach_this_machine_directly()
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if address == "local" and "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
