"""Pictures of others: no program is started for them, and none may take all the memory."""

from __future__ import annotations

import io
import struct
import subprocess
import zlib
from pathlib import Path
from typing import NoReturn

import pytest
from PIL import Image

from ikd.data.images import MOST_PIXELS, facts_of, place_of


def png(width: int, height: int) -> bytes:
    """Return the beginning of a PNG that says that it is so large, and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(1 << 16, 1 << 16), (1_000_000, 2_000), (2**31 - 1, 2**31 - 1)])
def test_a_picture_larger_than_training_reads_is_refused_undecoded(
    size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    file = tmp_path / "a.png"
    file.write_bytes(png(*size))
    assert file.stat().st_size < 2000
    assert f"at most {MOST_PIXELS:,} pixels" in facts_of(file).fault


def test_no_program_is_started_for_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*command: object, **settings: object) -> NoReturn:
        raise AssertionError(f"{command} was started")

    for name in ("run", "Popen", "check_call", "check_output"):
        monkeypatch.setattr(subprocess, name, started)
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    file = tmp_path / "a.jpg"
    file.write_bytes(script)
    assert "must be a readable image" in facts_of(file).fault


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000"])
def test_what_opencv_reads_is_read(kind: str, tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.new("RGB", (32, 24), "red").save(content, kind)
    file = tmp_path / "a"
    file.write_bytes(content.getvalue())
    facts = facts_of(file)
    assert (facts.fault, facts.width, facts.height) == ("", 32, 24)


@pytest.mark.parametrize("name", ["../outside.png", "/etc/hostname", "a/../../outside.png", "http://x/a.png"])
def test_names_stay_in_the_image_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "outside.png").touch()
    folder = tmp_path / "images"
    (folder / "a").mkdir(parents=True)
    found, fault = place_of(name, folder)
    assert found is None
    assert fault
