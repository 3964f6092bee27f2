"""Trials in a folder and in an object store: what comes back, also after an upload that broke off."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from ikd.errors import BadInput
from ikd.sweep.storage import objects as _object_files
from ikd.sweep.storage.store import FolderStore, ObjectStore, open_store


class Torn(OSError):
    """A process that dies during a request, as far as the store can tell."""


class Flaky(fs.FileSystemHandler):
    """A store on this disk that counts, fails and tears as it is told."""

    def __init__(self, folder: Path) -> None:
        self.inner = fs.SubTreeFileSystem(str(folder), fs.LocalFileSystem())
        self.failures: list[OSError] = []
        self.tear: str | None = None
        self.written: list[str] = []

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        self._fail()
        if self.tear is not None and self.tear in path:
            with self.inner.open_output_stream(path) as stream:
                stream.write(b"half of i")
            raise Torn("killed")
        stream = self.inner.open_output_stream(path)
        self.written.append(path)
        return stream

    def open_input_stream(self, path: str) -> Any:
        self._fail()
        return self.inner.open_input_stream(path)

    def create_dir(self, path: str, recursive: bool) -> None:
        self.inner.create_dir(path, recursive=recursive)

    def delete_file(self, path: str) -> None:
        self.inner.delete_file(path)

    def get_file_info_selector(self, selector: Any) -> Any:
        return self.inner.get_file_info(selector)

    def get_type_name(self) -> str:
        return "flaky"

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other

    def _unused(self, *arguments: Any, **keywords: Any) -> Any:
        raise NotImplementedError

    copy_file = delete_dir = delete_dir_contents = delete_root_dir_contents = get_file_info = move = _unused
    normalize_path = open_append_stream = open_input_file = _unused


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_object_files, "PAUSES_SECONDS", (0.0, 0.0, 0.0, 0.0))


@pytest.fixture
def remote(tmp_path: Path) -> Flaky:
    (tmp_path / "remote").mkdir()
    return Flaky(tmp_path / "remote")


def opened(remote: Flaky, tmp_path: Path) -> ObjectStore:
    return ObjectStore(fs.PyFileSystem(remote), "bucket/sweeps/s", tmp_path / "driver" / "s")


def epoch(directory: Path, number: int) -> None:
    """Leave what training leaves after an epoch; the best one is the first."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "last.pth").write_text(f"last {number}")
    (directory / "previous.pth").write_text(f"last {number - 1}")
    (directory / "best.pth").write_text("best 1")
    with (directory / "log.jsonl").open("a") as stream:
        stream.write(json.dumps({"epoch": number, "metrics": {}}) + "\n")


def pulled(store: ObjectStore, directory: Path) -> dict[str, str]:
    store.pull(3, directory)
    return {file.name: file.read_text() for file in sorted(directory.iterdir())}


def test_another_node_gets_exactly_what_was_pushed_last(remote: Flaky, tmp_path: Path) -> None:
    work, store = tmp_path / "work", opened(remote, tmp_path)
    assert not store.used
    for number in (1, 2, 3):
        epoch(work, number)
        store.push(3, work)
    assert store.used
    other = tmp_path / "other"
    epoch(other, 9)
    (other / "stale.pth").touch()
    log = "".join(json.dumps({"epoch": number, "metrics": {}}) + "\n" for number in (1, 2, 3))
    expected = {"best.pth": "best 1", "last.pth": "last 3", "log.jsonl": log}
    assert pulled(opened(remote, tmp_path), other) == expected
    assert pulled(opened(remote, tmp_path), tmp_path / "fresh") == expected


def test_only_changes_are_uploaded_and_two_versions_lie_there(remote: Flaky, tmp_path: Path) -> None:
    work, store = tmp_path / "work", opened(remote, tmp_path)
    for number in range(1, 6):
        epoch(work, number)
        store.push(3, work)
    assert [path.rpartition("/")[2] for path in remote.written].count("best.pth.0") == 1
    before = len(remote.written)
    store.push(3, work)
    assert len(remote.written) == before, "nothing has changed"
    there = {info.base_name for info in remote.inner.get_file_info(fs.FileSelector("bucket/sweeps/s/trials/3"))}
    twice = {f"{name}.{place}" for name in ("last.pth", "log.jsonl", "manifest.json") for place in (0, 1)}
    assert there == {"best.pth.0"} | twice
    manifest = json.loads((tmp_path / "remote/bucket/sweeps/s/trials/3/manifest.json.1").read_bytes())
    assert manifest["serial"] == 5
    assert manifest["files"]["last.pth"] == {"place": 0, "size": 6, "sha256": hashlib.sha256(b"last 5").hexdigest()}


@pytest.mark.parametrize("tear", ["last.pth", "log.jsonl", "manifest.json"])
def test_a_torn_upload_falls_back_to_the_one_before(remote: Flaky, tmp_path: Path, tear: str) -> None:
    work = tmp_path / "work"
    for number in (1, 2, 3):
        epoch(work, number)
        opened(remote, tmp_path).push(3, work)
    epoch(work, 4)
    remote.tear = tear
    with pytest.raises(Torn):
        opened(remote, tmp_path).push(3, work)
    remote.tear = None
    store = opened(remote, tmp_path)
    other = tmp_path / "other"
    assert pulled(store, other)["last.pth"] == "last 3"
    epoch(other, 4)
    store.push(3, other)
    assert pulled(opened(remote, tmp_path), other)["last.pth"] == "last 4"


def test_a_damaged_object_falls_back_to_the_upload_before(remote: Flaky, tmp_path: Path) -> None:
    work, store = tmp_path / "work", opened(remote, tmp_path)
    for number in (1, 2):
        epoch(work, number)
        store.push(3, work)
    (tmp_path / "remote/bucket/sweeps/s/trials/3/last.pth.1").write_text("last X")
    assert pulled(opened(remote, tmp_path), tmp_path / "other")["last.pth"] == "last 1"
    (tmp_path / "remote/bucket/sweeps/s/trials/3/last.pth.0").unlink()
    assert pulled(opened(remote, tmp_path), tmp_path / "other") == {}, "nothing whole is left"


def test_a_passing_error_is_tried_again_and_a_lasting_one_is_not(remote: Flaky, tmp_path: Path) -> None:
    work, store = tmp_path / "work", opened(remote, tmp_path)
    epoch(work, 1)
    remote.failures = [OSError("AWS Error SLOW_DOWN during PutObject: reduce your request rate")] * 4
    store.push(3, work)
    assert pulled(opened(remote, tmp_path), tmp_path / "other")["last.pth"] == "last 1"
    epoch(work, 2)
    denied = OSError("AWS Error ACCESS_DENIED during PutObject operation")
    remote.failures = [denied] * 20
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        store.push(3, work)
    assert len(remote.failures) >= 20 - 4, "one try of each of at most four uploads"
    remote.failures = [OSError("AWS Error NETWORK_CONNECTION")] * 5
    with pytest.raises(OSError, match="NETWORK_CONNECTION"):
        _object_files.read(fs.PyFileSystem(remote), "bucket/none")


def test_the_driver_fetches_what_it_lacks_and_removes_what_has_no_place(remote: Flaky, tmp_path: Path) -> None:
    work, store = tmp_path / "work", opened(remote, tmp_path)
    epoch(work, 1)
    store.push(3, work)
    driver = opened(remote, tmp_path)
    folder = driver.fetch(3, "best.pth", "absent.pth")
    assert folder == tmp_path / "driver/s/trials/3"
    assert [file.name for file in folder.iterdir()] == ["best.pth"]
    (folder / "best.pth").write_text("an older best")
    driver.fetch(3)
    assert {file.name: file.read_text() for file in folder.iterdir() if file.suffix == ".pth"} == {
        "best.pth": "best 1",
        "last.pth": "last 1",
    }
    driver.remove(3, "last.pth")
    assert sorted(pulled(opened(remote, tmp_path), tmp_path / "other")) == ["best.pth", "log.jsonl"]
    driver.remove(3)
    assert sorted(pulled(opened(remote, tmp_path), tmp_path / "other")) == ["log.jsonl"]
    assert [file.name for file in folder.iterdir()] == ["log.jsonl"]
    there = remote.inner.get_file_info(fs.FileSelector("bucket/sweeps/s/trials/3"))
    assert not [info.base_name for info in there if "pth" in info.base_name]
    driver.remove(3)
    driver.remove(77)


def test_one_file_of_another_trial(remote: Flaky, tmp_path: Path) -> None:
    work, store = tmp_path / "work", opened(remote, tmp_path)
    epoch(work, 4)
    (work / "epoch-4.pth").write_text("source")
    store.push(3, work)
    found = opened(remote, tmp_path).single(3, "epoch-4.pth", tmp_path)
    assert found is not None
    assert found.read_text() == "source"
    assert store.single(3, "epoch-5.pth", tmp_path) is None


def test_a_trial_in_a_store_trains_in_a_folder_that_goes(remote: Flaky, tmp_path: Path) -> None:
    store = opened(remote, tmp_path)
    with store.training(3) as directory:
        assert directory.parts[-2:] == ("trials", "3")
        epoch(directory, 1)
        store.push(3, directory)
    assert not directory.exists()
    with opened(remote, tmp_path).training(3) as directory:
        assert (directory / "last.pth").read_text() == "last 1"


def test_a_folder_is_used_as_it_is(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "elsewhere"), tmp_path / "s")
    assert type(store) is FolderStore
    assert not store.used
    with store.training(3) as directory:
        assert directory == tmp_path / "s/trials/3"
        epoch(directory, 1)
        store.push(3, directory)
    assert store.used
    assert store.fetch(3, "best.pth") == directory
    assert store.single(3, "last.pth", tmp_path) == directory / "last.pth"
    assert store.single(3, "epoch-1.pth", tmp_path) is None
    store.remove(3, "last.pth")
    assert sorted(file.name for file in directory.iterdir()) == ["best.pth", "log.jsonl", "previous.pth"]
    store.remove(3)
    assert [file.name for file in directory.iterdir()] == ["log.jsonl"]


def test_an_address_is_opened_by_its_kind(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/remote", tmp_path / "driver" / "name")
    epoch(tmp_path / "work", 1)
    store.push(3, tmp_path / "work")
    assert (tmp_path / "remote/sweeps/name/trials/3/last.pth.0").read_text() == "last 1"


@pytest.mark.parametrize("address", ["ftp://user:secret@host/path", "s3://user:secret@bucket/p?surprise=1"])
def test_an_unknown_address_is_refused_without_its_password(address: str, tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=r"runner: storage: must be a folder or an address such as s3://bucket"
    ) as caught:
        open_store(address, tmp_path / "s")
    assert "secret" not in str(caught.value)
