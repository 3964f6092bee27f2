"""A loss of another package: it works everywhere, and what breaks the contract is refused with the package's name."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ikd.config import LOSSES as DECLARED
from ikd.config import Recipe, Term
from ikd.config.recipe.hosts import checked_host
from ikd.distill import LOSSES, build_loss, check_loss, takes
from ikd.distill.losses import registry
from ikd.errors import BadInput
from ikd.plugins import Plugin, plugins
from ikd.training import run_trial
from tests.unit.distill.toy_package import LOSS, SECTION, write_toy
from tests.unit.training.untrained import save_untrained

ROOT = Path(__file__).resolve().parents[3]
Build = Callable[..., Recipe]


def run(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python code where the package in `folder` is installed."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    changed = {**os.environ, "PYTHONPATH": path, **environment}
    return subprocess.run(
        [sys.executable, "-W", "error::UserWarning:ikd", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=changed,
        cwd=folder,
    )


KNOWN = """
import sys
from pathlib import Path
from ikd.config import HOSTS, field_names, load_recipe, load_sweep
from ikd.errors import BadInput

assert list(HOSTS)[-1] == "toy"
assert "distill.toy.weight" in field_names()
recipe = load_recipe("drawn_r18", {"distill.host": "toy", "distill.toy.weight": 3.0})
assert (recipe.distill.toy.weight, recipe.distill.toy.power) == (3.0, 1.5)
assert recipe.fingerprint() != recipe.with_values({"distill.toy.power": 2.0}).fingerprint()
other = recipe.with_values({"distill.host": "fgd"})
assert "toy" in recipe.as_dict()["distill"], "it is used"
assert "toy" in other.as_dict()["distill"], "its weight is said"
assert "toy" not in load_recipe("drawn_r18").as_dict()["distill"], "who has no toy can read it"
assert "toy" in load_recipe("drawn_r18", {"teachers.sequence": [
    {"teacher": "r18x16", "set": {"distill.host": "toy"}}
]}).as_dict()["distill"], "a stage uses it"
assert other.fingerprint() == other.with_values({"distill.toy.power": 2.0}).fingerprint()

space = Path("space.yaml")
space.write_text('''
recipe: drawn_r18
parameters:
  distill.toy.weight: {log_uniform: [0.1, 10.0]}
set: {distill.host: toy}
scheduler: {pbt: {}}
''')
assert load_sweep(space).space.parameters["distill.toy.weight"].ends == (0.1, 10.0)
space.write_text(space.read_text().replace("log_uniform: [0.1", "uniform: [-1.0"))
try:
    load_sweep(space)
except BadInput as error:
    print(error)
assert "torch" not in sys.modules, "a section is read without torch"
"""


def test_recipes_and_spaces_know_the_loss_without_torch(tmp_path: Path) -> None:
    done = run(KNOWN, write_toy(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "distill.toy.weight" in done.stdout
    assert "-1" in done.stdout


TRAINED = """
from pathlib import Path
from ikd.config import load_recipe
from ikd.distill import LOSSES, build_loss, check_loss
from ikd.training import run_trial

check_loss("toy")
loss = build_loss("toy", 4, 8, weight=3.0).loss
assert (type(loss).__name__, loss.weight, loss.power, loss.gain.shape[0]) == ("ToyLoss", 3.0, 1.5, 8)
recipe = load_recipe("drawn_r18", VALUES)
print(run_trial(recipe, directory=Path("trial")).metrics["loss/toy"])
"""


@pytest.mark.slow
def test_a_recipe_trains_with_the_loss(tiny_recipe: Build, tiny_data: Path, tmp_path: Path) -> None:
    small = {"base_channels": 4, "neck_channels": 16, "levels": 3}
    teacher = {"config": "ikd::retinanet_r18", "arguments": {**small, "base_channels": 8}}
    file = save_untrained(tiny_recipe(), teacher, tmp_path / "teacher.pth")
    values = {
        "data.root": str(tiny_data),
        "student.arguments": small,
        "student.inherit": False,
        "teachers.available": {"t": {**teacher, "checkpoint": str(file)}},
        "teachers.sequence": ["t"],
        "input.scale": [96, 96],
        "schedule.epochs": 1,
        "adversarial.enabled": False,
        "distill.host": "toy",
        "distill.toy.weight": 3.0,
    }
    done = run(f"VALUES = {values!r}\n{TRAINED}", write_toy(tmp_path / "installed"))
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1]) > 0


def test_a_faulty_section_stops_the_command_in_one_line(tmp_path: Path) -> None:
    folder = write_toy(tmp_path, section="import not_there")
    done = run(
        "import sys; sys.argv = ['ikd', 'space', 'schema', '--to', 'x']; from ikd.cli import main; main()", folder
    )
    assert done.returncode == 2
    assert done.stderr == (
        "error: package toy-kd: entry point ikd.losses, toy: must be importable (toy_kd.section:Toy): "
        "ModuleNotFoundError: No module named 'not_there'; mend or remove it\n"
    )


def forget_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "toy_kd"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install a toy package in this process: its section is declared, its loss is not yet built."""

    def install(**files: str) -> None:
        monkeypatch.syspath_prepend(str(write_toy(tmp_path, **files)))
        forget_modules(monkeypatch)
        (plugin,) = plugins("ikd.losses")
        monkeypatch.setitem(DECLARED, "toy", checked_host(plugin))
        registry._implementation.cache_clear()

    yield install
    forget_modules(monkeypatch)
    registry._implementation.cache_clear()


def test_the_loss_is_built_and_checked_like_every_other(installed: Callable[..., None]) -> None:
    installed()
    loss: Any = build_loss("toy", 4, 8, power=2)
    check_loss("toy")
    assert (loss.loss.weight, loss.loss.power, loss.loss.cut) == (2.0, 2.0, 0.25)
    assert takes("toy", "channels")
    assert not takes("toy", "level")
    for wrong, text in (
        ({"weight": -1.0}, "loss toy: weight: must be a finite number, 0 or above, but got -1.0"),
        ({"power": 0.0}, "loss toy: power: must be a number above 0, but got 0.0"),
        ({"cut": 0.6}, "loss toy: cut: must be less than or equal to 0.5, but got 0.6"),
        ({"tau": 1.0}, "loss toy: has no hyperparameter 'tau'; it has weight, power, cut"),
        ({"level": 1}, "loss toy: has no hyperparameter 'level'; it has weight, power, cut"),
    ):
        with pytest.raises(BadInput) as caught:
            build_loss("toy", 4, 4, **wrong)
        assert str(caught.value) == text


def test_the_check_draws_no_number_of_the_callers(installed: Callable[..., None]) -> None:
    """A process that builds the loss for the first time must train as one that built it before."""
    installed()
    states = []
    for _ in range(2):
        torch.manual_seed(7)
        build_loss("toy", 4, 8)
        states.append(torch.random.get_rng_state())
    assert torch.equal(*states)


FAULTY = {
    "not there": (
        {"section": SECTION.replace("ToyLoss", "Gone")},
        "must be importable .toy_kd.loss:Gone.: AttributeError",
    ),
    "a weight as a number": (
        {"loss": LOSS.replace("super().__init__()", "super().__init__(); self.effective_weight = 3.0")},
        "must have effective_weight.elements., where it has one, as a method",
    ),
    "raises": ({"loss": "1 / 0"}, "must be importable .toy_kd.loss:ToyLoss.: ZeroDivisionError: division by zero"),
    "no class": ({"loss": "ToyLoss = 3"}, "must be a class derived from torch.nn.Module, but got 3"),
    "no module": (
        {"loss": LOSS.replace("(nn.Module)", "").replace("super().__init__()", "pass")},
        "must be a class derived from torch.nn.Module, but made <toy_kd.loss.ToyLoss",
    ),
    "unknown keyword": (
        {"loss": LOSS.replace("cut: float)", "cut: float, tau: float = 1.0)")},
        "must have no keyword but its section's hyperparameters and the builder's .weight, .*, scale., but got tau",
    ),
    "any keyword": ({"loss": LOSS.replace("cut: float)", "cut: float, **more: float)")}, "but got more"),
    "missing keyword": (
        {"loss": LOSS.replace(", cut: float)", ")").replace(", cut\n", "\n").replace(", self.cut", "")},
        "must have its section's hyperparameter cut as a keyword",
    ),
    "default": (
        {"loss": LOSS.replace("cut: float)", "cut: float = 0.1)")},
        "must leave the default of cut to its section, but got 0.1",
    ),
    "fails": (
        {"loss": LOSS.replace(".mean()", ".no_mean()")},
        r"must take maps \[2, 32, 8, 8\] and targets: AttributeError: ",
    ),
    "map": ({"loss": LOSS.replace(".mean()", "")}, r"must give a finite scalar, but gave a tensor \[2, 32, 8, 8\]"),
    "no tensor": ({"loss": LOSS.replace(".mean()", ".mean().item()")}, r"must give a finite scalar, but gave \d"),
    "not finite": (
        {"loss": LOSS.replace(".mean()", ".mean() / 0")},
        r"must give a finite scalar, but gave tensor\(inf",
    ),
    "no gradient": (
        {"loss": LOSS.replace("student * self.gain", "student.detach() * self.gain")},
        "must give the student a finite gradient",
    ),
    "nan gradient": (
        {"loss": LOSS.replace(".abs().pow(self.power).mean()", ".mul(0).square().sum().sqrt()")},
        "must give the student a finite gradient",
    ),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_a_loss_that_breaks_the_contract_is_refused(installed: Callable[..., None], fault: str) -> None:
    files, rule = FAULTY[fault]
    installed(**files)
    for use in (lambda: build_loss("toy", 4, 4), lambda: check_loss("toy")):
        with pytest.raises(BadInput, match=rf"(?s)^package toy-kd: entry point ikd\.losses, toy: .*{rule}"):
            use()


def section(**members: Any) -> type[Term]:
    said = ("implementation", "between_heads", "decodes", "rises")
    annotations = {name: float for name in members if name not in said}
    space = {"implementation": "toy_kd.loss:ToyLoss", "__annotations__": annotations, "__module__": __name__}
    return type("Toy", (Term,), space | members)


class Required(Term):
    implementation = "toy_kd.loss:ToyLoss"

    weight: float


def typed() -> type[Term]:
    members = {"implementation": "toy_kd.loss:ToyLoss", "__annotations__": {"implementation": str}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic says so too, but as a warning
        return type("Toy", (Term,), {**members, "__module__": __name__})


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("fgd", section(), "must have a name of its own, of letters, digits and underscores, but got 'fgd'"),
        ("none", section(), "must have a name of its own"),
        ("adversarial", section(), "must have a name of its own"),
        ("rescale_from", section(), "must have a name of its own"),
        ("total", section(), "must have a name of its own"),
        ("model_dump", section(), "must have a name of its own"),
        ("_toy", section(), "must have a name of its own"),
        ("to-y", section(), "must have a name of its own"),
        ("toy", float, r"must be a class derived from ikd\.config\.Term, but got <class 'float'>"),
        ("toy", 3, r"must be a class derived from ikd\.config\.Term, but got 3"),
        ("toy", typed(), r"must set implementation without a type: implementation = 'module:Class'"),
        ("toy", section(implementation=""), r"must say where its loss is .*, but got ''"),
        ("toy", section(implementation="toy_kd.loss"), r"must say where its loss is .*, but got 'toy_kd.loss'"),
        ("toy", section(between_heads=True), "must compare maps: between_heads is for ikd's own"),
        ("toy", section(decodes=True), "must compare maps: decodes is for ikd's own"),
        ("toy", section(rises="linearly"), "must compare maps: rises is for ikd's own"),
        ("toy", section(reduction=1.0), "must not have a hyperparameter reduction: the builder gives that"),
        ("toy", section(enabled=1.0), "must not have a hyperparameter enabled: distill.host is its switch"),
        ("toy", Required, "must have a default for its hyperparameter weight"),
        ("toy", section(weight="much"), "must have defaults that it accepts itself: 1 validation error for Toy weight"),
    ],
)
def test_a_section_that_breaks_the_contract_is_refused(name: str, value: object, rule: str) -> None:
    with pytest.raises(
        BadInput, match=rf"^package toy-kd: entry point ikd\.losses, {name}: {rule}.*; mend or remove it$"
    ):
        checked_host(Plugin(name, "ikd.losses", "toy-kd", value))


def test_two_packages_with_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_toy(tmp_path)
    monkeypatch.syspath_prepend(str(write_toy(tmp_path, name="toy-too")))
    forget_modules(monkeypatch)
    with pytest.raises(BadInput, match=r"^package toy-.*, toy: must have a name of its own; package toy-.* has it too"):
        list(plugins("ikd.losses"))
    forget_modules(monkeypatch)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_of_ours_keeps_the_contract(name: str) -> None:
    check_loss(name)


def test_a_loss_of_ours_that_breaks_the_contract_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def loose(*, weight: float = 1.0) -> torch.nn.Module:
        raise NotImplementedError

    monkeypatch.setitem(LOSSES, "pkd", loose)
    registry._implementation.cache_clear()
    with pytest.raises(BadInput, match=r"^loss pkd: must leave the default of weight to its section, but got 1\.0$"):
        check_loss("pkd")
    registry._implementation.cache_clear()


def test_an_unknown_loss_is_not_checked() -> None:
    with pytest.raises(BadInput, match=r"^loss: must be one of adversarial, .*, pkd, .*but got 'nothing'$"):
        check_loss("nothing")


def test_a_loss_with_the_name_of_one_of_the_student_is_refused(
    tiny_recipe: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def named_cls(*arguments: Any) -> dict[str, torch.Tensor]:
        return {"loss_cls": torch.zeros(())}

    monkeypatch.setattr("ikd.distill.lesson.Lesson._map_losses", named_cls)
    with pytest.raises(
        BadInput,
        match=r"^recipe drawn_r18: distill\.host: must not be the name of a loss that a RetinaNet .* 'cls'; regis",
    ):
        run_trial(tiny_recipe(adversarial__enabled=False), directory=tmp_path)
