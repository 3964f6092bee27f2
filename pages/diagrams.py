"""The drawings of the pages on mathematics, made by ikd's own functions where there are any."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ikd.config import SearchSpace
from ikd.pictures.style import FAINT, INK, STUDENT, TEACHER, drawing
from ikd.sweep.effects.coordinates import Coordinates
from ikd.sweep.effects.model import Effects, Told

FIELD = "distill.mgd.alpha"
WITHIN = 1.645
"""Standard deviations of a normal distribution between which 90 % lie."""


def drawn() -> dict[str, bytes]:
    """Return every drawing as SVG, by its path below docs/."""
    with drawing():
        return {f"pictures/{name}.svg": _svg(figure) for name, figure in _figures().items()}


def _figures() -> dict[str, Figure]:
    return {"effects": effects(), "asha": asha(), "stages": stages()}


def effects() -> Figure:
    """Draw what the effects model makes of ten trainings over one weight."""
    random = np.random.default_rng(3)
    space = SearchSpace.model_validate({"recipe": "drawn_r18", "parameters": {FIELD: {"log_uniform": [1e-7, 1e-4]}}})
    trained, everywhere = np.sort(random.uniform(-7, -4, 10)), np.linspace(-7, -4, 200)
    values = 34 - 1.2 * (trained + 5.3) ** 2 + random.normal(0, 0.45, 10)

    def points(at: NDArray[np.floating[Any]]) -> Coordinates:
        return Coordinates.of(space, [{FIELD: float(10**one)} for one in at])

    model = Effects(Told.plain(points(trained), values))
    mean, variance = model.posterior(points(everywhere))
    band = WITHIN * np.sqrt(variance)
    figure, axes = _axes("log10 of the weight", "mAP")
    axes.fill_between(everywhere, mean - band, mean + band, color=TEACHER, alpha=0.15, lw=0)
    axes.plot(everywhere, mean, color=TEACHER, lw=2, label="believed")
    for draw in range(3):
        axes.plot(
            everywhere, _draw(model, points(everywhere), random), color=FAINT, lw=0.8, label="draws" * (draw == 0)
        )
    axes.plot(trained, values, "x", color=INK, ms=7, mew=1.6, label="trainings")
    axes.legend(loc="lower left")
    return figure


def _draw(model: Effects, points: Coordinates, random: np.random.Generator) -> NDArray[Any]:
    """Draw a function: the model told of noise-free values at places far apart, one after the other."""
    chosen = np.linspace(0, len(points.effects) - 1, 9).round().astype(int)
    at = Coordinates(points.effects[chosen], points.places[chosen])
    mean, variance = model.posterior(at)
    drawn_at = mean + np.sqrt(variance) * _smooth(random, len(chosen))
    whole, _ = model.posterior(points)
    shift = np.interp(np.arange(len(whole)), chosen, drawn_at - mean)
    kernel = np.hanning(41) / np.hanning(41).sum()
    return whole + np.convolve(np.pad(shift, 20, mode="edge"), kernel, mode="valid")


def _smooth(random: np.random.Generator, count: int) -> NDArray[Any]:
    """Return normal values of which neighbours are alike."""
    whites = random.standard_normal(count + 2)
    return (whites[:-2] + whites[1:-1] + whites[2:]) / np.sqrt(3)


def asha() -> Figure:
    """Draw trials that are judged at two rungs; half of those that come go on."""
    random, epochs = np.random.default_rng(1), np.arange(1, 13)
    figure, axes = _axes("epoch", "mAP")
    levels = np.linspace(26, 35, 8)
    curves = levels[:, None] * (1 - np.exp(-epochs / 4)) + random.normal(0, 0.25, (8, 12))
    left = list(range(8))
    ends = dict.fromkeys(left, 12)
    for rung in (3, 6):
        ranked = sorted(left, key=lambda one, rung=rung: -curves[one, rung - 1])  # type: ignore[misc]
        for one in ranked[len(ranked) // 2 :]:
            ends[one] = rung
        left = ranked[: len(ranked) // 2]
        axes.axvline(rung, color=FAINT, lw=1, ls=":")
        axes.text(rung + 0.1, 36, f"rung at epoch {rung}", fontsize=9, color=FAINT)
    for one, end in ends.items():
        whole = end == 12
        axes.plot(epochs[:end], curves[one, :end], color=STUDENT if whole else FAINT, lw=2 if whole else 1.2)
        if not whole:
            axes.plot(end, curves[one, end - 1], "x", color=INK, ms=6, mew=1.5)
    axes.set_ylim(4, 37.5)
    return figure


def stages() -> Figure:
    """Draw two stages of a teacher sequence, with the learning rate."""
    figure, axes = _axes("epoch", "")
    for left, width, text in ((0, 10, "stage 1: teacher R101"), (10, 14, "stage 2: teacher X101, with ME")):
        axes.barh(0, width, left=left, height=0.5, color=TEACHER, alpha=0.35 if left == 0 else 0.75, edgecolor="white")
        axes.text(left + 0.3, 0, text, va="center", fontsize=10)
    axes.barh(-0.7, 24, height=0.5, color=STUDENT, alpha=0.6)
    axes.text(0.3, -0.7, "the student goes on; loss modules begin anew with each teacher", va="center", fontsize=10)
    rate = np.select([np.arange(240) < 160, np.arange(240) < 220], [1.0, 0.5], 0.25)
    axes.plot(np.arange(240) / 10, 0.5 + 0.6 * rate, color=INK, lw=1.5)
    axes.text(0.3, 1.17, "learning rate (not to scale)", fontsize=9)
    axes.set_yticks([])
    axes.set_xlim(0, 24)
    axes.set_ylim(-1.1, 1.4)
    return figure


def _axes(across: str, up: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.add_subplot(xlabel=across, ylabel=up)
    return figure, axes


def _svg(figure: Figure) -> bytes:
    """Return a figure as SVG: the same bytes each time."""
    import matplotlib

    into = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "ikd"}):
        figure.savefig(into, format="svg", metadata={"Date": None})
    return into.getvalue()
