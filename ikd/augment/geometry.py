"""The parts of a training pipeline that set sizes and put images together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ikd.augment import mixing as _mixing  # noqa: F401, registers its transforms
from ikd.augment import scales as _scales  # noqa: F401, and this
from ikd.config import MixUp, Mosaic, MultiScale, Pad

Transform = dict[str, Any]


@dataclass(frozen=True)
class Geometry:
    """How large images are.

    Attributes:
        scale: a recipe's `input.scale`.
        keep_ratio: of the recipe's input.
        keep_empty: a window may hold no box.
    """

    scale: tuple[int, int]
    keep_ratio: bool
    keep_empty: bool

    @property
    def window(self) -> Transform:
        """Return the cut back to the scale."""
        return {
            "type": "IkdWindow",
            "size": tuple(self.scale),
            "upright": self.keep_ratio,
            "allow_negative_crop": self.keep_empty,
        }


def scaled(section: MultiScale, geometry: Geometry, *, mosaic: bool) -> list[Transform]:
    """Return what gives images another size; of a mosaic a window is cut in any case."""
    if not section.enabled:
        return [geometry.window] if mosaic else []
    resize = {
        "type": "IkdMultiScale",
        "scale": tuple(geometry.scale),
        "keep_ratio": geometry.keep_ratio,
        "ratio": section.ratio,
        "scales": [tuple(one) for one in section.scales],
    }
    return [resize, *([geometry.window] if section.crop or mosaic else [])]


def mosaic(section: Mosaic, source: Sequence[Transform], geometry: Geometry) -> list[Transform]:
    """Return what makes a mosaic; `source` are the transforms of each of its images."""
    if not section.enabled:
        return []
    settings = section.model_dump(exclude={"enabled"})
    return [{"type": "IkdMosaic", "source": list(source), "scale": tuple(geometry.scale), **settings}]


def mixed(section: MixUp, source: Sequence[Transform], flip: float) -> list[Transform]:
    """Return what mixes another image in; `source` are its transforms."""
    if not section.enabled:
        return []
    return [{"type": "IkdMixUp", "source": list(source), "flip": flip, **section.model_dump(exclude={"enabled"})}]


def padded(section: Pad) -> list[Transform]:
    """Return what fills images up to one size."""
    return [{"type": "IkdPad", "size": tuple(section.size), "fill": section.fill}] if section.enabled else []
