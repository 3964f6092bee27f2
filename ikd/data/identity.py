"""A hash of what a data set shows, whatever its files and ids are called."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ikd.data.reader.stream import entries
from ikd.data.threads import in_threads
from ikd.errors import DataError, Problem
from ikd.files import sha256

Objects = dict[Any, list[tuple[Any, str]]]
_NUMBERS = {int, float}
_VERSION = "ikd data 1"  # part of every hash: a change of the recipe below must not pass for the same data


def fingerprint(annotations: Path, images: Path) -> str:
    """Hash one split by content.

    Equal for two copies whose files are renamed, ids renumbered, or json lists and keys reordered; different as soon as
    a byte of an image file, a box, area, crowd flag, mask or the class of a box changes.

    Args:
        annotations: COCO json file.
        images: folder that its file names are relative to.

    Returns:
        SHA-256, 64 hexadecimal digits.

    Raises:
        DataError: a file is missing, or an entry lacks what the hash needs. `check_dataset` lists every such fault.
    """
    images_of, names, objects = _read(Path(annotations))
    try:
        return digest_of(names, images_of, objects, lambda image: sha256(Path(images) / image["file_name"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        rule = f"every entry must be complete ({type(error).__name__}: {error}); see `ikd data check`"
        raise DataError(str(Problem(str(annotations), "annotations", None, rule))) from error
    except OSError as error:
        raise DataError(str(Problem(str(annotations), "images", str(error), "every image must be readable"))) from error


def _read(annotations: Path) -> tuple[list[Any], dict[Any, str], Objects]:
    """Return images, class names by id, and what is said of the objects of each image; masks are texts at once."""
    images: list[Any] = []
    names: dict[Any, str] = {}
    objects: Objects = defaultdict(list)
    try:
        for entry in entries(annotations):
            if entry.section == "images":
                images.append(entry.value)
            elif entry.section == "categories":
                names[entry.value["id"]] = str(entry.value["name"])
            else:
                objects[entry.value["image_id"]].append((entry.value["category_id"], said_of(entry.value)))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        rule = f"every entry must be complete ({type(error).__name__}: {error}); see `ikd data check`"
        raise DataError(str(Problem(str(annotations), "annotations", None, rule))) from error
    return images, names, objects


def combine(parts: list[str]) -> str:
    """Hash a list of texts; the borders between them count."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def digest_of(
    names: Mapping[Any, str],
    images: Sequence[Any],
    objects: Mapping[Any, Sequence[tuple[Any, str]]],
    pixels: Callable[[Any], str],
) -> str:
    """Hash a split of which all is known.

    Args:
        names: of the classes, by id.
        images: their entries in the file.
        objects: by image id, each object's category id and what `said_of` returns.
        pixels: returns the SHA-256 of an image's file.
    """

    def digest(image: Any) -> str:
        # the same text whatever the ids
        texts = sorted(f"[{json.dumps(names[category])}, {text}" for category, text in objects.get(image["id"], ()))
        return combine([pixels(image), f"{int(image['width'])}x{int(image['height'])}", *texts])

    return combine([_VERSION, *sorted(names.values()), *sorted(in_threads(digest, images))])


def said_of(annotation: Mapping[str, Any]) -> str:
    """Return what an annotation says besides ids and class, the same whatever the order of keys, and 1 against 1.0."""
    box = [float(value) for value in annotation["bbox"]]
    area = annotation.get("area")
    ignored = [bool(annotation.get("iscrowd", 0)), bool(annotation.get("ignore", 0))]
    mask = _numbers_as_float(annotation.get("segmentation") or None)
    content = [box, float(box[2] * box[3] if area is None else area), ignored, mask]
    return json.dumps(content, sort_keys=True)[1:]


def _numbers_as_float(value: Any) -> Any:
    if isinstance(value, list):
        if set(map(type, value)) <= _NUMBERS:
            return list(map(float, value))
        return [_numbers_as_float(item) for item in value]
    if isinstance(value, dict):
        return {key: _numbers_as_float(item) for key, item in value.items()}
    return float(value) if isinstance(value, int) else value
