"""Search spaces over teacher sequences, fields that go together, factorials and anchors: what is legal, what is not."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from ikd.config import Domain, SweepFiles, load_recipe, load_sweep
from ikd.config.recipe.sections import Anchor
from ikd.config.space.sequences import Sequences
from ikd.errors import ConfigError

RECIPE = """
base: drawn_r18
student: {inherit: false}
teachers:
  available:
    mid: &teacher {config: ikd::retinanet_r18, arguments: {base_channels: 16, neck_channels: 64}, recipe: drawn_r18_teacher, ap: 30.5}
    weak: {config: ikd::retinanet_r18, arguments: {base_channels: 8, neck_channels: 64}, recipe: drawn_r18_teacher, ap: 20}
    best: {config: ikd::retinanet_r18, arguments: {base_channels: 32, neck_channels: 64}, recipe: drawn_r18_teacher, ap: 41.0}
    twin: {config: ikd::retinanet_r18, arguments: {base_channels: 24, neck_channels: 64}, recipe: drawn_r18_teacher, ap: 41.0}
    unknown: {config: ikd::retinanet_r18, arguments: {base_channels: 12, neck_channels: 64}, recipe: drawn_r18_teacher}
  sequence: [weak, mid]
"""
SEARCH = "  teachers.sequence: {sequence: {of: [mid, weak, best]}}\n"


def write(folder: Path, parameters: str = "  {}\n", rest: str = "", recipe: str = RECIPE) -> Path:
    (folder / "recipe.yaml").write_text(recipe)
    path = folder / "space.yaml"
    path.write_text(f"recipe: {folder / 'recipe.yaml'}\nparameters:\n{parameters}{rest}\n")
    return path


def load(folder: Path, parameters: str = "  {}\n", rest: str = "", recipe: str = RECIPE) -> SweepFiles:
    return load_sweep(write(folder, parameters, rest, recipe))


def refusal(folder: Path, parameters: str = "  {}\n", rest: str = "", recipe: str = RECIPE) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, parameters, rest, recipe)
    return str(caught.value)


AP = {"mid": 30.5, "weak": 20.0, "best": 41.0, "twin": 41.0}


@pytest.mark.parametrize(
    ("spec", "sequences"),
    [
        ({"of": ["mid", "weak"]}, ["mid", "weak", "weak mid"]),
        ({"of": ["mid", "weak"], "order": "any"}, ["mid", "weak", "mid weak", "weak mid"]),
        (
            {"of": ["mid", "weak"], "order": "any", "repeat": True, "length": [2, 2]},
            ["mid mid", "mid weak", "weak mid", "weak weak"],
        ),
        ({"of": ["mid"], "order": "any", "repeat": True, "length": [3, 3]}, ["mid mid mid"]),
        ({"of": ["best", "mid", "weak"], "length": [2, 3]}, ["weak mid", "weak best", "mid best", "weak mid best"]),
        ({"of": ["best", "mid", "weak"], "length": [3, 3]}, ["weak mid best"]),
        ({"of": ["best", "twin", "weak"], "length": [2, 2]}, ["weak best", "weak twin"]),  # equal AP does not rise
    ],
)
def test_legal_sequences(spec: dict[str, Any], sequences: list[str]) -> None:
    listed = Sequences.model_validate_json(json.dumps(spec)).listed(AP)
    assert sorted(map(" ".join, listed)) == sorted(sequences)
    assert [len(one) for one in listed] == sorted(len(one) for one in listed), "the shorter ones first"


@pytest.mark.parametrize("count", [1, 2, 4, 6])
def test_the_number_of_sequences_is_that_of_subsets_and_arrangements(count: int) -> None:
    names = [f"t{index}" for index in range(count)]
    ap = {name: float((7 * index) % 11) for index, name in enumerate(names)}
    spec = {"of": names, "length": [1, min(3, count)]}
    lengths = range(1, min(3, count) + 1)
    rising = Sequences.model_validate_json(json.dumps(spec)).listed(ap)
    assert len(rising) == sum(math.comb(count, length) for length in lengths)
    assert all(ap[a] < ap[b] for one in rising for a, b in itertools.pairwise(one))
    free = Sequences.model_validate_json(json.dumps({**spec, "order": "any"})).listed(ap)
    assert len({tuple(one) for one in free}) == len(free) == sum(math.perm(count, length) for length in lengths)


def test_a_loaded_space_has_sequences_as_a_choice(tmp_path: Path) -> None:
    space = load(
        tmp_path, SEARCH + "  seed: {choice: [1, 2], when: {teachers.sequence: [[weak, mid], [weak]]}}\n"
    ).space
    domain = space.parameters["teachers.sequence"]
    assert domain.sequence is None
    assert domain.choice is not None
    assert [list(one) for one in domain.choice] == [
        ["weak"],
        ["mid"],
        ["best"],
        ["weak", "mid"],
        ["weak", "best"],
        ["mid", "best"],
        ["weak", "mid", "best"],
    ]
    assert space.num_configurations() == 5 + 2 * 2
    assert space.is_active("seed", {"teachers.sequence": ["weak", "mid"]})
    assert not space.is_active("seed", {"teachers.sequence": ["mid"]})


def test_a_recipe_with_another_strength_has_other_sequences(tmp_path: Path) -> None:
    stronger = RECIPE.replace("ap: 20}", "ap: 35}")
    assert "ap: 35}" in stronger
    choice = load(tmp_path, SEARCH, recipe=stronger).space.parameters["teachers.sequence"].choice
    assert choice is not None
    assert ["mid", "weak"] in [list(one) for one in choice]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            "  teachers.sequence: {sequence: {of: [mid, wek]}}",
            r":3: parameters\.teachers\.sequence\.sequence\.of\[1\]: must be a name under teachers\.available \(.*mid, weak, .*\), but got 'wek'",
        ),
        ("  teachers.sequence:\n    sequence:\n      of:\n        - mid\n        - wek", r":7: .*of\[1\]"),
        (
            "  teachers.sequence: {sequence: {of: [mid, unknown]}}",
            r"of\[1\]: needs teachers\.available\.unknown\.ap, .*, but got 'unknown'",
        ),
        (
            "  teachers.sequence: {sequence: {of: [best, twin], length: [2, 2]}}",
            r"sequence\.sequence: allows no sequence: none of 2 teachers rises in ap \(best 41, twin 41\)",
        ),
        (
            "  teachers.sequence: {sequence: {of: [mid, weak], length: [1, 3]}}",
            r":3: .*sequence: length must be at most 2, the number of teachers in of, and is 3",
        ),
        (
            "  teachers.sequence: {sequence: {of: [mid, weak], length: [2, 1]}}",
            r"fewest not above most, and is \[2, 1\]",
        ),
        (
            "  teachers.sequence: {sequence: {of: [mid, weak], length: [0, 1]}}",
            r"sequence\.length\[0\]: should be greater than or equal to 1, but got 0",
        ),
        ("  teachers.sequence: {sequence: {of: []}}", r"of must name at least one teacher"),
        ("  teachers.sequence: {sequence: {of: [mid, mid]}}", r"none twice, and is \['mid', 'mid'\]"),
        ("  teachers.sequence: {sequence: {of: [mid], repeat: true}}", r"repeat needs order: any"),
        (
            "  teachers.sequence: {sequence: {of: [mid], order: strong_to_weak}}",
            r"sequence\.order: should be 'weak_to_strong' or 'any', but got 'strong_to_weak'",
        ),
        ("  teachers.sequence: {sequence: {of: [mid], lengths: [1, 2]}}", r"sequence\.lengths: is not a field here"),
        (
            "  teachers.sequence: {sequence: {of: [mid, weak, best], order: any, repeat: true, length: [1, 9]}}",
            r"allows more than 1000 sequences; narrow of or length",
        ),
        ("  teachers.sequence: {sequence: {of: [mid]}, choice: [[mid]]}", r"needs exactly one of choice, .*, sequence"),
        ("  teachers.sequence: {sequence: {of: [mid]}, step: 1}", r"step goes with uniform or int, not with sequence"),
        (
            "  distill.host: {sequence: {of: [mid]}}",
            r":3: parameters\.distill\.host\.sequence: goes only with teachers\.sequence",
        ),
        (
            SEARCH + "  seed: {choice: [1], when: {teachers.sequence: [weak, mid]}}",
            r":4: .*when\.teachers\.sequence: must be among the choices .* write \[\['weak', 'mid'\]\], .* but got 'weak'",
        ),
        (
            SEARCH + "  seed: {choice: [1], when: {teachers.sequence: [[mid, weak]]}}",
            r"must be among the choices .*, but got \['mid', 'weak'\]",
        ),
        (
            "  teachers.sequence: {choice: [[mid], [wek]]}",
            r"parameters\.teachers\.sequence: must be a name under teachers\.available .*, but got \['wek'\]",
        ),
    ],
)
def test_impossible_sequences_are_refused(tmp_path: Path, parameters: str, message: str) -> None:
    text = refusal(tmp_path, parameters + "\n")
    assert re.search(message, text), text


PER_STAGE = "set: {schedule.epochs_per_stage: 3}\n"


@pytest.mark.parametrize(
    ("parameters", "rest", "message"),
    [
        (
            SEARCH,
            PER_STAGE,
            r":3: parameters\.teachers\.sequence: must not change the number of epochs.* \['weak'\] trains 3",
        ),
        ("  teachers.sequence: {choice: [[mid], [best]]}\n", PER_STAGE, r"the recipe trains 6 and \['mid'\] trains 3"),
        (
            "  schedule.epochs_per_stage: {int: [1, 2]}\n",
            "",
            r"cannot be searched: trials are compared at equal epochs; anchors show",
        ),
    ],
)
def test_trials_train_equal_epochs(tmp_path: Path, parameters: str, rest: str, message: str) -> None:
    text = refusal(tmp_path, parameters, rest)
    assert re.search(message, text), text


def test_sequences_of_one_length_may_have_epochs_of_their_own(tmp_path: Path) -> None:
    two = "  teachers.sequence: {sequence: {of: [mid, weak, best], length: [2, 2]}}\n"
    files = load(tmp_path, two, PER_STAGE)
    assert files.recipe.total_epochs == 6
    assert files.space.stage_ends(files.recipe) == [(3, 6)] * 3


def test_the_space_knows_where_stages_end(tmp_path: Path) -> None:
    files = load(tmp_path, SEARCH)
    assert set(files.space.stage_ends(files.recipe)) == {(6,), (3, 6), (2, 4, 6)}
    fixed = load(tmp_path)
    assert fixed.space.stage_ends(fixed.recipe) == [(3, 6)]


ALONE = "base: drawn_r18\nteachers: {sequence: []}\nstudent: {inherit: false}\naugment: {enabled: false}\nadversarial: {enabled: false}\ndistill: {host: none}\n"


@pytest.mark.parametrize("anchor", ["inherit_alone", "equal_budget", "epochs_per_stage", "epochs_per_stage_control"])
def test_anchors_about_teachers_need_one(tmp_path: Path, anchor: str) -> None:
    text = refusal(tmp_path, rest=f"anchors: [paper, {anchor}]", recipe=ALONE)
    assert re.search(
        rf":4: anchors\[1\]: does not go with the recipe: .*teachers\.sequence.*, but got '{anchor}'", text
    ), text


def test_every_anchor_of_a_space_is_one_of_a_recipe(tmp_path: Path) -> None:
    from ikd.config.recipe.sections import ANCHORS

    assert get_args(Anchor) == tuple(ANCHORS)
    inheriting = RECIPE.replace("inherit: false", "inherit: true")
    space = load(tmp_path, rest=f"anchors: [{', '.join(ANCHORS)}]", recipe=inheriting).space
    assert space.anchors == tuple(ANCHORS)


def test_an_anchor_about_inheriting_needs_a_recipe_that_inherits(tmp_path: Path) -> None:
    assert re.search(
        r":4: anchors\[1\]: does not go with the recipe: student\.inherit must be true, .*, but got 'inherit_alone'",
        refusal(tmp_path, rest="anchors: [paper, inherit_alone]"),
    )


@pytest.mark.parametrize(
    ("parameters", "rest", "message"),
    [
        (
            "  augment.enabled: {choice: [true, false], also: [adversarial.enabld]}\n",
            "",
            r":3: parameters\.augment\.enabled\.also\[0\]: is no recipe field; did you mean 'adversarial\.enabled'\?, but got",
        ),
        (
            "  augment.enabled: {choice: [true, false], also: [augment.enabled]}\n",
            "",
            r"also\[0\]: must be fed by one parameter only",
        ),
        (
            "  augment.enabled: {choice: [true], also: [adversarial.enabled]}\n  adversarial.enabled: {choice: [true]}\n",
            "",
            r":3: .*also\[0\]: must be fed by one parameter only, but got 'adversarial\.enabled'",
        ),
        (
            "  seed: {int: [1, 2], also: [schedule.epochs]}\n",
            "",
            r"also\[0\]: cannot be searched: trials are compared at equal epochs",
        ),
        (
            "  augment.enabled: {choice: [true, false], also: [distill.host]}\n",
            "",
            r"parameters\.augment\.enabled: should be .*, but got True",
        ),
        (
            "  seed: {uniform: [0, 1]}\n  augment.noise.sigma: {uniform: [0, 1]}\n",
            "sampler: {grid: {}}",
            r":3: parameters\.seed: should be a valid integer",
        ),
        (
            "  augment.noise.sigma: {uniform: [0, 1]}\n",
            "sampler: {grid: {}}",
            r":3: parameters\.augment\.noise\.sigma: must be finite for sampler grid",
        ),
        (
            "  attack.steps: {int: [1, 200]}\n  attack.eps: {uniform: [2, 8], step: 0.01}\n",
            "sampler: {grid: {}}",
            r":2: parameters: must have at most 20000 configurations for sampler grid, but got 120200",
        ),
        (
            "  seed: {int: [0, 2]}\n",
            "sampler: {grid: {repeats: 2}}",
            r":4: sampler\.grid\.repeats: must be 1 when seed is searched",
        ),
        ("  {}\n", "sampler: {grid: {repeats: 0}}", r"sampler\.grid\.repeats: should be greater than or equal to 1"),
        (
            "  {}\n",
            "set: {seed: 2147483647}\nsampler: {grid: {repeats: 3}}",
            r"repeats: must leave the recipe's seed plus repeats below 2147483648, but got 3",
        ),
        ("  {}\n", "sampler: {grid: {}, random: {}}", r"sampler: needs exactly one of effects, tpe, random, grid"),
        (
            "  teachers.sequence: {choice: [[mid], [best]]}\n",
            "scheduler: {asha: {rungs: stages}}",
            r":4: scheduler\.asha\.rungs: needs a sequence of at least two teachers",
        ),
        (
            "  {}\n",
            "set: {teachers.sequence: [mid]}\nscheduler: {asha: {first_stage_grace: true}}",
            r":5: scheduler\.asha\.first_stage_grace: needs a sequence of at least two teachers",
        ),
        (
            "  {}\n",
            "scheduler: {asha: {rungs: stage}}",
            r"scheduler\.asha\.rungs: should be 'geometric' or 'stages', but got 'stage'",
        ),
    ],
)
def test_faults(tmp_path: Path, parameters: str, rest: str, message: str) -> None:
    text = refusal(tmp_path, parameters, rest)
    assert re.search(message, text), text


def test_a_field_that_goes_with_another_must_not_be_fixed(tmp_path: Path) -> None:
    path = write(tmp_path, "  augment.enabled: {choice: [true, false], also: [adversarial.enabled]}\n")
    with pytest.raises(ConfigError, match=r"--set: adversarial\.enabled: is searched by"):
        load_sweep(path, values={"adversarial.enabled": True})


def test_fields_that_go_together_are_one_parameter(tmp_path: Path) -> None:
    space = load(tmp_path, "  augment.enabled: {choice: [true, false], also: [adversarial.enabled]}\n").space
    assert space.num_configurations() == 2
    assert space.expanded({"augment.enabled": False}) == {"augment.enabled": False, "adversarial.enabled": False}


def test_a_space_made_by_a_program_is_checked_too() -> None:
    space = load_sweep(Path(__file__).parents[3] / "search_spaces" / "quickstart.yaml").space
    wrong = space.model_copy(update={"parameters": {"augment.noise.sigm": Domain(uniform=(0.0, 1.0))}})
    with pytest.raises(ConfigError, match=r"\(space\): parameters\.augment\.noise\.sigm: is no recipe field"):
        wrong.checked(load_recipe("drawn_r18"))
