"""A relative path starts from the file that says it, on the command line and in a program from the current folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ikd.config import Domain, Recipe, Runner, SearchSpace, load_recipe, load_runner, load_sweep, parse_sets
from ikd.errors import ConfigError
from ikd.sweep.tune import worker

RECIPE = """
base: {base}
data: {{root: photos}}
student: {{checkpoint: weights/s.pth, overrides: {{backbone.init_cfg.checkpoint: weights/b.pth}}}}
teachers:
  available:
    own: {{config: big.py, checkpoint: weights/t.pth}}
    made: {{config: "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py", recipe: teacher.yaml}}
    shipped: {{config: "ikd::retinanet_r18", recipe: small_r18_teacher}}
    fetched: {{config: "ikd::retinanet_r18", checkpoint: "https://example.org/a.pth"}}
  sequence: [own]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a recipe, a space, a runner, and stand in another one."""
    folder, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for one in (folder / "parts", elsewhere):
        one.mkdir(parents=True)
    (folder / "mine.yaml").write_text(RECIPE.format(base="parts/under.yaml"))
    (folder / "parts" / "under.yaml").write_text("base: coco_retinanet_r50\nstudent: {config: own.py}\n")
    monkeypatch.chdir(elsewhere)
    return folder


def test_every_path_of_a_recipe_starts_from_its_file(project: Path) -> None:
    recipe = load_recipe(project / "mine.yaml")
    available = recipe.teachers.available
    assert recipe.data.root == str(project / "photos")
    assert recipe.student.config == str(project / "parts" / "own.py"), "said by the base, in its own folder"
    assert recipe.student.checkpoint == str(project / "weights" / "s.pth")
    assert recipe.student.overrides["backbone.init_cfg.checkpoint"] == str(project / "weights" / "b.pth")
    assert (available["own"].config, available["own"].checkpoint) == (
        str(project / "big.py"),
        str(project / "weights" / "t.pth"),
    )
    assert available["made"].recipe == str(project / "teacher.yaml")


def test_names_and_addresses_are_no_paths(project: Path) -> None:
    available = load_recipe(project / "mine.yaml").teachers.available
    assert available["made"].config == "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py"
    assert (available["shipped"].config, available["shipped"].recipe) == ("ikd::retinanet_r18", "small_r18_teacher")
    assert available["fetched"].checkpoint == "https://example.org/a.pth"
    assert load_recipe("drawn_r18").data.root == "ikd::drawn"


def test_where_the_command_is_given_does_not_matter(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_recipe(project / "mine.yaml")
    monkeypatch.chdir(project)
    after = load_recipe("mine.yaml")
    assert before == after
    assert before.fingerprint() == after.fingerprint()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("data.root=photos", "photos"),
        ("student.checkpoint=s.pth", "s.pth"),
        ("student.config=own.py", "own.py"),
        ("teachers.available.own.checkpoint=t.pth", "t.pth"),
        ("teachers.available.own.recipe=t.yaml", "t.yaml"),
        ("student={config: own.py}", "own.py"),
    ],
)
def test_values_of_the_command_line_start_from_the_current_folder(project: Path, text: str, name: str) -> None:
    recipe = load_recipe(project / "mine.yaml", parse_sets([text]))
    assert str(Path.cwd() / name) in json.dumps(recipe.as_dict())
    assert recipe == load_recipe(project / "mine.yaml").with_values(parse_sets([text])), "as from a program"


def test_a_recipe_from_plain_values_starts_from_the_current_folder() -> None:
    plain: dict[str, Any] = {
        "data": {"root": "a"},
        "student": {"config": {"type": "X", "init_cfg": {"checkpoint": "b"}}},
    }
    recipe = Recipe.model_validate(plain)
    assert recipe.data.root == str(Path.cwd() / "a")
    assert recipe.student.config == {"type": "X", "init_cfg": {"checkpoint": str(Path.cwd() / "b")}}
    assert Recipe.model_validate(recipe.as_dict()) == recipe


def test_an_absolute_path_stays_as_it_is_written(project: Path) -> None:
    """So that its fingerprint does; only a data root was always tidied."""
    recipe = load_recipe("small_r18", {"student.checkpoint": "/data/../weights/s.pth", "data.root": "/data/../photos"})
    assert recipe.student.checkpoint == "/data/../weights/s.pth"
    assert recipe.data.root == "/photos"


@pytest.mark.parametrize(
    ("text", "field", "made"),
    [
        ("data: {root: photos}", "data.root", "photos"),
        ("student: {checkpoint: s.pth}", "student.checkpoint", "s.pth"),
        ("student: {config: own.py}", "student.config", "own.py"),
        ("teachers: {available: {big: {config: own.py}}}", "teachers.available.big.config", "own.py"),
        (
            "teachers: {available: {big: {config: mmdet::a.py, recipe: big.yaml}}}",
            "teachers.available.big.recipe",
            "big.yaml",
        ),
    ],
)
def test_what_only_the_current_folder_has_is_told(project: Path, text: str, field: str, made: str) -> None:
    (Path.cwd() / made).touch()
    (project / "recipe.yaml").write_text(f"base: coco_retinanet_r50\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        load_recipe(project / "recipe.yaml")
    said = str(caught.value)
    assert f"recipe.yaml:2: {field}: must be a path from the folder of this file" in said
    assert f"nothing is at {project / made}, where it was looked for" in said
    assert f"write ../elsewhere/{made} for {Path.cwd() / made}, but got '{made}'" in said
    (project / "recipe.yaml").write_text(f"base: coco_retinanet_r50\n{text.replace(made, '../elsewhere/' + made)}\n")
    assert load_recipe(project / "recipe.yaml").value(field) == str(Path.cwd() / made)


def test_a_base_and_a_recipe_of_the_current_folder_alone_are_told(project: Path) -> None:
    Path("under.yaml").write_text("base: small_r18\n")
    (project / "recipe.yaml").write_text("base: under.yaml\n")
    (project / "space.yaml").write_text("recipe: under.yaml\n")
    for load in (lambda: load_recipe(project / "recipe.yaml"), lambda: load_sweep(project / "space.yaml")):
        with pytest.raises(
            ConfigError, match=r"yaml:1: (base|recipe): must be a path .* write \.\./elsewhere/under\.yaml"
        ):
            load()


def test_a_search_space_says_its_paths_from_its_own_folder(project: Path) -> None:
    (project / "parts" / "shared.yaml").write_text(
        "set: {data.root: photos, teachers.available.own.recipe: small_r18_teacher}\n"
        "parameters:\n"
        "  student.checkpoint: {choice: [a.pth, b.pth]}\n"
        "  schedule.optimizer.lr: {uniform: [0.1, 0.2], when: {any: [{student.checkpoint: a.pth}]}}\n"
    )
    (project / "space.yaml").write_text(
        "recipe: mine.yaml\ninclude: [parts/shared.yaml]\n"
        "parameters: {teachers.available.own.checkpoint: {choice: {small: s.pth, none: null}, prior: {around: small}}}\n"
    )
    files = load_sweep(project / "space.yaml")
    parameters = files.space.parameters
    parts = project / "parts"
    assert files.space.recipe == str(project / "mine.yaml")
    assert files.recipe.data.root == str(parts / "photos")
    assert parameters["student.checkpoint"].choice == (str(parts / "a.pth"), str(parts / "b.pth"))
    assert parameters["schedule.optimizer.lr"].when == {"any": [{"student.checkpoint": str(parts / "a.pth")}]}
    teacher = parameters["teachers.available.own.checkpoint"]
    assert (teacher.choice, teacher.aliases) == ((str(project / "s.pth"), None), ("small", "none"))
    assert teacher.prior is not None
    assert teacher.prior.around == str(project / "s.pth")
    fixed = load_sweep(project / "space.yaml", None, {"teachers.available.own.checkpoint": "small"})
    assert fixed.space.parameters["teachers.available.own.checkpoint"].choice == (str(project / "s.pth"),)


def test_a_fixed_choice_is_a_path_from_the_current_folder(project: Path) -> None:
    (project / "space.yaml").write_text(
        "recipe: small_r18\nparameters: {student.checkpoint: {choice: [a.pth, b.pth]}}\n"
    )
    files = load_sweep(project / "space.yaml", None, {"student.checkpoint": "../project/b.pth"})
    assert files.space.parameters["student.checkpoint"].choice == (str(project / "b.pth"),)


def test_a_space_of_a_program_starts_from_the_current_folder() -> None:
    recipe = load_recipe("small_r18")
    space = SearchSpace(
        recipe="small_r18",
        parameters={
            "student.checkpoint": Domain(choice=("a.pth", None)),
            "schedule.optimizer.lr": Domain(uniform=(0.1, 0.2), when={"student.checkpoint": "a.pth"}),
        },
    ).checked(recipe)
    path = str(Path.cwd() / "a.pth")
    assert space.parameters["student.checkpoint"].choice == (path, None)
    assert space.parameters["schedule.optimizer.lr"].when == {"student.checkpoint": [path]}


def test_a_runner_says_its_paths_from_its_own_folder(project: Path) -> None:
    path = project / "runner.yaml"
    path.write_text("storage: kept\nray: {temp: r}\ntracking: {uri: 'sqlite:///m.db'}\n")
    runner = load_runner(path)
    assert (runner.storage, runner.ray.temp) == (str(project / "kept"), str(project / "r"))
    assert runner.tracking.uri == f"sqlite:///{project / 'm.db'}"
    here = Runner.model_validate({"storage": "kept", "tracking": {"uri": "sqlite:///m.db"}})
    assert (here.storage, here.tracking.uri) == (str(Path.cwd() / "kept"), f"sqlite:///{Path.cwd() / 'm.db'}")
    path.write_text("storage: s3://bucket/ikd\ntracking: {uri: http://host:5000}\n")
    assert (load_runner(path).storage, load_runner(path).tracking.uri) == ("s3://bucket/ikd", "http://host:5000")


def test_the_faults_of_space_recipe_and_runner_are_told_at_once(project: Path) -> None:
    (project / "bad.yaml").write_text("base: small_r18\nschedule: {epochs: 0}\n")
    (project / "runner.yaml").write_text("concurrency: 0\n")
    (project / "space.yaml").write_text(
        "recipe: bad.yaml\nseed: -1\nset: {sched.epochs: 3}\nparameters:\n  distill.hots: {choice: [fgd]}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_sweep(project / "space.yaml", project / "runner.yaml")
    found = {(Path(one.file).name, one.field, one.line) for one in caught.value.problems}
    assert found == {
        ("bad.yaml", "schedule.epochs", 2),
        ("runner.yaml", "concurrency", 1),
        ("space.yaml", "seed", 2),
        ("space.yaml", "set.sched.epochs", 3),
        ("space.yaml", "parameters.distill.hots", 5),
    }


def test_what_tune_varies_starts_from_where_the_trainable_was_made(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray Tune changes the working folder for its trials."""
    seen: list[Any] = []
    monkeypatch.setattr(worker, "train_plain", lambda plain, config: seen.append((plain, config)))
    trainable = worker.tune_trainable(load_recipe(project / "mine.yaml"))
    made = Path.cwd()
    monkeypatch.chdir(project)
    trainable({"student.checkpoint": "a.pth", "seed": 3})
    [(plain, config)] = seen
    assert config == {"student.checkpoint": str(made / "a.pth"), "seed": 3}
    assert plain["teachers"]["available"]["own"]["checkpoint"] == str(project / "weights" / "t.pth")


def test_the_home_folder_is_meant_wherever_a_path_stands(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(project))
    (project / "tilde.yaml").write_text(
        "base: ~/mine.yaml\ndata: {root: ~/photos, train: {annotations: ~/a/train.json, images: ~/a}}\n"
        "student: {config: ~/own.py, checkpoint: ~/s.pth}\n"
        "teachers: {available: {made: {recipe: ~/teacher.yaml}}}\n"
    )
    recipe = load_recipe("~/tilde.yaml", {"data.val.annotations": "~/val.json"})
    assert (recipe.data.root, recipe.data.val.annotations) == (str(project / "photos"), str(project / "val.json"))
    assert (recipe.data.train.annotations, recipe.data.train.images) == (
        str(project / "a" / "train.json"),
        str(project / "a"),
    )
    assert (recipe.student.config, recipe.student.checkpoint) == (str(project / "own.py"), str(project / "s.pth"))
    assert recipe.teachers.available["made"].recipe == str(project / "teacher.yaml")
    assert load_recipe("~/tilde.yaml", parse_sets(["data.root=~/other"])).data.root == str(project / "other")


def test_the_home_folder_is_meant_in_spaces_and_runners(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(project))
    (project / "base.yaml").write_text("parameters: {augment.enabled: {choice: [true, false]}}\nbudget: {trials: 4}\n")
    space = "include: [~/base.yaml]\nrecipe: ~/mine.yaml\nset: {data.root: ~/photos}\n"
    (project / "space.yaml").write_text(space)
    (project / "runner.yaml").write_text("storage: ~/sweeps\ntracking: {uri: sqlite:///~/m.db}\nray: {temp: ~/ray}\n")
    files = load_sweep("~/space.yaml", "~/runner.yaml")
    assert files.recipe.data.root == str(project / "photos")
    assert "augment.enabled" in files.space.parameters
    assert (files.runner.storage, files.runner.ray.temp) == (str(project / "sweeps"), str(project / "ray"))
    assert files.runner.tracking.uri == f"sqlite:///{project / 'm.db'}"
