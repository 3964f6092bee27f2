"""The data set that ikd draws itself: no download, the same bytes every time, learnable in a minute or two."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ikd.data.drawn.textures import Field, background, natural_noise, outline, pattern
from ikd.errors import BadInput, refuse
from ikd.files import whole_folder
from ikd.home import cache

CLASSES = {"disc": "stripes", "square": "checks", "triangle": "dots", "ring": "plain"}  # shape and its texture
# A leaning of colour, BGR grey levels, that varies by as much: without it a small detector needs many more images.
TINTS = {"disc": (-30, -20, 50), "square": (-30, 45, -20), "triangle": (50, -15, -30), "ring": (-45, 30, 30)}
SMALL_PX, MEDIUM_PX, LARGE_PX = (18, 31), (36, 84), (98, 116)  # side of a box, by COCO bin; also sets the least image
NUM_TRAIN, NUM_VAL, SIZE_PX, LEAST_SIZE_PX = 240, 60, 160, 128
MOST_SIZE_PX = 4096  # an image is drawn in some 20 arrays of its size, of 8 bytes a number
VISIBLE = 0.65  # of an object: what would hide more of an earlier one is placed elsewhere
CONTRAST = 38  # grey levels at least between an object's mean and the ground under it
CRUMB_PX2 = 12  # a piece that is smaller is no visible part of its object
_VERSION = 2  # part of the cache key: raise it whenever the pixels change

# What an image holds, (small, medium, large) as (least, most); one after the other, so any ten images have all kinds.
# Three in ten have small objects only (there high-frequency corruption acts), one in ten is empty.
_KINDS = (
    ((8, 12), (0, 0), (0, 0)),
    ((2, 4), (3, 5), (0, 0)),
    ((1, 3), (1, 2), (1, 1)),
    ((4, 6), (2, 4), (0, 0)),
    ((7, 10), (0, 0), (0, 0)),
    ((1, 3), (2, 3), (1, 1)),
    ((2, 4), (1, 2), (1, 1)),
    ((6, 10), (0, 0), (0, 0)),
    ((2, 4), (3, 5), (0, 0)),
    ((0, 0), (0, 0), (0, 0)),
)


@dataclass
class _Canvas:
    """An image being drawn.

    Attributes:
        pixels: [H, W, 3], BGR, 0..255 before rounding.
        masks: the visible part of each object, [H, W] bool.
        areas: each object's area before anything hid it, px^2.
        labels: each object's class.
    """

    pixels: Field
    masks: list[NDArray[np.bool_]] = field(default_factory=list)
    areas: list[int] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)


def drawn_folder(*, num_train: int = NUM_TRAIN, num_val: int = NUM_VAL, size_px: int = SIZE_PX, seed: int = 0) -> Path:
    """Return where `drawn_dataset` keeps the data set of the same arguments, whether it is there or not."""
    key = hashlib.sha256(json.dumps([_VERSION, num_train, num_val, size_px, seed]).encode()).hexdigest()[:16]
    return cache("drawn") / key


def drawn_dataset(*, num_train: int = NUM_TRAIN, num_val: int = NUM_VAL, size_px: int = SIZE_PX, seed: int = 0) -> Path:
    """Return the drawn data set from the cache, drawn there now where it is missing (a few seconds, once).

    Args:
        num_train: as for `draw_dataset`, like the other three.
        num_val: images of the validation split.
        size_px: side of the images.
        seed: another seed gives another data set.

    Returns:
        A folder with train.json, val.json and images/.

    Raises:
        BadInput: an argument is out of range.
    """
    target = drawn_folder(num_train=num_train, num_val=num_val, size_px=size_px, seed=seed)
    if not target.exists():
        try:
            draw_dataset(target, num_train=num_train, num_val=num_val, size_px=size_px, seed=seed)
        except BadInput:
            if not target.exists():  # otherwise another process was quicker, and drew the same
                raise
    return target


def draw_dataset(
    directory: str | Path,
    *,
    num_train: int = NUM_TRAIN,
    num_val: int = NUM_VAL,
    size_px: int = SIZE_PX,
    seed: int = 0,
) -> Path:
    """Draw a data set: four classes of textured shapes in three size bins over grounds with natural spectra.

    Objects hide parts of each other. Boxes are those of the visible part; masks are given as polygons.

    Args:
        directory: where to; must not exist or be empty. It appears complete or not at all.
        num_train: images of the training split, 10 or more.
        num_val: images of the validation split, 10 or more.
        size_px: side of the images, 128 to 4096; from 128 on COCO's large objects fit.
        seed: another seed gives another data set; 0 or more.

    Returns:
        The directory, with train.json, val.json and images/*.png.

    Raises:
        BadInput: an argument is out of range, or the directory holds something.
    """
    target = Path(directory)
    limits = (
        ("num_train", num_train, 10),
        ("num_val", num_val, 10),
        ("size_px", size_px, LEAST_SIZE_PX),
        ("seed", seed, 0),
    )
    for name, value, least in limits:
        if value < least:
            refuse(name, f"must be {least} or more", value)
    if size_px > MOST_SIZE_PX:
        refuse("size_px", f"must be {MOST_SIZE_PX} or less", size_px)
    if target.absolute() == Path.cwd():  # it would be replaced under the feet of whoever stands in it
        raise BadInput(f"{target} must not exist or be an empty folder, and not the current one")
    if _filled(target):
        raise BadInput(f"{target} must not exist or be an empty folder, nothing is overwritten")
    try:
        with whole_folder(target) as draft:
            (draft / "images").mkdir()
            for number, (split, count) in enumerate((("train", num_train), ("val", num_val))):
                _draw_split(draft, split, count, size_px, np.random.RandomState([seed, number]))
    except OSError as error:
        if not _filled(target):
            raise
        raise BadInput(f"{target} must not exist or be an empty folder, but was filled meanwhile ({error})") from error
    return target


def _filled(target: Path) -> bool:
    return target.exists() and (not target.is_dir() or any(target.iterdir()))


def _draw_split(directory: Path, split: str, count: int, size_px: int, random: np.random.RandomState) -> None:
    names = list(CLASSES)
    content: dict[str, Any] = {
        "info": {"description": f"drawn by ikd, version {_VERSION}, {split}"},
        "images": [],
        "annotations": [],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
    }
    for number in range(count):
        canvas = _draw_image(random, size_px, _KINDS[number % len(_KINDS)])
        name = f"{split}_{number:05d}.png"
        pixels = np.clip(np.rint(canvas.pixels), 0, 255).astype(np.uint8)
        _, png = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 6])
        (directory / "images" / name).write_bytes(png.tobytes())  # unlike OpenCV's writer, notices a full disk
        content["images"].append({"id": number + 1, "file_name": name, "width": size_px, "height": size_px})
        for label, mask in zip(canvas.labels, canvas.masks, strict=True):
            ids = {"id": len(content["annotations"]) + 1, "image_id": number + 1, "category_id": names.index(label) + 1}
            content["annotations"].append({**ids, **_annotation(mask)})
    (directory / f"{split}.json").write_text(json.dumps(content), encoding="utf-8")


def _annotation(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Describe a visible part: its tight box, the box's area, polygons around its pieces; crumbs are left out."""
    pieces, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    pieces = [piece for piece in pieces if cv2.contourArea(piece) >= CRUMB_PX2]
    x, y, width, height = cv2.boundingRect(np.concatenate(pieces))
    polygons = [piece.reshape(-1).astype(float).tolist() for piece in pieces]
    box = [float(x), float(y), float(width), float(height)]
    return {"bbox": box, "area": float(width * height), "iscrowd": 0, "segmentation": polygons}


def _draw_image(
    random: np.random.RandomState, size_px: int, kind: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
) -> _Canvas:
    canvas = _Canvas(background(random, size_px))
    # big ones first: small ones then lie on top and stay visible
    for (least, most), sides in zip(reversed(kind), (LARGE_PX, MEDIUM_PX, SMALL_PX), strict=True):
        for _ in range(random.randint(least, most + 1)):
            _add_object(random, canvas, sides)
    return canvas


def _add_object(random: np.random.RandomState, canvas: _Canvas, sides: tuple[int, int]) -> None:
    """Draw one object where it hides no earlier one too much; leave it out after twenty tries."""
    size_px = canvas.pixels.shape[0]
    for _ in range(20):
        height, width = random.randint(sides[0], sides[1] + 1, size=2)
        top, left = random.randint(0, size_px - height + 1), random.randint(0, size_px - width + 1)
        label = list(CLASSES)[random.randint(len(CLASSES))]
        window = (slice(top, top + height), slice(left, left + width))
        opacity = np.zeros((size_px, size_px))
        opacity[window] = outline(random, label, height, width)
        covered = opacity > 0.5
        left_over = [mask & ~covered for mask in canvas.masks]
        if all(rest.sum() >= VISIBLE * area for rest, area in zip(left_over, canvas.areas, strict=True)):
            colour = _surface(random, canvas.pixels[window], label)
            canvas.pixels[window] += opacity[window][:, :, None] * (colour - canvas.pixels[window])
            canvas.masks = [*left_over, covered]
            canvas.areas.append(int(covered.sum()))
            canvas.labels.append(label)
            return


def _surface(random: np.random.RandomState, ground: Field, label: str) -> Field:
    """Colour an object: brighter or darker than the ground under it, with its pattern and natural grain."""
    height, width = ground.shape[:2]
    side = max(height, width)
    away = random.uniform(CONTRAST, 70) * random.choice([-1, 1])
    tint = np.array(TINTS[label]) * random.uniform(0.5, 1.5) + random.uniform(-15, 15, 3)
    mean = np.clip(ground.mean(axis=(0, 1)) + away + tint, 25, 230)
    swing = random.uniform(25, 45) * (pattern(random, CLASSES[label], side) - 0.5)
    grain = 8 * natural_noise(random, side)
    return mean + (swing + grain)[:height, :width, None]
