"""mmdet's CocoDataset, served entry by entry from ikd's index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmdet import __version__ as mmdet_version
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from numpy.typing import NDArray

from ikd.data.coco import on_disk
from ikd.data.reader.index import CocoIndex, indexed
from ikd.errors import DataError, Problem
from ikd.files import write_text

COMPARED = "compared"
"""File in the folder of an index that was compared with what mmdet makes of it, by the version of mmdet."""


@DATASETS.register_module()
class IndexedCocoDataset(CocoDataset):
    """What CocoDataset holds, and ignored boxes set aside, each entry parsed by its own code when it is asked for.

    So a process holds a few bytes an image, not a kilobyte a box, and starts in a second whatever the size of the set.
    The arguments are CocoDataset's.

    Raises:
        DataError: the annotations cannot be read, or what mmdet makes of them differs from what ikd reads there.
    """

    _fully_initialized: bool

    def full_init(self) -> None:
        """Open the index of the annotations, and choose the images as `filter_data` does."""
        if self._fully_initialized:
            return
        self.index: CocoIndex = indexed(Path(self.ann_file))
        if tuple(self.metainfo["classes"]) != self.index.classes:
            rule = f"mmdet must be given the classes of the file in its order, {list(self.index.classes)}"
            raise DataError(str(Problem(self.ann_file, "categories", list(self.metainfo["classes"]), rule)))
        self.cat_ids = self.index.category_ids
        self.cat2label = {identity: label for label, identity in enumerate(self.cat_ids)}
        self._places = self._chosen()
        self._fully_initialized = True
        compared = self.index.folder / f"{COMPARED}-{mmdet_version}"
        if not compared.is_file():
            compare(self)
            write_text(compared, "")

    def _chosen(self) -> NDArray[np.int64]:
        """Return the places in the index of the images that this data set has."""
        index, places = self.index, np.arange(len(self.index))
        if self.filter_cfg is not None and not self.test_mode:
            kept = np.minimum(index.widths, index.heights) >= self.filter_cfg.get("min_size", 0)
            if self.filter_cfg.get("filter_empty_gt", False):
                kept &= index.with_boxes
            places = places[kept]
        if self._indices is None:
            return places
        if isinstance(self._indices, int):
            return places[: self._indices] if self._indices >= 0 else places[self._indices :]
        return places[list(self._indices)]

    def __len__(self) -> int:
        return len(self._places)

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Return the entry of one image as mmdet parses it."""
        found = self.parsed(int(self._places[idx]))
        found["sample_idx"] = idx if idx >= 0 else len(self) + idx
        return found

    def parsed(self, place: int) -> dict[str, Any]:
        """Return what mmdet makes of an image of the index.

        mmdet sets crowds aside (`ignore_flag`), as its VOC data sets do with difficult objects, but drops what COCO
        files call `ignore`; here both are set aside.
        """
        image = self.index.image(place)
        raw = image | {"img_id": image["id"], "file_name": on_disk(image["file_name"])}
        annotations = [
            one | {"iscrowd": 1, "ignore": 0} if one.get("ignore") else one for one in self.index.annotations(place)
        ]
        found: dict[str, Any] = self.parse_data_info({"raw_img_info": raw, "raw_ann_info": annotations})
        return found


def compare(dataset: IndexedCocoDataset) -> None:
    """Refuse a data set in which mmdet makes anything else of the annotations than ikd reads in them.

    Raises:
        DataError: names the image.
    """
    index = dataset.index
    kept = index.held
    corners = np.concatenate([index.boxes[:, :2], index.boxes[:, :2] + index.boxes[:, 2:]], axis=1)
    images = np.stack([index.ids, index.widths, index.heights], axis=1).tolist()
    for place, image in enumerate(images):
        own = np.arange(index.first[place], index.first[place + 1])
        own = own[kept[own]]
        columns = (column[own].tolist() for column in (corners, index.labels, index.set_aside, index.masked))
        read = [image, *map(list, zip(*columns, strict=True))]
        entry = dataset.parsed(place)
        held = [[entry["img_id"], entry["width"], entry["height"]]] + [
            [one["bbox"], one["bbox_label"], one["ignore_flag"], "mask" in one] for one in entry["instances"]
        ]
        if read != held:
            first = next((pair for pair in zip(read, held, strict=False) if pair[0] != pair[1]), (len(read), len(held)))
            rule = f"mmdet must hold what the annotations say, {first[0]} (box, label, set aside, mask)"
            raise DataError(str(Problem(dataset.ann_file, f"image {entry['img_path']}", first[1], rule)))
