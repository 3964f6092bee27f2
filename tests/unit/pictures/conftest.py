"""One trained student for all tests of the package, which is its own teacher; and data sets of other people's kinds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ikd.config import Recipe
from ikd.pictures import Painter, Pictured
from tests.unit.export.students import recipe_on

Change = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Trained:
    """A student, and the recipe that trained it alone."""

    recipe: Recipe
    best: Path
    data: Path

    def taught(self, **values: Any) -> Recipe:
        """Return a recipe in which the student learns from itself."""
        student = self.recipe.student.model_dump(mode="json", exclude={"inherit"})
        teacher = {**student, "checkpoint": str(self.best)}
        changes = {"teachers.available": {"itself": teacher}, "teachers.sequence": ["itself"], "distill.host": "fgd"}
        return self.recipe.with_values(changes | values)

    def copied(self, folder: Path) -> Path:
        """Return best.pth in a new folder of a trial."""
        folder.mkdir(parents=True)
        return Path(shutil.copy(self.best, folder / "best.pth"))


@pytest.fixture(scope="session")
def trained(by_heart: Path) -> Trained:
    return Trained(recipe_on(by_heart / "data"), by_heart / "trial" / "best.pth", by_heart / "data")


@pytest.fixture(scope="session")
def painted(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Pictured:
    """Pictures of the student beside its teacher, with noise, crops, and copies that are crafted on the way."""
    recipe = trained.taught(**{"augment.enabled": True, "adversarial.enabled": True, "attack.store": "online"})
    return Painter().paint(recipe, trained.copied(tmp_path_factory.mktemp("trial") / "0"))


@pytest.fixture
def other_data(trained: Trained, tmp_path: Path) -> Callable[[Change], Recipe]:
    """Gives the student's recipe on a copy of its data whose annotations a function has changed."""

    def made(change: Change) -> Recipe:
        folder = Path(shutil.copytree(trained.data, tmp_path / "data"))
        for name in ("train.json", "val.json"):
            content = json.loads((folder / name).read_text(encoding="utf-8"))
            change(content)
            (folder / name).write_text(json.dumps(content), encoding="utf-8")
        return trained.recipe.with_values({"data.root": str(folder)})

    return made
