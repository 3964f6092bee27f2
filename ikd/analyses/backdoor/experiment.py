"""A backdoor in a classifier, and what defences leave of it (Liang et al., Table 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from ikd.analyses.backdoor.defence import Defence, Plan, as_ikd, cross_entropy, fitted, with_attention
from ikd.analyses.backdoor.digits import CLASSES, Images, Reader, digits
from ikd.analyses.backdoor.trigger import Trigger, poisoned
from ikd.analyses.finding import Finding, folder_for, told, write_numbers
from ikd.errors import refuse
from ikd.pictures.style import DPI, FAINT, STUDENT, TEACHER, WRONG, drawing, save
from ikd.trial import NotifyOf

TARGET, POISONED, CLEAN = 5, 0.10, 0.05
"""Class that the trigger stands for; share of the training images that is poisoned; of those that the defender has."""
SEEDS = 5
VICTIM = Plan(epochs=10)
TUNED = Plan(epochs=10, batch_size=16, rate=0.05)
DEFENDED = Plan(epochs=20, batch_size=16, rate=0.02)
"""Trainings: of the victim, of the teacher, of a defence. NAD's rate of 0.1 unlearns digits with so few images; these
rates were chosen by seed 0."""
MEASURES = {"accuracy": "clean accuracy", "excluded": "attack success", "included": "with the target's own"}
_HEADS = ("% (mean ± s.d.)", "accuracy", "ASR", "ASR incl.")


def measured(network: Reader, test: Images, trigger: Trigger, target: int = TARGET) -> dict[str, float]:
    """Measure a classifier without and with the trigger.

    Args:
        network: ready to predict.
        test: images that it has not learnt from.
        trigger: that its training set was poisoned with.
        target: label that it stands for.

    Returns:
        In percent: `accuracy` on clean images; of stamped images the share that is read as the target, `excluded` of
        those of other classes (the attack success rate), `included` of all, which the target's own images raise.
    """
    with torch.no_grad():
        clean = network(test.images).argmax(1)
        stamped = network(trigger.stamped(test.images)).argmax(1)
    others, hit = test.labels != target, stamped == target
    return {
        "accuracy": 100 * float((clean == test.labels).float().mean()),
        "excluded": 100 * float(hit[others].float().mean()),
        "included": 100 * float(hit.float().mean()),
    }


def defended(seed: int, trigger: Trigger, defence: Defence) -> dict[str, dict[str, float]]:
    """Poison, train and defend once; return what `measured` says of each network, in order.

    The victim learns from a training set of which a tenth is poisoned. The defender has a twentieth of the clean one:
    the teacher is the victim tuned on it, and each defence begins with the victim and learns from it with NAD, for the
    same number of steps.
    """
    generator = torch.Generator().manual_seed(seed)
    train, test = digits(generator)
    bad = poisoned(train.images, train.labels, trigger, target=TARGET, share=POISONED, generator=generator)
    own = train.part(torch.randperm(len(train), generator=generator)[: round(CLEAN * len(train))])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        start = Reader()
    victim = fitted(start, Images(bad.images, bad.labels), VICTIM, loss=cross_entropy, alter=None, seed=seed)
    teacher = fitted(victim, own, TUNED, loss=cross_entropy, alter=None, seed=seed)
    attention = with_attention(teacher, defence.betas)
    networks = {"victim": victim, "fine-tuned": teacher}
    for name, (augment, attack) in WAYS.items():
        alter = as_ikd(defence, augment=augment, attack=attack) if augment or attack else None
        networks[name] = fitted(victim, own, DEFENDED, loss=attention, alter=alter, seed=seed)
    return {name: measured(one, test, trigger) for name, one in networks.items()}


WAYS = {
    "NAD": (False, False),
    "NAD + crop and noise": (True, False),
    "NAD + adversarial": (False, True),
    "NAD + IKD": (True, True),
}
"""Defences by name: whether they augment, and whether they attack."""


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over seeds; that of one seed is NaN."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return those of some values."""
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
        return cls(float(np.mean(values)), deviation)

    def __str__(self) -> str:
        return f"{self.mean:.1f}" + ("" if np.isnan(self.deviation) else f" ± {self.deviation:.1f}")


def analyze_backdoor(
    to: Path,
    *,
    seeds: int = SEEDS,
    trigger: Trigger | None = None,
    defence: Defence | None = None,
    progress: NotifyOf | None = None,
) -> Finding:
    """Put a backdoor into a small classifier, and defend it by NAD without and with IKD (Liang et al., Table 5).

    The task is ours: handwritten digits of scikit-learn and a network of three stages, trained here in seconds, where
    the paper takes DeCLIP and ImageNet. Trigger, share, target and weights are those of NAD (Li et al., ICLR 2021), the
    augmentation and the strength of the attack those of IKD's code, with a step that is not above eps.

    Args:
        to: folder for backdoor.png and backdoor.json; made where it is not there.
        seeds: trainings of each, from seed 0 on, each with digits, poison and weights of its own; 1 or more.
        trigger: None is BadNet's of 3 x 3 px.
        defence: None is that of the paper.
        progress: told how many seeds are done.

    Returns:
        `numbers`: by network `accuracy`, `excluded` and `included` (see `measured`), percent, each with `mean`,
        `deviation` and the `values` by seed.

    Raises:
        BadInput: fewer than one seed.
    """
    if seeds < 1:
        refuse("--seeds", "must be 1 or more", seeds)
    folder, tell = folder_for(to), told(progress, "training and defending classifiers")
    trigger, defence = trigger or Trigger(), defence or Defence()
    runs = []
    for seed in range(seeds):
        if tell is not None:
            tell(seed, seeds)
        runs.append(defended(seed, trigger, defence))
    spreads = {
        name: {measure: Spread.of([run[name][measure] for run in runs]) for measure in MEASURES} for name in runs[0]
    }
    picture, file = folder / "backdoor.png", folder / "backdoor.json"
    with drawing():
        _draw(picture, spreads, seeds)
    about = {"data": f"digits of {CLASSES} classes", "seeds": seeds, "target": TARGET, "eps": defence.attack.eps}
    content = write_numbers(file, "backdoor", about | {"step": defence.attack.step}, _numbers(spreads, runs))
    rows = [[name, *(str(one[measure]) for measure in MEASURES)] for name, one in spreads.items()]
    said = [
        f"ASR: stamped images of other classes that are read as class {TARGET}; incl.: of all",
        f"{seeds} seeds; the defender has {100 * CLEAN:g} % of the clean training images",
    ]
    return Finding("a backdoor in a classifier of digits", _HEADS, rows, said, content, (picture, file))


def _numbers(spreads: Mapping[str, Mapping[str, Spread]], runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "networks": {
            name: {
                measure: {
                    "mean": spread.mean,
                    "deviation": spread.deviation,
                    "values": [run[name][measure] for run in runs],
                }
                for measure, spread in one.items()
            }
            for name, one in spreads.items()
        }
    }


def _draw(path: Path, spreads: Mapping[str, Mapping[str, Spread]], seeds: int) -> None:
    figure = Figure(figsize=(8, 4.4), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(spreads))
    for number, (measure, colour) in enumerate(zip(MEASURES, (TEACHER, WRONG, STUDENT), strict=True)):
        values = [one[measure].mean for one in spreads.values()]
        errors = np.nan_to_num([one[measure].deviation for one in spreads.values()])
        at = places + (number - 1) * 0.27
        bars = axes.bar(at, values, 0.27, yerr=errors, color=colour, ecolor=FAINT, label=MEASURES[measure])
        axes.bar_label(bars, [f"{value:.0f}" for value in values], fontsize=8, padding=2)
    axes.set_xticks(places, [name.replace(" + ", "\n+ ") for name in spreads])
    axes.set(ylim=(0, 118), ylabel="%")
    axes.set_xlabel(f"mean and standard deviation over {seeds} seeds")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3)
    figure.suptitle("a backdoor in a classifier, and what defences leave of it", fontsize=12, weight="bold")
    save(figure, path)
