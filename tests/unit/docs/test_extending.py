"""Every example of docs/extending.md, applied to a copy of the tree and checked there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCK = re.compile(r'^```(python|diff|toml) title="([^"]+)"\n(.*?)^```$', re.M | re.S)
CHECK = "check"


@dataclass(frozen=True)
class Block:
    """One block of code.

    Attributes:
        kind: `python`, `diff` or `toml`.
        title: of the file it makes or changes, or `check`.
        text: inside.
    """

    kind: str
    title: str
    text: str


def blocks(chapter: str) -> list[Block]:
    body = re.split(r"^#{2,3} ", GUIDE, flags=re.M)
    (section,) = [part for part in body if part.startswith(chapter + "\n")]
    return [Block(kind, title, text) for kind, title, text in BLOCK.findall(section)]


def changed(text: str, difference: str) -> str:
    """Apply a difference: its context lines, beginnings of lines as they are, stand exactly once."""
    for hunk in re.split(r"^@@\n", difference, flags=re.M):
        lines = hunk.splitlines()
        old = [line[1:] for line in lines if line.startswith((" ", "-"))]
        pattern = "^" + r".*\n".join(re.escape(line) for line in old)
        assert len(re.findall(pattern, text, flags=re.M)) == 1, f"must stand once:\n{hunk}"
        kept = iter(re.search(pattern + r".*$", text, flags=re.M)[0].splitlines())  # type: ignore[index]
        new = [line[1:] if line.startswith("+") else next(kept) for line in lines if not line.startswith("-")]
        text = re.sub(pattern + r".*$", lambda _, new=new: "\n".join(new), text, count=1, flags=re.M)  # type: ignore[misc]
    return text


def apply(block: Block, tree: Path) -> None:
    """Make or change the file of a block; what a package registers becomes its metadata, as pip writes it."""
    if block.kind == "toml":
        (group,) = re.findall(r'^\[project\.entry-points\."([^"]+)"\]$', block.text, flags=re.M)
        entries = re.findall(r'^(\w+) = "([^"]+)"$', block.text, flags=re.M)
        metadata = tree / "example-0.1.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 0.1\n")
        lines = [f"[{group}]", *[f"{name} = {value}" for name, value in entries]]
        (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
        return
    file = tree / block.title
    if block.kind == "diff":
        file.write_text(changed(file.read_text(encoding="utf-8"), block.text), encoding="utf-8")
        return
    assert not file.exists(), f"{block.title} must be new"
    file.parent.mkdir(exist_ok=True)
    file.write_text(block.text, encoding="utf-8")


def run(code: str, tree: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(tree), "IKD_HOME": str(tree / "home")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "ikd", tmp_path / "ikd", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def is_check(block: Block) -> bool:
    return block.title == CHECK


CHAPTERS = {"A loss": 3, "A sampler": 3, "A detector family": 0, "An augmentation": 3, "A tracker": 2}
"""The chapters with an example, and how many files of ikd each says that it touches."""


@pytest.mark.parametrize(("chapter", "files"), CHAPTERS.items())
def test_an_example_touches_as_few_files_as_it_says(chapter: str, files: int) -> None:
    found = blocks(chapter)
    assert len({block.title for block in found if block.title.startswith("ikd/")}) == files
    assert sum(map(is_check, found)) == 1


@pytest.mark.slow
def test_the_examples_work(tree: Path) -> None:
    """All in one tree and one process, since importing mmdet takes longer than all of them."""
    found = [block for chapter in CHAPTERS for block in blocks(chapter)]
    for block in found:
        if not is_check(block):
            apply(block, tree)
    run("\n".join(block.text for block in found if is_check(block)), tree)


@pytest.mark.slow
def test_the_loss_works_from_a_package_too(tree: Path) -> None:
    for block in blocks("From a package of your own"):
        apply(block, tree)
    module, check = (
        next(block.text for block in blocks("A loss") if block.title.endswith("/huber.py")),
        next(block.text for block in blocks("A loss") if is_check(block)),
    )
    (tree / "huber_kd" / "loss.py").write_text(module.replace("from ikd.distill.functional", "from ikd.distill"))
    run(check, tree)
