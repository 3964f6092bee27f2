"""Where the files of a data set in VOC's form lie: a devkit with lists of images, or folders of XML files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from ikd.errors import DataError, refuse

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""VOC's own, in its order."""
YEARS = ("VOC2007", "VOC2012")
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".jfif"})
_PART = re.compile(r"[A-Za-z0-9_-]+")
_PARTS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
_XML_FOLDERS, _PICTURE_FOLDERS = ("Annotations", "annotations"), ("JPEGImages", "images", "Images")
_OF_A_CLASS = re.compile(r"\S+\s+(-1|0|1)")
Parts = Mapping[str, Sequence[str]]
"""Places, as `places_of` takes them, by name of the part."""


def parse_parts(texts: Sequence[str]) -> Parts | None:
    """Read `train=VOC2007/trainval+VOC2012/trainval` of each part; None where none is given.

    Raises:
        BadInput: no such text, or a part twice.
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        name, equals, places = text.partition("=")
        if not equals or not _PART.fullmatch(name) or not all(places.split("+")):
            refuse("--part", "must be NAME=PLACE, or NAME=PLACE+PLACE", text, "for example train=VOC2012/trainval")
        if name in found:
            refuse("--part", f"must name {name} once", text, "join its places by +")
        found[name] = places.split("+")
    return found or None


def usual_parts(directory: Path) -> Parts:
    """Return the parts of a folder that is as VOC's devkit, one of its years, or an export of other tools.

    Raises:
        DataError: it is nothing of that.
    """
    years = [year for year in YEARS if _list_of(directory, f"{year}/trainval").is_file()]
    if years and _list_of(directory, "VOC2007/test").is_file():
        return {"train": [f"{year}/trainval" for year in years], "val": ["VOC2007/test"]}
    if years:
        return {part: [f"{year}/{part}" for year in years] for part in ("train", "val")}
    lists = {name for name in ("train", "val", "trainval", "test") if _list_of(directory, name).is_file()}
    if {"trainval", "test"} <= lists:
        return {"train": ["trainval"], "val": ["test"]}
    if "train" in lists:
        return {name: [name] for name in ("train", "val", "test") if name in lists}
    folders = {part: [one for one in names if _xml_folder(directory / one)][:1] for part, names in _PARTS.items()}
    if folders["train"]:
        return {part: names for part, names in folders.items() if names}
    if _xml_folder(directory):
        return {"all": ["."]}
    rule = (
        "must hold VOC2007 or VOC2012, ImageSets/Main/train.txt, folders train and valid (or val) of XML files, or XML "
        "files; or say with --part what each part is"
    )
    raise DataError(f"{directory}: {rule}")


def files_of(directory: Path, place: str) -> list[Path]:
    """Return the XML files of a place in their order.

    Args:
        directory: of the data set.
        place: a folder of XML files, relative to it; or a list of images, `VOC2007/trainval` for
            VOC2007/ImageSets/Main/trainval.txt.

    Raises:
        DataError: it is neither, or empty.
    """
    if folder := _xml_folder(directory / place):
        return sorted(folder.glob("*.xml"))
    file = _list_of(directory, place)
    if not file.is_file():
        known = sorted(one.stem for one in file.parent.glob("*.txt") if "_" not in one.stem)
        hint = f"; lists there: {', '.join(known)}" if known else ""
        raise DataError(f"{directory}: {place!r} must be a folder with XML files, or the list {file}{hint}")
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: must be a list of images, one a line, but {error}") from error
    folder = _folder_beside(file)
    found = [_named(folder, line.strip(), file, number) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise DataError(f"{file}: must name images, one a line, but is empty")
    return found


def _xml_folder(folder: Path) -> Path | None:
    """Return the folder with XML files that a folder is, or has; None where there is none."""
    for one in (folder, *(folder / name for name in _XML_FOLDERS)):
        if one.is_dir() and next(one.glob("*.xml"), None) is not None and not (one / "ImageSets").is_dir():
            return one
    return None


def _list_of(directory: Path, place: str) -> Path:
    """Return where the list of a place would be; of a task, `VOC2012/Segmentation/train`, where that is named."""
    path = directory / place
    beside = path.parent.parent / "ImageSets" / path.parent.name / f"{path.name}.txt"
    return beside if beside.is_file() else path.parent / "ImageSets" / "Main" / f"{path.name}.txt"


def _folder_beside(file: Path) -> Path:
    root = file.parents[2]
    return next((root / name for name in _XML_FOLDERS if (root / name).is_dir()), root / _XML_FOLDERS[0])


def _named(folder: Path, name: str, file: Path, line: int) -> Path:
    """Return the XML file that a line of a list names, with or without the ending of file or picture."""
    if "/" in name or "\\" in name or name in (".", ".."):
        raise DataError(f"{file}:{line}: must be the name of an image without a folder, but got {name!r}")
    exact = folder / f"{name}.xml"
    ending = Path(name).suffix.lower()
    if not exact.is_file() and (ending in PICTURES or ending == ".xml"):
        return folder / f"{Path(name).stem}.xml"
    if not exact.is_file() and _OF_A_CLASS.fullmatch(name):
        rule = "must be the name of an image: this is the list of one class; take one of all, as trainval"
        raise DataError(f"{file}:{line}: {rule}, but got {name!r}")
    return exact


def picture_of(xml: Path, named: str) -> tuple[Path | None, str]:
    """Return the picture of an XML file, and what is wrong where there is none.

    That is the one of the same name, or else the one that the file names: after both were renamed, only the former is.

    Args:
        xml: in the folder of its picture, or in one beside JPEGImages or images.
        named: `filename` in it.
    """
    own = xml.parent
    folders = [
        one for one in (own, *(up / name for up in (own, own.parent) for name in _PICTURE_FOLDERS)) if one.is_dir()
    ]
    for folder in folders:
        alike = _pictures(folder, folder.stat().st_mtime_ns).get(xml.stem, ())
        if named in alike or len(alike) == 1:
            return folder / (named if named in alike else alike[0]), ""
        if alike:
            return None, f"must be one of {', '.join(alike)}, which all have the name of the XML file"
    for folder in folders:
        if named and (folder / named).is_file():
            return folder / named, ""
    return None, f"must be a picture that exists in {folders[-1]}"


@lru_cache(maxsize=16)
def _pictures(folder: Path, _changed: int) -> Mapping[str, tuple[str, ...]]:
    """Return the pictures in a folder by their name without ending."""
    found: dict[str, tuple[str, ...]] = {}
    for one in sorted(folder.iterdir()):
        if one.suffix.lower() in PICTURES:
            found[one.stem] = (*found.get(one.stem, ()), one.name)
    return found
