"""Read a sweep from Python: what was chosen, how much better it is, a table, curves, and the report.

    python examples/read_sweep.py mine
    python examples/read_sweep.py mine --report report.html

It may still be running: what is read is how it stands now.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import ikd


def main() -> None:
    """Print what a sweep has found."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("name", help="of the sweep, as ikd list prints it")
    options.add_argument("--report", type=Path, help="file for the report, one page that needs nothing else")
    given = options.parse_args()

    sweep = ikd.Sweep(given.name)
    print(sweep)
    if sweep.chosen is None:
        raise SystemExit("nothing is chosen yet: no trial of the search has finished")
    print(sweep.chosen)
    for field, (base, own) in sweep.chosen.changes.items():
        print(f"  {field}: {base} -> {own}")
    for name in sweep.anchors:
        gain = sweep.gain(name)
        if gain is not None:
            low, high = gain.interval
            sure = "" if gain.confirmed else ", not confirmed"
            print(f"over {name}: {100 * gain.value:+.1f} [{100 * low:.1f}, {100 * high:.1f}] mAP{sure}")

    table = sweep.frame().sort_values("value", ascending=False)
    print(table[["name", "state", "role", "value", "expected", "best_epoch"]].head(10).to_string())
    curves = sweep.curves()
    best = curves.groupby("epoch")[sweep.metric].max()
    print("best of each epoch: " + ", ".join(f"{100 * value:.1f}" for value in best))
    if given.report is not None:
        print(f"report: {sweep.report(given.report)}")


if __name__ == "__main__":
    main()
