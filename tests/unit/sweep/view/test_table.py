from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from ikd.config import Recipe
from ikd.sweep import Report, TrialRecord, ranking
from ikd.sweep.records.text import duration, percent
from ikd.sweep.view.live import SweepView
from ikd.trial import State
from tests.unit.sweep.conftest import make_space


def record(
    number: int, name: str, metric: float, *, epochs: int = 6, state: State = "finished", anchors: tuple[str, ...] = ()
) -> TrialRecord:
    reports = tuple(Report(epoch, {"bbox_mAP": metric}, 10.0 * epoch, epoch) for epoch in range(1, epochs + 1))
    return TrialRecord(
        number, name, anchors, {}, True, str(number), Path(), state=state, metric=metric, best_epoch=1,
        seconds=10.0 * epochs, reports=reports,
    )  # fmt: skip


def trials() -> list[TrialRecord]:
    return [
        record(0, "paper", 0.30, anchors=("paper",)),
        record(1, "student alone", 0.25, anchors=("student_alone",)),
        record(2, "2 mgd", 0.3349),
        record(3, "3 fgd", 0.28, epochs=2, state="stopped"),
    ]


def rows(console_text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in console_text.splitlines() if "│" in line]


def test_the_ranking_compares_with_both_anchors() -> None:
    text = io.StringIO()
    Console(file=text, width=120).print(ranking(trials(), make_space()))
    assert rows(text.getvalue()) == [
        ["1", "2", "mgd", "33.5", "33.5", "+3.5", "+8.5", "1 of 6", "1 min 00 s", "finished"],
        ["2", "0", "paper", "30.0", "30.0", "-", "+5.0", "1 of 6", "1 min 00 s", "finished"],
        ["3", "3", "fgd", "28.0*", "28.0", "-2.0", "+3.0", "1 of 2", "20 s", "stopped"],
        ["4", "1", "student alone", "25.0", "25.0", "-5.0", "-", "1 of 6", "1 min 00 s", "finished"],
    ]
    assert "not comparable with whole trials" in text.getvalue()


def test_the_last_epoch_stands_beside_the_best() -> None:
    one = record(0, "paper", 0.30, anchors=("paper",))
    fell = replace(one, reports=(*one.reports, Report(7, {"bbox_mAP": 0.11}, 70.0, 7)))
    text = io.StringIO()
    Console(file=text, width=120).print(ranking([fell], make_space()))
    assert rows(text.getvalue())[0][3:5] == ["30.0", "11.0"]


def test_pulls_of_terms_stand_in_the_table_where_there_are_any() -> None:
    """A term that has ended is shown as it was measured last."""
    first = Report(1, {"bbox_mAP": 0.1, "grad/fgd": 7.51, "grad/adversarial": 11.5}, 10.0, 1)
    second = Report(2, {"bbox_mAP": 0.2, "grad/fgd": 0.62}, 20.0, 2)
    one, alone = record(0, "paper", 0.30, anchors=("paper",)), record(1, "student alone", 0.25)
    text = io.StringIO()
    Console(file=text, width=160).print(ranking([replace(one, reports=(first, second)), alone], make_space()))
    cells = [row[6] for row in rows(text.getvalue())]
    assert cells == ["fgd 0.62, adversarial 12", "-"]
    assert "the detection loss is 1" in text.getvalue()
    text = io.StringIO()
    Console(file=text, width=160).print(ranking(trials(), make_space()))
    assert "grad" not in text.getvalue()


def test_anchors_are_named_for_people() -> None:
    records = [*trials(), record(4, "equal budget", 0.31, anchors=("equal_budget", "epochs_per_stage"))]
    text = io.StringIO()
    Console(file=text, width=200).print(ranking(records, make_space()))
    header = next(line for line in text.getvalue().splitlines() if "what" in line)
    for name in ("vs paper", "vs student alone", "vs equal budget", "vs whole schedule per stage"):
        assert name in header
    assert rows(text.getvalue())[0][5:9] == ["+3.5", "+8.5", "+2.5", "+2.5"]


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


def test_figures_read_as_in_the_papers() -> None:
    assert (percent(0.40649), percent(None), percent(0.012, sign=True)) == ("40.6", "-", "+1.2")
    assert [duration(s) for s in (59.4, 61, 3599, 7260)] == ["59 s", "1 min 01 s", "59 min 59 s", "2 h 01 min"]
