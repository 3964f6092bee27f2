"""JDA, joint data augmentation (Li et al., ACCV 2022), of what keeps every pixel in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from numpy.typing import NDArray
from pydantic import ValidationError

from ikd.augment.pair import REFERENCE, joined, parted
from ikd.config import Joint
from ikd.errors import refuse

Image = NDArray[np.uint8]
FURTHEST = 0.9
"""Of the factors of colour, contrast, brightness and sharpness from 1, at full strength: 0.1 or 1.9."""


def _factor(change: Callable[..., Image]) -> Callable[[Image, float, bool], Image]:
    """Make an operation of one that takes a factor, of which 1 changes nothing."""
    return lambda image, strength, up: change(image, 1 + FURTHEST * strength * (1 if up else -1))


OPERATIONS: Mapping[str, Callable[[Image, float, bool], Image]] = {
    "auto_contrast": lambda image, strength, up: mmcv.auto_contrast(image),
    "equalize": lambda image, strength, up: mmcv.imequalize(image),
    "invert": lambda image, strength, up: mmcv.iminvert(image),
    "posterize": lambda image, strength, up: mmcv.posterize(image, 8 - round(4 * strength)),
    "solarize": lambda image, strength, up: mmcv.solarize(image, 256 - 128 * strength),
    "color": _factor(mmcv.adjust_color),
    "contrast": _factor(mmcv.adjust_contrast),
    "brightness": _factor(mmcv.adjust_brightness),
    "sharpness": _factor(mmcv.adjust_sharpness),
}
"""By name: image [H, W, 3] BGR, strength in (0, 1] and direction to an image. mmcv does the work.

Posterize keeps 8 down to 4 bits; solarize inverts what is above 256 down to 128; the last four have a direction.
"""


@TRANSFORMS.register_module(name="IkdJoint")
class JointAugment(BaseTransform):
    """Alter colours and contrasts of some samples: the picture that student and teacher see alike.

    Copies of the image stay as they are. A sample that was altered has the key `joint`. Random numbers come from a
    generator of its own, which follows from the state of numpy's global one and leaves that as it is: samples that are
    not chosen are those of a training without joint augmentation, bit for bit, and so are flip and crop of all.

    Args:
        proportion: share of the samples that go through the operations, 0..1.
        probability: of each operation, 0..1.
        strength: how far the operations go, in (0, 1].
        operations: names of `OPERATIONS`, in the order in which they are done.

    Raises:
        BadInput: an argument is out of range, or an operation unknown or one that moves pixels.
    """

    def __init__(self, *, proportion: float, probability: float, strength: float, operations: Sequence[str]) -> None:
        given = {"proportion": proportion, "probability": probability, "strength": strength}
        try:
            self.settings = Joint(**given, operations=tuple(operations))  # type: ignore[arg-type]  # checked there
        except ValidationError as error:
            fault = error.errors()[0]
            field = ".".join(map(str, fault["loc"]))
            rule = fault["msg"].removeprefix("Value error, ").replace("Input should", "must")
            refuse(f"input: joint.{field}", rule, fault["input"])

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return the sample, altered or as it was."""
        draws = own_generator()
        if draws.random() >= self.settings.proportion:
            return results
        image, copies = parted(results)
        altered = np.ascontiguousarray(image)
        for name in self.settings.operations:
            acts, up = draws.random() < self.settings.probability, draws.random() < 0.5
            if acts:
                altered = OPERATIONS[name](altered, self.settings.strength, bool(up))
                results["joint"] = True
        return joined(results, altered, copies)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.settings!r})"


@TRANSFORMS.register_module()
class AttachReference(BaseTransform):
    """Keep the image as it is before noise and joint augmentation, as the copy `reference`."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the copy."""
        image, copies = parted(results)
        return joined(results, image, {REFERENCE: image, **copies})


def own_generator() -> np.random.Generator:
    """Return a generator that follows from numpy's global state and does not move it."""
    state: Any = np.random.get_state(legacy=False)["state"]
    return np.random.default_rng([int(state["pos"]), *map(int, state["key"][:8])])
