"""Every shipped search space with every shipped runner: loads, samples, and every sample is a recipe."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest
from rich.console import Console

from ikd.config import HOSTS, Chosen, SearchSpace, load_sweep
from ikd.config.space.search import Random, Sampler
from ikd.errors import ConfigError
from ikd.sweep import TrialRecord, dry_run
from ikd.sweep.proposals.anchors import anchor_proposals
from ikd.sweep.proposals.search import propose
from ikd.sweep.schedulers.asha import AshaJudge

ROOT = Path(__file__).resolve().parents[3]
SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))
RUNNERS = sorted((ROOT / "runners").glob("*.yaml"))
DRAWS = 600
"""At most so many, as a parameter below several choices is rare in the widest space; mostly far fewer do."""


def test_there_are_files_to_check() -> None:
    assert {path.stem for path in SPACES} >= {
        *("quickstart", "ikd", "dfmsd", "dfmsd_coco", "hosts", "toggles", "augmentation", "everything"),
        *("rtmdet", "yolox", "detr", "any"),
    }
    assert {path.stem for path in RUNNERS} >= {"local", "gpu"}


@pytest.mark.parametrize("space", SPACES, ids=lambda path: path.stem)
def test_every_draw_is_another_recipe(space: Path) -> None:
    files = load_sweep(space, RUNNERS[0])
    records: list[TrialRecord] = []
    for number in range(12):
        proposal = propose(files.space, files.recipe, records)
        assert proposal is not None
        assert set(proposal.values) <= {*files.space.fields, "seed"}
        print_ = proposal.recipe.fingerprint()
        records.append(TrialRecord(number, "", (), proposal.values, True, print_, Path(), state="failed"))
    assert len({record.fingerprint for record in records}) == 12


@pytest.mark.parametrize("space", SPACES, ids=lambda path: path.stem)
def test_every_parameter_acts_in_some_trial(space: Path) -> None:
    """Over many draws, each parameter is there, takes more than one value, and changing it alone changes the recipe."""
    files = load_sweep(space, RUNNERS[0])
    acting: set[str] = set()
    for number in range(DRAWS):
        if acting == set(files.space.parameters):
            break
        one = propose(random_draws(files.space), files.recipe, [], number=number)
        assert one is not None
        for name, value in one.values.items():
            if name in acting or name not in files.space.parameters:
                continue
            other = next(end for end in files.space.parameters[name].ends if end != value)
            with contextlib.suppress(ConfigError):  # the recipe takes the other value only together with others
                changed = files.recipe.with_values({**one.values, **files.space.expanded({name: other})})
                acting |= {name} if changed.fingerprint() != one.recipe.fingerprint() else set()
    assert acting == set(files.space.parameters)


def random_draws(space: SearchSpace) -> SearchSpace:
    """The space with all values as likely as one another, so that what is rare by its priors is drawn too."""
    alike = {name: domain.model_copy(update={"prior": None}) for name, domain in space.parameters.items()}
    return space.model_copy(update={"sampler": Sampler(random=Random()), "parameters": alike})


def test_the_hosts_are_all_there() -> None:
    files = load_sweep(ROOT / "search_spaces" / "hosts.yaml")
    hosts = {name for name, section in HOSTS.items() if not section.implementation}  # ours
    assert set(files.space.parameters["distill.host"].ends) == hosts
    for host in hosts:
        own = [name for name, domain in files.space.parameters.items() if domain.when == {"distill.host": host}]
        assert own, host
        assert all(name.startswith(f"distill.{host}.") for name in own)


def test_the_toggles_are_a_whole_factorial() -> None:
    plan = dry_run(ROOT / "search_spaces" / "toggles.yaml")
    assert (plan.configurations, plan.size, plan.trials, plan.anchors) == (8, 26, 26, 3)
    assert plan.epochs_bound == plan.epochs_expected == 26 * 9


def test_a_sequence_of_the_shipped_space_has_time_for_its_second_teacher() -> None:
    files = load_sweep(ROOT / "search_spaces" / "dfmsd.yaml")
    ends = files.space.stage_ends(files.recipe)
    assert ends == [(9,), (9,), (4, 9)]
    assert files.space.scheduler.asha is not None
    judge = AshaJudge(files.space.scheduler.asha, "max", ends)
    assert [judge.rungs(0, one) for one in ends] == [[6], [6], [6]]


@pytest.mark.parametrize(("name", "first"), [("ikd", 12), ("dfmsd_coco", 24 + 12)])
def test_the_spaces_of_coco_halve_half_way(name: str, first: int) -> None:
    """Of 24 epochs, in the second stage where there are two."""
    files = load_sweep(ROOT / "search_spaces" / f"{name}.yaml")
    asha, (ends, *_) = files.space.scheduler.asha, files.space.stage_ends(files.recipe)
    assert asha is not None
    assert not isinstance(files.space.scheduler, Chosen)
    assert asha.reduction_factor == 2
    assert AshaJudge(asha, "max", [ends]).rungs(0, ends) == [first]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("quickstart", "asha"), ("small", "asha"), ("augmentation", "asha"), ("everything", "none"), ("hosts", "none")],
)
def test_the_small_spaces_leave_stopping_to_us(name: str, kind: str) -> None:
    scheduler = load_sweep(ROOT / "search_spaces" / f"{name}.yaml").space.scheduler
    assert isinstance(scheduler, Chosen)
    assert scheduler.kind == kind


@pytest.mark.parametrize("name", ["quickstart", "ikd", "dfmsd", "hosts", "toggles", "augmentation", "everything"])
def test_the_papers_values_teach_the_sampler(name: str) -> None:
    files = load_sweep(ROOT / "search_spaces" / f"{name}.yaml", RUNNERS[0])
    assert anchor_proposals(files.space, files.recipe)[0].in_space


@pytest.mark.parametrize("runner", RUNNERS, ids=lambda path: path.stem)
def test_a_dry_run_reads_well_and_writes_nothing(runner: Path, ikd_home: Path) -> None:
    plan = dry_run(ROOT / "search_spaces" / "ikd.yaml", runner=runner)
    assert not ikd_home.exists()
    text = io.StringIO()
    Console(file=text, width=120).print(plan.render())
    for part in ("unlimited", "60, 3 of them anchors", "at most 1440", "with ASHA", "not measured yet", "distill.host"):
        assert part in text.getvalue()
