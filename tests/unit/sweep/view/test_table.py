from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ikd.config import Recipe
from ikd.sweep import Report, TrialRecord, ranking
from ikd.sweep.records.text import apart, decimals_of, duration, percent
from ikd.sweep.view.live import SweepView
from ikd.tracking import trial_name
from ikd.trial import State
from tests.unit.sweep.conftest import make_space


def record(
    number: int, name: str, metric: float, *, epochs: int = 6, state: State = "finished", anchors: tuple[str, ...] = ()
) -> TrialRecord:
    reports = tuple(Report(epoch, {"bbox_mAP": metric}, 10.0 * epoch, epoch) for epoch in range(1, epochs + 1))
    return TrialRecord(
        number, name, anchors, {}, True, str(number), Path(), state=state, metric=metric, best_epoch=1,
        seconds=10.0 * epochs, reports=reports, stage_ends=(6,), best=metric,
    )  # fmt: skip


def trials() -> list[TrialRecord]:
    return [
        record(0, "paper", 0.30, anchors=("paper",)),
        record(1, "student alone", 0.25, anchors=("student_alone",)),
        record(2, "2 mgd", 0.3349),
        record(3, "3 fgd", 0.28, epochs=2, state="stopped"),
    ]


def shown(records: list[TrialRecord], *, width: int = 120, **space: Any) -> str:
    text = io.StringIO()
    Console(file=text, width=width).print(ranking(records, make_space(**space)))
    return text.getvalue()


def rows(console_text: str) -> list[list[str]]:
    """Return the cells of the trials, which begin with a rank and a number and are two blanks apart."""
    lines = [line for line in console_text.splitlines() if re.match(r" *([0-9]+|-)◆? +[0-9]+  ", line)]
    return [re.split(r" {2,}", line.strip()) for line in lines]


def test_the_ranking_compares_with_both_anchors() -> None:
    text = shown(trials())
    assert rows(text) == [
        ["1", "2", "33.5", "33.5", "1", "33.5", "+3.5", "+8.5", "6", "1 min 00 s", "finished", "mgd"],
        ["2", "0", "30.0", "30.0", "1", "30.0", "-", "+5.0", "6", "1 min 00 s", "finished", "paper"],
        ["3", "3", "28.0*", "28.0", "1", "28.0", "-2.0", "+3.0", "2 of 6", "20 s", "stopped", "fgd"],
        ["4", "1", "25.0", "25.0", "1", "25.0", "-5.0", "-", "6", "1 min 00 s", "finished", "student alone"],
    ]
    assert "not comparable with whole trials" in text


LONG = {f"distill.term{index}.strength": 0.123456 * 10**-index for index in range(8)}


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_nothing_is_cut_in_any_width(width: int) -> None:
    """Names end with an ellipsis in a tracker's list; here every value that was searched can be read."""
    named = [replace(one, name=trial_name(one.number, LONG), values=LONG) for one in trials()[2:]]
    assert all(one.name.endswith("…") for one in named)
    text = shown([*trials()[:2], *named], width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    read = re.sub(r"\s+", " ", text)
    assert read.count(trial_name(0, LONG, 10_000).removeprefix("0 ")) == 2
    assert "vs" in text
    assert read.count("finished") == 3


def test_a_narrow_terminal_says_which_columns_it_leaves_out() -> None:
    pulled = [replace(one, reports=(Report(1, {"bbox_mAP": 0.2, "grad/fgd": 7.5}, 1.0, 1),)) for one in trials()]
    wide, narrow = shown(pulled, width=150), shown(pulled, width=80)
    assert "grad:" in wide
    assert "a wider terminal shows" not in wide
    assert "a wider terminal shows last and grad, too" in narrow
    assert "fgd 7.5" not in narrow


def test_weak_students_are_told_apart() -> None:
    weak = [record(0, "paper", 0.0009, anchors=("paper",)), record(1, "1 mgd", 0.00124)]
    assert [row[2] for row in rows(shown(weak))] == ["0.124", "0.090"]
    assert rows(shown(weak))[0][6] == "+0.034"


def test_no_difference_has_no_sign() -> None:
    pair = [record(0, "paper", 0.30, anchors=("paper",)), record(1, "1 mgd", 0.3001), record(2, "2 mgd", 0.2999)]
    assert [row[6] for row in rows(shown(pair))] == ["0.0", "-", "0.0"]


def test_what_an_interruption_left_says_so() -> None:
    waiting = record(0, "paper", 0.3, epochs=3, state="waiting", anchors=("paper",))
    assert rows(shown([waiting]))[0][-2:] == ["interrupted", "paper"]
    assert rows(shown([waiting]))[0][7] == "3 of 6"


def test_the_last_epoch_stands_beside_the_best() -> None:
    one = record(0, "paper", 0.30, anchors=("paper",))
    reports = (*one.reports, Report(7, {"bbox_mAP": 0.11}, 70.0, 7))
    fell = replace(one, stage_ends=(7,)).with_reports(reports, make_space().objective)
    assert rows(shown([fell]))[0][2:6] == ["20.5", "30.0", "1", "11.0"]
    assert rows(shown([fell]))[0][7] == "7", "all of them"
    by_value = {"last": ["11.0", "30.0", "1"], "best": ["30.0", "1", "11.0"]}
    for value, expected in by_value.items():
        space = make_space(objective={"value": value})
        records = [fell.with_reports(reports, space.objective)]
        assert rows(shown(records, objective={"value": value}))[0][2:5] == expected


def test_pulls_of_terms_stand_in_the_table_where_there_are_any() -> None:
    """A term that has ended is shown as it was measured last."""
    first = Report(1, {"bbox_mAP": 0.1, "grad/fgd": 7.51, "grad/adversarial": 11.5}, 10.0, 1)
    second = Report(2, {"bbox_mAP": 0.2, "grad/fgd": 0.62}, 20.0, 2)
    one, alone = record(0, "paper", 0.30, anchors=("paper",)), record(1, "student alone", 0.25)
    text = shown([replace(one, reports=(first, second)), alone], width=160)
    assert [row[7] for row in rows(text)] == ["fgd 0.62, adversarial 12", "-"]
    assert "the detection loss is 1" in text
    assert "grad" not in shown(trials(), width=160)


def test_anchors_are_named_for_people() -> None:
    records = [*trials(), record(4, "equal budget", 0.31, anchors=("equal_budget", "epochs_per_stage"))]
    text = shown(records, width=200)
    head = " ".join(text.partition("\n   1 ")[0].split())
    for word in ("paper", "student", "alone", "equal", "budget", "schedule"):
        assert word in head
    assert rows(text)[0][6:10] == ["+3.5", "+8.5", "+2.5", "+2.5"]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_gets_a_table_and_a_pipe_gets_lines(terminal: bool, recipe: Recipe) -> None:
    text = io.StringIO()
    console = Console(file=text, width=120, force_terminal=terminal, color_system=None)
    running = record(4, "4 mgd", 0.2, epochs=3, state="running")
    view = SweepView(console, make_space(), recipe, records=lambda: [*trials(), running], left=lambda: "about 5 s left")
    with view:
        view.started(running)
        view.note(4, "teacher 3/12")
        view.reported(running)
    plain = "trial 4: epoch 3/6, bbox_mAP 20.0 (best 20.0), about 5 s left" in text.getvalue()
    table = "4/8 trials ended" in text.getvalue()
    assert (plain, table) == (not terminal, terminal)


def live(records: list[TrialRecord], recipe: Recipe, *, width: int = 100, height: int = 40) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    view = SweepView(console, make_space(), recipe, records=lambda: records, left=lambda: "about 5 s left")
    view.note(9, "teacher 3/12")
    with console.capture() as captured:
        console.print(view.render())
    return captured.get().splitlines()


def test_what_runs_stands_on_top_of_the_live_table(recipe: Recipe) -> None:
    running = [record(8, "8 mgd", 0.1, epochs=2, state="running"), record(9, "9 fgd", 0.2, epochs=3, state="running")]
    waiting = record(7, "7 fgd", 0.1, epochs=1, state="waiting")
    lines = live([*trials(), waiting, *running], recipe)
    found = [line for line in lines if re.match(r" +\d+ ", line)]
    assert [line.split()[0] for line in found] == ["9", "8", "7", "2", "0", "3", "1"]
    assert "teacher 3/12" in found[0]
    assert "interrupted" in found[2]
    assert "2 of 6" in found[5], "epochs as trained, of those planned"


@pytest.mark.parametrize("height", [12, 24, 60])
@pytest.mark.parametrize("width", [80, 110])
def test_the_live_table_is_no_higher_than_the_terminal(width: int, height: int, recipe: Recipe) -> None:
    long = [replace(record(n, f"{n} …", 0.3 - n / 1000), values=LONG) for n in range(4, 40)]
    running = record(50, "50 mgd", 0.0, epochs=1, state="running")
    lines = live([*long, running], recipe, width=width, height=height)
    assert len(lines) <= height - 1
    assert next(line for line in lines if re.match(r" +\d+ ", line)).split()[0] == "50"
    assert any("more: ikd status" in line for line in lines)


def test_figures_read_as_in_the_papers() -> None:
    assert (percent(0.40649), percent(None), percent(0.012, sign=True)) == ("40.6", "-", "+1.2")
    assert (percent(-0.0004, sign=True), percent(0.0004, sign=True), percent(-0.0004)) == ("0.0", "0.0", "0.0")
    assert [decimals_of(values) for values in ([0.4, None], [0.0999, 0.09], [0.004], [0.0], [])] == [1, 2, 3, 1, 1]
    assert apart(0.10, 0.20) == ("10.0", "20.0")
    assert apart(0.00012, 0.00014) == ("0.012", "0.014")
    assert apart(0.2, 0.2) == ("20.0", "20.0")
    assert [duration(s) for s in (59.4, 61, 3599, 7260)] == ["59 s", "1 min 01 s", "59 min 59 s", "2 h 01 min"]
