"""How well teacher and student detect by low and by high frequencies alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ikd.analyses.finding import Finding, folder_for, shown, told, write_numbers
from ikd.analyses.pair import Pair
from ikd.analyses.seen import SCORE, SIZES, Detections, figures, sure
from ikd.analyses.spectra import BINS, as_picture, check_bins, split_frequencies
from ikd.data import CocoIndex, indexed, on_disk
from ikd.pictures.detections import read_photograph
from ikd.pictures.grid import Cell, write_grid
from ikd.pictures.judged import detections_of
from ikd.pictures.panel import Marks, panel
from ikd.pictures.style import LONGEST_FILE, STUDENT, TEACHER, drawing, plain
from ikd.trial import NotifyOf

SIDE = 380
VIEWS = ("whole", "low", "high")
"""The photographs as they are, and their two parts."""
_COLOURS = {"teacher": TEACHER, "student": STUDENT}


def analyze_frequency(pair: Pair, to: Path, *, bins: int = BINS, progress: NotifyOf | None = None) -> Finding:
    """Run teacher and student on the low and on the high frequencies of the validation part (Liang et al., Figure 2).

    Each photograph is parted as it lies on the disk, see `ikd.analyses.split_frequencies`, and what a part looks like
    is its magnitude, each channel brought to 255 at its largest. A square of 30 bins holds the less of a photograph
    the larger that is: the paper's are of about 640 x 480 px.

    Args:
        pair: student and teacher.
        to: folder for frequency.png and frequency.json; made where it is not there.
        bins: half the side of the square of low frequencies, 1 or more.
        progress: told what is done, and how much of it.

    Returns:
        `numbers`: `teacher` and `student`, each with `whole`, `low` and `high`: `AP`, `APs`, `APm`, `APl` and
        `AP/<class>` against the annotations, x100; `bins`.

    Raises:
        BadInput: no bin, or what `look` refuses.
    """
    check_bins(bins)
    folder = folder_for(to)
    found = {
        "teacher": _seen(pair, pair.teacher(), f"teacher {pair.teacher_name}", bins, progress),
        "student": _seen(pair, pair.student(), "student", bins, progress),
    }
    numbers = {who: {view: figures(pair.files.val, one) for view, one in views.items()} for who, views in found.items()}
    picture, file = folder / "frequency.png", folder / "frequency.json"
    with drawing():
        _draw(picture, pair, found, numbers, bins)
    content = write_numbers(file, "frequency", pair.about, {**numbers, "bins": bins})
    rows = [
        [f"{who}, {view}", *(shown(one[size]) for size in SIZES)]
        for who, views in numbers.items()
        for view, one in views.items()
    ]
    said = [f"low: at most {bins} periods over width and height of a photograph; high: the rest"]
    title = f"detection by frequency: {plain(pair.name, 60)}"
    return Finding(title, ("AP x100 on the validation part", *SIZES), rows, said, content, (picture, file))


def _seen(pair: Pair, detector: Any, who: str, bins: int, progress: NotifyOf | None) -> dict[str, Detections]:
    found: dict[str, Detections] = {}
    for view in VIEWS:
        alter = None if view == "whole" else {"type": "IkdFrequencyPart", "part": view, "bins": bins}
        tell = told(progress, f"{who} on {view} frequencies" if alter else f"{who} on whole photographs")
        found[view] = detections_of(detector, pair.recipe, pair.files, tell, alter)
    return found


def _draw(
    path: Path,
    pair: Pair,
    found: Mapping[str, Mapping[str, Detections]],
    numbers: Mapping[str, Mapping[str, Mapping[str, float]]],
    bins: int,
) -> None:
    """Show both in the photograph with the most objects."""
    index = indexed(pair.files.val)
    place = int(np.diff(index.first).argmax())
    name = str(index.image(place)["file_name"])
    pixels = read_photograph(pair.recipe, pair.files.val_images / on_disk(name))
    low, high = split_frequencies(pixels, bins)
    views = {"whole": pixels, "low": as_picture(low), "high": as_picture(high)}
    rows = []
    for who, seen in found.items():
        cells = []
        for view, shown_pixels in views.items():
            marks = boxes_of(seen[view], index, place, _COLOURS[who])
            caption = f"{who}, {view}: AP {shown(numbers[who][view]['AP'])}"
            cells.append(Cell(panel(shown_pixels, [marks], SIDE), caption, _COLOURS[who]))
        rows.append(cells)
    title = f"by frequency: low is at most {bins} periods a side; {plain(name, LONGEST_FILE)}"
    write_grid(path, rows, title=title, foot=f"boxes of score {100 * SCORE:g} and above; AP of the whole part")


def boxes_of(detections: Detections, index: CocoIndex, place: int, colour: str) -> Marks:
    """Return the boxes of an image of at least the usual score, for a panel.

    Args:
        detections: of the validation part.
        index: of it.
        place: of the image.
        colour: of the boxes.
    """
    labels = dict(zip(index.category_ids, index.classes, strict=True))
    identity = int(index.ids[place])
    own: Sequence[Mapping[str, Any]] = [one for one in sure(detections, SCORE) if one["image_id"] == identity]
    boxes = np.array([one["bbox"] for one in own], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Marks(boxes, [f"{plain(labels[one['category_id']])} {100 * one['score']:.0f}" for one in own], colour)
