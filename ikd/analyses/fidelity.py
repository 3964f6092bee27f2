"""How faithfully a student sees what its teacher sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ikd.analyses.finding import Finding, folder_for, shown, write_numbers
from ikd.analyses.pair import Pair
from ikd.analyses.seen import SCORE, SIZES, check_score, figures, look, pseudo_truth
from ikd.pictures.style import DPI, STUDENT, TEACHER, drawing, plain, save
from ikd.trial import NotifyOf

_BAR = 0.38
_LABELS = ("all", "small\n< 32² px", "medium", "large\n> 96² px")


def analyze_fidelity(pair: Pair, to: Path, *, score: float = SCORE, progress: NotifyOf | None = None) -> Finding:
    """Measure the fidelity of a student (Liang et al., "Exploring Inconsistent Knowledge Distillation", Table 4).

    The teacher's boxes of the validation part with a score above `score` are taken for the truth, and the student's AP
    against them is its fidelity. The teacher's own is 100: its boxes below `score` rank below all that are objects. It
    is measured too, as a test of the measure; a teacher that gives more than 100 boxes of a class in an image, as some
    transformers do, may miss it by as much.

    Args:
        pair: student and teacher.
        to: folder for fidelity.png and fidelity.json; made where it is not there.
        score: 0..1.
        progress: told what is done, and how much of it.

    Returns:
        `numbers`: `student` and `itself` (the teacher), each `AP`, `APs`, `APm`, `APl` and `AP/<class>`, x100; `score`;
        `objects`, the boxes taken for the truth.

    Raises:
        BadInput: the teacher is sure of nothing, or what `look` refuses.
    """
    check_score(score)
    folder = folder_for(to)
    seen = look(pair, progress)
    truth = pseudo_truth(pair.files.val, seen.teacher, score)
    sides = {"teacher itself": figures(truth, seen.teacher), "student": figures(truth, seen.student)}
    objects = len(truth["annotations"])
    numbers = {"student": sides["student"], "itself": sides["teacher itself"], "score": score, "objects": objects}
    picture, file = folder / "fidelity.png", folder / "fidelity.json"
    title = f"fidelity of {plain(pair.name, 60)} to teacher {plain(pair.teacher_name)}"
    with drawing():
        _draw(picture, sides, title, f"against the teacher's {objects} boxes of score above {100 * score:g}")
    content = write_numbers(file, "fidelity", pair.about, numbers)
    rows = [[name, *(shown(one[size]) for size in SIZES)] for name, one in sides.items()]
    said = [f"{objects} boxes of the teacher with a score above {100 * score:g} are taken for the truth"]
    return Finding(title, ("AP x100 against the teacher", *SIZES), rows, said, content, (picture, file))


def _draw(path: Path, sides: Mapping[str, Mapping[str, float]], title: str, note: str) -> None:
    figure = Figure(figsize=(7.5, 4.2), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(SIZES))
    for number, ((name, one), colour) in enumerate(zip(sides.items(), (TEACHER, STUDENT), strict=True)):
        values = [one[size] for size in SIZES]
        bars = axes.bar(places + (number - 0.5) * _BAR, np.nan_to_num(values), _BAR, color=colour, label=name)
        axes.bar_label(bars, _texts(values), fontsize=9, padding=2)
    axes.set_xticks(places, list(_LABELS))
    axes.set(ylim=(0, 112), ylabel="AP x100 (IoU 0.50 to 0.95)")
    axes.set_title(note, loc="left", fontsize=9, weight="normal")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    figure.suptitle(title, fontsize=12, weight="bold")
    save(figure, path)


def _texts(values: Sequence[float]) -> list[str]:
    return ["no object" if np.isnan(value) else f"{value:.1f}" for value in values]
