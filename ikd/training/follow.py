"""A further process of a trial: trains on its part of every batch, writes nothing."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import traceback

import torch

from ikd.training.processes import Task, join, ready
from ikd.training.trial import follow

PIPE_BYTES = 32768
"""So much a pipe takes at once on every system: the first process reads when this one has ended."""


def main() -> None:
    """Take the task from standard input and do it; say on standard output what went wrong."""
    said = os.dup(1)
    os.dup2(2, 1)  # whatever prints must not get into the answer
    task: Task = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    try:
        _work(task)
    except BaseException as error:
        os.write(said, _portable(error))
        os._exit(1)  # no tidying up that waits for the others
    os._exit(0)


def _work(task: Task) -> None:
    torch.set_num_threads(task.threads)
    ready(task)
    join(task)
    follow(task)


def _end_with_the_first() -> None:
    """End when the first process does, with the data loaders: standard input closes then.

    It is read past `sys.stdin`, whose lock a read holds: a data loader forked meanwhile would wait for it for ever.
    """
    while os.read(0, PIPE_BYTES):
        pass
    os.killpg(os.getpid(), signal.SIGKILL)


def _portable(error: BaseException) -> bytes:
    try:
        content = pickle.dumps(error)
        pickle.loads(content)
        if len(content) < PIPE_BYTES:
            return content
    except Exception:  # an exception of a library need not survive this
        pass
    return pickle.dumps(RuntimeError("".join(traceback.format_exception(error))[-PIPE_BYTES // 4 :]))


if __name__ == "__main__":
    main()
