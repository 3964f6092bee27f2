"""Judging image files: where they lie, whether they decode, and how big they are."""

from __future__ import annotations

import io
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ikd.data.rules import Findings

Fault = tuple[str, object, str]  # key, value, rule


def check_images(images: list[tuple[int, dict[str, Any]]], folder: Path, found: Findings) -> None:
    """Decode every image of a split.

    Args:
        images: index and entry, all keys present.
        folder: what the file names are relative to.
        found: takes the problems, in the order of the file.
    """
    if not folder.is_dir():
        found.error("images", str(folder), "the image folder must exist")
        return
    first: dict[str, int] = {}
    for index, image in images:
        if image["file_name"] in first:
            rule = f"should be named once, images[{first[image['file_name']]}] has it"
            found.warning(f"images[{index}].file_name", image["file_name"], rule)
        first.setdefault(image["file_name"], index)
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:  # decoders release the interpreter lock
        faults = pool.map(lambda item: _faults(item[1], folder), images)
        for (index, _), listed in zip(images, faults, strict=True):
            for key, value, rule in listed:
                found.error(f"images[{index}].{key}", value, rule)


def _faults(image: dict[str, Any], folder: Path) -> list[Fault]:
    name, size = image["file_name"], (image["width"], image["height"])
    if min(size) <= 0:
        return [("width" if size[0] <= 0 else "height", min(size), "must be above 0")]
    if PurePosixPath(name).is_absolute() or PureWindowsPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        return [("file_name", name, f"must stay inside {folder}: relative, without '..'")]
    path = folder / name
    try:
        resolved = path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError):  # missing, a loop of links, a NUL in the name
        return [("file_name", name, f"the file must exist in {folder}")]
    if not resolved.is_relative_to(folder.resolve()):
        return [("file_name", name, f"must stay inside {folder}, this link leads to {resolved}")]
    if not resolved.is_file():
        return [("file_name", name, "must be a file")]
    return _decode(resolved, name, size)


def _decode(path: Path, name: str, size: tuple[int, int]) -> list[Fault]:
    """Decode with the library that training uses, and with one that notices a truncated file."""
    try:
        content = path.read_bytes()
        with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as picture:
            warnings.simplefilter("ignore")  # a strange colour profile is no fault
            picture.load()
    except Exception as error:  # Pillow's decoders raise nearly anything, SyntaxError and struct.error included
        return [("file_name", name, f"must be a readable image ({type(error).__name__}: {error})")]
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        return [("file_name", name, "must be a format that OpenCV reads, for example PNG or JPEG")]
    height, width = pixels.shape[:2]  # after the camera's rotation tag, as in training
    keys = (("width", size[0], width), ("height", size[1], height))
    return [(key, said, f"must be the image's {key}, {real} px") for key, said, real in keys if said != real]
