"""What each part of IKD and of DFMSD brings: one part at a time, weights chosen on a seed that does not judge.

    python -m benchmarks.ablation --data FOLDER [--epochs 12] [--set FIELD=VALUE] [--seeds 3] [--jobs 2] [--to FILE]

IKD (its Table 2): a host with one teacher and inherited neck and head, then with crop, noise or adversarial term, then
with all three. DFMSD (its Tables 10 and 11): two teachers in stages, then with masking enhancement, with semantic
alignment, with both; and the controls of equal budget, the last teacher alone for all epochs.

The factor of the host's published weights, of the adversarial term's, of DFMSD's, and SFA's weight are chosen on one
seed, and the rows judged on others. Differences are paired by seed. Finished trainings are kept in the results file, by
the content of their recipe: the same command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.methods import PLAIN, Results, Values, finished, notify, spread, strength, train_all
from ikd.config import Recipe, load_recipe, parse_sets

CHOOSING = 100
"""The seed on which weights are chosen; those that judge are 0, 1, 2, ..."""
FACTORS = (1.0, 0.1, 0.01)
ALIGNMENT = (10.0, 1.0, 0.1)
CROP = {"augment.enabled": True, "augment.noise.enabled": False}
NOISE = {"augment.enabled": True, "augment.crop.enabled": False}
BOTH = {"augment.enabled": True}
COPIES = {"adversarial.enabled": True}
ENHANCED = {"distill.me.enabled": True}
ALIGNED = {"distill.sfa.enabled": True}


@dataclass(frozen=True)
class Line:
    """One line of the table: its name, the one it is compared with, and its recipe for seed 0."""

    name: str
    against: str | None
    recipe: Recipe


class Ablation:
    """The trainings of one data set."""

    def __init__(self, options: argparse.Namespace, results: Results) -> None:
        self.options, self.results = options, results
        values: Values = {"data.root": options.data, "schedule.epochs": options.epochs, **PLAIN}
        sequence = load_recipe("small_dfmsd", values | parse_sets(options.set))
        last = sequence.teachers.stages[-1].teacher
        self.ikd = sequence.with_values(
            {"teachers.sequence": [last], "student.inherit": True, "distill.host": options.host}
        )
        self.dfmsd = sequence

    def chosen(self, what: str, listed: dict[float, Recipe]) -> float:
        """Return the key of the training that is best on the choosing seed, and print them all."""
        seeded = {key: one.with_values({"seed": CHOOSING, "name": f"{what} {key:g}"}) for key, one in listed.items()}
        train_all(list(seeded.values()), self.results, self.options)
        scores = {key: self.results.get(one.fingerprint(), {}).get("bbox_mAP", 0.0) for key, one in seeded.items()}
        best = max(scores, key=lambda key: scores[key])
        tried = ", ".join(f"{key:g}: {100 * score:.1f}" for key, score in scores.items())
        print(f"{what}: {best:g} (seed {CHOOSING}; {tried})", flush=True)
        return best

    def ikd_lines(self) -> list[Line]:
        """Return the lines of IKD, its weights chosen."""
        host = self.options.host
        by_factor = {factor: self.ikd.with_values(strength(self.ikd, host, factor)) for factor in FACTORS}
        base = by_factor[self.chosen(f"{host} x", by_factor)]
        copies = {factor: base.with_values({**COPIES, **strength(base, "adversarial", factor)}) for factor in FACTORS}
        term = strength(base, "adversarial", self.chosen("adversarial x", copies))
        parts = {"+ crop": CROP, "+ noise": NOISE, "+ adversarial": COPIES | term, "+ all three": BOTH | COPIES | term}
        alone = Line("student alone", None, base.student_alone())
        lines = [Line(f"{host} {part}", host, base.with_values(values)) for part, values in parts.items()]
        inheriting = Line("inheriting alone", alone.name, base.with_values({"distill.host": "none"}))
        return [alone, inheriting, Line(host, inheriting.name, base), *lines]

    def dfmsd_lines(self) -> list[Line]:
        """Return the lines of DFMSD, its weights chosen."""
        by_factor = {factor: self.dfmsd.with_values(strength(self.dfmsd, "dfmsd", factor)) for factor in FACTORS}
        base = by_factor[self.chosen("dfmsd x", by_factor)]
        aligned = {weight: base.with_values({**ALIGNED, "distill.sfa.weight": weight}) for weight in ALIGNMENT}
        alignment = {**ALIGNED, "distill.sfa.weight": self.chosen("sfa weight", aligned)}
        every = base.with_values({**ENHANCED, **alignment})
        name = "dfmsd, stages"
        return [
            Line(name, "student alone", base),
            Line(f"{name} + ME", name, base.with_values(ENHANCED)),
            Line(f"{name} + SFA", name, base.with_values(alignment)),
            Line(f"{name} + ME + SFA", name, every),
            Line("dfmsd, last teacher for all epochs", name, base.anchor("equal_budget")),
            Line(
                "dfmsd + ME + SFA, last teacher for all epochs",
                "dfmsd, stages + ME + SFA",
                every.anchor("equal_budget"),
            ),
        ]

    def table(self, lines: Sequence[Line]) -> str:
        """Train the lines with every seed and return the table as Markdown."""
        seeds = range(self.options.seeds)
        made = {
            line.name: [line.recipe.with_values({"seed": one, "name": line.name}) for one in seeds] for line in lines
        }
        train_all([one for recipes in made.values() for one in recipes], self.results, self.options)
        rows = ["| | mAP, best epoch | difference | mAP, last epoch | difference |", "|---|---|---|---|---|"]
        for line in lines:
            cells = []
            for metric in ("bbox_mAP", "last_bbox_mAP"):
                own, other = (self._scores(made.get(name or "", []), metric) for name in (line.name, line.against))
                cells.append(spread(list(own.values())) if own else "did not finish")
                paired = [own[seed] - other[seed] for seed in own if seed in other]
                cells.append(f"{spread(paired)} to {line.against}" if paired else "")
            rows.append(f"| {line.name} | {' | '.join(cells)} |")
        return "\n".join(rows)

    def _scores(self, recipes: Sequence[Recipe], metric: str) -> dict[int, float]:
        known = {one.seed: self.results.get(one.fingerprint()) for one in recipes}
        return {seed: 100 * found[metric] for seed, found in known.items() if found}


def main() -> None:
    """Choose the weights, train the lines, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="COCO-format folder, or ikd::drawn")
    parser.add_argument("--host", default="mgd")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="input.scale=[320,320]")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--to", type=Path, help="results file, to go on from")
    options = parser.parse_args()
    results = finished(options.to)
    from ikd.training import prepare

    ablation = Ablation(options, results)
    for recipe in (ablation.ikd.with_values(COPIES), ablation.dfmsd.with_values(ENHANCED)):
        prepare(recipe, notify())  # teachers, perturbations and boxes, once, before the processes start
    lines = [*ablation.ikd_lines(), *ablation.dfmsd_lines()]
    print(ablation.table(lines))


if __name__ == "__main__":
    main()
