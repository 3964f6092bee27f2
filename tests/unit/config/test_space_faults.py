"""Malformed spaces, one fault each: what is said, in which file, at which line; and that the command does nothing else."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from ikd import cli
from ikd.config import load_recipe, load_runner, load_sweep, parse_sets
from ikd.errors import BadInput, ConfigError

HEAD = "recipe: drawn_r18\nparameters:\n"
BOMB = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)
MERGES = "b0: &b0 {k: 1}\n" + "".join(f"b{n}: &b{n} {{<<: [*b{n - 1}, *b{n - 1}]}}\n" for n in range(1, 15))

FAULTS = [
    # no YAML of ours
    ("recipe: drawn_r18\nparameters: {a: [1\n", 3, r"\(file\): must be YAML: expected ',' or '\]'"),
    ("recipe: drawn_r18\n\tseed: 1\n", 2, r"\(file\): must be YAML: found character '\\t'"),
    ("recipe: drawn_r18\nseed: 'a\n", 3, r"must be YAML: found unexpected end of stream"),
    ("recipe: drawn_r18\n---\nseed: 1\n", 2, r"must be YAML: but found another document"),
    ("recipe: drawn_r18\nseed: \x07\n", 2, r"must be YAML: character #x0007 is not allowed"),
    ("recipe: drawn_r18\nseed: 1\nseed: 2\n", 3, r"seed: is written twice; keep one"),
    ("recipe: drawn_r18\nbudget:\n  trials: 3\n  trials: 4\n", 4, r"budget\.trials: is written twice"),
    ("- recipe: drawn_r18\n", 1, r"\(file\): must be a mapping of field: value, but got 'list'"),
    ("# nothing\n", 1, r"recipe: is required"),
    ("recipe: drawn_r18\nseed: *a\n", 2, r"must be YAML: found undefined alias 'a'"),
    ("recipe: drawn_r18\nset: &a {b: *a}\n", 2, r"is nested more than 30 deep"),
    ("recipe: drawn_r18\n" + BOMB, 2, r"holds more than 20000 values, counting aliases"),
    (MERGES + "recipe: drawn_r18\n", 3, r"holds more than 20000 values, counting aliases"),
    ("recipe: drawn_r18\nset: " + "[" * 40 + "]" * 40 + "\n", 2, r"is nested more than 30 deep"),
    ("recipe: drawn_r18\nset: " + "[" * 4000 + "\n", 2, r"is nested more than 30 deep"),
    (
        "recipe: drawn_r18\nseed: !!python/object/apply:os.system [id]\n",
        2,
        r"tag .*python/object/apply:os\.system is not allowed",
    ),
    ("recipe: drawn_r18\nseed: !mine 3\n", 2, r"tag !mine is not allowed"),
    ("recipe: drawn_r18\nseed: !!set {a, b}\n", 2, r"tag .*:set is not allowed"),
    ("recipe: drawn_r18\nset:\n  ? [a]\n  : 1\n", 3, r"a key must be a text"),
    ("recipe: drawn_r18\n<<: 3\n", 2, r"must be YAML: expected a mapping or list of mappings"),
    ("recipe: drawn_r18\nseed: 0x_\n", 2, r"must be YAML: invalid literal for int"),
    (f"recipe: drawn_r18\nseed: {'9' * 5000}\n", 2, r"must be YAML: Exceeds the limit"),
    ('recipe: drawn_r18\ndescription: "\\ud800"\n', 2, r"holds half a character"),
    # fields
    ("recipe: drawn_r18\nparameter: {}\n", 2, r"parameter: is not a field here; did you mean 'parameters'\?"),
    ("recipe: drawn_r18\n1: {}\n", 2, r"1: is not a field here; the fields are recipe, description"),
    ('recipe: drawn_r18\n"a\\nb": {}\n', 2, r"a\\nb: is not a field here"),
    ("recipe: [drawn_r18]\n", 1, r"recipe: should be a valid string, but got \['drawn_r18'\]"),
    ("seed: 1\nrecipe: absent.yaml\n", 2, r"recipe: must be a readable UTF-8 text file.*, but got .*absent\.yaml'"),
    ('seed: 1\nrecipe: "a\\0b.yaml"\n', 2, r"recipe: must be a readable UTF-8 text file.*null byte"),
    (f"seed: 1\nrecipe: {'x' * 5000}\n", 2, r"recipe: must be a shipped recipe or a path ending in \.yaml"),
    ("recipe: drawn_r18\nparameters: [seed]\n", 2, r"parameters: should be an object, but got \['seed'\]"),
    ("recipe: drawn_r18\nset: {data: {root: 3}}\n", 2, r"set\.data\.root|set\.data: .*"),
    ("recipe: drawn_r18\nseed: 1.5\n", 2, r"seed: should be a valid integer"),
    ("recipe: drawn_r18\nseed: yes\n", 2, r"seed: should be a valid integer, but got 'yes'"),
    # parameters
    (HEAD + "  seed:\n", 3, r"parameters\.seed: should be an object"),
    (HEAD + "  seed: {choices: [1]}\n", 3, r"parameters\.seed\.choices: is not a field here; did you mean 'choice'\?"),
    (HEAD + "  seed: {choice: []}\n", 3, r"parameters\.seed: choice must list at least one value"),
    (
        HEAD + "  seed:\n    int: [9, 1]\n",
        3,
        r"parameters\.seed: int must be \[low, high\] with low below high, and is \[9, 1\]",
    ),
    (HEAD + "  seed: {int: [1, 1]}\n", 3, r"int must be \[low, high\] with low below high"),
    (HEAD + "  seed: {int: [1]}\n", 3, r"parameters\.seed\.int\[1\]: is required"),
    (HEAD + "  seed: {int: 3}\n", 3, r"parameters\.seed\.int: should be a valid array, but got 3"),
    (HEAD + "  seed: {int: [0, .inf]}\n", 3, r"parameters\.seed\.int\[1\]: "),
    (
        HEAD + "  attack.eps: {log_uniform: [0, 8]}\n",
        3,
        r"parameters\.attack\.eps: log_uniform needs a low end above 0, and has 0",
    ),
    (
        HEAD + "  attack.eps: {uniform: [.nan, 8]}\n",
        3,
        r"parameters\.attack\.eps\.uniform\[0\]: should be a finite number",
    ),
    (
        HEAD + "  attack.eps: {uniform: [1, 8], step: 0}\n",
        3,
        r"parameters\.attack\.eps\.step: should be greater than 0",
    ),
    (
        HEAD + "  seed: {int: [1, 8], when: {distill.host: fgd}}\n",
        3,
        r"parameters\.seed\.when\.distill\.host: must name another parameter of this space \(seed\)",
    ),
    (
        HEAD + "  seed: {choice: [1, 2], when: {seed: 1}}\n",
        3,
        r"parameters\.seed\.when\.seed: must not lead back to this parameter",
    ),
    (
        HEAD
        + "  distill.host: {choice: [fgd], when:\n      {augment.enabled: true}}\n  augment.enabled: {choice: [true], when:\n      {distill.host: fgd}}\n",
        4,
        r"must not lead back to this parameter",
    ),
    (
        HEAD
        + "  seed: {choice: [-1], when: {augment.enabled: true}}\n  augment.enabled: {choice: [true], when: {seed: -1}}\n",
        3,
        r"parameters\.seed\.when\.augment\.enabled: must not lead back to this parameter",
    ),
    (
        HEAD + "  seed: {choice: [-1], when: {distill.host: fgd}}\n",
        3,
        r"parameters\.seed\.when\.distill\.host: must name another parameter of this space \(seed\)",
    ),
    (
        HEAD + "  teachers.sequence: {choice: [[teacher, nobody]]}\n",
        3,
        r"parameters\.teachers\.sequence: must be a name under teachers\.available",
    ),
    (
        HEAD + "  teachers.sequence: {sequence: {of: [nobody]}}\n",
        3,
        r"sequence\.of\[0\]: must be a name under teachers\.available",
    ),
    (
        HEAD + "  seed: {int: [1, 8]}\n\n\nscheduler: {asha: {graze: 1}}\n",
        6,
        r"scheduler\.asha\.graze: is not a field here; did you mean 'grace_epochs'|scheduler\.asha\.graze: is not a field here",
    ),
]


@pytest.mark.parametrize(("text", "line", "message"), FAULTS)
def test_a_fault_has_its_file_and_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_sweep(path)
    assert re.search(rf"{re.escape(str(path))}:{line}: .*{message}", str(caught.value)), str(caught.value)
    assert len(str(caught.value)) < 7000


@pytest.mark.parametrize("load", [load_sweep, load_runner, load_recipe])
def test_what_is_no_text_is_refused(tmp_path: Path, load: object) -> None:
    assert callable(load)
    path = tmp_path / "space.yaml"
    path.write_bytes(b"recipe: drawn_r18\nseed: \xff\n")
    with pytest.raises(ConfigError, match=r"space\.yaml:2: \(file\): must be a readable UTF-8 text file"):
        load(path)
    path.write_bytes(b"# " + b"x" * 1_100_000)
    with pytest.raises(ConfigError, match="it is larger than 1 MB"):
        load(path)
    with pytest.raises(ConfigError, match="must be a readable UTF-8 text file"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "base: absent.yaml\n",
            r"recipe\.yaml:1: base: must be a shipped recipe or a file that is there, but got 'absent\.yaml'",
        ),
        ("seed: 1\nbase: drawn_r19\n", r"recipe\.yaml:2: base: must be a shipped recipe .*did you mean 'drawn_r18'"),
        ("base: [drawn_r18]\n", r"recipe\.yaml:1: base: must be a recipe name or a path"),
        ("base: other.yaml\nseed: 3\n", r"other\.yaml:3: schedule\.epochs: should be greater than or equal to 1"),
        (
            "base: other.yaml\nschedule: {epochs: -1}\n",
            r"recipe\.yaml:2: schedule\.epochs: should be greater than or equal to 1",
        ),
    ],
)
def test_faults_of_recipes_that_start_from_others(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "other.yaml").write_text("base: drawn_r18\nschedule:\n  epochs: 0\n")
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_recipe(tmp_path / "recipe.yaml")
    assert re.search(message, str(caught.value)), str(caught.value)


@pytest.mark.parametrize(
    "text", ["a=[1", "a=!!set {b}", "a=&a [*a]", "a={b: 1, b: 2}", "a=0x_", 'a="\\ud800"', "a=\x07"]
)
def test_set_takes_plain_yaml_only(text: str) -> None:
    with pytest.raises(BadInput, match="--set: a: the value must be YAML, but got"):
        parse_sets([text])


@pytest.mark.parametrize(
    ("text", "sets"),
    [
        ("recipe: drawn_r18\nparameters: {seed: {int: [9, 1]}}\n", []),
        ("recipe: drawn_r18\nset: !!python/object:os.system {}\n", []),
        ("recipe: [\n", []),
        ("recipe: drawn_r18\nparameters: {seed: {int: [1, 9]}}\n", ["seed=x"]),
        ("recipe: drawn_r18\nparameters: {seed: {int: [1, 9]}}\n", ["seed=[1"]),
    ],
)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_the_command_says_one_thing_and_does_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    sets: list[str],
    dry: list[str],
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    monkeypatch.setenv("IKD_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    options = [word for one in sets for word in ("--set", one)]
    monkeypatch.setattr(sys, "argv", ["ikd", "sweep", "bad.yaml", *options, *dry])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    shown = capsys.readouterr()
    assert ended.value.code == 2
    assert shown.out == ""
    said = [line for line in shown.err.splitlines() if not re.match(r"(loading|looking) .* \d+ s$", line)]  # took long
    assert len(said) == 1
    assert said[0].startswith("error: --set: " if sets else "error: bad.yaml:")
    assert [one.name for one in tmp_path.iterdir()] == ["bad.yaml"]
