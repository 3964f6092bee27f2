"""How teacher and student stand the attack that IKD crafts its copies with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ikd.analyses.finding import Finding, folder_for, shown, told, write_numbers
from ikd.analyses.pair import Pair
from ikd.analyses.seen import SIZES
from ikd.attack import TrainingImages, measured_on
from ikd.config import MAX_EPS, Recipe
from ikd.errors import refuse
from ikd.pictures.style import DPI, FAINT, STUDENT, TEACHER, drawing, plain, save
from ikd.training import perturbed_images
from ikd.trial import NotifyOf

SIDES = ("teacher", "student")


def analyze_robustness(pair: Pair, to: Path, *, eps: Sequence[float] = (), progress: NotifyOf | None = None) -> Finding:
    """Measure teacher and student on perturbed copies of the validation part.

    The attack is that of the student's recipe (section `attack`; DI-FGSM, Liang et al., section on adversarial
    features), against the teacher: the student sees copies that were made to fool another. A step is never larger than
    `eps`. The perturbations are kept as those of training are, and made once.

    Args:
        pair: student and teacher.
        to: folder for robustness.png and robustness.json; made where it is not there.
        eps: largest changes of a pixel, grey levels, 1..127; without one, the recipe's.
        progress: told what is done, and how much of it.

    Returns:
        `numbers`: `eps` and `steps` (largest change in one step), lists; `teacher` and `student`, each `clean` and
        `perturbed` (a list, by eps): `AP`, `APs`, `APm`, `APl` on the validation part, x100.

    Raises:
        BadInput: an eps out of range, or what `look` refuses.
    """
    recipes = [_with(pair.recipe, one) for one in check_eps(eps or [pair.recipe.attack.eps])]
    folder = folder_for(to)
    found = _measured(pair, recipes, progress)
    strengths = [one.attack.eps for one in recipes]
    picture, file = folder / "robustness.png", folder / "robustness.json"
    with drawing():
        _draw(picture, strengths, found, f"{plain(pair.name, 60)} and teacher {plain(pair.teacher_name)}")
    steps = [one.attack.step for one in recipes]
    content = write_numbers(file, "robustness", pair.about, {"eps": strengths, "steps": steps, **found})
    rows = [row for side in SIDES for row in _rows(side, strengths, found[side])]
    said = ["perturbed against the teacher; eps in grey levels"]
    title = f"robustness: {plain(pair.name, 60)}"
    return Finding(title, ("AP x100 on the validation part", *SIZES), rows, said, content, (picture, file))


def check_eps(values: Sequence[float]) -> list[float]:
    """Return strengths in their order, each once.

    Raises:
        BadInput: one is no strength.
    """
    for one in values:
        if not 1 <= one <= MAX_EPS:
            refuse("--eps", f"must be in 1..{MAX_EPS:g} grey levels", one)
    return sorted(set(values))


def _with(recipe: Recipe, eps: float) -> Recipe:
    return recipe.with_values({"attack.eps": eps, "attack.step": min(recipe.attack.step, eps)})


def _measured(pair: Pair, recipes: Sequence[Recipe], progress: NotifyOf | None) -> dict[str, Any]:
    """Perturb for each recipe, then look by one detector after the other."""
    images = TrainingImages.of(pair.recipe, pair.files.val, pair.files.val_images)
    content = pair.files.seen.val.fingerprint
    teacher = pair.teacher()
    stores = [perturbed_images(recipe, images, content, teacher, progress)[0] for recipe in recipes]
    found: dict[str, Any] = {side: {"clean": {}, "perturbed": []} for side in SIDES}
    for side, detector in zip(SIDES, (teacher, pair.student()), strict=True):
        for recipe, store in zip(recipes, stores, strict=True):
            clean, perturbed = measured_on(
                detector,
                images,
                store,
                batch_size=recipe.attack.batch_size,
                workers=recipe.schedule.workers,
                progress=told(progress, f"{side} on copies of eps {recipe.attack.eps:g}"),
            )
            found[side]["clean"] = _figures(clean)
            found[side]["perturbed"].append(_figures(perturbed))
    return found


def _figures(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: 100 * metrics[f"bbox_{own}"] for name, own in SIZES.items()}


def _rows(side: str, strengths: Sequence[float], found: Mapping[str, Any]) -> list[list[str]]:
    rows = [[f"{side}, clean", *(shown(found["clean"][size]) for size in SIZES)]]
    for eps, one in zip(strengths, found["perturbed"], strict=True):
        rows.append([f"{side}, eps {eps:g}", *(shown(one[size]) for size in SIZES)])
    return rows


def _draw(path: Path, strengths: Sequence[float], found: Mapping[str, Any], title: str) -> None:
    figure = Figure(figsize=(7.5, 4.2), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    at = [0.0, *strengths]
    highest = 1.0
    for side, colour in zip(SIDES, (TEACHER, STUDENT), strict=True):
        values = [found[side]["clean"]["AP"], *(one["AP"] for one in found[side]["perturbed"])]
        highest = max(highest, *values)
        axes.plot(at, values, "o-", color=colour, label=side)
        for place, value in zip(at, values, strict=True):
            axes.annotate(f"{value:.1f}", (place, value), xytext=(5, 5), textcoords="offset points", fontsize=9)
    axes.set(ylim=(0, 1.15 * highest), xticks=at, xlabel="largest change of a pixel, grey levels (0: clean)")
    axes.set_ylabel("AP x100 on the validation part")
    axes.grid(color=FAINT, alpha=0.25)
    axes.set_title("copies made to fool the teacher", loc="left", fontsize=9, weight="normal")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    figure.suptitle(title, fontsize=12, weight="bold")
    save(figure, path)
