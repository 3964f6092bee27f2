"""The table of a search space: what people read about ranges, conditions, priors and the search itself."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from ikd.config import load_sweep
from ikd.sweep.view.space import condition_text, short_names, space_table, values_text

ROOT = Path(__file__).resolve().parents[4]
SPACE = """
recipe: drawn_r18
description: everything
set: {schedule.epochs: 3, schedule.clip: null}
parameters:
  distill.host: {choice: [fgd, mgd, none], prior: {spread: 0.5}}
  augment.enabled: {choice: [true, false], also: [adversarial.enabled]}
  distill.sfa.levels: {choice: {fine: [0], all: [0, 1, 2]}}
  distill.fgd.alpha: {log_uniform: [1e-4, 1e-2], factor: 10, prior: {around: 1e-2}, when: {distill.host: fgd}}
  student.arguments.base_channels: {log_int: [16, 64], factor: 2}
  attack.steps:
    int: [1, 9]
    step: 2
    when: {any: [{distill.host: [fgd, mgd]}, {augment.enabled: true, not: {distill.sfa.levels: all}}]}
  attack.eps: {uniform: [3, 9], step: 0.5}
constraints: [attack.steps * attack.step >= attack.eps]
costs: [gflops]
objective: {metric: bbox_AP50}
sampler: {nsga2: {population: 4}}
scheduler: {asha: {by: nondominated}}
budget: {trials: 9, gpu_hours: 1.5, target: 0.4, patience: 5}
"""


def shown(text: str, folder: Path, width: int, values: dict[str, object] | None = None) -> str:
    path = folder / "space.yaml"
    path.write_text(text)
    files = load_sweep(path, values=values)
    stream = io.StringIO()
    Console(file=stream, width=width).print(space_table(files.space, files.recipe))
    return stream.getvalue()


def row(table: str, name: str) -> list[str]:
    (line,) = (line for line in table.splitlines() if line.startswith(f"│ {name} "))
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_a_row_says_all_about_a_parameter(tmp_path: Path) -> None:
    table = shown(SPACE, tmp_path, 200)
    assert row(table, "distill.host") == ["distill.host", "choice", "fgd | mgd | none", "fgd", "fgd ± 0.5", "-"]
    assert row(table, "distill.sfa.levels")[2:4] == ["fine = [0] | all = [0, 1, 2]", "all"]
    assert row(table, "distill.fgd.alpha") == [
        "distill.fgd.alpha", "log", "0.0001 to 0.01, each x10 (3)", "0.001", "0.01 ± 0.2", "distill.host is fgd",
    ]  # fmt: skip
    assert row(table, "student.arguments.base_channels")[1:4] == ["log int", "16 to 64, each x2 (3)", "8 *"]
    assert row(table, "attack.steps")[1:3] == ["int", "1 to 9 by 2 (5)"]
    assert row(table, "attack.eps")[1:3] == ["uniform", "3 to 9 by 0.5 (13)"]
    assert row(table, "+ adversarial.enabled")[0] == "+ adversarial.enabled"


def test_what_stands_below(tmp_path: Path) -> None:
    lines = [" ".join(line.split()) for line in shown(SPACE, tmp_path, 200).splitlines()]
    for line in (
        "* the recipe's own value is none of those searched",
        "set schedule.epochs 3, schedule.clip null",
        "constraints attack.steps * attack.step >= attack.eps",
        "objective bbox_AP50, the larger the better; and gflops, the smaller the better",
        "sampler nsga2: population 4, crossover_probability 0.9",
        "budget 9 trials, or 1.5 GPU-hours, or bbox_AP50 0.4, or 5 trials without a new best, whichever comes first",
        "confirm nothing is repeated or kept apart",
        "anchors paper, student_alone, inherit_alone",
    ):
        assert line in lines
    assert any(line.startswith("scheduler asha: grace_epochs 1,") and "by nondominated" in line for line in lines)
    (count,) = (line for line in lines if line.startswith("configurations"))
    files = load_sweep(tmp_path / "space.yaml")
    allowed = files.space.num_configurations(files.recipe)
    assert 0 < allowed < files.space.num_configurations()
    assert (
        count
        == f"configurations {files.space.num_configurations():,.0f}, of which {allowed:,.0f} fulfil the constraints"
    )


@pytest.mark.parametrize(
    ("trials", "text"),
    [
        (16, "confirm 2 trainings each of the chosen one and of an anchor are kept apart"),
        (40, "confirm 10% of them repeat what is promising; 3 trainings each of the chosen one and of an anchor are"),
    ],
)
def test_what_confirms_is_shown(trials: int, text: str, tmp_path: Path) -> None:
    space = SPACE.replace("trials: 9", f"trials: {trials}").replace("costs: [gflops]\n", "")
    space = space.replace("nsga2: {population: 4}", "random: {}").replace("by: nondominated", "grace_epochs: 1")
    assert text in " ".join(shown(space, tmp_path, 200).split())


def test_conditions_are_words(tmp_path: Path) -> None:
    shown(SPACE, tmp_path, 100)
    space = load_sweep(tmp_path / "space.yaml").space
    name = short_names(space)

    def words(when: dict[str, object]) -> str:
        return condition_text(when, space, name)

    assert words(space.parameters["attack.steps"].when) == (
        "distill.host is one of fgd, mgd or (augment is on and sfa.levels is not all)"
    )
    assert words({"augment.enabled": False, "any": [{"distill.host": "fgd"}, {"distill.host": "none"}]}) == (
        "augment is off and (distill.host is fgd or distill.host is none)"
    )
    assert words({"not": {"distill.host": ["fgd", "mgd"]}}) == "distill.host is none of fgd, mgd"
    assert words({"not": {"any": [{"distill.host": "fgd"}, {"augment.enabled": True}]}}) == (
        "not (distill.host is fgd or augment is on)"
    )
    assert (
        words({"all": [{"distill.host": "fgd"}, {"augment.enabled": True}]}) == "distill.host is fgd and augment is on"
    )
    assert words({}) == "-"


def test_names_are_short_where_that_is_clear(tmp_path: Path) -> None:
    text = (
        "recipe: drawn_r18\nparameters:\n  augment.enabled: {choice: [true]}\n  distill.fgd.alpha: {uniform: [0, 1]}\n"
    )
    shown(text + "  augment.noise.enabled: {choice: [true]}\n", tmp_path, 100)
    name = short_names(load_sweep(tmp_path / "space.yaml").space)
    assert [name(f) for f in ("augment.enabled", "distill.fgd.alpha", "augment.noise.enabled", "a.b.c.d")] == [
        "augment", "fgd.alpha", "noise", "a.b.c.d",
    ]  # fmt: skip


def test_a_fixed_parameter_is_called_so(tmp_path: Path) -> None:
    table = shown(SPACE, tmp_path, 200, {"distill.host": "fgd"})
    assert row(table, "distill.host")[1:3] == ["fixed", "fgd"]
    assert "only when" in shown(SPACE, tmp_path, 200)
    assert "only when" not in table


def test_many_choices_are_cut(tmp_path: Path) -> None:
    shown(f"recipe: drawn_r18\nparameters: {{attack.steps: {{choice: {list(range(1, 51))}}}}}", tmp_path, 100)
    text = values_text("attack.steps", load_sweep(tmp_path / "space.yaml").space.parameters["attack.steps"])
    assert text == " | ".join(map(str, range(1, 13))) + " | ... (38 more)"


@pytest.mark.parametrize("path", sorted((ROOT / "search_spaces").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_spaces_fit_the_terminal(path: Path) -> None:
    files = load_sweep(path)
    table = space_table(files.space, files.recipe)
    for width in (80, 100, 140):
        stream = io.StringIO()
        Console(file=stream, width=width).print(table)
        lines = stream.getvalue().splitlines()
        assert max(map(len, lines)) <= width
        body = [line for line in lines if line.startswith("│")]
        assert body
        assert all(line.endswith("│") for line in body), "nothing is cut off"
