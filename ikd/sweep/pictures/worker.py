"""A process that makes the pictures of some trials of a sweep, so that nothing that happens to it harms the sweep.

Says each thing on standard output as a line of JSON: `trial`, and `what`, `done`, `total`; or `made` and `missing`; or
`failed`. It ends when its standard input closes, which happens however the driver dies.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from ikd.errors import first_line
from ikd.pictures import Painter
from ikd.sweep.pictures.trial import picture_trial
from ikd.sweep.status import sweep_status


def main() -> None:
    """Make the pictures that the arguments name: the home, the sweep, the trials."""
    said = os.dup(1)
    os.dup2(2, 1)  # whatever prints must not get between the lines
    threading.Thread(target=_end_with_the_driver, daemon=True).start()
    home, name, *numbers = sys.argv[1:]
    painter = Painter()

    def tell(number: int, **content: Any) -> None:
        os.write(said, (json.dumps({"trial": number, **content}) + "\n").encode())

    for number in map(int, numbers):

        def show(what: str, done: int, total: int, number: int = number) -> None:
            tell(number, what=what, done=done, total=total)

        try:
            made = picture_trial(sweep_status(name, home=Path(home)), number, painter=painter, progress=show)
            tell(number, made=str(made.folder), missing=made.missing)
        except Exception as error:  # one trial's is no reason to leave out the others
            tell(number, failed=first_line(error))


def _end_with_the_driver() -> None:
    while os.read(0, 1024):
        pass
    os.killpg(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
