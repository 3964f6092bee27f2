"""mmdet's CocoDataset, served entry by entry from ikd's index."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from numpy.typing import NDArray

from ikd.data.reader import CocoIndex, indexed
from ikd.errors import DataError, Problem
from ikd.files import write_text


@DATASETS.register_module()
class IndexedCocoDataset(CocoDataset):
    """What CocoDataset holds, each entry parsed by its own code when it is asked for.

    So a process holds a few bytes an image, not a kilobyte a box, and starts in a second whatever the size of the set.
    The arguments are CocoDataset's.

    Raises:
        DataError: the annotations cannot be read, or what mmdet makes of them differs from what ikd reads there.
    """

    def full_init(self) -> None:
        """Open the index of the annotations, and choose the images as `filter_data` does."""
        if self._fully_initialized:
            return
        self.index = indexed(Path(self.ann_file))
        names = set(self.metainfo["classes"])
        self.cat_ids = [int(one["id"]) for one in self.index.categories if one["name"] in names]
        self.cat2label = {identity: label for label, identity in enumerate(self.cat_ids)}
        self._places = self._chosen()
        self._fully_initialized = True
        compare(self)

    def _chosen(self) -> NDArray[np.int64]:
        """Return the places in the index of the images that this data set has."""
        index, places = self.index, np.arange(len(self.index))
        if self.filter_cfg is not None and not self.test_mode:
            kept = np.minimum(index.widths, index.heights) >= self.filter_cfg.get("min_size", 0)
            if self.filter_cfg.get("filter_empty_gt", False):
                listed = np.isin(index.labels, [place for place, one in enumerate(index.category_ids) if one in self.cat2label])
                kept &= np.bincount(index.owners[listed], minlength=len(index)) > 0
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
        """Return what mmdet makes of an image of the index."""
        image = self.index.image(place)
        raw = image | {"img_id": image["id"], "file_name": on_disk(image["file_name"])}
        found: dict[str, Any] = self.parse_data_info({"raw_img_info": raw, "raw_ann_info": self.index.annotations(place)})
        return found
