"""The page in a real browser: it draws every chart, asks nobody, and runs nothing that a name says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect, sync_playwright

from ikd.report import write_comparison, write_report
from tests.marks import some
from tests.unit.report.conftest import EVIL

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MEGABYTES = 8


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium: that of the machine, or Playwright's own."""
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        program = next((path for path in (CHROMIUM, own) if path.is_file()), None)
        if program is None:
            pytest.skip("needs a Chromium: /usr/bin/chromium, or playwright install chromium")
        found = playwright.chromium.launch(executable_path=str(program), args=list(ARGUMENTS))
        yield found
        found.close()


def opened(browser: Any, page: Path, *, width: int = 1600, scheme: str = "light") -> tuple[Any, list[str]]:
    """Open a page and draw all its charts; return it, and what went wrong."""
    faults: list[str] = []

    def dismissed(dialog: Any) -> None:
        faults.append(f"dialog {dialog.message}")
        dialog.dismiss()

    context = browser.new_context(viewport={"width": width, "height": 1000}, color_scheme=scheme)
    tab = context.new_page()
    tab.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("dialog", dismissed)
    local = ("file:", "data:", "blob:")
    tab.on("request", lambda asked: None if asked.url.startswith(local) else faults.append(f"asked {asked.url}"))
    tab.goto(page.as_uri())
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    # the page forbids `eval`, by which Playwright's own wait_for_function polls
    expect(tab.locator("figure.chart:not(:has(.main-svg))")).to_have_count(0, timeout=120_000)
    return tab, faults


@pytest.mark.parametrize(("width", "scheme"), [(1600, "light"), pytest.param(400, "dark", marks=pytest.mark.slow)])
def test_every_chart_is_drawn_and_nothing_is_asked_of_the_network(
    browser: Any, played_home: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    page = write_report("whole", tmp_path / "x.html", home=played_home)[0]
    assert page.stat().st_size < MEGABYTES * 1e6
    tab, faults = opened(browser, page, width=width, scheme=scheme)
    assert faults == []
    assert tab.locator("figure.chart").count() >= 15
    assert tab.locator("section").count() == 21
    assert tab.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out"
    targets = tab.evaluate("[...document.querySelectorAll('.toc a')].every((a) => document.querySelector(a.hash))")
    assert targets, "every line of the contents leads somewhere"
    ink = tab.evaluate("document.querySelector('.main-svg .xtick text').style.fill")
    light = ink.removeprefix("rgb(").split(",")
    assert (int(light[0]) > 128) is (scheme == "dark"), f"{ink} can be read on a {scheme} page"


@pytest.mark.slow
def test_a_change_to_dark_is_followed(browser: Any, played_home: Path, tmp_path: Path) -> None:
    page = write_report("whole", tmp_path / "x.html", home=played_home)[0]
    tab, faults = opened(browser, page, width=400)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400, "nothing sticks out"
    label = tab.locator(".main-svg .xtick text").first
    before = label.evaluate("(one) => getComputedStyle(one).fill")
    tab.emulate_media(color_scheme="dark")
    expect(label).not_to_have_css("fill", before)
    assert faults == []


def test_names_are_shown_and_not_run(browser: Any, hostile_home: Path, tmp_path: Path) -> None:
    page = write_report("hostile", tmp_path / "x.html", home=hostile_home)[0]
    tab, faults = opened(browser, page)
    assert faults == []
    scripts = tab.evaluate("[...document.querySelectorAll('script')].map((one) => one.textContent)")
    assert len(scripts) == 2 + tab.locator("figure.chart").count(), "those of the page and no other"
    assert tab.locator("img").count() == 0
    shown = tab.evaluate("document.body.innerText")
    assert EVIL in shown, "a class of this name has a row"
    assert """a<b>&"c'""" in shown, "a folder of this name is written out"
    labels = tab.evaluate("[...document.querySelectorAll('.ytick text')].map((one) => one.textContent)")
    assert any("<script>" in label for label in labels), "and stands beside its axis"


@pytest.mark.parametrize("name", some(["failed", "alone"], 1))
def test_sweeps_without_much_to_show_make_a_page(browser: Any, failed_home: Path, tmp_path: Path, name: str) -> None:
    page = write_report(name, tmp_path / "x.html", home=failed_home)[0]
    tab, faults = opened(browser, page)
    assert faults == []
    first = tab.locator("ol.result li").first.inner_text()
    assert first.startswith("chosen: trial 0" if name == "alone" else "No trial has a result")


def test_a_sweep_under_way_makes_a_page(browser: Any, begun_home: Path, tmp_path: Path) -> None:
    page = write_report("begun", tmp_path / "x.html", home=begun_home)[0]
    tab, faults = opened(browser, page)
    assert faults == []
    assert "interrupted: 0 of 20 trials ended" in tab.locator("p.state").inner_text()


def test_a_comparison_is_drawn(browser: Any, failed_home: Path, tmp_path: Path) -> None:
    page = write_comparison("alone", "failed", tmp_path / "x.html", home=failed_home)[0]
    tab, faults = opened(browser, page, width=400)
    assert faults == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400
    assert tab.locator("section").count() == 5
