"""The comparison of searches: what is kept, what is made again, the tables, and what is refused."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.search import comparing
from benchmarks.search.__main__ import main
from benchmarks.search.comparing import Search, compared, searched
from benchmarks.search.families import FAMILIES
from benchmarks.search.methods import METHODS, NEW_DEFAULT, OLD_DEFAULT
from benchmarks.search.report import AFTER, BEFORE, Mean, draw, gain, summary, table, write_into
from benchmarks.search.results import Figures, Results
from ikd.errors import BadInput

RANDOM = "random, best seen"


def kept(file: Path, *, gains: tuple[float, ...] = (0.2, 0.4)) -> Results:
    results = Results(file)
    for seed, more in enumerate(gains, 1):
        results.add("bccd", OLD_DEFAULT, seed, {20: (34.0 + seed, 1.0), 40: (34.5 + seed, 2.0)})
        results.add("bccd", NEW_DEFAULT, seed, {20: (34.0 + seed + more, 0.1), 40: (34.5 + seed + 2 * more, -0.1)})
    return results


def test_the_table_by_hand(tmp_path: Path) -> None:
    # gains 0.2, 0.4: mean 0.3, standard error 0.1; of the qualities 35, 36: mean 35.5, standard error 0.5
    lines = table(kept(tmp_path / "found"), "bccd", [OLD_DEFAULT, NEW_DEFAULT, RANDOM], [20, 40]).splitlines()
    assert lines[2] == f"| {OLD_DEFAULT} | 2 | 35.50 ± 0.98 | 36.00 ± 0.98 |  |  | +1.00 ± 0.00 | +2.00 ± 0.00 |"
    assert lines[3].startswith(f"| {NEW_DEFAULT} | 2 | 35.80 ± 1.18 | 36.60 ± 1.37 | +0.30 ± 0.20 | +0.60 ± 0.39 |")
    assert lines[4] == f"| {RANDOM} | 0 |  |  |  |  |  |  |", "nothing is printed that was not found"


def test_the_summary_by_hand(tmp_path: Path) -> None:
    results = kept(tmp_path / "found")
    lines = summary(results, ["bccd", "drawn"], [OLD_DEFAULT, NEW_DEFAULT], [20, 40]).splitlines()
    assert lines[2] == f"| {NEW_DEFAULT}, 20 | +0.30 ± 0.20 |  |  |", "of drawn there is nothing, nor of both"
    assert lines[4] == f"| {NEW_DEFAULT} at 20, the old at 40 | -0.20 ± 0.20 |  |  |"
    both = Mean.over([Mean(1.0, 0.3, 5), Mean(2.0, 0.4, 5)])
    assert (both.value, both.count) == (1.5, 10)
    assert both.half == pytest.approx(0.25)


def test_gains_are_over_the_seeds_that_both_have(tmp_path: Path) -> None:
    results = kept(tmp_path / "found")
    results.add("bccd", NEW_DEFAULT, 3, {20: (99.0, 0.0)})
    found = gain(results, "bccd", NEW_DEFAULT, 20, OLD_DEFAULT, 20)
    assert found.count == 2
    assert found.value == pytest.approx(0.3)


def test_the_command_prints_the_table_from_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = kept(tmp_path / "found")
    monkeypatch.setattr(sys, "argv", ["search", "table", "bccd", "--to", str(tmp_path / "found")])
    main()
    printed = capsys.readouterr().out
    assert table(results, "bccd", list(METHODS), [20, 40, 80]) in printed
    assert summary(results, ["bccd"], list(METHODS), [20, 40, 80]) in printed


def test_the_tables_take_the_place_of_those_in_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    with pytest.raises(BadInput, match="into: must be a page with a line"):
        write_into(page, "x")
    page.write_text(f"before\n{BEFORE}{AFTER}\nafter\n")
    for tables in ("one", "two"):
        write_into(page, tables)
        assert page.read_text() == f"before\n{BEFORE}\n{tables}\n\n{AFTER}\nafter\n"
    figures = (Path(__file__).parents[3] / "docs" / "figures.md").read_text()
    assert BEFORE in figures
    assert AFTER in figures.partition(BEFORE)[2]


def counted(monkeypatch: pytest.MonkeyPatch, fails_at: int | None = None) -> list[Search]:
    made: list[Search] = []

    def search(one: Search) -> Figures:
        if len(made) == fails_at:
            raise KeyboardInterrupt
        made.append(one)
        return {trainings: (30.0 + one.seed, 0.5) for trainings in one.trainings}

    monkeypatch.setattr(comparing, "searched", search)
    return made


def test_a_comparison_goes_on_where_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, asked = tmp_path / "found", {"seeds": [1, 2], "methods": [OLD_DEFAULT, NEW_DEFAULT], "say": lambda _: None}
    first = counted(monkeypatch, fails_at=3)
    with pytest.raises(KeyboardInterrupt):
        compared(Results(file), ["bccd"], **asked)  # type: ignore[arg-type]
    assert len(first) == 3
    rest = counted(monkeypatch)
    compared(Results(file), ["bccd"], **asked)  # type: ignore[arg-type]
    assert rest == [Search("bccd", NEW_DEFAULT, 2, (20, 40, 80))]
    again = counted(monkeypatch)
    compared(Results(file), ["bccd"], **asked, trainings=(20, 60))  # type: ignore[arg-type]
    assert {one.trainings for one in again} == {(60,)}, "only the budget that is missing"
    assert Results(file).of("bccd", OLD_DEFAULT)[2] == {one: (32.0, 0.5) for one in (20, 40, 60, 80)}


def test_a_line_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    file = tmp_path / "found"
    kept(file)
    file.write_text(file.read_text()[:-20])
    results = Results(file)
    assert results.missing("bccd", NEW_DEFAULT, 2, [20]) == [20]
    results.add("bccd", RANDOM, 1, {20: (33.0, 1.0)})
    assert Results(file).of("bccd", RANDOM) == {1: {20: (33.0, 1.0)}}
    assert len(file.read_text().splitlines()) == 4


def test_a_file_of_one_line_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "found"
    file.write_text('{"trials": [1, 2]}')
    with pytest.raises(BadInput, match="line 1: must be a search"):
        Results(file)
    assert file.read_text() == '{"trials": [1, 2]}'


def test_what_was_found_under_other_settings_is_not_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "found"
    kept(file)
    monkeypatch.setattr("benchmarks.search.results.SETTINGS", {OLD_DEFAULT: {}, NEW_DEFAULT: {"sampler": "tpe"}})
    assert not Results(file).figures
    file.write_text(
        json.dumps({"world": "gone", "method": RANDOM, "seed": 1, "of": "x", "found": {"20": [1, 2]}}) + "\n"
    )
    assert not Results(file).figures


def lines() -> Iterator[str]:
    whole = {"world": "bccd", "method": RANDOM, "seed": 1, "of": "x", "found": {"20": [34.0, 1.0]}}
    yield "no JSON"
    yield "[]"
    yield json.dumps({name: whole[name] for name in list(whole)[:4]})
    for found in ({}, {"20": [34.0]}, {"20": [math.nan, 1.0]}, {"twenty": [1.0, 2.0]}, [1]):
        yield json.dumps({**whole, "found": found})


@pytest.mark.parametrize("line", list(lines()))
def test_another_file_is_refused_by_its_line(tmp_path: Path, line: str) -> None:
    file = tmp_path / "found"
    kept(file)
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(BadInput, match="line 5: must be a search"):
        Results(file)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"worlds": ["bcdd"]}, r"worlds: must be one of bccd, drawn, .*'bcdd'"),
        ({"methods": ["tpe"]}, "methods: must be one of"),
        ({"seeds": []}, "seeds: must be at least one"),
        ({"seeds": [-1]}, "seeds: must be at least one, none below 0"),
        ({"trainings": [3]}, "trainings: must be at least 4 each"),
        ({"trainings": []}, "trainings: must be"),
        ({"processes": 0}, "processes: must be at least 1"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, given: dict[str, object], message: str) -> None:
    asked = {"worlds": ["bccd"], **given}
    with pytest.raises(BadInput, match=message):
        compared(Results(tmp_path / "found"), **asked)  # type: ignore[arg-type]


def test_the_command_refuses_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["search", "compare", "nowhere", "--to", str(tmp_path / "found")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "worlds: must be one of bccd" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("world", ["bccd", *FAMILIES])
def test_every_world_can_be_searched(world: str) -> None:
    found = searched(Search(world, RANDOM, 1, (4, 6)))
    assert sorted(found) == [4, 6]
    for quality, excess in found.values():
        assert 20 < quality < 37
        assert -5 < excess < 10


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    draw(kept(tmp_path / "found"), ["bccd"], [OLD_DEFAULT, NEW_DEFAULT], [20, 40], tmp_path / "search.png")
    assert (tmp_path / "search.png").read_bytes()[:4] == b"\x89PNG"
