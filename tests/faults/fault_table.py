"""Prints the table of faults that the suite wrote: `python -m tests.faults.fault_table FILE`.

The file is made by `IKD_FAULT_TABLE=FILE python -m pytest -m fault`; runs of single tests add to it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

COLUMNS = (
    "kills", "trials", "trials repeated", "saved epochs repeated", "epochs lost", "epochs begun again",
    "running in study", "running in MLflow", "MLflow runs",
)  # fmt: skip


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Return the rows as a table in markdown; a figure that a test has not counted is a dash."""
    lines = ["| fault | " + " | ".join(COLUMNS) + " |", "|---|" + "---:|" * len(COLUMNS)]
    for fault, figures in rows.items():
        cells = [str(figures.get(column, "-")) for column in COLUMNS]
        lines.append(f"| {fault} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(json.loads(Path(sys.argv[1]).read_text())))
