"""Record short real sweeps of different shapes, to try forecasts on.

    python -m benchmarks.courses record [NAME ...] [--to tests/assets/courses]
    python -m benchmarks.courses show

Each is trained for real on drawn data, in a home of its own, for one to three minutes; run nothing beside it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path

import yaml

from benchmarks.courses.recording import FOLDER, Recording
from benchmarks.courses.replay import SHARE, forecast_at, kept_before, recordings
from benchmarks.courses.shapes import SHAPES, TEACHER, Shape
from ikd.config import Runner, load_sweep
from ikd.data import draw_dataset
from ikd.home import at_home
from ikd.sweep import run_sweep, stop_sweep

BREAK_SECONDS = 5.0


def record(name: str, to: Path) -> Path:
    """Run the sweep of a shape and write what happened when."""
    shape = SHAPES[name]
    with tempfile.TemporaryDirectory(prefix="ikd-course-") as scratch, at_home(Path(scratch) / "home"):
        home, space = Path(scratch) / "home", _space_file(shape, Path(scratch))
        runner = Runner.model_validate({"tracking": {"uri": "none"}, "concurrency": shape.slots})
        if shape.made_before:
            _make(space)
        load = os.getloadavg()[0]
        timer = threading.Timer(shape.break_after or 0.0, stop_sweep, ["s"], {"home": home})
        if shape.break_after is not None:
            timer.start()
        result = run_sweep(space, runner=runner, name="s", force=True)  # so short trainings may learn nothing
        if shape.break_after is not None:
            assert result.state == "interrupted", result
            time.sleep(BREAK_SECONDS)
            result = run_sweep(space, runner=runner, name="s", force=True)  # so short trainings may learn nothing
        assert result.state == "finished", result
        return Recording.of("s", home, load=(load, os.getloadavg()[0]), images=shape.images).save(
            to / f"{name}.json", scratch=Path(scratch)
        )


def _make(space: Path) -> None:
    from ikd.training import prepare

    prepare(load_sweep(space, None, {}).recipe)


def _space_file(shape: Shape, scratch: Path) -> Path:
    draw_dataset(scratch / "data", num_train=shape.images, num_val=max(10, shape.images // 4), size_px=160, seed=0)
    teacher = scratch / "teacher.yaml"
    teacher.write_text(f"name: teacher\nbase: drawn_r18_teacher\nschedule: {{epochs: {shape.teacher_epochs}}}\n")
    stages = {"r18x16": str(teacher), "r18x32": str(teacher)} if shape.recipe == "small_dfmsd" else {}
    trained = {f"teachers.available.{key}.recipe": path for key, path in stages.items()}
    trained = trained or {f"{TEACHER}.recipe": str(teacher)}
    content = {"recipe": shape.recipe, "anchors": ["paper", "student_alone"], **shape.space}
    content["set"] = {"data.root": str(scratch / "data"), "schedule.batch_size": 8, **trained, **shape.values}
    file = scratch / "space.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def show(share: float) -> None:
    """Print forecasts of all recordings, part of the way, against what became of them."""
    for file in recordings():
        alone, learnt = forecast_at(file, share), forecast_at(file, share, kept_before(file))
        said = [
            f"{'-' if hit.forecast is None else f'{hit.forecast:.0f} s'} ({hit.off:+.0%})" for hit in (alone, learnt)
        ]
        verdict = "holds" if learnt.holds else ""
        whole = f"{alone.name:24} {alone.seconds:5.0f} s in all, {alone.left:4.0f} s left"
        print(f"{whole}, said {said[0]:14} and with the sweeps before it {said[1]:14} {verdict}")


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    one = commands.add_parser("record")
    one.add_argument("names", nargs="*", help=f"some of {', '.join(SHAPES)}; all of them")
    one.add_argument("--to", type=Path, default=FOLDER)
    one = commands.add_parser("show")
    one.add_argument("--share", type=float, default=SHARE, help="of the way at which is asked")
    options = parser.parse_args()
    if options.command == "show":
        return show(options.share)
    for name in options.names or SHAPES:
        print(record(name, options.to), flush=True)


if __name__ == "__main__":
    main()
