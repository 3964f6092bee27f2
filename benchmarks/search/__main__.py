"""Does the search pay? Best mAP so far against spent epochs, on a surrogate of recorded real trials.

    python -m benchmarks.search compare [NAME ...] [--seeds 20] [--tune-seeds 5] [--to FILE] [--picture FILE]
    python -m benchmarks.search record SWEEP_FOLDER --name NAME
    python -m benchmarks.search repeat NAME --trials 0 3 --seeds 1 2 --data FOLDER
    python -m benchmarks.search confirm NAME --to FILE [--methods random "TPE + ASHA"] --seeds 0 1 2 --data FOLDER

Compared at equal trained epochs, two trials at a time: random search; TPE; both with ASHA; Ray Tune's `OptunaSearch`
with its `ASHAScheduler`, as a person would write it, on a real Ray; the paper's values, trained once. All train the
paper's values first. The seed of a search is also that of its trainings: another one is another world of noise.

`record` keeps the curves of a finished sweep in benchmarks/recorded. `repeat` trains some of its configurations for
real with other seeds and adds them to the recording: they are what its noise is measured on. `confirm` trains for real
what methods chose in their first search, and the paper's values.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.search.comparing import Store, compared
from benchmarks.search.real import confirm, repeat
from benchmarks.search.recording import FOLDER, load, read_sweep, recorded
from benchmarks.search.report import draw, paired, quality_table, table
from benchmarks.search.runs import METHODS, OURS, PLAIN
from benchmarks.search.surrogate import leave_one_out


def compare(options: argparse.Namespace) -> None:
    store = Store(options.to)
    names = options.names or sorted(path.stem for path in FOLDER.glob("*.json"))
    found = [
        compared(name, store, seeds=options.seeds, tune_seeds=options.tune_seeds, epochs=options.epochs)
        for name in names
    ]
    for name in names:
        print(f"\n{quality_table(name, leave_one_out(load(name)))}")
    for one in found:
        print(f"\n{table(one)}\n")
        for other in one.courses:
            if other != OURS:
                print(paired(one, OURS, other))
    if options.picture:
        draw(found, options.picture)


def record(options: argparse.Namespace) -> None:
    made = recorded(options.name, *read_sweep(options.folder))
    print(f"{made.save()}: {len(made.trainings)} trainings of {len(made.trainings[0].curve)} epochs")


def confirm_choices(options: argparse.Namespace) -> None:
    store = Store(options.to)
    confirm(options.name, store, methods=options.methods, seeds=options.seeds, epochs=options.epochs, root=options.data)


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("compare")
    one.add_argument("names", nargs="*", help="recordings; all of them")
    one.add_argument("--seeds", type=int, default=20)
    one.add_argument("--tune-seeds", type=int, default=5, help="of plain Tune; 0 leaves it out")
    one.add_argument("--epochs", type=int, default=240)
    one.add_argument("--to", type=Path, help="file of finished searches, to go on from")
    one.add_argument("--picture", type=Path)
    one.set_defaults(run=compare)
    one = commands.add_parser("record")
    one.add_argument("folder", type=Path, help="of a sweep, in the ikd home")
    one.add_argument("--name", required=True)
    one.set_defaults(run=record)
    one = commands.add_parser("repeat")
    one.add_argument("name")
    one.add_argument("--trials", type=int, nargs="+", required=True, help="which trainings of the recording")
    one.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    one.add_argument("--data", help="COCO-format folder")
    one.set_defaults(run=lambda given: repeat(given.name, given.trials, given.seeds, given.data))
    one = commands.add_parser("confirm")
    one.add_argument("name")
    one.add_argument("--to", type=Path, required=True, help="file of `compare`")
    one.add_argument("--epochs", type=int, default=240, help="of the searches")
    one.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the trainings")
    one.add_argument("--data", help="COCO-format folder")
    one.add_argument("--methods", nargs="+", choices=[*METHODS, PLAIN], default=["random", "TPE + ASHA"])
    one.set_defaults(run=confirm_choices)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
