"""Every method on the same student, data and budget: what each gains and what it costs.

    python -m benchmarks.methods --data FOLDER [--student r18 | --recipe NAME] [--seeds 3] [--jobs 2]
        [--to results.json] [--methods NAME ...] [--without-ikd] [--table]

Rows: the student alone, and inheriting alone where the recipe inherits, which all of its other rows then do; each host
with one teacher, without and with IKD (sample-specific augmentation and adversarial term); DFMSD with the recipe's
teacher sequence, and its control of equal budget (the last teacher for all epochs); each response term alone.
`--student rtmdet` makes two tables: a teacher of the same family four times as wide, and one of two stages on a Swin.
Published weights belong to large maps, so each host first chooses one factor for all of its weights (the weight of
IKD's adversarial term likewise), which is printed. That is done on a seed of its own, which judges nothing.

`--methods` takes some of the hosts and terms; what does not fit a pair is said and left out. `--without-ikd` leaves out
the rows with IKD on top, `--table` trains nothing and prints what is there: the same file may be filled by several
commands.

Cost is CPU seconds of the training process, one thread, over those of the student alone. Finished trainings are kept
in the results file, by the content of their recipe: the same command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikd.config import HOSTS, HOSTS_BESIDE, LOSSES, RESPONSES, Recipe, load_recipe, loss_weights

METRICS = ("bbox_mAP", "bbox_APs", "bbox_APm", "bbox_APl")
STUDENTS = {"r18": ("small_dfmsd",), "rtmdet": ("small_rtmdet", "small_rtmdet_from_swin")}
"""Recipes of a student: one table each."""
WEIGHTS = {name: [one for one in loss_weights(section) if "." not in one] for name, section in HOSTS.items()}
"""Of each host; those in a section below (CrossKD's between two stages) act between other students."""
TERMS = {name: loss_weights(section) for name, section in RESPONSES.items() if name not in HOSTS_BESIDE}
SUMMED = tuple(name for name, section in LOSSES.items() if section.summed)
"""Sums over a map: carried to small maps at full strength they drown the detection loss."""
CHOICE_SEED = 100
"""The seed that factors are chosen on."""
SUMMED_FACTORS, OTHER_FACTORS = (0.1, 0.01), (1.0, 0.1)
IKD = {"augment.enabled": True, "adversarial.enabled": True}
PLAIN = {
    "augment.enabled": False,
    "adversarial.enabled": False,
    "distill.me.enabled": False,
    "distill.sfa.enabled": False,
}
Results = dict[str, dict[str, float]]
Values = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One line of the table: its name and what it changes in the recipe."""

    name: str
    values: Values


def strength(recipe: Recipe, host: str, factor: float) -> Values:
    """Return the weights of a host or term, or of `adversarial`, times a factor; one that is null follows another."""
    if host == "adversarial":
        return {"adversarial.weight": recipe.adversarial.weight * factor}
    section, names = f"distill.response.{host}" if host in TERMS else f"distill.{host}", {**WEIGHTS, **TERMS}[host]
    weights = {field: recipe.value(field) for field in (f"{section}.{name}" for name in names)}
    return {field: weight * factor for field, weight in weights.items() if weight is not None}


def alone_with(recipe: Recipe, host: str) -> Values:
    """Return the values of one host, or response term, with the recipe's last teacher, and nothing else."""
    last = {**PLAIN, "teachers.sequence": [recipe.teachers.stages[-1].teacher]}
    if host in TERMS:
        return {**last, "distill.host": "none", f"distill.response.{host}.enabled": True}
    return {**last, "distill.host": host}


def factors(host: str) -> tuple[float, ...]:
    """Return the factors that a host chooses from."""
    return SUMMED_FACTORS if host in SUMMED else OTHER_FACTORS


def candidates(recipe: Recipe, hosts: Sequence[str] = (*WEIGHTS, *TERMS, "adversarial")) -> dict[str, list[Row]]:
    """Return, for each host and the adversarial term, the trainings among which its factor is chosen."""
    found: dict[str, list[Row]] = {}
    for host in hosts:
        base = {**alone_with(recipe, "none"), **IKD} if host == "adversarial" else alone_with(recipe, host)
        found[host] = [Row(f"{host} x{f:g}", {**base, **strength(recipe, host, f)}) for f in factors(host)]
    return found


def rows(recipe: Recipe, chosen: Mapping[str, float]) -> list[Row]:
    """Return the table's rows, at the chosen strengths, of what a strength was chosen for."""
    ikd = {**IKD, **strength(recipe, "adversarial", chosen["adversarial"])} if "adversarial" in chosen else {}
    table = [Row("ikd alone", {**alone_with(recipe, "none"), **ikd})] if ikd else []
    for host in (name for name in (*WEIGHTS, *TERMS) if name != "dfmsd" and name in chosen):
        values = {**alone_with(recipe, host), **strength(recipe, host, chosen[host])}
        table += [Row(host, values), *([Row(f"{host} + ikd", {**values, **ikd})] if ikd else [])]
    return table + (_sequences(recipe, chosen["dfmsd"], ikd) if "dfmsd" in chosen else [])


def _sequences(recipe: Recipe, factor: float, ikd: Values) -> list[Row]:
    """Return the rows of DFMSD, with a teacher after the other and its control."""
    dual = {**PLAIN, "distill.host": "dfmsd", **strength(recipe, "dfmsd", factor)}
    extras = {"distill.me.enabled": True, "distill.sfa.enabled": True}
    last = {"teachers.sequence": [recipe.teachers.stages[-1].teacher]}
    names = " -> ".join(stage.teacher for stage in recipe.teachers.stages)
    return [
        Row(f"dfmsd, {names}, stages only", dual),
        Row(f"dfmsd, {names}", {**dual, **extras}),
        Row("dfmsd, equal budget, one teacher", {**dual, **extras, **last}),
        *([Row(f"dfmsd, {names} + ikd", {**dual, **extras, **ikd})] if ikd else []),
    ]


def measure(recipe: Recipe) -> dict[str, float]:
    """Train one recipe on one thread; return metrics of its best epoch, mAP of its last, and CPU seconds."""
    import torch

    from ikd.training import prepare, run_trial

    torch.set_num_threads(1)
    prepared = prepare(recipe)
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        result = run_trial(recipe, directory=Path(folder), threads=1, prepared=prepared)
        seconds = time.process_time() - began
    last = {"last_bbox_mAP": result.last_metrics["bbox_mAP"]}
    return {name: result.metrics[name] for name in METRICS} | last | {"cpu_seconds": seconds}


def finished(file: Path | None) -> Results:
    """Return the finished trainings of a results file; none where there is no such file yet, but now its folder."""
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)  # now, not when the first training is over
    found: Results = json.loads(file.read_text()) if file is not None and file.is_file() else {}
    return found


def train_all(recipes: list[Recipe], results: Results, options: argparse.Namespace) -> None:
    """Train what is not in the results yet, and write the file after each.

    Args:
        recipes: what to train.
        results: by fingerprint; added to.
        options: `jobs` at a time, `to` the file or None.
    """
    todo = {one.fingerprint(): one for one in recipes if one.fingerprint() not in results}
    spawn = multiprocessing.get_context("spawn")  # autograd does not survive a fork
    with ProcessPoolExecutor(options.jobs, mp_context=spawn) as pool:
        waiting = {pool.submit(measure, one): (key, one) for key, one in todo.items()}
        for count, done in enumerate(as_completed(waiting), 1):
            key, one = waiting[done]
            try:
                results[key] = done.result()
            except Exception as error:  # one method that diverges must not take the table along
                print(f"{one.name} seed {one.seed}: {error}", flush=True)
                continue
            if options.to:
                partial = options.to.with_suffix(".partial")
                partial.write_text(json.dumps(results, indent=1))
                os.replace(partial, options.to)
            print(f"{count}/{len(todo)} {one.name} seed {one.seed}: {100 * results[key]['bbox_mAP']:.1f}", flush=True)


def choose(recipe: Recipe, results: Results, options: argparse.Namespace) -> dict[str, float]:
    """Choose each host's factor, and print it."""
    hosts = [*(options.methods or (*WEIGHTS, *TERMS)), *([] if options.without_ikd else ["adversarial"])]
    found = candidates(recipe, hosts)
    trainings = {host: [made(recipe, row, CHOICE_SEED) for row in listed] for host, listed in found.items()}
    if not options.table:
        train_all([one for listed in trainings.values() for one in listed], results, options)
    chosen: dict[str, float] = {}
    for host, listed in trainings.items():
        scores = [results.get(one.fingerprint(), {}).get("bbox_mAP", 0.0) for one in listed]
        if not any(scores):
            continue
        chosen[host] = factors(host)[scores.index(max(scores))]
        tried = ", ".join(f"x{f:g}: {100 * score:.1f}" for f, score in zip(factors(host), scores, strict=True))
        print(f"{host}: x{chosen[host]:g} of the published weights ({tried})", flush=True)
    return chosen


def made(recipe: Recipe, row: Row, seed: int) -> Recipe:
    """Return the recipe of a row."""
    return recipe.with_values({"name": row.name, **row.values, "seed": seed})


def table(recipe: Recipe, listed: list[Row], results: Results, seeds: int) -> str:
    """Return the table as Markdown."""
    alone = floors_of(recipe, seeds)
    lines = ["| method | seeds | mAP | APs | APm | APl | cost |", "|---|---|---|---|---|---|---|"]
    trainings = list(alone.items())
    trainings += [(row.name, [made(recipe, row, seed) for seed in range(seeds)]) for row in listed]
    first = alone["student alone"]
    floors = [results[one.fingerprint()]["cpu_seconds"] for one in first if one.fingerprint() in results]
    floor = statistics.mean(floors) if floors else float("nan")
    for name, recipes in trainings:
        found = [results[one.fingerprint()] for one in recipes if one.fingerprint() in results]
        if not found:
            lines.append(f"| {name} | 0 | not measured | | | | |")
            continue
        cells = [spread([100 * one[metric] for one in found]) for metric in METRICS]
        cost = statistics.mean(one["cpu_seconds"] for one in found) / floor
        lines.append(f"| {name} | {len(found)} | {' | '.join(cells)} | {cost:.2f} |")
    return "\n".join(lines)


def floors_of(recipe: Recipe, seeds: int) -> dict[str, list[Recipe]]:
    """Return the rows without distillation: the student alone, and inheriting alone where the recipe inherits."""
    kinds = {"student alone": recipe.student_alone()}
    if recipe.student.inherit:
        kinds["inheriting alone"] = recipe.anchor("inherit_alone")
    return {name: [one.with_values({"seed": seed}) for seed in range(seeds)] for name, one in kinds.items()}


def spread(values: list[float]) -> str:
    """Return mean and standard deviation."""
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values) if len(values) > 1 else 0.0:.1f}"


def notify() -> Callable[[str, int, int], None]:
    """Return what tells now and then how far a preparation is."""
    last = [0.0]

    def tell(what: str, done: int, total: int) -> None:
        if done == total or time.monotonic() - last[0] > 20:
            last[0] = time.monotonic()
            print(f"{what} {done}/{total}", flush=True)

    return tell


def main() -> None:
    """Print the tables of a student."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="COCO-format folder")
    whom = parser.add_mutually_exclusive_group()
    whom.add_argument("--student", choices=list(STUDENTS), default="r18")
    whom.add_argument("--recipe")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--to", type=Path, help="results file, to go on from")
    parser.add_argument("--methods", nargs="+", choices=[*WEIGHTS, *TERMS], help="hosts and terms; default: all")
    parser.add_argument("--without-ikd", action="store_true", help="no rows with IKD")
    parser.add_argument("--table", action="store_true", help="train nothing, print what is there")
    options = parser.parse_args()
    values: Values = {"data.root": options.data} | ({"schedule.epochs": options.epochs} if options.epochs else {})
    results = finished(options.to)
    for name in [options.recipe] if options.recipe else STUDENTS[options.student]:
        recipe = load_recipe(name, values)
        print(f"{name}: {recipe.description}", flush=True)
        print(f"{measured(recipe, results, options)}\n", flush=True)


def measured(recipe: Recipe, results: Results, options: argparse.Namespace) -> str:
    """Choose a recipe's strengths, train its rows, and return its table."""
    if not options.table:
        from ikd.training import prepare

        wanted = recipe.with_values(PLAIN if options.without_ikd else IKD)
        prepare(wanted, notify())  # teachers, perturbations and boxes, once, before the processes start
    chosen = choose(recipe, results, options)
    listed = rows(recipe, chosen)
    if not options.table:
        judged = [made(recipe, row, seed) for seed in range(options.seeds) for row in listed]  # seed by seed
        alone = [one for listed in floors_of(recipe, options.seeds).values() for one in listed]
        train_all([*alone, *judged], results, options)
    return table(recipe, listed, results, options.seeds)


if __name__ == "__main__":
    main()
