"""How a space is searched: what is optimised, who proposes, who stops, what it may spend."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field
from typing_extensions import Self

from ikd.config.section import Count, NonNegative, Positive, Probability, Section

Cost = Literal["gflops", "mparameters", "latency_ms", "gpu_hours"]
Factor = Annotated[float, Field(gt=1.0)]


class OneKind(Section):
    """A section of which exactly one field is given; its name alone stands for it with its defaults."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _by_name(cls, written: Any) -> Any:
        if isinstance(written, (dict, OneKind)):
            return written
        if not isinstance(written, str) or written not in cls.model_fields:
            raise ValueError(f"must be {', '.join(cls.model_fields)}, or one of them with its settings")
        return {written: {}}

    @property
    def kind(self) -> str:
        """Name of the field that is given."""
        return self._given()[0]

    def _given(self) -> list[str]:
        return [name for name, value in self if value is not None]

    @pydantic.model_validator(mode="after")
    def _one(self) -> Self:
        if len(given := self._given()) != 1:
            names = ", ".join(type(self).model_fields)
            raise ValueError(f"needs exactly one of {names}, and has {' and '.join(given) or 'none'}")
        return self


_PARTS = ("mAP", "AP50", "AP75", "APs", "APm", "APl", "AR", "ARs", "ARm", "ARl")
_VOC = ("voc_AP50", "voc_AP50_07")
_METRICS = (*(f"{kind}_{part}" for kind in ("bbox", "segm") for part in _PARTS), *_VOC)


class Objective(Section):
    """What makes a trial better."""

    metric: Literal[_METRICS] = "bbox_mAP"  # type: ignore[valid-type]  # made of lists
    """Validation metric."""
    mode: Literal["max", "min"] = "max"
    """Direction."""
    value: Literal["last_two", "last", "best"] = "last_two"
    """What a trial counts with in ranking, samplers and budgets, and whose student it leaves: the mean of its last two
    validations and the last one's student, the last validation and its student, or the best over its epochs and that
    one's, which is too good by luck. Early stopping compares single validations."""


class Asha(Section):
    """Asynchronous successive halving: stops the worse trials at some epochs, the rungs."""

    grace_epochs: Count = 1
    """No trial stops before this epoch."""
    reduction_factor: Factor = 3.0
    """One in this many goes on at each rung."""
    brackets: Count = 1
    """Number of halving brackets with later first rungs."""
    rungs: Literal["geometric", "stages"] = "geometric"
    """geometric: grace_epochs times powers of reduction_factor; stages: the end of every stage but the last, and for a
    trial of one stage the ends in any sequence of the space."""
    first_stage_grace: bool = False
    """No trial stops before its first stage is over and the next teacher has had grace_epochs."""
    by: Literal["objective", "nondominated"] = "objective"
    """Compare trials at a rung by the objective alone, or by how many others dominate them in objective and costs."""


class Hyperband(Section):
    """Successive halving in every bracket from `grace_epochs` to the whole training (Li et al. 2018), asynchronous."""

    grace_epochs: Count = 1
    """First rung of the most eager bracket."""
    reduction_factor: Factor = 3.0
    """One in this many goes on at each rung."""


class Median(Section):
    """Stops a trial whose best so far is below the median of the others' running averages (Golovin et al. 2017)."""

    grace_epochs: Count = 1
    """No trial stops before this epoch."""
    min_trials: Count = 3
    """No trial stops before this many others have reached its epoch."""


class Pbt(Section):
    """Population-based training (Jaderberg et al. 2017) over loss weights: the worst go on from the best's weights."""

    interval_epochs: Count = 2
    """A trial is compared at every multiple of this epoch."""
    quantile: Annotated[float, Field(gt=0.0, le=0.5)] = 0.25
    """Share at the bottom that goes on from a random trial of the same share at the top."""
    perturbation: Factor = 1.25
    """A taken-over weight is multiplied or divided by this."""
    resample_probability: Annotated[float, Field(ge=0.0, le=1.0)] = 0.25
    """A taken-over weight is drawn anew from its range with this probability."""


class Hopeless(Section):
    """Stops a trial that can hardly come among the best: its end, predicted from those that finished, lies too low."""

    grace_epochs: Count = 2
    """No trial stops before this epoch."""
    min_trials: Annotated[int, Field(ge=4)] = 6
    """No trial stops before this many others have finished."""
    rank: Count = 3
    """The end must be able to reach the finished trial of this rank: 1 is the best one."""
    deviations: NonNegative = 2.0
    """By so many standard deviations of the predictions' errors may the end be better than predicted."""

    @pydantic.model_validator(mode="after")
    def _ranked(self) -> Hopeless:
        if self.rank > self.min_trials:
            raise ValueError(f"rank must be at most min_trials ({self.min_trials}), and is {self.rank}")
        return self


class NoStopping(Section):
    """Every trial trains to the end."""


class Auto(Section):
    """One of the others, by the epochs of a training and the budget, when a sweep begins: see `chosen_scheduler`."""


class Scheduler(OneKind):
    """Early stopping: exactly one of `auto`, `asha`, `hyperband`, `median`, `hopeless`, `pbt`, `none`."""

    auto: Auto | None = None
    """None for short trainings and enough of them, else asha; chosen when the sweep begins, and told by the dry run."""
    asha: Asha | None = None
    """Asynchronous successive halving."""
    hyperband: Hyperband | None = None
    """Halving in several brackets."""
    median: Median | None = None
    """Median stopping rule."""
    hopeless: Hopeless | None = None
    """Stops what is predicted to end too low."""
    pbt: Pbt | None = None
    """Population-based training over loss weights."""
    none: NoStopping | None = None
    """Nothing is stopped early."""


class Tpe(Section):
    """Tree-structured Parzen estimator."""

    startup_trials: Annotated[int, Field(ge=0)] = 10
    """Random trials before the model proposes."""
    multivariate: bool = True
    """Model parameters jointly."""
    group: bool = True
    """Model conditional parameters in groups that occur together; needs multivariate."""
    constant_liar: bool = True
    """Keep parallel trials apart."""
    ei_candidates: Count = 24
    """Candidates drawn per proposal."""

    @pydantic.model_validator(mode="after")
    def _group_needs_multivariate(self) -> Tpe:
        if self.group and not self.multivariate:
            raise ValueError("group needs multivariate: true; set group: false or multivariate: true")
        return self


class EffectsModel(Section):
    """Thompson sampling on main effects, a product kernel and noise, one objective; in turn with TPE."""

    startup_trials: Annotated[int, Field(ge=0)] = 10
    """Random trials before the model proposes."""
    with_tpe: bool = True
    """Odd trials come from TPE, even ones from the model; false is the model alone."""


class Random(Section):
    """Independent draws from the ranges."""


class Grid(Section):
    """Every configuration of a finite space, shuffled by the seed of the space."""

    repeats: Count = 1
    """How often each configuration is trained: repeat r, from 0, with the recipe's seed plus r."""


class Qmc(Section):
    """A low-discrepancy sequence over all parameters: even cover with any number of trials."""

    sequence: Literal["sobol", "halton"] = "sobol"
    """Which sequence; both scrambled by the seed of the space."""


class CmaEs(Section):
    """Covariance matrix adaptation; numeric parameters without conditions only."""

    startup_trials: Annotated[int, Field(ge=0)] = 0
    """Random trials before the distribution proposes."""
    population: Annotated[int, Field(ge=4)] | None = None
    """Trials of one generation; null is 4 + 3 ln(number of parameters), rounded down."""
    sigma: Annotated[float, Field(gt=0.0, le=1.0)] = 0.25
    """First step size, as a share of each range."""


class Gp(Section):
    """Gaussian process with expected improvement; parameters under conditions are drawn at random beside it."""

    startup_trials: Count = 10
    """Random trials before the model proposes."""


class Nsga2(Section):
    """Genetic search for a Pareto front (Deb et al. 2002)."""

    population: Annotated[int, Field(ge=2)] = 20
    """Trials of one generation."""
    mutation_probability: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    """Of each parameter; null is one over the number of parameters."""
    crossover_probability: Annotated[float, Field(ge=0.0, le=1.0)] = 0.9
    """That a trial has two parents."""


class Sampler(OneKind):
    """Who proposes values: exactly one of `effects`, `tpe`, `random`, `grid`, `qmc`, `cmaes`, `gp`, `nsga2`."""

    effects: EffectsModel | None = None
    """Model-based, for one objective: sees what few trials show of each parameter."""
    tpe: Tpe | None = None
    """Model-based, for every space."""
    random: Random | None = None
    """Model-free."""
    grid: Grid | None = None
    """Full factorial."""
    qmc: Qmc | None = None
    """Low-discrepancy sequence."""
    cmaes: CmaEs | None = None
    """Evolution strategy for numbers."""
    gp: Gp | None = None
    """Gaussian process."""
    nsga2: Nsga2 | None = None
    """Genetic, for several objectives."""


class Confirm(Section):
    """What of a budget goes into finding out what the found is worth."""

    share: Annotated[float, Field(ge=0.0, le=0.5)] | None = None
    """Share of the trials, or of the epochs, that trains configurations again with other seeds, to choose. null is 0.1,
    and 0 below 30 trainings, with costs, and where nothing can be repeated (`pbt`, `grid`, a searched seed)."""
    apart: Annotated[int, Field(ge=0)] | None = None
    """Trainings of the chosen configuration and as many of the strongest anchor, which neither sampler nor choice ever
    see: 0, or at least 2. null is 3, 2 below 30 trainings, and 0 below 16 and where nothing can be repeated."""


class Budget(Section):
    """What a sweep may spend. Hours and epochs end all of it, the rest its search: whichever comes first."""

    trials: Count = 20
    """Number of trials, anchors included."""
    wall_hours: Positive | None = None
    """Hours by the clock, over all restarts of the sweep."""
    gpu_hours: Positive | None = None
    """Sum over trials of hours times GPUs per trial."""
    epochs: Count | None = None
    """Sum of trained epochs over all trials."""
    target: Probability | None = None
    """The search ends when one of its trials has ended with this objective (AP in 0..1). What of that was luck tell the
    trainings that follow: those that repeat, and those kept apart."""
    patience: Count | None = None
    """The search ends after this many of its trials in a row, anchors not counted, without a new best."""
    confirm: Confirm = Confirm()
    """Trainings with other seeds, counted among the trials."""

    def trainings(self, epochs: int) -> int:
        """Return how many trainings of so many epochs it holds when none is stopped."""
        return self.trials if self.epochs is None else min(self.trials, self.epochs // epochs)
