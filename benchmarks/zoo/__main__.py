"""Walk mmdet's zoo: build, train a step, predict, be taught by a RetinaNet, teach one.

    python -m benchmarks.zoo [--to results.json] [--seconds 180] [--jobs 1] [--only NAME ...] [--again] [--table FILE]

Every box detector that mmdet ships is tried with a small stand-in for its backbone (see `configs.small`), on two drawn
images of different shapes, through the whole pipeline of a training. Configs that are equal once they are small are
tried once. Each runs in a process of its own, within `--seconds`. What was tried stands in the results file: the same
command goes on where it was interrupted, and takes up what is new.

`--table` tries nothing and writes the page from what is there. `--again` makes every config small anew, which `configs`
may have learned to do otherwise, and tries anew what failed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.zoo.configs import digest, kind_of, model_of, zoo_names
from benchmarks.zoo.table import page
from benchmarks.zoo.trying import ROLES, prepare, try_within
from ikd.files import write_text

RECORDED = Path(__file__).parents[1] / "recorded" / "zoo.json"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=__doc__)
    parser.add_argument("--to", type=Path, default=RECORDED, help="results; read first, and written after each config")
    parser.add_argument("--seconds", type=float, default=180, help="longest time of one config")
    parser.add_argument("--jobs", type=int, default=1, help="configs at once")
    parser.add_argument("--only", nargs="+", default=[""], help="configs whose names hold one of these")
    parser.add_argument("--again", action="store_true", help="try anew what failed")
    parser.add_argument("--table", type=Path, help="write this page from the results, and try nothing")
    chosen = parser.parse_args()
    results = json.loads(chosen.to.read_text()) if chosen.to.is_file() else {"configs": {}, "tried": {}}
    if chosen.table:
        write_text(chosen.table, page(results))
        return
    _walk(chosen, results)


def _walk(chosen: argparse.Namespace, results: dict[str, dict[str, dict[str, object]]]) -> None:
    configs, tried = results["configs"], results["tried"]

    def wanted(name: str) -> bool:
        return any(part in name for part in chosen.only)

    for name in filter(wanted, zoo_names()):
        if (chosen.again or name not in configs) and model_of(name):
            configs[name] = {"kind": kind_of(name), "digest": digest(name)}
    used = {facts["digest"] for facts in configs.values()}
    for key in tried.keys() - used:
        del tried[key]
    write_text(chosen.to, _json(results))
    groups: dict[str, list[str]] = {}
    for name, facts in sorted(configs.items()):
        if wanted(name):
            groups.setdefault(str(facts["digest"]), []).append(name)
    # what most configs are comes first, so that a walk that is interrupted has seen most of them
    waiting = [(key, names[0]) for key, names in sorted(groups.items(), key=lambda item: -len(item[1]))]
    failed = {key for key, one in tried.items() if any(one[role] for role in ROLES)} if chosen.again else set()
    waiting = [(key, name) for key, name in waiting if key not in tried or key in failed]
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(chosen.jobs) as pool:
        prepare(Path(scratch))
        found = pool.map(lambda item: try_within(item[1], chosen.seconds, Path(scratch)), waiting)
        for number, ((key, name), one) in enumerate(zip(waiting, found, strict=True), 1):
            tried[key] = {"config": name, **one}
            write_text(chosen.to, _json(results))
            said = next((f"{role}: {one[role]}" for role in ROLES if one[role]), "ok")
            print(f"{number}/{len(waiting)} {one['seconds']} s {name}: {said}", flush=True)


def _json(results: object) -> str:
    return json.dumps(results, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    main()
