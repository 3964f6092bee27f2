"""Does the search pay? What searches find on worlds that train in microseconds, by the trainings they spend.

    python -m benchmarks.search [compare] [NAME ...] [--seeds 100] [--methods NAME ...] [--trainings 20 40 80]
                                [--processes 2] [--to FILE] [--picture FILE]
    python -m benchmarks.search table [NAME ...] [--to FILE] [--picture FILE] [--into PAGE]
    python -m benchmarks.search honest [NAME ...] [--seeds 100] [--trainings 40]
    python -m benchmarks.search check [NAME] [--seeds 3]
    python -m benchmarks.search trust [NAME ...]
    python -m benchmarks.search record SWEEP_FOLDER --name NAME
    python -m benchmarks.search repeat NAME --trials 0 3 --seeds 1 2 --data FOLDER
    python -m benchmarks.search real NAME --data FOLDER --home FOLDER [--searches 0 1] [--seeds 5] [--runner FILE]
                                [--at-once 1] [--jobs 2] --to FILE

`compare` simulates, without a Ray: TPE with ASHA (the old default), the new default, random search, and Ray Tune's
`OptunaSearch` with its `ASHAScheduler`, each on surrogates of recorded real sweeps and on made families, two trials at
a time. What it finds is kept search by search, and the same command goes on with what is missing, also after Ctrl-C.
The seed of a search is also that of its trainings and of a family's draw: another one is another world of noise.
`table` prints what has been found so far. `honest` counts how often what a sweep says of its choice is true. `check`
holds the simulated Tune against a real one. `trust` tells how well a surrogate predicts what it was not shown.

`record` keeps the curves of a finished sweep in benchmarks/recorded. `repeat` trains some of its configurations for
real with other seeds and adds them to the recording: they are what its noise is measured on. `real` searches for real,
with the old and the new default, and trains what they chose, and the student alone, with seeds that no search has seen.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks.search.comparing import SEEDS, TRAININGS, compared, world_names, world_of
from benchmarks.search.honest import HEAD, Honesty, told
from benchmarks.search.methods import METHODS, NEW_DEFAULT, OLD_DEFAULT, RUNGS, Found, best_seen
from benchmarks.search.real import real, repeat
from benchmarks.search.recording import FOLDER, load, read_sweep, recorded
from benchmarks.search.report import draw, quality_table, summary, table, write_into
from benchmarks.search.results import Results, one_of
from benchmarks.search.surrogate import leave_one_out, surrogate
from benchmarks.search.tune import on_ray, plain
from ikd.errors import BadInput

FOUND = FOLDER / "search.jsonl"
"""What `compare` has found, kept with the code."""


def compare(options: argparse.Namespace) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes
    results, names = Results(options.to), options.names or world_names()
    seeds = range(SEEDS.start, SEEDS.start + options.seeds)
    given = {"seeds": seeds, "methods": options.methods, "trainings": options.trainings}
    compared(results, names, **given, processes=options.processes, say=lambda text: print(text, flush=True))
    show(results, options)


def show(results: Results, options: argparse.Namespace) -> None:
    """Print the tables, or put them into a page."""
    names = options.names or world_names()
    one_of("worlds", names, world_names())
    tables = [table(results, name, options.methods, options.trainings) for name in names]
    if {NEW_DEFAULT, OLD_DEFAULT} <= set(options.methods):
        tables.append(summary(results, names, options.methods, options.trainings))
    if options.into:
        write_into(options.into, "\n\n".join(tables))
    else:
        print("\n" + "\n\n".join(tables))
    if options.picture:
        draw(results, names, options.methods, options.trainings, options.picture)


def honest(options: argparse.Namespace) -> None:
    names = options.names or world_names()
    one_of("worlds", names, world_names())
    print(HEAD)
    for name in names:
        seeds = range(SEEDS.start, SEEDS.start + options.seeds)
        found = [told(world_of(name, seed), seed, options.trainings) for seed in seeds]
        row = Honesty.of(one for one in found if one is not None).row(f"{name}, {options.trainings}")
        print(row, flush=True)


def check(options: argparse.Namespace) -> None:
    """Search with Tune on a real Ray and without one: what each found, and how many first trials are the same."""
    world = surrogate(load(options.name))
    print("| seed | equal first trials | trials: Ray, simulated | best seen | what the choice is worth |")
    print("|---:|---:|---:|---:|---:|")
    for seed in range(SEEDS.start, SEEDS.start + options.seeds):
        real = on_ray(world, RUNGS, seed=seed, epochs=options.epochs)
        made = plain(world, RUNGS, seed=seed, epochs=options.epochs, alone=False)
        pairs = zip(real.values, made.values, strict=False)
        equal = next(
            (index for index, (one, two) in enumerate(pairs) if one != two), min(len(real.values), len(made.values))
        )
        found = [best_seen(one.events, one.values, one.expected, options.epochs) for one in (real, made)]
        seen, worth = (", ".join(f"{get(one):.2f}" for one in found) for get in (_seen, lambda one: one.quality))
        print(f"| {seed} | {equal} | {len(real.values)}, {len(made.values)} | {seen} | {worth} |", flush=True)


def _seen(found: Found) -> float:
    return found.quality + found.excess


def trust(options: argparse.Namespace) -> None:
    for name in options.names or sorted(path.stem for path in FOLDER.glob("*.json")):
        print(f"\n{quality_table(name, leave_one_out(load(name)))}")


def record(options: argparse.Namespace) -> None:
    made = recorded(options.name, *read_sweep(options.folder))
    print(f"{made.save()}: {len(made.trainings)} trainings of {len(made.trainings[0].curve)} epochs")


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, act in {"compare": compare, "table": lambda given: show(Results(given.to), given)}.items():
        one = commands.add_parser(name)
        one.add_argument("names", nargs="*", help="worlds; all of them")
        one.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
        one.add_argument("--trainings", type=int, nargs="+", default=TRAININGS)
        one.add_argument("--to", type=Path, default=FOUND, help="file of finished searches, to go on from")
        one.add_argument("--picture", type=Path)
        one.add_argument("--into", type=Path, help="page whose tables are replaced, instead of printing them")
        one.set_defaults(run=act)
        if name == "compare":
            one.add_argument("--seeds", type=int, default=len(SEEDS), help="searches of each method on each world")
            one.add_argument("--processes", type=int, default=2)
    one = commands.add_parser("honest")
    one.add_argument("names", nargs="*", help="worlds; all of them")
    one.add_argument("--seeds", type=int, default=len(SEEDS))
    one.add_argument("--trainings", type=int, default=40)
    one.set_defaults(run=honest)
    one = commands.add_parser("check")
    one.add_argument("name", nargs="?", default="bccd", help="recording")
    one.add_argument("--seeds", type=int, default=3)
    one.add_argument("--epochs", type=int, default=120)
    one.set_defaults(run=check)
    one = commands.add_parser("trust", help="how well each surrogate predicts what it has not seen")
    one.add_argument("names", nargs="*", help="recordings; all of them")
    one.set_defaults(run=trust)
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
    one = commands.add_parser("real")
    one.add_argument("name", help="recording whose space is searched")
    one.add_argument("--data", help="COCO-format folder; not used where ikd draws the data")
    one.add_argument("--home", type=Path, required=True, help="folder of the sweeps, to go on from")
    one.add_argument("--runner", type=Path, default=Path("runners/local.yaml"))
    one.add_argument("--trainings", type=int, default=40, help="of each search")
    one.add_argument("--searches", type=int, nargs="+", default=[0, 1], help="their seeds")
    one.add_argument("--at-once", type=int, default=1, help="searches")
    one.add_argument("--seeds", type=int, default=5, help="trainings of each choice that judge it")
    one.add_argument("--jobs", type=int, default=2, help="of these at once")
    one.add_argument("--to", type=Path, required=True, help="file of finished trainings that judge, to go on from")
    one.set_defaults(run=lambda given: print(f"\n{real(given)}"))
    options = parser.parse_args(sys.argv[1:] or ["compare"])
    try:
        options.run(options)
    except BadInput as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        parser.exit(130, "stopped; the same command goes on\n")


if __name__ == "__main__":
    main()
