"""Checkpoints of every age are read, and no code in them is run."""

from __future__ import annotations

import errno
import hashlib
import http.server
import importlib.util
import os
import pickle
import shutil
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ikd.detectors import read_checkpoint
from ikd.errors import CheckpointError, DiskFull

WEIGHTS = OrderedDict([("backbone.conv.weight", torch.arange(4.0)), ("bbox_head.bias", torch.ones(2))])


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def prefixed(prefix: str) -> OrderedDict[str, torch.Tensor]:
    return OrderedDict((prefix + key, value) for key, value in WEIGHTS.items())


@pytest.mark.parametrize(
    ("content", "classes"),
    [
        (WEIGHTS, None),
        ({"state_dict": WEIGHTS, "meta": {"CLASSES": ("cat", "dog"), "mmdet_version": "2.3.0"}}, ("cat", "dog")),
        ({"state_dict": WEIGHTS, "meta": {"dataset_meta": {"classes": ["cat"]}}}, ("cat",)),
        ({"state_dict": WEIGHTS, "meta": {"dataset_meta": {"CLASSES": "cat"}}}, ("cat",)),
        ({"state_dict": prefixed("module.")}, None),
        ({"state_dict": {**prefixed("student."), **prefixed("teacher.")}}, None),
        ({"state_dict": {**prefixed("module.student."), "module.adapter.weight": torch.ones(1)}}, None),
        ({"state_dict": {**prefixed("architecture."), **prefixed("teacher.")}}, None),
        ({"state_dict": prefixed("_orig_mod.")}, None),
        ({"state_dict": prefixed("module._orig_mod.")}, None),
        ({"state_dict": {**prefixed("_orig_mod.module.architecture."), "_orig_mod.module.other": torch.ones(1)}}, None),
        ({"state_dict": {**prefixed("module.architecture.student."), "ema_x": torch.ones(1)}}, None),
        ({"state_dict": {key.replace(".", "._orig_mod.", 1): value for key, value in WEIGHTS.items()}}, None),
        ({"ema_state_dict": {**prefixed("module."), "steps": torch.tensor(3)}}, None),
        ({"state_dict": {**WEIGHTS, "ema_backbone_conv_weight": torch.zeros(4)}}, None),
    ],
)
def test_weights_and_classes_of_every_age(tmp_path: Path, content: Any, classes: tuple[str, ...] | None) -> None:
    path = saved(tmp_path / "teacher.pth", content)
    read = read_checkpoint(path)
    assert list(read.state_dict) == list(WEIGHTS)
    assert all(torch.equal(read.state_dict[key], value) for key, value in WEIGHTS.items())
    assert read.classes == classes
    assert read.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_training_logs_of_mmengine_are_skipped(tmp_path: Path) -> None:
    from mmengine.logging import HistoryBuffer

    logs = {"loss": HistoryBuffer([1.0, 2.0], [1, 1])}  # pickles its methods through getattr
    before = dict(HistoryBuffer._statistics_methods)
    content = {
        "state_dict": WEIGHTS,
        "message_hub": {"log_scalars": logs, "runtime_info": {"lr": np.float64(0.1), "box": np.arange(3)}},
    }
    assert list(read_checkpoint(saved(tmp_path / "new.pth", content)).state_dict) == list(WEIGHTS)
    assert HistoryBuffer._statistics_methods == before


def test_version_records_survive_the_prefix(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(2))
    state = torch.nn.ModuleDict({"module": model}).state_dict()
    read = read_checkpoint(saved(tmp_path / "a.pth", {"state_dict": state}))
    assert read.state_dict._metadata["0"] == {"version": 2}  # type: ignore[attr-defined]


class Harmful:
    """Runs a command when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_is_refused_and_named(tmp_path: Path, legacy: bool) -> None:
    content = {"state_dict": WEIGHTS, "meta": Harmful(tmp_path / "harm")}
    torch.save(content, tmp_path / "bad.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r"holds \w+\.system, which is not on the list of harmless classes"):
        read_checkpoint(tmp_path / "bad.pth")
    assert not (tmp_path / "harm").exists()


def test_getattr_inside_a_file_reaches_nothing(tmp_path: Path) -> None:
    class Reach:
        def __reduce__(self) -> tuple[Any, ...]:
            return getattr, (np.ndarray, "tofile")

    path = tmp_path / "reach.pth"
    torch.save({"state_dict": WEIGHTS, "meta": {"x": Reach()}}, path)
    assert torch.load(path, weights_only=False)["meta"]["x"] is np.ndarray.tofile
    assert read_checkpoint(path).classes is None


def test_missing_cut_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint at '.*none\.pth'"):
        read_checkpoint(tmp_path / "none.pth")
    whole = saved(tmp_path / "whole.pth", {"state_dict": WEIGHTS}).read_bytes()
    for name, content in {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"hello",
        "pickle": pickle.dumps(3),
    }.items():
        path = tmp_path / f"{name}.pth"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=rf"{name}\.pth'"):
            read_checkpoint(path)
    with pytest.raises(CheckpointError, match="holds no state dict of tensors; found epoch, lr"):
        read_checkpoint(saved(tmp_path / "other.pth", {"epoch": 3, "lr": 0.1}))


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `files`; a path with `cut` promises more than it sends."""

    files: dict[str, bytes] = {}  # noqa: RUF012
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(self.path)
        content = self.files.get(self.path)
        self.send_response(200 if content is not None else 404)
        content = content or b""
        self.send_header("Content-Length", str(len(content) + (100 if "cut" in self.path else 0)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.files, Handler.asked = {}, []
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    thread.join()
    served.server_close()


def test_a_url_is_fetched_once_and_kept_by_content(tmp_path: Path, server: str) -> None:
    content = saved(tmp_path / "x.pth", {"state_dict": WEIGHTS}).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    name = f"/retinanet-{digest[:8]}.pth"
    Handler.files = {name: content}
    cache = tmp_path / "cache"
    for _ in range(2):
        assert read_checkpoint(server + name, cache).sha256 == digest
    assert Handler.asked == [name]
    kept = cache / digest / name[1:]
    kept.write_bytes(b"damaged")
    assert read_checkpoint(server + name, cache).sha256 == digest
    assert Handler.asked == [name, name]
    assert sorted(path.name for path in cache.iterdir()) == sorted([digest, "urls"]), "nothing half done is left"


@pytest.mark.parametrize(
    ("name", "message"),
    [("/none.pth", "404"), ("/cut.pth", "cut short"), ("/a-00000000.pth", "its name promises 00000000")],
)
def test_bad_downloads_leave_nothing(tmp_path: Path, server: str, name: str, message: str) -> None:
    Handler.files = {"/cut.pth": b"abc", "/a-00000000.pth": b"abc"}
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(server + name, tmp_path / "cache")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_full_disk_under_a_download_is_one_message(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    Handler.files = {"/big.pth": b"abc"}
    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(DiskFull, match=r"disk full while writing .*big\.pth"):
        read_checkpoint(server + "/big.pth", tmp_path / "cache")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_url_needs_a_cache() -> None:
    with pytest.raises(CheckpointError, match="no cache folder"):
        read_checkpoint("http://127.0.0.1:1/a.pth")


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("page.pth", b"<!DOCTYPE html><html>404</html>", "a web page, perhaps a download that failed"),
        ("pointer.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "fetch it with git lfs pull"),
        ("empty.pth", b"", "it is empty"),
        ("notes.pth", b"to do: train\n", "a text that begins with 'to do: train"),
        ("cut.pth", b"PK\x03\x04" + bytes(500), "has no end"),
        ("w.safetensors", b"\x40\0\0\0\0\0\0\0{}", "safetensors"),
        ("other.pth", pickle.dumps({"a": 1}), "a pickle that torch did not write"),
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path: Path, name: str, content: bytes, cause: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=cause) as caught:
        read_checkpoint(tmp_path / name)
    assert "weights_only" not in str(caught.value), "no advice to run what is inside"


def test_safetensors_are_read_where_their_package_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "w.safetensors"
    header = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    file.write_bytes(len(header).to_bytes(8, "little") + header + torch.ones(2).numpy().tobytes())
    if importlib.util.find_spec("safetensors") is not None:
        assert torch.equal(read_checkpoint(file).state_dict["a"], torch.ones(2))
        file.write_bytes(file.read_bytes()[:-4])
        with pytest.raises(CheckpointError, match="it is a damaged file of safetensors"):
            read_checkpoint(file)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(CheckpointError, match="pip install safetensors"):
        read_checkpoint(file)
