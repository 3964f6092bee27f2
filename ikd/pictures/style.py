"""What all pictures have in common: colours, fonts, and names that nothing can be broken by."""

from __future__ import annotations

import contextlib
import logging
import unicodedata
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.figure import Figure

TRUTH, TEACHER, STUDENT, WRONG = "#00905e", "#1769b5", "#e08600", "#e0102f"
"""Colours of what is there, of what teacher and student find, and of what they find in vain."""
INK, FAINT, PAPER = "#222222", "#8a8a8a", "#ffffff"
DPI = 100
LONGEST_NAME = 22
"""Characters of a class that a picture shows."""
LONGEST_FILE = 60
_WIDE_FONTS = ("Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "Droid Sans Fallback", "Unifont")
"""Fonts with the characters that matplotlib's own lacks; those that are installed are asked after it."""
_QUALITY = 88
_SETTINGS: dict[str, Any] = {
    "text.parse_math": False,  # a class may be called `$5`
    "text.usetex": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
}


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Draw in the block with ikd's settings, whatever a person's matplotlibrc says."""
    known = {font.name for font in font_manager.fontManager.ttflist}
    fonts = ["DejaVu Sans", *(name for name in _WIDE_FONTS if name in known)]
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with matplotlib.rc_context(), warnings.catch_warnings():
            matplotlib.rcdefaults()
            settings: Any = matplotlib.rcParams
            settings.update(_SETTINGS | {"font.family": fonts, "font.sans-serif": fonts})
            warnings.filterwarnings("ignore", message="Glyph")  # a script that no font here has is drawn as boxes
            yield
    finally:
        logger.setLevel(level)


def plain(text: str, longest: int = LONGEST_NAME) -> str:
    """Return a name as one line of visible characters, the middle of a long one left out."""
    shown = "".join(" " if unicodedata.category(one)[0] in "CZ" else one for one in text)
    shown = " ".join(shown.split()) or "?"
    if len(shown) <= longest:
        return shown
    head = (longest - 1) * 2 // 3
    return f"{shown[:head]}…{shown[len(shown) - (longest - 1 - head) :]}"


def save(figure: Figure, path: Path) -> None:
    """Write a figure as what the file's name says, PNG or JPEG."""
    settings: dict[str, Any] = {"quality": _QUALITY} if path.suffix == ".jpg" else {}
    metadata = {"Software": None} if path.suffix == ".png" else None
    figure.savefig(path, dpi=DPI, facecolor=PAPER, pil_kwargs=settings, metadata=metadata)
