"""Perturbations from before they were named by content: they are right still, and took long to make."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmcv.image import rescale_size

from ikd.attack.images import TrainingImages
from ikd.attack.packing import HEADER_BYTES, size_in
from ikd.attack.store import PerturbationStore
from ikd.data import image_digest, indexed, on_disk
from ikd.files import link_whole, write_text

FORMAT = 3
TAKEN = "taken.json"
"""Beside files named by ids: which store has taken them over. What they are of is then known, and nobody else's."""


def adopt(store: PerturbationStore, source: TrainingImages) -> bool:
    """Take over the perturbations that were made for the same images, ids and names before, as links; tell whether.

    That store was named after all that this one's key says, but for the classes' order, and after ids and file names.
    Which content lay under which id it does not say, so each file must at least have its image's size.

    Args:
        store: incomplete, with the key of `ikd.attack.perturbation_key`.
        source: the images and their size.
    """
    index = indexed(source.annotations)
    images = [index.image(place) for place in range(len(index))]
    listed = json.dumps(sorted([image["id"], image["file_name"]] for image in images))
    shared = {name: value for name, value in store.key.items() if name not in ("format", "classes")}
    earlier = {"format": FORMAT, "images": hashlib.sha256(listed.encode()).hexdigest(), **shared}
    before = PerturbationStore(store.folder.parent, earlier)
    if not before.complete or (before.folder / TAKEN).exists():
        return False
    files = {before.folder / f"{image['id']}.ikdp": image for image in images}
    if not all(_fits(file, image, source) for file, image in files.items()):
        return False
    store.reopen()
    with contextlib.suppress(OSError):  # a read-only or full disk: they are made anew then, if they can be written
        for file, image in files.items():
            link_whole(file, store.path_of(image_digest(source.images / on_disk(image["file_name"]))))
        store.finish(before.summary())
        write_text(before.folder / TAKEN, json.dumps(store.folder.name))
    return store.complete


def _fits(file: Path, image: Mapping[str, Any], source: TrainingImages) -> bool:
    size = image["width"], image["height"]
    width, height = rescale_size(size, source.input_size) if source.keep_ratio else source.input_size
    try:
        with file.open("rb") as stream:
            return size_in(stream.read(HEADER_BYTES), os.fstat(stream.fileno()).st_size) == (height, width)
    except OSError:
        return False
