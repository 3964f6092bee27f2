"""A sweep whose best seen is luck: every command, the card, the tracker and Python choose the same configuration."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from ikd.cli import app
from ikd.config import Recipe, SearchSpace, SweepFiles, load_recipe
from ikd.errors import BadInput
from ikd.export import export_sweep
from ikd.export import sweep as exporting
from ikd.export.card import _search
from ikd.sweep import Standing, best_trial, ranking, students, sweep_status
from ikd.sweep.mirror.announce import announce
from ikd.sweep.mirror.mirror import Mirror
from ikd.sweep.records.trials import Proposal, Role, TrialRecord
from ikd.sweep.storage.keeping import without_place
from ikd.sweep.study.database import open_storage
from ikd.sweep.study.folder import COMPLETE, sweep_folder, write_files
from ikd.sweep.study.study import SweepStudy
from ikd.sweep.view.live import SweepView
from ikd.tracking import NullTracker, Page, open_tracker
from ikd.tracking.mlflow_client import make_client
from tests.unit.sweep.conftest import make_runner, make_space

HOST, SIGMA = "distill.host", "augment.noise.sigma"
ALONE, LUCKY = 0, 16
"""The student alone, and the one training of a bad host that is better than all others."""
GOOD = [("fgd", 0.1 * k, 35.0 + 0.2 * (k % 2)) for k in range(8)]
BAD = [("mgd", 0.1 * k, 30.0) for k in range(7)]


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    parameters = {HOST: {"choice": ["fgd", "mgd"]}, SIGMA: {"uniform": [0, 1]}}
    return make_space(parameters=parameters, anchors=["student_alone"], budget={"trials": 24})


@pytest.fixture(scope="module")
def whole(space: SearchSpace, empty_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a complete sweep `s`: search, two repeats of what it chooses, two and two kept apart."""
    home, recipe = tmp_path_factory.mktemp("whole"), load_recipe("drawn_r18")
    folder = sweep_folder("s", home)
    folder.path.mkdir(parents=True)
    shutil.copy(empty_study, folder.path / "study.db")
    made = study_in(folder.path, space)
    write_files(folder, SweepFiles(space, recipe, make_runner()))

    def train(points: float, values: Mapping[str, Any], role: Role = "search", of: int | None = None) -> None:
        anchors = ("student_alone",) if not made.records else ()
        given = recipe.anchor("student_alone") if anchors else recipe.with_values(values)
        proposal = Proposal(values, given, anchors, role == "search" and not anchors, role, of)
        number = made.add(proposal, space).number
        made.started(number)
        metrics = {"bbox_mAP": points / 100} | ({"test/bbox_mAP": points / 200} if role == "apart" else {})
        for epoch in range(1, 7):
            made.report(number, epoch, metrics, 10.0 * epoch)
        made.end(number, "finished", "")

    train(29.0, {})
    for host, sigma, points in (*GOOD, *BAD, ("mgd", 0.75, 35.4)):
        train(points, {HOST: host, SIGMA: sigma})
    chosen = sweep_status("s", home=home).standing
    assert chosen is not None
    of = chosen.chosen.number
    for k, points in enumerate((35.2, 34.9), start=1):
        train(points, {**made.records[of].values, "seed": k}, "repeat", of)
    for k, points in enumerate((40.0, 34.0)):
        train(points, {**made.records[of].values, "seed": 1000 + k}, "apart", of)
        train(points - 6.5 + k, {"seed": 1000 + k}, "apart", ALONE)
    made.note(COMPLETE, len(made.records))
    return home


def study_in(folder: Path, space: SearchSpace) -> SweepStudy:
    return SweepStudy(open_storage(folder, "sqlite"), "s", folder, objective=space.objective)


@pytest.fixture
def study(whole: Path, space: SearchSpace, ikd_home: Path) -> SweepStudy:
    """Return the study of a copy of that sweep, in the home."""
    shutil.copytree(whole, ikd_home)
    return study_in(sweep_folder("s", ikd_home).path, space)


@pytest.fixture
def known(study: SweepStudy) -> Standing:
    found = sweep_status("s").standing
    assert found is not None
    return found


def plain(*arguments: str) -> Any:
    done = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)  # beside what a slow machine says meanwhile


def test_the_choice_is_not_the_best_seen(known: Standing) -> None:
    assert known.seen.number == LUCKY
    assert 1 <= known.chosen.number <= 8
    assert known.training in known.chosen.trainings
    distances = {one.number: abs(known.value(one) - known.chosen.mean) for one in known.chosen.trainings}
    assert distances[known.training.number] == min(distances.values()), "the nearest to what is expected"


def test_all_commands_and_python_agree(known: Standing, study: SweepStudy) -> None:
    training, chosen = known.training.number, known.chosen.number
    assert best_trial("s").number == training
    for told in (plain("list")[0], plain("status", "s"), plain("show", "s")):
        assert told["best_trial"] == training
        assert told["choice"]["configuration"] == chosen
        assert told["choice"]["training"] == training
        assert told["choice"]["expected"] == pytest.approx(known.chosen.mean / 100)
        assert told["choice"]["best_seen"] == {
            "trial": LUCKY,
            "value": pytest.approx(0.354),
            "luck": pytest.approx(known.luck / 100),
        }
        assert told["choice"]["gain"]["over"] == "student alone"
        assert told["choice"]["gain"]["difference"] == pytest.approx(0.06)
        assert told["choice"]["apart"] == {"trials": [19, 21], "value": pytest.approx(0.37), "test": 0.185}
    trials = plain("status", "s")["trials"]
    assert [(one["role"], one["of"]) for one in trials[17:20]] == [("repeat", chosen)] * 2 + [("apart", chosen)]
    assert trials[17]["expected"] == trials[chosen]["expected"] == pytest.approx(known.chosen.mean / 100)
    assert trials[ALONE]["expected"] is None, "it is no point of the space"
    for command in (["status", "s"], ["show", "s"]):
        text = " ".join(CliRunner().invoke(app, command, env={"COLUMNS": "250"}).output.split())
        assert f"chosen: trial {chosen} (" in text
        assert "better than the student alone with probability" in text
        assert f"best seen: 35.4 (trial {LUCKY}); {known.luck:.1f} of it is expected to be the luck" in text


def shown(records: list[TrialRecord], space: SearchSpace, known: Standing | None, width: int) -> str:
    text = io.StringIO()
    Console(file=text, width=width).print(ranking(records, space, known))
    return text.getvalue()


def test_the_table_ranks_by_what_is_expected(known: Standing, study: SweepStudy, space: SearchSpace) -> None:
    text = shown(study.records, space, known, 160)
    rows = [line for line in text.splitlines() if re.match(r" *(\d+|-) +\d+▲?  ", line)]
    numbers = [int(re.findall(r"\d+|-", row)[1]) for row in rows]
    order = [one.number for one in known.configurations]
    heads = [number for number in numbers if number not in range(17, 23)]
    assert heads == [*order, ALONE]
    at = numbers.index(known.chosen.number)
    assert numbers[at : at + 5] == [known.chosen.number, 17, 18, 19, 21], "repeats and what was kept apart below it"
    assert numbers[-3:] == [ALONE, 20, 22]
    assert re.match(r" +1 +\d+ +35\.\d ± \d\.\d +0\.\d\d ", rows[0])
    assert re.match(r" +- +17 +- +- ", rows[1]), "its further trainings have no expectation of their own"
    assert all(f"trial {known.chosen.number} again, seed {k}" in rows[at + k] for k in (1, 2))
    assert "student alone kept apart, seed 1000" in rows[-2]
    assert f"{LUCKY}▲" in text
    assert "▲ best seen" in text


@pytest.mark.parametrize("width", [80, 100])
def test_a_narrow_terminal_keeps_what_was_chosen_by(
    known: Standing, study: SweepStudy, space: SearchSpace, width: int
) -> None:
    text = shown(study.records, space, known, width)
    assert max(map(len, text.splitlines())) <= width
    for title in ("expected", "P(best)", "rank", "state"):
        assert title in text
    assert ("a wider terminal shows" in text) == (width == 80)


def test_the_table_says_that_its_gains_are_of_single_trainings(
    known: Standing, study: SweepStudy, space: SearchSpace
) -> None:
    text = " ".join(shown(study.records, space, known, 80).split())
    assert "vs: between single trainings, with the luck of both" in text
    assert "a wider terminal shows best, at epoch and last, too" in text
    alone = [replace(one, anchors=()) for one in study.records]
    assert "vs: between" not in shown(alone, space, known, 80), "no anchor, no such column"


def test_a_comparison_shows_what_is_expected_beside_what_was_seen(known: Standing, study: SweepStudy) -> None:
    """The lucky one was better once, and is expected to be worse; of the student alone nothing is expected."""

    def rows(one: int, other: int) -> str:
        done = CliRunner().invoke(app, ["compare", "s", str(one), str(other)], env={"COLUMNS": "200"})
        return done.output

    chosen, lucky = known.chosen, known.configurations[[one.number for one in known.configurations].index(LUCKY)]
    text = rows(chosen.number, LUCKY)
    figures = f"{chosen.mean:.1f} +{lucky.mean:.1f} +{lucky.mean - chosen.mean:+.1f}".replace(" +-", " +[-]")
    assert lucky.mean < chosen.mean
    assert re.search(rf"expected over seeds +{figures}", text)
    assert re.search(rf"best of all with probability +{known.chances[chosen.number]:.2f} +0\.\d\d", text)
    assert re.search(rf"expected over seeds +{chosen.mean:.1f} +{chosen.mean:.1f} +\+?0\.0", rows(chosen.number, 17))
    assert re.search(rf"expected over seeds +- +{chosen.mean:.1f} +-", rows(ALONE, chosen.number))
    assert "expected over seeds" not in rows(ALONE, 20), "nothing is expected of either"


def test_without_anything_finished_the_table_ranks_by_what_was_seen(study: SweepStudy, space: SearchSpace) -> None:
    running = [replace(one, state="running") for one in study.records[:17]]
    text = shown(running, space, None, 160)
    assert "P(best)" not in text
    assert re.search(rf"(?m)^ +1 +{LUCKY} ", text)


def test_the_live_table_has_the_order_of_the_ranking(
    known: Standing, study: SweepStudy, space: SearchSpace, recipe: Recipe
) -> None:
    def first(believed: Standing | None) -> int:
        console = Console(file=io.StringIO(), width=120, height=60, force_terminal=True, color_system=None)
        view = SweepView(
            console, space, recipe, records=lambda: study.records, left=lambda: "", known=lambda records: believed
        )
        with console.capture() as captured:
            console.print(view.render())
        return int(next(line for line in captured.get().splitlines() if re.match(r" +\d+ ", line)).split()[0])

    assert (first(known), first(None)) == (known.chosen.number, LUCKY)


@pytest.mark.parametrize("keep_top", [1, 2, 5])
def test_the_checkpoint_that_is_exported_stays(known: Standing, study: SweepStudy, keep_top: int) -> None:
    gone = {one.number for one in without_place(study.records, known, "max", keep_top)}
    assert not gone & {one.number for one in known.chosen.trainings}
    assert ALONE not in gone
    assert {19, 20, 21, 22} <= gone, "what was kept apart is never exported"
    assert (LUCKY in gone) == (known.chances[LUCKY] < 0.01)
    leading = {one.number for one in known.configurations[:keep_top]}
    assert not gone & leading
    bad = {one.number for one in known.configurations if known.chances[one.number] == 0}
    assert bad - leading <= gone


def test_at_every_trial_of_the_search_the_choice_has_its_checkpoint(
    study: SweepStudy, space: SearchSpace, recipe: Recipe
) -> None:
    """What is expected changes with every trial; checkpoints that have gone do not come back."""
    from ikd.sweep.confirm.standing import standing

    gone: set[int] = set()
    for count in range(2, len(study.records) + 1):
        records = study.records[:count]
        known = standing(space, recipe, records)
        assert known is None or not gone & {one.number for one in known.chosen.trainings}
        gone |= {one.number for one in without_place(records, known, "max", 1)}
    assert gone


class Tracked(NullTracker):
    """Remembers tags: of the sweep at None, of a trial at its number."""

    def __init__(self) -> None:
        self.tags: dict[int | None, dict[str, object]] = {}

    def start_sweep(
        self, name: str, *, tags: Mapping[str, object], params: Mapping[str, object], page: Page | None = None
    ) -> None:
        self.tags[None] = dict(tags)

    def start_trial(self, number: int, *, tags: Mapping[str, object], **others: Any) -> None:
        self.tags.setdefault(number, {}).update(tags)

    def compare(self, number: int | None, *others: Any, tags: Mapping[str, str] | None = None, **more: Any) -> None:
        self.tags.setdefault(number, {}).update(tags or {})


def test_the_tracker_is_told_the_same(known: Standing, study: SweepStudy, space: SearchSpace, recipe: Recipe) -> None:
    tracker, chosen, files = Tracked(), known.chosen.number, SweepFiles(space, recipe, make_runner())
    announce(tracker, files, sweep_folder("s"), study)
    mirror = Mirror(tracker, files, study)
    mirror.everything()
    mirror.compare(last=True)
    sweep = tracker.tags[None]
    assert str(sweep["chosen"]).startswith(f"chosen: trial {chosen} (")
    assert str(sweep["gain"]).startswith("better than the student alone with probability")
    assert str(sweep["best_seen"]).startswith(f"best seen: 35.4 (trial {LUCKY})")
    assert sweep["exported"] == str(known.training.number)
    assert (tracker.tags[17]["role"], tracker.tags[17]["of"]) == ("repeat", str(chosen))
    assert (tracker.tags[20]["role"], tracker.tags[20]["of"]) == ("apart", str(ALONE))
    assert (tracker.tags[ALONE]["role"], tracker.tags[chosen]["role"]) == ("anchor", "search")
    words = {number: str(tags.get("choice", "-")) for number, tags in tracker.tags.items() if number is not None}
    assert {number for number, text in words.items() if "chosen" in text} == {chosen, 17, 18}
    assert [number for number, text in words.items() if "exported" in text] == [known.training.number]
    assert words[LUCKY] == "best seen"


@pytest.mark.slow
def test_mlflow_has_the_marks_of_the_last_choice(
    known: Standing,
    study: SweepStudy,
    recipe: Recipe,
    template: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Runs that have ended take another mark, and lose theirs; they stay ended."""
    shutil.copy(template, tmp_path / "mlflow.db")
    stale = 3 if known.chosen.number != 3 else 4
    before = replace(known, configurations=tuple(one for one in known.configurations if one.number == stale))
    files = SweepFiles(known.space, recipe, make_runner())
    for belief in (before, known):  # each by a start of its own
        with open_tracker("local", home=tmp_path, folder=tmp_path / "sweeps" / "s") as tracker:
            tracker.start_sweep("s", tags={}, params={})
            mirror = Mirror(tracker, files, study)
            mirror.everything()
            monkeypatch.setattr("ikd.sweep.mirror.mirror.standing", lambda *given, belief=belief, **more: belief)
            mirror.compare(last=True)
            assert tracker.flush(60)
    client = make_client(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("ikd")
    runs = {run.data.tags.get("ikd.trial", ""): run for run in client.search_runs([experiment.experiment_id])}
    chosen = runs[str(known.chosen.number)]
    assert runs[str(stale)].data.tags["choice"] == ""
    assert runs[str(stale)].info.run_name == study.records[stale].name, "the star has gone on"
    assert "chosen" in chosen.data.tags["choice"]
    assert chosen.info.run_name.startswith("★ ")
    assert runs[str(LUCKY)].data.tags["choice"] == "best seen"
    assert runs[str(LUCKY)].info.run_name.startswith("▲ ")
    assert (runs["19"].data.tags["role"], runs["19"].data.tags["of"]) == ("apart", str(known.chosen.number))
    assert {runs[str(number)].info.status for number in (stale, known.chosen.number, LUCKY)} == {"FINISHED"}


@pytest.fixture
def context(study: SweepStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what an export notes for the card; nothing is exported."""

    def trial_folder(name: str, number: int, home: Path | None) -> Path:
        (tmp_path / "best.pth").touch()
        return tmp_path

    contexts: list[Any] = []
    monkeypatch.setattr(students, "trial_folder", trial_folder)
    monkeypatch.setattr(exporting, "export_student", lambda *given, context, **more: contexts.append(context))

    def noted(pick: Any = "best") -> Any:
        export_sweep("s", tmp_path / "out", pick=pick)
        return contexts[-1]

    return noted


def test_the_export_and_its_card_name_the_choice(known: Standing, context: Any) -> None:
    told = context()
    assert told.trial == known.training.number
    card = _search({**vars(told)})
    assert f"* chosen: trial {known.chosen.number} (" in card
    assert "better than the student alone with probability" in card
    assert f"{known.luck:.1f} of it is expected to be the luck of its seed" in card
    assert f"one of trials {known.chosen.number}, 17, 18" in card
    assert "the one nearest to what is expected, not the luckiest" in card
    assert "the mean 37.0 on the validation data of its trainings kept apart (trials 19, 21), 18.5 on the test" in card


def test_the_best_seen_is_exported_when_asked_for_only_and_says_so(known: Standing, context: Any) -> None:
    told = context(LUCKY)
    card = _search({**vars(told)})
    assert told.trial == LUCKY
    assert f"Not the configuration that the sweep chose, which is that of trial {known.chosen.number}." in card
    assert "and the best seen of all" in card
    assert "Its gain is not confirmed" in card
    assert "There is no figure that nobody has chosen by" in card
    assert "by these figures: those on the test part above. All" in _search({**vars(told)}, tested=True)
    apart = _search({**vars(context(19))})
    assert "The weights are of trial 19, a training kept apart." in apart
    assert "Nothing is expected of its configuration" in _search({**vars(context(ALONE))})


def test_a_knee_needs_costs(context: Any) -> None:
    with pytest.raises(BadInput, match="pick: knee needs a search space with costs, and this one has none; take best"):
        context("knee")
    with pytest.raises(BadInput, match="trial must be one of the sweep's, but got 99"):
        context(99)


def test_one_kept_apart_of_a_side_is_not_confirmed(study: SweepStudy) -> None:
    status = replace(sweep_status("s"), trials=tuple(study.records[:22]))  # two of the chosen, one of the anchor
    assert status.choice is not None
    assert status.choice["gain"] is None
    assert any(line.startswith("not confirmed: fewer than 2 trainings") for line in status.said_of_choice())
