"""Judging image files: where they lie, whether they decode, how big, how deep and which way up they are."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PureWindowsPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ikd.data.coco import on_disk
from ikd.data.complaints import complaints, overheard
from ikd.data.rules import Findings, plain_name
from ikd.data.threads import in_threads

THUMB = 16
"""Side of the grey thumbnails by which images are compared."""
ORIENTATION_TAG = 0x0112  # EXIF 2.3, 4.6.4 A: 1 is upright, 2 to 4 keep the sides, 5 to 8 exchange them
UPRIGHT = "save it without the tag, its pixels as the boxes are drawn"
_EXCHANGING = 5  # from this tag on width and height are exchanged
NEAR_BLACK_16BIT = 1 << 14
"""A 16-bit picture is read as value / 256: one with no brighter pixel than this is dark to a detector."""
NEAR_BLACK_8BIT = 16
"""The same of 255: a picture none of whose fields is brighter is dark, or holds its content where nobody reads it."""
OPAQUE = 255
_COLOURS = "should be RGB or grey: it is stored as {}, of which training sees other colours than viewers show"
_UNLIKE_VIEWERS = {
    "transparent": "should be opaque: training sees what its transparency covers, in colours that no viewer shows; "
    "save it on the background that annotators saw",
    **{space: _COLOURS.format(space) for space in ("LAB", "HSV")},
}
"""What is wrong with pictures that viewers show otherwise than OpenCV reads them, by `Facts.seen_otherwise`."""
_LAST_TAG = 8
_JPEGS = ("JPEG", "MPO")
_FRAMED = ("GIF", "WEBP", "PNG", "TIFF")  # of those that OpenCV reads; the second one of a telephone's MPO is a preview
READ = ("JPEG", "PNG", "TIFF", "BMP", "DIB", "WEBP", "GIF", "AVIF", "JPEG2000", "PPM", "SUN")
"""Kinds of pictures that Pillow may decode: those of OpenCV (a JPEG may be an MPO).

For others it starts programs (EPS: Ghostscript).
"""
MOST_PIXELS = 1 << 30
"""What OpenCV reads at most; a file of some kilobytes can say that it holds any number."""
_REDUCED_FROM_PX = 512  # JPEGs with longer sides are decoded at an eighth, which finds the same faults

Pixels = NDArray[Any]


@dataclass(frozen=True)
class Facts:
    """What was found out about one image file; no rule is applied yet.

    Attributes:
        fault: why it cannot be used, empty where it can; the others are 0 then.
        width: px, turned as its orientation tag says.
        height: likewise.
        stored: width and height in px as stored, without the tag.
        tag: EXIF's orientation where OpenCV turns the pixels by it, else 1.
        always_turned: OpenCV turns them by it whatever it is asked, as it does a TIFF.
        bits: of a channel.
        brightest: largest value, where a channel has more than 8 bits.
        sha256: of the file.
        thumb: grey thumbnail, `THUMB`^2 bytes.
        frames: pictures in the file, of which OpenCV reads the first.
        unheeded: orientation where OpenCV does not turn the pixels by it (in a WebP, XMP, or a PNG's text), else 1.
        complaint: what libjpeg says of damaged data, which it reads all the same.
        seen_otherwise: what makes viewers show other colours than OpenCV reads: "transparent", or the name of a colour
            space of a TIFF, whose channels OpenCV takes for colours; empty where nothing does.
    """

    fault: str = ""
    width: int = 0
    height: int = 0
    stored: tuple[int, int] = (0, 0)
    tag: int = 1
    always_turned: bool = False
    bits: int = 8
    brightest: float = 0.0
    sha256: str = ""
    thumb: bytes = b""
    frames: int = 1
    unheeded: int = 1
    complaint: str = ""
    seen_otherwise: str = ""


def check_images(
    images: Mapping[int, dict[str, Any]],
    folder: Path,
    facts: Mapping[int, Facts],
    found: Findings,
    *,
    orientation: str,
    boxes: bool = True,
) -> None:
    """Judge what is known of the image files of a split.

    Args:
        images: entries with all keys, by index in the file.
        folder: what the file names are relative to.
        facts: of the files that could be looked at, by the same index.
        found: takes the problems, by rule in the order of the file.
        orientation: a recipe's `data.orientation`.
        boxes: they have boxes, which somebody drew on the picture as it is stored, or turned.
    """
    first: dict[str, int] = {}
    twice = []
    for index, image in images.items():
        if (before := first.setdefault(image["file_name"], index)) != index:
            twice.append(
                (f"images[{index}].file_name", image["file_name"], f"should be named once, images[{before}] has it")
            )
    found.each(twice, "warning")
    unread = [(f"images[{i}].file_name", images[i]["file_name"], one.fault) for i, one in facts.items() if one.fault]
    found.each(unread)
    read = {index: one for index, one in facts.items() if not one.fault}
    if orientation == "ignore":
        rule = "must have no orientation tag where data.orientation is ignore: a TIFF is turned by it all the same; "
        rule += f"{UPRIGHT}, or set data.orientation: apply"
        turned = [index for index, one in read.items() if one.always_turned]
        found.each((f"images[{index}].file_name", images[index]["file_name"], rule) for index in turned)
        read = {index: one for index, one in read.items() if not one.always_turned}
    found.each(fault for index, one in read.items() for fault in _size_faults(index, images[index], one, orientation))
    if boxes:
        _orientations(read, images, found, orientation)
    _unheeded(read, images, found, boxes=boxes)
    _depths(read, images, found)
    _repeated(read, images, found)
    _contents(read, images, found)


def image_loader(orientation: str) -> dict[str, Any]:
    """Return the config of the mmdet transform that reads an image.

    Args:
        orientation: a recipe's `data.orientation`.
    """
    loader: dict[str, Any] = {"type": "LoadImageFromFile"}
    return loader if orientation == "apply" else loader | {"color_type": "color_ignore_orientation"}


def place_of(name: str, folder: Path) -> tuple[Path | None, str]:
    """Return where a file of a data set lies, and what is wrong with its name, empty where nothing is.

    Links may lead anywhere, as in stores of data versions; names must not. The name is taken as training takes it: with
    `..` after a link, or with a / at its end, its plain form would be another file.
    """
    try:
        written = os.path.join(folder, on_disk(name))
        state = os.stat(written)
    except (OSError, ValueError):  # missing, a loop of links, a name with a null
        return None, f"the file must exist in {folder}{_hint(name, folder)}"
    if not _inside(written, folder):
        return None, f"must stay inside {folder}: relative, without '..'"
    if "://" in written:
        return None, "must not hold '://', which mmengine takes for an address: call the folder otherwise"
    return (Path(written), "") if stat.S_ISREG(state.st_mode) else (None, "must be a file")


def _inside(written: str, folder: Path) -> bool:
    """Whether a path does not leave a folder, whose own path may lead over links, while the name is absolute."""
    if Path(os.path.abspath(written)).is_relative_to(os.path.abspath(folder)):
        return True
    return Path(os.path.realpath(os.path.dirname(written))).is_relative_to(os.path.realpath(folder))


def _hint(name: str, folder: Path) -> str:
    """Say of the name of a file that is not there what may be meant."""
    hint, last = "", PureWindowsPath(name).name
    if "\\" in name:
        hint = "; write / for \\, which separates folders under Windows alone"
    elif os.path.isabs(name):
        hint = "; it is the path of another machine: write what comes after the image folder"
    if last != name and os.path.lexists(folder / last):
        return f"{hint}; {last!r} is there: write that alone"
    alike = _alike((folder / name).parent, last)
    differing = "" if alike.isascii() else " or the form of its letters (NFC, NFD)"
    return f"{hint}; {alike!r} is there, which differs by case{differing}" if alike else hint


def _alike(folder: Path, name: str) -> str:
    """Return the name in a folder that a person takes for the same, empty where there is none."""
    try:
        return _plain_names(folder, folder.stat().st_mtime_ns).get(plain_name(name), "")
    except (OSError, ValueError):
        return ""


@lru_cache(maxsize=8)
def _plain_names(folder: Path, _changed: int) -> dict[str, str]:
    """Return the names in a folder by their plain form; a file may name a million that are not there."""
    return {plain_name(name): name for name in os.listdir(folder)}


@dataclass(frozen=True)
class Size:
    """Sides of a picture by its header alone.

    Attributes:
        stored: width and height, px.
        turned: the same as its EXIF orientation tag shows it.
    """

    stored: tuple[int, int]
    turned: tuple[int, int]


def size_of(path: Path) -> Size:
    """Read the sides of a picture from its header; the rest of the file may be damaged.

    Raises:
        ValueError: it is no picture of a known kind.
    """
    try:
        with _any_size(), warnings.catch_warnings(), Image.open(path, formats=_formats()) as picture:
            warnings.simplefilter("ignore")  # a strange colour profile is no fault
            stored, tag = picture.size, _tag_of(picture)
    except UnidentifiedImageError as error:
        raise ValueError(_no_image(path.read_bytes()[:64])) from error
    except Exception as error:  # Pillow's decoders raise nearly anything
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return Size(stored, stored[::-1] if tag >= _EXCHANGING else stored)


def look(paths: Sequence[Path]) -> Iterator[Facts]:
    """Decode image files, several at a time; yield what they are in this order."""
    with _any_size(), overheard():
        yield from in_threads(facts_of, paths)


_limit = threading.Lock()


@contextmanager
def _any_size() -> Iterator[None]:
    """Lift Pillow's limit of pixels, which OpenCV, that training reads with, does not share."""
    with _limit:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


@lru_cache(maxsize=1)
def suffixes() -> frozenset[str]:
    """Return the suffixes, in small letters and with their dot, of files of the kinds that are read."""
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in READ)


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    """Return what Pillow has here of the kinds that it may decode."""
    Image.init()
    return tuple(kind for kind in READ if kind in Image.OPEN)


def facts_of(path: Path) -> Facts:
    """Decode with the library that training uses, and with one that notices a truncated file."""
    try:
        content = path.read_bytes()
        with warnings.catch_warnings(), Image.open(io.BytesIO(content), formats=_formats()) as picture:
            warnings.simplefilter("ignore")  # a strange colour profile is no fault
            if (number := picture.width * picture.height) > MOST_PIXELS:
                return Facts(f"must have at most {MOST_PIXELS:,} pixels, as OpenCV reads, but has {number:,}")
            kind, size, mode = picture.format or "", picture.size, picture.mode
            frames = int(getattr(picture, "n_frames", 1)) if kind in _FRAMED else 1
            tag = _tag_of(picture)
            if not _ends_whole(content, kind):
                picture.load()
            otherwise = mode if mode in _UNLIKE_VIEWERS else "transparent" if _is_transparent(picture) else ""
    except UnidentifiedImageError:  # its text is an address in memory
        return Facts(f"must be a readable image: {_no_image(content)}")
    except Exception as error:  # Pillow's decoders raise nearly anything, SyntaxError and struct.error included
        return Facts(f"must be a readable image ({type(error).__name__}: {error})")
    encoded = np.frombuffer(content, np.uint8)
    reduced = kind == "JPEG" and min(size) >= _REDUCED_FROM_PX
    with complaints() as heard:
        pixels = cv2.imdecode(encoded, cv2.IMREAD_REDUCED_COLOR_8 if reduced else cv2.IMREAD_COLOR)
    if pixels is None:
        return Facts("must be a format that OpenCV reads, for example PNG or JPEG")
    turned = tag != 1 and _turns(encoded, pixels, reduced=reduced)
    width, height = size if reduced else (pixels.shape[1], pixels.shape[0])
    if reduced and turned and tag >= _EXCHANGING:
        width, height = height, width
    always = kind == "TIFF" and tag != 1
    stored = (height, width) if (turned or always) and tag >= _EXCHANGING else (width, height)
    bits, brightest = _depth(content, encoded, kind, mode)
    thumb = cv2.resize(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), (THUMB, THUMB), interpolation=cv2.INTER_AREA)
    digest = hashlib.sha256(content).hexdigest()
    acting = tag if turned or always else 1
    unheeded = tag if acting == 1 else 1
    seen = ("", width, height, stored, acting, always, bits, brightest, digest, thumb.tobytes())
    return Facts(*seen, frames, unheeded, _first_line(heard) if kind in _JPEGS else "", otherwise)


def _is_transparent(picture: Image.Image) -> bool:
    """Tell whether a picture has a pixel that is not opaque; one with an alpha channel may have none."""
    if picture.mode in ("RGB", "L", "I", "I;16", "F", "CMYK") or not picture.has_transparency_data:
        return False  # the former may name one colour transparent, which OpenCV and annotators paint all the same
    lowest, _ = picture.convert("RGBA").getchannel("A").getextrema()
    return int(str(lowest)) < OPAQUE


def _tag_of(picture: Image.Image) -> int:
    """Return the orientation a picture says, by EXIF or as other tools write it; 1 where nobody could read it."""
    try:
        tag = int(picture.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # malformed EXIF raises nearly anything; the pixels are whole
        return 1
    return tag if 1 < tag <= _LAST_TAG else 1


def _no_image(content: bytes) -> str:
    """Say what a file is that Pillow does not know."""
    start = content[:64].lstrip().lower()
    if not content:
        return "it is empty"
    if start.startswith((b"<!doctype html", b"<html")):
        return "it is a web page, perhaps a download that failed"
    if start.startswith(b"version https://git-lfs"):
        return "it is Git LFS's note of the file, fetch it with git lfs pull"
    if content[4:8] == b"ftyp":
        return "it is HEIC or a film; save it as JPEG or PNG"
    return f"it is of no known kind and begins with {content[:12]!r}"


def _first_line(texts: Sequence[bytes]) -> str:
    lines = b"".join(texts).decode("utf-8", "replace").splitlines()
    return lines[0].strip() if lines else ""


def _ends_whole(content: bytes, kind: str) -> bool:
    """Tell whether a JPEG has its end marker, so that Pillow need not decode all of it to find it cut."""
    return kind == "JPEG" and content.rstrip(b"\0")[-2:] == b"\xff\xd9"


def _turns(encoded: Pixels, pixels: Pixels, *, reduced: bool) -> bool:
    """Tell whether OpenCV turns the pixels by the tag: it reads the tags of some formats only."""
    flag = cv2.IMREAD_REDUCED_COLOR_8 if reduced else cv2.IMREAD_COLOR
    plain = cv2.imdecode(encoded, flag | cv2.IMREAD_IGNORE_ORIENTATION)
    assert plain is not None, "the same content was decoded before"
    return plain.shape != pixels.shape or not np.array_equal(plain, pixels)


def _depth(content: bytes, encoded: Pixels, kind: str, mode: str) -> tuple[int, float]:
    """Return the bits of a channel, and the largest value where they are more than 8."""
    if kind == "PNG" and content[24:25] != b"\x10":  # the header's bit depth
        return 8, 0.0
    if kind in ("JPEG", "GIF", "BMP", "WEBP") or (kind == "TIFF" and mode in ("1", "L", "P", "CMYK")):
        return 8, 0.0
    whole = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    if whole is None or whole.dtype == np.uint8:
        return 8, 0.0
    return 8 * whole.dtype.itemsize, float(whole.max())


def _size_faults(index: int, image: Mapping[str, Any], facts: Facts, orientation: str) -> list[tuple[str, object, str]]:
    said = (image["width"], image["height"])
    turned, stored = (facts.width, facts.height), facts.stored
    read, other, setting = (turned, stored, "ignore") if orientation == "apply" else (stored, turned, "apply")
    if said == read:
        return []
    field = f"images[{index}]"
    if said == other:
        rule = (
            f"must be the size that training sees, {read[0]}x{read[1]} px; the file's orientation tag is {facts.tag}, "
        )
        rule += (
            f"and this is its size {'without' if setting == 'ignore' else 'with'} it: if the boxes are drawn so too, "
        )
        return [(f"{field}.width", said[0], rule + _cure(facts, setting))]
    if said == read[::-1]:
        rule = f"must be the image's width, {read[0]} px: width and height are exchanged"
        return [(f"{field}.width", said[0], rule)]
    keys = (("width", said[0], read[0]), ("height", said[1], read[1]))
    return [
        (f"{field}.{key}", value, f"must be the image's {key}, {real} px") for key, value, real in keys if value != real
    ]


def _cure(facts: Facts, setting: str) -> str:
    return UPRIGHT if facts.always_turned else f"set data.orientation: {setting}"


def _orientations(
    read: Mapping[int, Facts], images: Mapping[int, dict[str, Any]], found: Findings, orientation: str
) -> None:
    """Warn of turned pixels where no size tells whether the boxes are turned too."""
    unsure = [index for index, one in read.items() if one.tag != 1 and (one.width, one.height) == one.stored]
    if not unsure:
        return
    does = "ikd turns the pixels by it" if orientation == "apply" else "ikd leaves the pixels as stored"
    other = "ignore" if orientation == "apply" else "apply"

    def rule(one: Facts) -> str:
        said = f"should have its boxes drawn as training sees it: it has an orientation tag, {one.tag}, and {does}; if "
        return f"{said}the boxes of these {len(unsure)} images are drawn the other way, {_cure(one, other)}"

    named = ((f"images[{i}].file_name", images[i]["file_name"], rule(read[i])) for i in unsure)
    found.each(named, "warning")


def _unheeded(read: Mapping[int, Facts], images: Mapping[int, dict[str, Any]], found: Findings, *, boxes: bool) -> None:
    """Warn of orientation tags that viewers heed and training does not."""
    rule = "should have no orientation tag: it has {} where viewers see it and OpenCV, by which training reads, not; "
    rule += "if the boxes are drawn on the turned picture, save it turned" if boxes else "save it turned"
    listed = {index: one.unheeded for index, one in read.items() if one.unheeded != 1}
    found.each(
        ((f"images[{i}].file_name", images[i]["file_name"], rule.format(tag)) for i, tag in listed.items()), "warning"
    )


def _repeated(read: Mapping[int, Facts], images: Mapping[int, dict[str, Any]], found: Findings) -> None:
    """Warn of one file under several names: in an export by class each entry has some of the boxes only."""
    first: dict[str, int] = {}
    pairs = [(index, first.setdefault(one.sha256, index)) for index, one in read.items()]
    twice = [(i, j) for i, j in pairs if i != j and images[i]["file_name"] != images[j]["file_name"]]
    rule = "should be another image than images[{}], {!r}: the files are the same, so what one has no box for is taught"
    rule += " as background"
    found.each(
        (
            (f"images[{index}].file_name", images[index]["file_name"], rule.format(other, images[other]["file_name"]))
            for index, other in twice
        ),
        "warning",
    )


def _contents(read: Mapping[int, Facts], images: Mapping[int, dict[str, Any]], found: Findings) -> None:
    """Warn of pictures of which training sees a part, or next to nothing."""
    several = {index: one.frames for index, one in read.items() if one.frames > 1}
    rule = "should be one picture, but holds {}, of which training sees the first"
    found.each(
        ((f"images[{i}].file_name", images[i]["file_name"], rule.format(count)) for i, count in several.items()),
        "warning",
    )
    damaged = {index: one.complaint for index, one in read.items() if one.complaint}
    rule = "should be whole, but its data are damaged ({!r}): training sees a part of it wrong, perhaps grey"
    found.each(
        ((f"images[{i}].file_name", images[i]["file_name"], rule.format(text)) for i, text in damaged.items()),
        "warning",
    )
    told = {index for index, one in read.items() if one.bits > 8 and one.brightest < NEAR_BLACK_16BIT}
    dark = [index for index, one in read.items() if index not in told and max(one.thumb) < NEAR_BLACK_8BIT]
    rule = "should not be nearly black: no field of it reaches {} of 255; is it a mask, or its content in transparency?"
    found.each(
        ((f"images[{i}].file_name", images[i]["file_name"], rule.format(NEAR_BLACK_8BIT)) for i in dark), "warning"
    )
    for reason in sorted({one.seen_otherwise for one in read.values()} - {""}):
        alike = [index for index, one in read.items() if one.seen_otherwise == reason and index not in dark]
        named = ((f"images[{index}].file_name", images[index]["file_name"], _UNLIKE_VIEWERS[reason]) for index in alike)
        found.each(named, "warning")


def _depths(read: Mapping[int, Facts], images: Mapping[int, dict[str, Any]], found: Findings) -> None:
    """Refuse deep pictures that would be read nearly black, and say how the others are read."""
    deep = {index: one for index, one in read.items() if one.bits > 8}
    name = {index: (f"images[{index}].file_name", images[index]["file_name"]) for index in deep}
    other = [index for index, one in deep.items() if one.bits != 16]
    dark = [index for index, one in deep.items() if one.bits == 16 and one.brightest < NEAR_BLACK_16BIT]
    rule = "must have 8 or 16 bits a channel, but has {}: scale it to 0..255 and save it with 8"
    found.each((*name[index], rule.format(deep[index].bits)) for index in other)
    rule = (
        "must use the range of its 16 bits: its brightest pixel is {:g} of 65535, which is read as {:g} of 255, nearly "
    )
    rule += "black; scale it to 0..255 and save it with 8 bits"
    found.each((*name[i], rule.format(deep[i].brightest, deep[i].brightest // 256)) for i in dark)
    told = {*other, *dark}
    rule = "has 16 bits a channel; training sees value / 256"
    found.each(((*name[index], rule) for index in deep if index not in told), "warning")
