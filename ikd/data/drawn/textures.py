"""Textures and shapes of the drawn data set: natural-looking noise, patterns, outlines."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]

OVERSAMPLE = 4  # outlines are drawn this much bigger and averaged down, so that edges are smooth


def natural_noise(random: np.random.RandomState, size_px: int) -> Field:
    """Draw noise whose amplitude falls as 1/f, as in photographs (Field, 1987), so its power falls as f^-2.

    Args:
        random: source of randomness.
        size_px: side of the square.

    Returns:
        [size_px, size_px], mean 0, standard deviation 1.
    """
    frequency = np.hypot(np.fft.fftfreq(size_px)[:, None], np.fft.rfftfreq(size_px)[None, :])
    frequency[0, 0] = np.inf  # no mean
    white = np.fft.rfft2(random.standard_normal((size_px, size_px)))
    field = np.fft.irfft2(white / frequency, s=(size_px, size_px))
    return (field - field.mean()) / field.std()


def background(random: np.random.RandomState, size_px: int) -> Field:
    """Draw a coloured ground: shared brightness noise, weaker colour noise, all 1/f.

    Returns:
        [size_px, size_px, 3], around 120 grey levels, mostly within 60..180.
    """
    brightness = natural_noise(random, size_px)[:, :, None]
    colour = np.stack([natural_noise(random, size_px) for _ in range(3)], axis=2)
    return 120 + random.uniform(-15, 15) + random.uniform(12, 20) * brightness + 6 * colour


def pattern(random: np.random.RandomState, kind: str, size_px: int) -> Field:
    """Draw a two-valued pattern with a period that grows with the object, turned at random.

    Args:
        random: source of randomness.
        kind: "stripes", "checks", "dots" or "plain".
        size_px: side of the square.

    Returns:
        [size_px, size_px], 0..1.
    """
    angle, phase = random.uniform(0, np.pi), random.uniform(0, 1, 2)
    rows, columns = np.mgrid[0:size_px, 0:size_px]
    period = max(4.0, size_px / random.uniform(4, 6))
    along = (columns * np.cos(angle) + rows * np.sin(angle)) / period + phase[0]
    across = (rows * np.cos(angle) - columns * np.sin(angle)) / period + phase[1]
    if kind == "stripes":
        return (along % 1 < 0.5).astype(float)
    if kind == "checks":
        return ((along % 1 < 0.5) ^ (across % 1 < 0.5)).astype(float)
    if kind == "dots":
        return (np.hypot(along % 1 - 0.5, across % 1 - 0.5) < 0.3).astype(float)
    return np.full((size_px, size_px), 0.5)


def outline(random: np.random.RandomState, shape: str, height: int, width: int) -> Field:
    """Draw the opacity of a shape that touches all four sides of its box.

    Args:
        random: source of randomness.
        shape: "disc", "square", "triangle" or "ring".
        height: of the box, px.
        width: of the box, px.

    Returns:
        [height, width], 0 outside the shape, 1 inside, between them on its edge.
    """
    tall, wide = height * OVERSAMPLE, width * OVERSAMPLE
    canvas = np.zeros((tall, wide), np.uint8)
    centre, axes = (wide // 2, tall // 2), (wide // 2 - 1, tall // 2 - 1)
    if shape in ("disc", "ring"):
        cv2.ellipse(canvas, centre, axes, 0, 0, 360, 255, -1)
    if shape == "ring":
        cv2.ellipse(canvas, centre, (axes[0] // 2, axes[1] // 2), 0, 0, 360, 0, -1)
    if shape == "square":
        lean = random.uniform(0.0, 0.15)
        corners = [(lean, 0), (1, lean), (1 - lean, 1), (0, 1 - lean)]
        cv2.fillPoly(canvas, [np.array([(x * (wide - 1), y * (tall - 1)) for x, y in corners], np.int32)], 255)
    if shape == "triangle":
        top = random.uniform(0.3, 0.7)
        corners = [(top, 0), (1, 1), (0, 1)]
        cv2.fillPoly(canvas, [np.array([(x * (wide - 1), y * (tall - 1)) for x, y in corners], np.int32)], 255)
    return cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA) / 255.0
