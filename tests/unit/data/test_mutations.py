"""One value of a good data set changed at a time: it is taught as the file says then, or refused by its name."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mmdet.registry import DATASETS
from mmengine.registry import DefaultScope
from PIL import Image

from ikd.config import Recipe, load_recipe
from ikd.data import DataReport, check_recipe_data, draw_dataset
from ikd.data.files import DataFiles
from ikd.training.loaders import train_loader
from tests.marks import some

GONE = object()
NAN, INFINITY = float("nan"), float("inf")
VALUES: dict[str, Any] = {
    **{"gone": GONE, "null": None, "true": True, "false": False, "digit": "1", "letter": "x", "blank": " "},
    **{"nothing": "", "0": 0, "-1": -1, "1.5": 1.5, "3.0": 3.0, "nan": NAN, "inf": INFINITY, "-inf": -INFINITY},
    **{"endless": 10**400, "huge": 1e13, "list": [], "object": {}, "nested": [[1]], "7": 7},
}
FIELDS = {
    "annotations": ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "ignore", "segmentation"),
    "images": ("id", "file_name", "width", "height"),
    "categories": ("id", "name"),
}
PLACE = 2
"""Index of the entry that is changed."""


def mutations() -> Iterator[tuple[str, str]]:
    """Yield where a value stands, as a dotted path, and its name."""
    for section, keys in FIELDS.items():
        yield from ((f"{section}.{PLACE}.{key}", name) for key in keys for name in VALUES)
        yield from ((f"{section}.{PLACE}", name) for name in VALUES if name != "object")
        yield from ((section, name) for name in VALUES)
    yield from ((f"annotations.{PLACE}.bbox.{side}", name) for side in range(4) for name in VALUES)


def mutated(content: dict[str, Any], place: str, name: str) -> dict[str, Any]:
    changed = copy.deepcopy(content)
    *parents, key = [int(part) if part.isdigit() else part for part in place.split(".")]
    node: Any = changed
    for part in parents:
        node = node[part]
    if VALUES[name] is GONE:
        node.pop(key, None) if isinstance(node, dict) else node.pop(key)
    else:
        node[key] = VALUES[name]
    return changed


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("data") / "good", num_train=10, num_val=10, size_px=128, seed=5)


def recipe_of(folder: Path, **values: Any) -> Recipe:
    named = {name.replace("__", "."): value for name, value in values.items()}
    return load_recipe("drawn_r18_teacher", {"data.root": str(folder)} | named)


def taught(recipe: Recipe) -> Counter[tuple[str, str, tuple[float, ...]]]:
    """Return what mmdet's data set of a training teaches: file, class, and x, y, width, height in px."""
    files = DataFiles.of(recipe)
    dataset = built(recipe, files)
    found: Counter[tuple[str, str, tuple[float, ...]]] = Counter()
    for index in range(len(dataset)):
        entry = dataset.get_data_info(index)
        for one in entry["instances"]:
            if not one["ignore_flag"]:
                left, top, right, bottom = one["bbox"]
                box = (left, top, round(right - left, 6), round(bottom - top, 6))
                found[Path(entry["img_path"]).name, files.classes[one["bbox_label"]], box] += 1
    return found


def built(recipe: Recipe, files: DataFiles) -> Any:
    loader = train_loader(recipe.stages[0], files, perturbations=None, boxes=None, with_masks=False)
    with DefaultScope.overwrite_default_scope("mmdet"), contextlib.redirect_stdout(io.StringIO()):
        return DATASETS.build(loader["dataset"])


def said(content: dict[str, Any]) -> Counter[tuple[str, str, tuple[float, ...]]]:
    """Return what a COCO object says is to be taught; mmdet's rules are left to the boxes under 1 px."""
    names = {one["id"]: one["name"] for one in content["categories"]}
    files = {one["id"]: one["file_name"] for one in content["images"]}
    found: Counter[tuple[str, str, tuple[float, ...]]] = Counter()
    for one in content["annotations"]:
        x, y, width, height = one["bbox"]
        if not one.get("iscrowd") and not one.get("ignore") and min(width, height) >= 1:
            found[files[one["image_id"]], names[one["category_id"]], (x, y, round(width, 6), round(height, 6))] += 1
    return found


def adds_up(report: DataReport) -> bool:
    """Whether every image and box is either taught or said to be left out."""
    count = report.splits["train"].taught
    left = count.crowds + count.ignored + count.thin + count.faulty
    return count.boxes == count.taught_boxes + left and count.images == count.taught_images + count.without_box


ALL = list(mutations())


def test_there_are_enough() -> None:
    assert len(ALL) >= 200


@pytest.mark.parametrize(("place", "name"), some([*ALL[::4], *ALL[1::4], *ALL[2::4], *ALL[3::4]], len(ALL) // 4))
def test_a_change_is_taught_or_refused_by_its_name(good: Path, tmp_path: Path, place: str, name: str) -> None:
    content = mutated(json.loads((good / "train.json").read_text()), place, name)
    (tmp_path / "train.json").write_text(json.dumps(content))
    recipe = recipe_of(good, data__train__annotations=str(tmp_path / "train.json"))
    report = check_recipe_data(recipe)
    if report.ok:
        assert taught(recipe) == said(content)
        assert report.splits["train"].taught.taught_boxes == sum(said(content).values())
        assert adds_up(report)
        return
    section, *rest = place.split(".")
    entry = f"{section}[{rest[0]}]" if rest else section
    id_of_others = section in ("images", "categories") and rest[1:] in ([], ["id"])
    named = [one.field for one in report.errors if one.field.startswith(entry) or (id_of_others and "_id" in one.field)]
    assert named or "categories" in [one.field for one in report.errors], str(report)


def encoded(kind: str, pixels: np.ndarray[Any, Any]) -> bytes:
    """Return a file of `pixels` [H, W, 3] RGB in some form."""
    picture, stream = Image.fromarray(pixels), io.BytesIO()
    match kind.split("_"):
        case ["tag", tag]:
            exif = Image.Exif()
            exif[0x0112] = int(tag)
            picture.save(stream, "PNG", exif=exif)
        case ["mode", mode]:
            picture.convert(mode).save(stream, "TIFF" if mode == "CMYK" else "PNG")
        case ["format", form]:
            picture.save(stream, form, **({"lossless": True} if form == "WEBP" else {}))
        case ["deep", factor]:
            grey = np.asarray(picture.convert("L")).astype(np.uint16) * int(factor)
            stream.write(cv2.imencode(".png", grey)[1].tobytes())
        case ["cut", share]:
            picture.save(stream, "PNG")
            whole = stream.getvalue()
            return whole[: int(len(whole) * float(share))]
        case ["size", width, height]:
            picture.resize((int(width), int(height))).save(stream, "PNG")
        case _:
            return {"empty": b"", "text": b"no picture", "zeros": bytes(500)}[kind]
    return stream.getvalue()


SAME = ("tag_1", "mode_RGBA", "format_PNG", "format_BMP", "format_WEBP", "format_TIFF")
"""Forms of the same pixels."""
GREY = ("mode_L", "mode_LA", "deep_256")
LIKE = ("mode_P", "mode_1", "mode_CMYK", "format_JPEG", "format_GIF")
"""Forms that lose something: read, but not to the bit."""
TOLD = {
    **{f"tag_{tag}": ("warning", "orientation tag") for tag in (2, 3, 4, 5, 6, 7, 8)},  # a square: sizes do not tell
    "deep_256": ("warning", "value / 256"),
    **{f"deep_{factor}": ("error", "nearly black") for factor in (1, 4, 16)},
    **{f"cut_{share}": ("error", "readable image") for share in (0.1, 0.5, 0.9)},
    **{kind: ("error", "readable image") for kind in ("empty", "text", "zeros")},
    "size_127_128": ("error", "width"),
    "size_128_129": ("error", "height"),
    "size_48_48": ("error", "width"),
}


@pytest.mark.parametrize("kind", dict.fromkeys([*SAME, *GREY, *LIKE, *TOLD]))
def test_a_changed_image_is_read_as_it_is_or_told(good: Path, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for file in (good / "images").iterdir():
        (folder / file.name).symlink_to(file)
    changed = folder / json.loads((good / "train.json").read_text())["images"][PLACE]["file_name"]
    pixels = np.asarray(Image.open(changed).convert("RGB"))
    changed.unlink()
    changed.write_bytes(encoded(kind, pixels))
    report = check_recipe_data(recipe_of(good, data__train__images=str(folder)))
    about = [(one.severity, one.rule) for one in report.problems if one.field.startswith(f"images[{PLACE}]")]
    if kind in TOLD:
        severity, word = TOLD[kind]
        assert [one for one in about if one[0] == severity and word in one[1]], about
    else:
        assert not about, about
    if kind in (*SAME, *GREY):
        seen = cv2.imdecode(np.frombuffer(changed.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        assert seen is not None
        wanted = pixels if kind in SAME else np.asarray(Image.fromarray(pixels).convert("L").convert("RGB"))
        assert np.array_equal(seen[:, :, ::-1], wanted)
