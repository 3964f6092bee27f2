"""The site: every page in its place, every link leads somewhere, every field is there, no other host is asked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ikd.config.recipe.fields import field_names
from ikd.config.runner import Runner
from pages import commands, fields, recipes
from pages.check import fetched

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout + done.stderr == ""
    return folder


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_asks_no_other_host(site: Path) -> None:
    assert len(list(site.rglob("*.html"))) > 20
    assert list(fetched(site)) == []


@pytest.mark.slow
def test_formulas_are_drawn_without_a_script(site: Path) -> None:
    pages = list((site / "mathematics").glob("*.html"))
    texts = [page.read_text(encoding="utf-8") for page in pages]
    assert pages
    assert all("<math" in text for text in texts)
    assert not any("arithmatex" in text or "merror" in text for text in texts)


@pytest.mark.parametrize(
    "line",
    [
        '<script src="https://cdn.example.org/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example.org/x.css">',
        '<img src="http://example.org/x.png">',
        '<pre class="mermaid">graph</pre>',
    ],
)
def test_what_asks_another_host_is_found(line: str, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(f'<a href="https://example.org">read</a>{line}')
    assert [page.name for page, _ in fetched(tmp_path)] == ["index.html"]
    done = subprocess.run(
        [sys.executable, "-m", "pages.check", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "index.html: fetches" in done.stderr


def test_a_style_that_asks_another_host_is_found(tmp_path: Path) -> None:
    (tmp_path / "style.css").write_text(
        "body {background: url('https://example.org/x.png')} i {background: url(x.png)}"
    )
    assert [address for _, address in fetched(tmp_path)] == ["https://example.org/x.png"]


def test_a_site_that_is_not_there_is_no_good_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pages.check", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "must hold a built site" in done.stderr


def named(page: str) -> dict[str, list[str]]:
    """Return the rows of a reference page by the field that each is about."""
    rows = [re.split(r"(?<!\\) \| ", line[2:-2]) for line in page.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): row[1:] for row in rows}


def test_every_recipe_field_is_explained() -> None:
    rows = named(fields.page("recipe"))
    assert set(field_names()) - set(rows) == set()
    assert rows["distill.mgd.mask_ratio"] == [
        "number ≥ 0, ≤ 1",
        "`0.65`",
        "Probability of a masked position (lambda).",
    ]
    assert [name for name, row in rows.items() if not row[2] and row[0] != "section"] == []


def test_every_runner_field_is_explained() -> None:
    rows = named(fields.page("runner"))
    assert set(field_names(Runner)) - set(rows) == set()


def test_samplers_and_schedulers_are_in_the_reference_of_spaces() -> None:
    rows = named(fields.page("space"))
    assert {"sampler.effects.with_tpe", "scheduler.asha.grace_epochs", "budget.trials", "parameters.FIELD.when"} <= set(
        rows
    )


def test_every_shipped_recipe_is_listed_once() -> None:
    from ikd.config import recipe_names

    listed = re.findall(r"^\| `(\w+)` \|", recipes.page(), flags=re.M)
    assert sorted(listed) == sorted(recipe_names())


def test_every_command_is_listed_with_its_options() -> None:
    page = commands.page()
    titles = re.findall(r"^## (ikd .*)$", page, flags=re.M)
    assert {"ikd sweep", "ikd data check", "ikd track rebuild", "ikd recipe show"} <= set(titles)
    assert "| `--measure` |  | With --dry-run: train one epoch here for the forecast. |" in page
    assert "ikd data split my/coco --to my/coco/parts\n" in page


def test_the_reader_of_the_repository_finds_what_is_linked() -> None:
    """The readmes lie outside the site, so mkdocs does not look at their links."""
    broken = []
    for page in (ROOT / "README.md", *ROOT.glob("*/README.md")):
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
            path, _, anchor = target.partition("#")
            file = (page.parent / path) if path else page
            if not file.exists() or (anchor and anchor not in anchors(file)):
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_page_is_in_the_table_of_contents() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    listed = set(re.findall(r"([\w/]+\.md)$", yaml.safe_dump(yaml.safe_load(text)["nav"]), flags=re.M))
    assert pages - listed == set()
