"""The sections of a recipe that say what the network sees: its size, and what is done to pictures in every epoch."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

import pydantic
from pydantic import Field

from ikd.config.recipe.mixing import BatchScale, MixUp, Mosaic, MultiScale, Pad, Photometric, Side
from ikd.config.section import Count, Probability, Section

Operation = Literal[
    "auto_contrast", "equalize", "invert", "posterize", "solarize", "color", "contrast", "brightness", "sharpness"
]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)
"""What joint augmentation may do to a picture: each changes values of pixels, and moves none."""
MOVING = r"(shear|translate|trans|rotate|flip|crop|resize|scale|affine|perspective|elastic|zoom|warp|mosaic|mix).*"
"""Names of operations that move pixels, as other libraries call them."""


class Cutout(Section):
    """Black rectangles in the image, as wide and high as a share of it; boxes and masks stay."""

    enabled: bool = False
    """Switch."""
    probability: Probability = 0.5
    """Probability for an image."""
    holes: Count = 1
    """Number of rectangles."""
    ratio: Annotated[float, Field(gt=0.0, le=1.0)] = 0.25
    """Sides of a rectangle relative to the image's; its upper left corner is anywhere, what lies beyond is cut off."""


class CopyPaste(Section):
    """Objects of another image of the training part, pasted where they were in theirs."""

    enabled: bool = False
    """Switch."""
    probability: Probability = 0.5
    """Probability for an image."""
    objects: Count = 10
    """Largest number of objects pasted; how many, and which, is drawn."""
    by: Literal["mask", "box"] = "mask"
    """Paste along the outline, for data with a segmentation of every box, or the whole box."""


class Joint(Section):
    """JDA, joint data augmentation (Li et al., ACCV 2022): the picture that student and teacher see alike is altered.

    The authors' policy is of classification; here it is made of what leaves every pixel where it is, so that boxes, and
    the cells of maps, stay where they are. Strengths are ours: the authors' are for 32 px.
    """

    enabled: bool = False
    """Switch."""
    proportion: Probability = 0.5
    """Share of the samples that go through the operations; 0 is off, 1 is every sample. The published batch holds each
    image once as it is and once altered: 0.5."""
    probability: Probability = 0.3
    """Of each operation, for such a sample; the authors take 0.3 (CIFAR-100), 0.5 (CIFAR-10) and 0.2 (ImageNet)."""
    strength: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """How far brightness, colour, contrast, sharpness, posterize and solarize go, of their whole way."""
    operations: tuple[Operation, ...] = OPERATIONS
    """Done in this order; one that is listed twice may act twice."""

    @pydantic.field_validator("operations", mode="before")
    @classmethod
    def _keeps_geometry(cls, names: Any) -> Any:
        for name in names if isinstance(names, (list, tuple)) else ():
            if isinstance(name, str) and re.fullmatch(MOVING, name.lower()):
                raise ValueError(
                    f"must keep every pixel where it is, and {name} moves them: losses that compare maps cell by cell, "
                    f"and boxes, would no longer fit; take any of {', '.join(OPERATIONS)} (input.flip and augment.crop "
                    "move boxes along)"
                )
        return names

    @pydantic.field_validator("operations")
    @classmethod
    def _some(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            raise ValueError(f"must list at least one of {', '.join(OPERATIONS)}; joint.enabled: false is none")
        return names

    @property
    def acts(self) -> bool:
        """Whether any sample can be altered."""
        return self.enabled and self.proportion > 0 and self.probability > 0


class Input(Section):
    """Geometry of the images the network sees."""

    scale: tuple[Side, Side] = (1333, 800)
    """Largest long and short side in pixels, as mmdet's Resize takes it."""
    keep_ratio: bool = True
    """Keep the aspect ratio when resizing."""
    flip: Probability = 0.5
    """Probability of a horizontal flip."""
    order: Literal["flip_crop", "crop_flip"] = "flip_crop"
    """Order of flip and adaptive crop: flip first for RetinaNet and RepPoints, crop first for Mask R-CNN."""
    cutout: Cutout = Cutout()
    """Holes, in every epoch."""
    copy_paste: CopyPaste = CopyPaste()
    """Objects of other images, in every epoch."""
    joint: Joint = Joint()
    """Colours and contrasts of the whole picture, in every epoch."""
    multi_scale: MultiScale = MultiScale()
    """Another size of every image each time."""
    batch_scale: BatchScale = BatchScale()
    """Another size of a batch each time."""
    pad: Pad = Pad()
    """One size for all."""
    photometric: Photometric = Photometric()
    """Colours, in every epoch."""
    mosaic: Mosaic = Mosaic()
    """Four images in one."""
    mixup: MixUp = MixUp()
    """Two images in one."""
    stop_fraction: Probability = 1.0
    """Share of each stage after which mosaic and mixup stop; with one teacher, of the schedule."""

    @property
    def mixes(self) -> bool:
        """Whether any image of a training is made of several."""
        return (self.mosaic.enabled or self.mixup.enabled) and self.stop_fraction > 0
