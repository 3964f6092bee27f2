"""AP by class and size, and precision over recall: the student beside its teacher."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ikd.pictures.judged import Judged
from ikd.pictures.style import DPI, FAINT, STUDENT, TEACHER, plain, save

MOST_CLASSES = 80
"""Classes that a chart has room for: those with the most objects."""
_CURVES = 10
"""Classes whose curves are drawn one by one."""
_BAR = 0.38
_ROW_INCHES = 0.36
_SIZES = {"all": "bbox_mAP", "small\n< 32² px": "bbox_APs", "medium": "bbox_APm", "large\n> 96² px": "bbox_APl"}
_IOUS = {"IoU 0.50": slice(0, 1), "IoU 0.75": slice(5, 6), "mean of IoU 0.50 to 0.95": slice(0, 10)}


def shown_classes(counts: Sequence[int], most: int = MOST_CLASSES) -> list[int]:
    """Return the labels that a chart shows, in their order: those with the most objects where not all fit."""
    by_count = sorted(range(len(counts)), key=lambda label: (-counts[label], label))
    return sorted(by_count[:most])


def write_ap(
    path: Path, classes: Sequence[str], counts: Sequence[int], student: Judged, teacher: tuple[str, Judged] | None
) -> None:
    """Draw AP by size and by class as bars.

    Args:
        path: a `.png`.
        classes: names, by label.
        counts: objects of each.
        student: on the validation part.
        teacher: its name, and how it does.
    """
    shown = shown_classes(counts)
    sides = _sides(student, teacher)
    tall = max(1.2, _ROW_INCHES * len(shown) + 0.4)
    figure = Figure(figsize=(9, 3.4 + tall), dpi=DPI, layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=[2.4, tall])
    _bars_by_size(upper, sides)
    _bars_by_class(lower, classes, counts, shown, sides)
    all_fit = len(shown) == len(classes)
    more = "" if all_fit else f" ({len(shown)} of {len(classes)} classes: those with the most objects)"
    lower.set_title(f"by class{more}", loc="left")
    figure.suptitle("AP x100 on the validation part (boxes, IoU 0.50 to 0.95)", fontsize=12, weight="bold")
    save(figure, path)


def _sides(student: Judged, teacher: tuple[str, Judged] | None) -> list[tuple[str, Judged, str]]:
    """Return name, figures and colour of each detector, the teacher first."""
    first = [(f"teacher {plain(teacher[0])}", teacher[1], TEACHER)] if teacher is not None else []
    return [*first, ("student", student, STUDENT)]


def _bars_by_size(axes: Any, sides: Sequence[tuple[str, Judged, str]]) -> None:
    places = np.arange(len(_SIZES))
    for number, (name, one, colour) in enumerate(sides):
        values = [100 * one.metrics[key] for key in _SIZES.values()]
        bars = axes.bar(places + _offset(number, len(sides)), _drawable(values), _BAR, color=colour, label=name)
        axes.bar_label(bars, [_text(value) for value in values], fontsize=9, padding=2)
    axes.set_xticks(places, list(_SIZES))
    axes.set_ylim(0, _limit(sides, list(_SIZES.values())))
    axes.set_title("by size of objects", loc="left")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)


def _bars_by_class(
    axes: Any,
    classes: Sequence[str],
    counts: Sequence[int],
    shown: Sequence[int],
    sides: Sequence[tuple[str, Judged, str]],
) -> None:
    places = np.arange(len(shown))
    for number, (_, one, colour) in enumerate(sides):
        values = [100 * one.metrics[f"bbox_AP/{classes[label]}"] for label in shown]
        bars = axes.barh(places + _offset(number, len(sides)), _drawable(values), _BAR, color=colour)
        axes.bar_label(bars, [_text(value) for value in values], fontsize=8, padding=2)
    axes.set_yticks(places, [f"{plain(classes[label])} ({counts[label]})" for label in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0, _limit(sides, [f"bbox_AP/{classes[label]}" for label in shown]))
    axes.set_xlabel("AP x100; in brackets: objects in the validation part")


def _offset(number: int, sides: int) -> float:
    return (number - (sides - 1) / 2) * _BAR


def _drawable(values: Sequence[float]) -> list[float]:
    return [0.0 if math.isnan(value) else value for value in values]


def _text(value: float) -> str:
    return "no object" if math.isnan(value) else f"{value:.1f}"


def _limit(sides: Sequence[tuple[str, Judged, str]], keys: Sequence[str]) -> float:
    """Return the end of an axis: room for the text of the longest bar; weak detectors are not drawn as nothing."""
    values = [100 * one.metrics[key] for _, one, _ in sides for key in keys]
    return max(1.12 * max(_drawable(values), default=0.0), 1.0)


def write_pr(
    path: Path, classes: Sequence[str], counts: Sequence[int], student: Judged, teacher: tuple[str, Judged] | None
) -> None:
    """Draw precision over recall: means over classes, and the student's classes one by one.

    Args:
        path: a `.png`.
        classes: names, by label.
        counts: objects of each.
        student: on the validation part.
        teacher: its name, and how it does.
    """
    sides = _sides(student, teacher)
    figure = Figure(figsize=(12, 5.6), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2)
    styles = dict(zip(_IOUS, ("-", "--", ":"), strict=True))
    for name, one, colour in sides:
        for label, ious in _IOUS.items():
            curve = mean_curve(one.precision[ious])
            area = float(np.mean(curve)) if curve is not None else math.nan
            if curve is not None:
                text = f"{name}, {label}: AP {100 * area:.1f}"
                left.plot(_recall(curve), 100 * curve, styles[label], color=colour, label=text)
    left.set_title("mean over classes", loc="left")
    _draw_classes(right, classes, counts, student)
    for axes, columns in ((left, 1), (right, 2)):
        axes.set(xlim=(0, 100), ylim=(0, 102), xlabel="recall x100", ylabel="precision x100")
        axes.grid(color=FAINT, alpha=0.25)
        if axes.lines:
            axes.legend(loc="upper left", bbox_to_anchor=(0, -0.13), ncols=columns)
    figure.suptitle("precision over recall on the validation part", fontsize=12, weight="bold")
    save(figure, path)


def _draw_classes(axes: Any, classes: Sequence[str], counts: Sequence[int], student: Judged) -> None:
    shown = [label for label in shown_classes(counts, _CURVES) if counts[label]]
    for label in shown:
        curve = mean_curve(student.precision[:1, :, label : label + 1])
        if curve is not None:
            name = f"{plain(classes[label])}: AP50 {100 * float(np.mean(curve)):.1f}"
            axes.plot(_recall(curve), 100 * curve, label=f" {name}")
    some = f" ({len(shown)} of {len(classes)}: the most objects)" if len(shown) < len(classes) else ""
    axes.set_title(f"the student's classes{some}, IoU 0.50", loc="left")


def mean_curve(precision: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return the mean precision [recall] over overlaps and classes [IoU, recall, class]; None without an object."""
    known = precision[:, :, (precision > -1).all(axis=(0, 1))]
    if not known.size:
        return None
    curve: NDArray[np.float64] = np.asarray(known.mean(axis=(0, 2)), dtype=np.float64)
    return curve


def _recall(curve: NDArray[np.float64]) -> NDArray[Any]:
    return np.linspace(0, 100, len(curve))
