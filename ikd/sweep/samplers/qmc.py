"""Points of a low-discrepancy sequence."""

from __future__ import annotations

from collections.abc import Iterator

from scipy.stats import qmc

from ikd.sweep.records.domains import at
from ikd.sweep.samplers.history import History, Values
from ikd.sweep.samplers.priors import priors_of


def qmc_values(history: History) -> Iterator[Values]:
    """Yield the point whose number is the trial's, scrambled by the seed of the space (Owen 1998; Halton: Owen 2017).

    Every parameter has a dimension of its own, taken through the quantiles of its domain or prior; where it does not
    exist under its parents' values its coordinate is left unused, so that what exists is covered evenly all the same.
    """
    space = history.space
    assert space.sampler.qmc is not None
    names = space.ordered()
    if not names:
        yield {}
        return
    sequences = {"sobol": qmc.Sobol, "halton": qmc.Halton}
    engine = sequences[space.sampler.qmc.sequence](len(names), scramble=True, rng=space.seed)
    if history.number:
        engine.fast_forward(history.number)
    unit = dict(zip(names, map(float, engine.random(1)[0]), strict=True))
    for name, prior in priors_of(space).items():
        unit[name] = prior.quantile(unit[name])
    yield space.active({name: at(space.parameters[name], place) for name, place in unit.items()})
