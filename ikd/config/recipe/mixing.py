"""The sections of a recipe that say how sizes, colours and neighbours of training images vary: for long trainings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ikd.config.section import Count, Probability, Section

Grey = Annotated[int, Field(ge=0, le=255)]
"""A value of a pixel."""
Delta = Annotated[int, Field(ge=0, le=127)]
"""A number of grey levels; of hues, which go round at 180."""
Factor = Annotated[float, Field(ge=0.05, le=20.0)]
"""Of a size; published ones lie between 0.1 and 2."""
Range = tuple[Factor, Factor]
"""Smallest and largest."""
Side = Annotated[int, Field(ge=1, le=32768)]
"""Of an image, in pixels; OpenCV takes no more."""


class MultiScale(Section):
    """Every image at another size each time. Validation and attack keep `input.scale`."""

    enabled: bool = False
    """Switch."""
    ratio: Range = (0.5, 2.0)
    """Smallest and largest factor of `input.scale`, drawn evenly; of a mosaic, which is twice as large, likewise."""
    scales: tuple[tuple[Side, Side], ...] = ()
    """Sizes of which one is drawn, each as `input.scale`, in place of factors."""
    crop: bool = True
    """Cut a window of `input.scale`, anywhere, where the image has become larger."""


class BatchScale(Section):
    """One factor for a whole batch, of all its images and their copies, on the device that trains: YOLOX's."""

    enabled: bool = False
    """Switch."""
    ratio: Range = (0.75, 1.25)
    """Smallest and largest factor, drawn evenly: 480 to 800 px of 640."""
    every: Count = 10
    """Steps with one factor."""


class Pad(Section):
    """One size for all images, in training, validation and export: what they lack is filled to the right and below."""

    enabled: bool = False
    """Switch."""
    size: tuple[Side, Side] = (640, 640)
    """Width and height in pixels; at least what `input.scale` can give."""
    fill: Grey = 114
    """Grey level of the filling, before the detector normalises."""


class Photometric(Section):
    """Colours of the whole picture, in every epoch; perturbed copies keep theirs."""

    enabled: bool = False
    """Switch."""
    kind: Literal["hsv", "distortion"] = "hsv"
    """YOLOX's, which moves hue, saturation and brightness, or SSD's: contrast and order of channels too, by a coin
    each, with mmdet's strengths."""
    hue: Delta = 5
    """Largest change for hsv, of 180."""
    saturation: Delta = 30
    """Largest change for hsv, of 255."""
    brightness: Delta = 30
    """Largest change for hsv, of 255."""


class Mosaic(Section):
    """Four images about a point, twice as large as one, of which `input.scale` is cut out.

    Each is resized, perturbed and judged by itself before, as it is without.
    """

    enabled: bool = False
    """Switch."""
    probability: Probability = 1.0
    """Probability for an image."""
    centre: Range = (0.5, 1.5)
    """Range of the point, each axis by itself, in units of `input.scale`."""
    fill: Grey = 114
    """Grey level of what no image covers."""


class MixUp(Section):
    """Half of another image over half of this one, with the boxes of both."""

    enabled: bool = False
    """Switch."""
    probability: Probability = 1.0
    """Probability for an image."""
    jitter: Range = (0.8, 1.6)
    """Smallest and largest factor of the other's size."""
    fill: Grey = 114
    """Grey level of what the other image does not cover."""
