"""The command itself: how it is called, how much it prints, what a shell completes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import ikd
from ikd.cli import app
from ikd.cli.arguments import expanded, folder_to_make, names_of_recipes, names_of_sweeps
from ikd.data import draw_dataset
from ikd.errors import BadInput, ConfigError
from ikd.progress import (
    Loudness,
    library_level,
    loudness,
    progress_console,
    say,
    set_loudness,
    wide_console,
    working,
)

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = [
    *(
        ["sweep"],
        ["status"],
        ["list"],
        ["show"],
        ["compare"],
        ["report"],
        ["stop"],
        ["train"],
        ["attack"],
        ["export"],
        ["ui"],
        ["doctor"],
    ),
    *(
        ["data", "check"],
        ["data", "draw"],
        ["data", "split"],
        ["data", "from-voc"],
        ["space", "show"],
        ["space", "schema"],
        ["track", "rebuild"],
    ),
    *(["recipe", "list"], ["recipe", "show"]),
    ["analyze", "fidelity"],
    ["analyze", "confusion"],
    ["analyze", "fourier"],
    ["analyze", "frequency"],
    ["analyze", "robustness"],
    ["analyze", "heatmaps"],
    ["analyze", "backdoor"],
]

GROUPS: list[list[str]] = [[], ["data"], ["space"], ["track"], ["recipe"], ["analyze"]]


def test_the_version_is_told_in_three_ways() -> None:
    said = CliRunner().invoke(app, ["--version"])
    assert (said.exit_code, said.output) == (0, f"ikd {ikd.__version__}\n")
    done = subprocess.run([sys.executable, "-m", "ikd", "--version"], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == f"ikd {ikd.__version__}\n"
    assert {"__version__", "run_sweep"} <= set(dir(ikd))


@pytest.mark.parametrize("command", [["train", "drawn_r18"], ["export", "mine"], ["space", "schema"]], ids=" ".join)
@pytest.mark.parametrize("below", ["", "there/deep"])
def test_a_file_where_a_folder_is_to_be_is_refused(command: list[str], below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    done = CliRunner().invoke(app, [*command, "--to", str(tmp_path / "file" / below)])
    assert isinstance(done.exception, BadInput)
    assert f"--to: must be a folder, and {tmp_path / 'file'} is a file" in str(done.exception)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("command", [*GROUPS, *COMMANDS], ids=" ".join)
def test_every_help_is_whole_at_this_width(command: list[str], columns: int) -> None:
    done = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": str(columns)}, terminal_width=columns)
    assert done.exit_code == 0
    assert "..." not in done.output.replace("[ARGS]...", ""), "no sentence is cut"
    assert max(map(len, done.output.splitlines())) <= columns
    if command in COMMANDS:
        assert "Example: ikd " + " ".join(command) in done.output


def test_every_path_of_a_command_may_begin_with_the_home_folder() -> None:
    """A shell leaves `~` where it is quoted, and in `--to=~/x`; the option has to expand it."""
    groups = [app, *(group.typer_instance for group in app.registered_groups)]
    commands = [command.callback for group in groups if group for command in group.registered_commands]
    assert len(commands) == len(COMMANDS)
    paths = 0
    for command in commands:
        for name, hint in typing.get_type_hints(command, include_extras=True).items():
            kind, *options = typing.get_args(hint) or (None,)
            if kind in (Path, Path | None):
                assert options[0].callback in (expanded, folder_to_make), f"{command}: {name}"
                paths += 1
    assert paths == 27
    assert folder_to_make(Path("~/x")) == Path("~/x").expanduser()


def test_a_quoted_home_folder_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    drawn = CliRunner().invoke(app, ["data", "draw", "~/drawn", "--train", "10", "--val", "10", "--size", "128"])
    assert (drawn.exit_code, (tmp_path / "drawn" / "train.json").is_file()) == (0, True), drawn.output
    options = ["--train", "~/drawn/train.json", "--images=~/drawn/images,~/drawn/images"]
    for given in (["~/drawn"], ["~/drawn", *options], ["~/drawn", "--recipe", "drawn_r18"]):
        done = CliRunner().invoke(app, ["data", "check", *given])
        assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("option", "wrong"), [("--train", 9), ("--val", 9), ("--size", 127), ("--size", 4097), ("--seed", -1)]
)
def test_what_cannot_be_drawn_is_refused_by_its_option(option: str, wrong: int, tmp_path: Path) -> None:
    names = {"--train": "num_train", "--val": "num_val", "--size": "size_px", "--seed": "seed"}
    done = CliRunner().invoke(app, ["data", "draw", str(tmp_path / "d"), option, str(wrong)])
    assert done.exit_code == 2
    assert f"Invalid value for '{option}': Input should be" in " ".join(done.output.split())
    with pytest.raises(BadInput, match=rf"^{names[option]}: must be"):  # as whoever calls it is told
        draw_dataset(tmp_path / "d", **{names[option]: wrong})


def test_how_much_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    heard = {}
    for one in Loudness:
        set_loudness(one)
        assert loudness() is one
        with working("teacher"):
            pass
        say("epoch 1")
        progress_console(wide_console()).print("table")
        shown = capsys.readouterr()
        heard[one] = (shown.out, shown.err, library_level())
    assert heard[Loudness.QUIET] == ("", "", 40)
    assert heard[Loudness.USUAL] == ("epoch 1\ntable\n", "teacher ... 0 s\n", 40)
    assert heard[Loudness.VERBOSE] == ("epoch 1\ntable\n", "teacher ... 0 s\n", 20)


@pytest.mark.parametrize(
    ("options", "expected"), [(["-q"], Loudness.QUIET), (["-v"], Loudness.VERBOSE), ([], Loudness.USUAL)]
)
def test_the_options_set_it(
    options: list[str], expected: Loudness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IKD_HOME", str(tmp_path))
    set_loudness(Loudness.VERBOSE)
    assert CliRunner().invoke(app, [*options, "list"]).exit_code == 0
    assert loudness() is expected


def test_quiet_and_verbose_at_once_are_refused() -> None:
    done = CliRunner().invoke(app, ["-q", "-v", "list"])
    assert isinstance(done.exception, BadInput)
    assert "--quiet: must not come with --verbose" in str(done.exception)


def test_a_shell_completes_sweeps_trials_and_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IKD_HOME", str(tmp_path))
    for path in ("mine/trials/0", "mine/trials/12", "more/trials/1", "other/trials", "half"):
        (tmp_path / "sweeps" / path).mkdir(parents=True)
    for name in ("mine", "more", "other"):
        (tmp_path / "sweeps" / name / "sweep.yaml").touch()
    assert names_of_sweeps("m") == ["mine", "more"]
    assert names_of_sweeps("") == ["mine", "more", "other"]
    assert names_of_recipes("small_r18") == ["small_r18", "small_r18_teacher"]
    asked = {"_IKD_COMPLETE": "complete_bash", "COMP_WORDS": "ikd show mine 1", "COMP_CWORD": "3"}
    done = subprocess.run(
        [sys.executable, "-m", "ikd"], capture_output=True, text=True, cwd=ROOT, env={**os.environ, **asked}
    )
    assert done.stdout.split() == ["12"]


def test_the_shipped_recipes_are_listed_by_table() -> None:
    done = CliRunner().invoke(app, ["recipe", "list"], env={"COLUMNS": "140"})
    lines = done.output.splitlines()
    at = {line.strip(): index for index, line in enumerate(lines) if line.startswith(("IKD Table", "DFMSD Table"))}
    assert at["DFMSD Table 2"] < at["DFMSD Table 10"]
    assert {"IKD Table 1", "IKD Table 3", "DFMSD Table 11"} <= set(at)
    assert sum(name in done.output for name in names_of_recipes("")) == len(names_of_recipes(""))
    assert any(line.split() == "small_r18 RetinaNet R18 x0.125 from R18 x0.5 at 160 px".split() for line in lines)


def test_a_recipe_says_where_each_value_is_from(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("base: small_r18\nschedule:\n  epochs: 7\n")
    done = CliRunner().invoke(app, ["recipe", "show", str(tmp_path / "mine.yaml"), "--set", "distill.host=mgd"])
    found: dict[str, str] = {}
    for line in done.output.splitlines():
        said, _, source = line.rpartition("#")
        found[said.strip()] = source.strip()
    assert found["schedule.epochs: 7"] == f"{tmp_path / 'mine.yaml'}:3"
    assert found["distill.host: mgd"] == "--set"
    assert found["teachers.sequence: [r18x32]"].startswith("small_r18.yaml:")
    assert found["student.inherit: true"].startswith("drawn_r18.yaml:"), "its base's base"
    assert found["input.flip: 0.5"] == "default"
    failed = CliRunner().invoke(app, ["recipe", "show", "small_r17"])
    assert isinstance(failed.exception, ConfigError)
    assert "did you mean 'small_r18'" in str(failed.exception)


@pytest.mark.parametrize(("name", "encoding"), [("\ud800", "utf-8"), ("\U0001f600", "iso-8859-1")])
def test_names_that_the_terminal_cannot_say_are_no_traceback(tmp_path: Path, name: str, encoding: str) -> None:
    content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": name}]}
    for split in ("train", "val"):
        (tmp_path / f"{split}.json").write_text(json.dumps(content))
    shown = subprocess.run(
        [sys.executable, "-m", "ikd", "data", "check", str(tmp_path)],
        env=os.environ | {"PYTHONIOENCODING": encoding, "IKD_HOME": str(tmp_path / "home")},
        capture_output=True,
        check=False,
    )
    assert shown.returncode == 2
    assert b"Traceback" not in shown.stderr
    assert name.encode("ascii", "backslashreplace") in shown.stdout + shown.stderr


@pytest.mark.parametrize(
    ("args", "names", "trials"),
    [
        (["SPACE", "--warm-start", "a", "b", "c"], ["a", "b", "c"], None),
        (["SPACE", "--warm-start", "a", "b", "--trials", "4"], ["a", "b"], "4"),
        (["--warm-start", "a", "b", "SPACE"], ["a", "b"], None),
        (["--warm-start", "a.yaml", "SPACE"], ["a.yaml"], None),
        (["--warm-start=a", "b", "SPACE", "--trials", "4"], ["a", "b"], "4"),
        (["SPACE", "--warm-start", "a", "--warm-start", "b"], ["a", "b"], None),
    ],
)
def test_a_warm_start_takes_several_names_at_once(
    args: list[str], names: list[str], trials: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, asked = tmp_path / "space.yaml", {}
    space.write_text("recipe: drawn_r18\nparameters: {distill.mgd.alpha: {uniform: [0, 1]}}\nbudget: {trials: 4}\n")

    def run(*_: object, **options: object) -> SimpleNamespace:
        asked.update(options)
        return SimpleNamespace(exit_status=0)

    monkeypatch.setattr("ikd.sweep.run_sweep", run, raising=False)
    result = CliRunner().invoke(app, ["sweep", *(str(space) if arg == "SPACE" else arg for arg in args)])
    assert result.exit_code == 0, result.output
    assert (asked["warm_start"], asked["trials"]) == (names, trials)
