"""Which frequencies of real photographs each augmentation changes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ikd.analyses.finding import Finding, folder_for, told, write_numbers
from ikd.analyses.pair import Pair
from ikd.analyses.spectra import Floats, amplitudes, log_spectrum, paired, rings
from ikd.augment import ProportionalCrop, corrupt
from ikd.data import CocoIndex, indexed, on_disk, rescaled
from ikd.errors import refuse
from ikd.pictures.detections import read_photograph
from ikd.pictures.style import DPI, INK, TEACHER, TRUTH, WRONG, drawing, save
from ikd.trial import Notify, NotifyOf

IMAGES = 256
"""Photographs that the authors look at."""
RINGS = 24
BANDS = {"low": (0, 1 / 3), "middle": (1 / 3, 2 / 3), "high": (2 / 3, 1)}
"""Thirds of the frequencies from zero to Nyquist's."""
_COLOURS = {"as it is": INK, "flip": TRUTH, "crop": TEACHER, "noise": WRONG}
Pixels = NDArray[np.uint8]
Change = Callable[[Pixels], Floats]


def analyze_fourier(
    pair: Pair, to: Path, *, images: int = IMAGES, seed: int = 0, progress: NotifyOf | None = None
) -> Finding:
    """Measure which frequencies of the validation photographs flip, crop and noise change (Liang et al., Figure 4).

    Noise and crop are those of the student's recipe (`augment.noise.sigma`, `augment.crop.min_ratio`), each on every
    photograph, whatever the rule of IKD would say of it. As in training, noise comes before the photograph is brought
    to the size of the network, the crop after it, and what a crop leaves is padded with what it is on average, as a
    batch is. All photographs are brought to the median size, so that their spectra can be averaged.

    Args:
        pair: its recipe and data; no detector is asked.
        to: folder for fourier.png and fourier.json; made where it is not there.
        images: the first so many photographs at most.
        seed: of noise and crops.
        progress: told what is done, and how much of it.

    Returns:
        `numbers`: `size` (height, width, px), `images`, `sigma`, `min_ratio`; `rings`, mean amplitude over rings from
        zero to Nyquist's frequency, grey levels, of `as it is`, `flip`, `crop`, `noise`; `change` of it in the thirds
        `low`, `middle`, `high`, grey levels.

    Raises:
        BadInput: fewer than one image, or one that cannot be read.
    """
    if images < 1:
        refuse("--images", "must be 1 or more", images)
    folder = folder_for(to)
    augment = pair.recipe.augment
    settings = {"sigma": augment.noise.sigma, "min_ratio": augment.crop.min_ratio}
    size = _common_size(indexed(pair.files.val), pair.recipe)
    with _own_draws(seed):
        means, count = _means(pair, _changes(size, **settings), images, told(progress, "spectra of photographs"))
    whole = means["as it is"].rings
    moved = {name: bands(one.rings - whole) for name, one in means.items() if one.rings is not whole}
    picture, file = folder / "fourier.png", folder / "fourier.json"
    with drawing():
        _draw(picture, means, f"{count} photographs at {size[1]} x {size[0]} px")
    numbers = {"rings": {name: one.rings.tolist() for name, one in means.items()}, "change": moved}
    content = write_numbers(file, "fourier", pair.about, {"size": list(size), "images": count, **settings, **numbers})
    rows = [[name, *(_signed(one[band]) for band in BANDS)] for name, one in moved.items()]
    said = ["change of the mean amplitude in the thirds of the frequencies, grey levels"]
    return Finding(f"spectra of {count} photographs", ("augmentation", *BANDS), rows, said, content, (picture, file))


@dataclass(frozen=True)
class Spectrum:
    """The spectrum of photographs, or their mean.

    Attributes:
        logarithm: see `log_spectrum`.
        rings: mean amplitude from zero to Nyquist's frequency, see `ikd.analyses.spectra.rings`, grey levels.
    """

    logarithm: Floats
    rings: Floats

    @classmethod
    def of(cls, picture: Floats) -> Spectrum:
        """Return that of a picture [H, W, C]."""
        return cls(log_spectrum(picture), rings(amplitudes(picture), RINGS))


def _means(
    pair: Pair, changes: Mapping[str, Change], images: int, tell: Notify | None
) -> tuple[dict[str, Spectrum], int]:
    """Return the mean spectrum of the photographs after each change, and how many they are."""
    index = indexed(pair.files.val)
    count = min(images, len(index))
    sums: dict[str, Spectrum] = {}
    for place in range(count):
        name = str(index.image(place)["file_name"])
        pixels = read_photograph(pair.recipe, pair.files.val_images / on_disk(name))
        for what, change in changes.items():
            new, old = Spectrum.of(change(pixels)), sums.get(what)
            sums[what] = new if old is None else Spectrum(old.logarithm + new.logarithm, old.rings + new.rings)
        if tell is not None:
            tell(place + 1, count)
    return {what: Spectrum(one.logarithm / count, one.rings / count) for what, one in sums.items()}, count


def bands(curve: Floats) -> dict[str, float]:
    """Return the means of rings [n] over the thirds from zero to Nyquist's frequency."""
    count = len(curve)
    return {name: float(curve[round(low * count) : round(high * count)].mean()) for name, (low, high) in BANDS.items()}


def _signed(value: float) -> str:
    """Return a change for a table; one that rounds to nothing has no sign."""
    return "0.00" if abs(value) < 0.005 else f"{value:+.2f}"


def _common_size(index: CocoIndex, recipe: Any) -> tuple[int, int]:
    """Return height and width, px, to which all photographs are brought: the median of the network's."""
    sizes = np.stack([np.asarray(index.widths), np.asarray(index.heights)], axis=1).astype(np.float64)
    width, height = np.median(rescaled(sizes, recipe.input.scale, keep_ratio=recipe.input.keep_ratio), axis=0)
    return int(height), int(width)


def _changes(size: tuple[int, int], sigma: float, min_ratio: float) -> Mapping[str, Change]:
    """Return what is done to a photograph [H, W, 3] before its spectrum is taken, by name."""
    height, width = size
    window = ProportionalCrop(min_ratio)

    def brought(pixels: Pixels) -> Pixels:
        return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)

    def framed(pixels: Pixels) -> Floats:
        """Put a picture into the frame, around it what it is on average: zero."""
        values = pixels.astype(np.float64)
        values -= values.mean(axis=(0, 1))
        frame = np.zeros((height, width, pixels.shape[2]))
        frame[: pixels.shape[0], : pixels.shape[1]] = values
        return frame

    return {
        "as it is": lambda pixels: framed(brought(pixels)),
        "flip": lambda pixels: framed(brought(pixels)[:, ::-1]),
        "crop": lambda pixels: framed(window.image_alone(brought(pixels))),
        "noise": lambda pixels: framed(brought(corrupt(pixels, sigma))),
    }


@contextlib.contextmanager
def _own_draws(seed: int) -> Iterator[None]:
    """Let what draws from numpy's global generator draw from a seed; the generator stays as it was."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)


def _draw(path: Path, means: Mapping[str, Spectrum], note: str) -> None:
    figure = Figure(figsize=(12, 7), dpi=DPI, layout="constrained")
    halves: Any = figure.subfigures(2, 1)
    upper, lower = halves
    _draw_spectra(upper, means)
    left, right = lower.subplots(1, 2)
    at, whole = (np.arange(RINGS) + 0.5) / RINGS, means["as it is"].rings
    for name, one in means.items():
        style = {"linestyle": "--" if name == "flip" else "-", "color": _COLOURS[name], "label": name}
        left.plot(at, one.rings, **style)
        if one.rings is not whole:
            right.plot(at, one.rings - whole, **style)
    left.set(yscale="log", ylabel="mean amplitude, grey levels")
    left.set_title("amplitude by frequency", loc="left")
    right.set(yscale="symlog", ylabel="change, grey levels (symlog)")
    right.axhline(0, color=INK, linewidth=0.6)
    right.set_title("what an augmentation changes", loc="left")
    for axes in (left, right):
        axes.set_xlabel("frequency / Nyquist's")
        axes.yaxis.set_major_formatter(lambda value, place: f"{value:g}")  # a power of ten is written as mathematics
        axes.legend(loc="best")
    figure.suptitle(f"spectra: {note}", fontsize=12, weight="bold")
    save(figure, path)


def _draw_spectra(figure: Any, means: Mapping[str, Spectrum]) -> None:
    panels, drawn = figure.subplots(1, len(means)), None
    for axes, (name, one) in zip(panels, means.items(), strict=True):
        shown = paired(one.logarithm)
        drawn = axes.imshow(shown / max(shown.max(), 1e-30), cmap="viridis", vmin=0, vmax=1)
        axes.set_title(name, loc="left")
        axes.set_axis_off()
    figure.colorbar(drawn, ax=panels, shrink=0.8, label="log(1 + |DFT|) / largest")
