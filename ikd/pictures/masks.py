"""Masks of what is there and of what a student finds, for the photographs that are shown."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from numpy.typing import NDArray
from pycocotools.coco import COCO

from ikd.config import Recipe
from ikd.data import CocoIndex, DataFiles
from ikd.evaluation import predictions
from ikd.training import val_loader

Masks = NDArray[np.bool_]
"""[n, H, W], px of the original image."""


@dataclass(frozen=True)
class MaskReader:
    """A student that predicts masks, asked for those of single photographs.

    Attributes:
        detector: on its device, ready to predict.
        recipe: says how large images are.
        files: where they lie.
    """

    detector: Any
    recipe: Recipe
    files: DataFiles

    def __call__(self, place: int, least: float) -> Masks:
        """Return the masks of at least this score in the image at a place of the validation part."""
        with DefaultScope.overwrite_default_scope("mmdet"), contextlib.redirect_stdout(io.StringIO()):
            dataset = Runner.build_dataloader(val_loader(self.recipe, self.files, self.detector)).dataset
            (samples,) = predictions(self.detector, [pseudo_collate([dataset[place]])], 1, None)
        found = samples[0].pred_instances
        masks: Masks = np.asarray(found.masks.cpu().numpy(), dtype=bool)
        return masks[(found.scores >= least).cpu().numpy()]


def mask_reader(detector: Any, recipe: Recipe, files: DataFiles) -> MaskReader | None:
    """Return what reads a student's masks; None where its recipe validates boxes alone."""
    return MaskReader(detector, recipe, files) if "segm" in recipe.validate else None


def truth_masks(index: CocoIndex, place: int) -> Masks:
    """Return the masks of objects, none set aside, of the image at a place of an index, as pycocotools reads them."""
    image, reader = index.image(place), COCO()
    reader.imgs = {image["id"]: image}
    aside = ("iscrowd", "ignore")
    entries = [one for one in index.annotations(place) if one.get("segmentation") and not any(map(one.get, aside))]
    masks = [np.asarray(reader.annToMask(one), dtype=bool) for one in entries]
    return np.stack(masks) if masks else np.zeros((0, image["height"], image["width"]), dtype=bool)
