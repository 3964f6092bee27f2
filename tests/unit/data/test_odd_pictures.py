"""Files that are read as another picture than a person sees, or are none."""

from __future__ import annotations

import ctypes
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from ikd.data import DataReport, check_dataset
from ikd.data.complaints import complaints, overheard

Copy = Callable[[str], Path]
LIBRARY = ctypes.CDLL(None)
NAME = "train_00003.png"


def save(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def animated(kind: str) -> Callable[[Image.Image], bytes]:
    return lambda picture: save(picture, kind, save_all=True, append_images=[picture.rotate(90), picture.rotate(180)])


def in_transparency(picture: Image.Image) -> bytes:
    pixels = np.zeros((*picture.size[::-1], 4), np.uint8)
    pixels[..., 3] = np.asarray(picture.convert("L"))
    return save(Image.fromarray(pixels))


def with_alpha(picture: Image.Image, kind: str = "PNG", lowest: int = 100) -> bytes:
    alpha = np.full(picture.size[::-1], 255, np.uint8)
    alpha[:20] = lowest
    picture.putalpha(Image.fromarray(alpha))
    return save(picture, kind)


def palette_with_transparency(picture: Image.Image) -> bytes:
    return save(picture.quantize(64), "PNG", transparency=bytes([0, 80] + [255] * 62))


def in_lab(picture: Image.Image) -> bytes:
    colours = ImageCms.createProfile("LAB")
    found = ImageCms.profileToProfile(picture, ImageCms.createProfile("sRGB"), colours, outputMode="LAB")
    assert found is not None
    return save(found, "TIFF")


def turned_webp(picture: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x112] = 6
    return save(picture, "WEBP", exif=exif)


def damaged(picture: Image.Image, share: float = 0.3) -> bytes:
    """A JPEG with a part of its data lost, its end in place: decoders go on behind it, or with grey."""
    content = bytearray(save(picture, "JPEG"))
    middle, length = len(content) // 2, int(share * len(content))
    content[middle : middle + length] = bytes(length)
    return bytes(content)


def turned_by_xmp(picture: Image.Image) -> bytes:
    said = '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    return save(picture, "JPEG", xmp=f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{said}</x:xmpmeta>'.encode())


def turned_by_text(picture: Image.Image) -> bytes:
    """As ImageMagick writes EXIF into a PNG."""
    exif = Image.Exif()
    exif[0x112] = 6
    raw, texts = exif.tobytes(), PngInfo()
    texts.add_text("Raw profile type exif", f"\nexif\n{len(raw):8d}\n{raw.hex()}\n")
    return save(picture, "PNG", pnginfo=texts)


# what stands in place of a picture -> severity, part of the rule
ODD: dict[str, tuple[Callable[[Image.Image], bytes], str, str]] = {
    "animated GIF": (animated("GIF"), "warning", "holds 3, of which training sees the first"),
    "animated WebP": (animated("WEBP"), "warning", "holds 3"),
    "animated PNG": (animated("PNG"), "warning", "holds 3"),
    "pages": (animated("TIFF"), "warning", "holds 3"),
    "in transparency": (in_transparency, "warning", "nearly black"),
    "half transparent PNG": (with_alpha, "warning", "should be opaque"),
    "half transparent TIFF": (lambda one: with_alpha(one, "TIFF"), "warning", "should be opaque"),
    "half transparent WebP": (lambda one: with_alpha(one, "WEBP"), "warning", "should be opaque"),
    "transparent palette": (palette_with_transparency, "warning", "should be opaque"),
    "Lab TIFF": (in_lab, "warning", "stored as LAB, of which training sees other colours"),
    "labels": (lambda one: save(one.convert("L").point(lambda value: value // 64)), "warning", "nearly black"),
    "turned WebP": (turned_webp, "warning", "should have no orientation tag: it has 6"),
    "turned by XMP": (turned_by_xmp, "warning", "should have no orientation tag: it has 6"),
    "turned by a PNG's text": (turned_by_text, "warning", "should have no orientation tag: it has 6"),
    "damaged JPEG": (damaged, "warning", "damaged ('Corrupt JPEG data"),
    "nothing": (lambda one: b"", "error", "it is empty"),
    "web page": (lambda one: b"<!DOCTYPE html><html>404</html>", "error", "a web page"),
    "Git LFS": (lambda one: b"version https://git-lfs.github.com/spec/v1\noid", "error", "git lfs pull"),
    "HEIC": (lambda one: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "error", "save it as JPEG"),
    "text": (lambda one: b"hello", "error", "begins with b'hello'"),
}


def rules(report: DataReport) -> list[tuple[str, str]]:
    return [(one.severity, one.rule) for one in report.problems if one.value == NAME]


@pytest.mark.parametrize("name", ODD)
def test_an_odd_picture_is_told(copied: Copy, name: str) -> None:
    make, severity, word = ODD[name]
    directory = copied("c")
    path = directory / "images" / NAME
    with Image.open(path) as picture:
        content = make(picture.convert("RGB"))
    path.write_bytes(content)
    for _ in range(2):  # what is kept says the same
        found = rules(check_dataset(directory))
        assert [one for one, _ in found] == [severity], found
        assert word in found[0][1]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_an_alpha_channel_that_is_opaque_is_no_matter(copied: Copy, kind: str) -> None:
    directory = copied("c")
    path = directory / "images" / NAME
    with Image.open(path) as picture:
        content = with_alpha(picture.convert("RGB"), kind, lowest=255)
    path.write_bytes(content)
    assert rules(check_dataset(directory)) == []


def test_an_orientation_that_nobody_can_read_is_none(copied: Copy) -> None:
    directory = copied("c")
    path = directory / "images" / NAME
    exif = Image.Exif()
    exif[0x112] = 6
    with Image.open(path) as picture:
        content = bytearray(save(picture.convert("RGB"), "JPEG", exif=exif))
    place = content.index(b"\x01\x12\x00\x03")
    content[place + 2 : place + 4] = b"\x00\x02"  # a text in place of a number
    path.write_bytes(content)
    assert rules(check_dataset(directory)) == []


def test_damage_is_told_of_its_own_file_alone(copied: Copy, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever its size: large JPEGs are decoded at an eighth."""
    directory = copied("c")
    content = json.loads((directory / "train.json").read_text())
    for image, (side, share) in zip(content["images"], ((160, 0.3), (1600, 0.3), (160, 0), (1600, 0)), strict=False):
        with Image.open(directory / "images" / image["file_name"]) as picture:
            large = picture.convert("RGB").resize((side, side))
        image |= {"width": side, "height": side, "file_name": f"{side}_{share}.jpg"}
        (directory / "images" / image["file_name"]).write_bytes(damaged(large, share))
    (directory / "train.json").write_text(json.dumps(content))
    report = check_dataset(directory)
    assert {one.value for one in report.problems if "damaged" in one.rule} == {"160_0.3.jpg", "1600_0.3.jpg"}
    assert not report.errors
    assert "JPEG" not in capfd.readouterr().err


def test_what_others_write_meanwhile_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    with overheard(), overheard():
        with complaints() as heard:
            LIBRARY.perror(b"mine")
        LIBRARY.perror(b"other")
        print("python", file=sys.stderr)
    LIBRARY.perror(b"later")
    assert b"".join(heard).startswith(b"mine")
    lines = capfd.readouterr().err.splitlines()
    assert [one.split(":")[0] for one in lines] == ["other", "python", "later"]


def test_one_file_under_two_names_is_told(copied: Copy) -> None:
    directory = copied("c")
    (directory / "images" / NAME).unlink()
    os.link(directory / "images" / "train_00001.png", directory / "images" / NAME)
    [(severity, rule)] = rules(check_dataset(directory))
    assert severity == "warning"
    assert "another image than images[1], 'train_00001.png'" in rule


def test_a_file_replaced_with_size_and_time_kept_is_looked_at_anew(copied: Copy, tmp_path: Path) -> None:
    directory = copied("c")
    path = directory / "images" / NAME
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    for value, name in ((pixels, "one.bmp"), (255 - pixels, "other.bmp")):
        Image.fromarray(value).save(tmp_path / name)
        os.utime(tmp_path / name, (1e9, 1e9))
    prints = []
    for name in ("one.bmp", "other.bmp", "one.bmp"):
        shutil.copy2(tmp_path / name, path)
        prints.append(check_dataset(directory).fingerprint)
    assert prints[0] == prints[2] != prints[1]
