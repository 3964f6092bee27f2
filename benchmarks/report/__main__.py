"""Measure reports of played sweeps: `python -m benchmarks.report 20 200 500`; prints a Markdown table.

Sweeps are played without training (`benchmarks.report.played`), so that a size takes seconds to minutes to make; a
report is made in a process of its own, loading included. Opened: from the address being asked for to the page standing
(its load event) with the charts of the first screen drawn, in a headless Chromium without a GPU.
"""

from __future__ import annotations

import argparse
import gzip
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report.played import play, played_space

CHROMIUM = Path("/usr/bin/chromium")
PROGRAM = "import sys; from pathlib import Path; from ikd.report import write_report; "
PROGRAM += "write_report('s', Path(sys.argv[2]), home=Path(sys.argv[1]))"


def main() -> None:
    """Print a row for each number of trials."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trials", type=int, nargs="*", default=[20, 200, 500], help="sizes of sweeps")
    sizes = parser.parse_args().trials
    heads = ("trials", "page, MB", "gzip, MB", "made in, s of a core", "by the clock, s", "opened in, s")
    print(f"| {' | '.join(heads)} |\n|{'---:|' * len(heads)}", flush=True)
    for trials in sizes:
        with tempfile.TemporaryDirectory() as folder:
            print(row(Path(folder), trials), flush=True)


def row(folder: Path, trials: int) -> str:
    """Play a sweep, report it, and return the figures."""
    play(folder, "s", played_space(trials), misbehave={9: "failed", 11: "diverged"}.get)
    page = folder / "report.html"
    began, before = time.monotonic(), used()
    subprocess.run([sys.executable, "-c", PROGRAM, str(folder), str(page)], check=True)
    made, core = time.monotonic() - began, used() - before
    size, small = page.stat().st_size / 1e6, len(gzip.compress(page.read_bytes())) / 1e6
    return f"| {trials} | {size:.2f} | {small:.2f} | {core:.1f} | {made:.1f} | {opened(page)} |"


def used() -> float:
    """Return the seconds of a core that the processes begun here have taken: a busy machine does not change them."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def opened(page: Path) -> str:
    """Return how many seconds a browser takes to open a page; `-` where there is none."""
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        program = next((one for one in (CHROMIUM, Path(playwright.chromium.executable_path)) if one.is_file()), None)
        if program is None:
            return "-"
        browser = playwright.chromium.launch(executable_path=str(program), args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport={"width": 1600, "height": 1000})
        began = time.monotonic()
        tab.goto(page.as_uri())
        expect(tab.locator("figure.chart").first.locator(".main-svg").first).to_be_attached(timeout=60_000)
        took = time.monotonic() - began
        browser.close()
        return f"{took:.1f}"


if __name__ == "__main__":
    main()
