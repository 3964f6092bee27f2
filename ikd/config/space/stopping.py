"""What `scheduler: auto` stands for in a sweep."""

from __future__ import annotations

from ikd.config.space.search import Asha, Budget, NoStopping, Sampler, Scheduler

SHORT = 12
"""Up to so many epochs a training is short: what stopping it early saves is less than what is not learnt from it."""
ENOUGH = 40
"""So many whole trainings are enough to let each come to its end."""
FIRST_RUNG = 2
"""Epoch at which few short trainings are judged first; at epoch 1 they say too little of their ends."""
HALF = 2.0
"""One in this many goes on at half of a long training."""


class Chosen(Scheduler):
    """The scheduler that `auto` stands for in one sweep. A sweep's file holds the scheduler alone."""

    why: str = ""
    """For people."""

    @property
    def kind(self) -> str:
        """Name of the scheduler."""
        return next(name for name in self._given() if name != "why")

    def _given(self) -> list[str]:
        return [name for name in super()._given() if name in Scheduler.model_fields]


def chosen_scheduler(epochs: int, budget: Budget, sampler: Sampler, *, several: bool) -> Chosen:
    """Return what stops trials in a sweep that leaves it to us.

    * Nothing where a training has at most `SHORT` epochs and the budget is `ENOUGH` of them: simulated on recorded and
      synthetic sweeps, real quality is higher by 0.05 to 0.1 mAP without, since stopped trials teach the sampler
      little and early ranks mislead.
    * `asha` from epoch 2 with its own factor where there are fewer: with 20 short trainings it gained 0.05 mAP.
    * `asha` that lets the better half go on at half of a longer training: the gentlest rule saves a quarter of the
      epochs, and ranks at half of it hold.
    * Nothing for a factorial (`grid`), whose table compares whole trainings, nor where epoch 2 is the last.

    Samplers with populations rank what was stopped behind what finished, so the same holds for them. With costs asha
    compares fronts: by the objective alone it would stop what is cheap.

    Args:
        epochs: of a training.
        budget: its trials and epochs count.
        sampler: that proposes.
        several: whether costs shall be small besides.
    """
    trainings = budget.trainings(epochs)
    size = f"{epochs} epochs a training, {trainings} trainings in the budget"
    by: dict[str, str] = {"by": "nondominated"} if several else {}
    if sampler.grid is not None:
        return Chosen(none=NoStopping(), why="a factorial compares whole trainings")
    if epochs > SHORT:
        half = Asha.model_validate({"grace_epochs": (epochs + 1) // 2, "reduction_factor": HALF, **by})
        return Chosen(asha=half, why=f"{size}: above {SHORT} epochs the worse half stops half-way")
    if trainings >= ENOUGH:
        return Chosen(none=NoStopping(), why=f"{size}: from {ENOUGH} short ones on each may come to its end")
    if epochs <= FIRST_RUNG:
        return Chosen(none=NoStopping(), why=f"{size}: there is no epoch to judge at")
    why = f"{size}: below {ENOUGH} short ones the epochs are better spent on the promising"
    return Chosen(asha=Asha.model_validate({"grace_epochs": FIRST_RUNG, **by}), why=why)
