"""The set of COCO's size: what is drawn is sound, and each row of the benchmark measures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.data.__main__ import main
from benchmarks.data.generated import QUICK, Size, generate
from ikd.data import check_dataset, indexed


def test_the_drawn_set_is_sound_and_as_large_as_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IKD_HOME", str(tmp_path / "home"))
    generate(tmp_path / "set", {"train": Size(60, 420), "val": Size(20, 100)})
    report = check_dataset(tmp_path / "set")
    assert report.errors == ()
    index = indexed(tmp_path / "set" / "train.json")
    assert (len(index), len(index.boxes)) == (60, 420)
    assert index.masked.all()
    owners = [one["image_id"] for one in json.loads((tmp_path / "set" / "train.json").read_text())["annotations"]]
    assert owners != sorted(owners), "the boxes of an image lie apart"
    written = (tmp_path / "set" / "train.json").stat().st_mtime_ns
    generate(tmp_path / "set", QUICK)
    assert (tmp_path / "set" / "train.json").stat().st_mtime_ns == written, "a set that is there is left as it is"


@pytest.mark.slow
def test_every_row_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(tmp_path / "set"), "--quick", "--json", str(tmp_path / "figures.json")])
    found = json.loads((tmp_path / "figures.json").read_text())
    assert found["plain mmdet"]["images"] == found["ikd, first trial"]["images"] == found["ikd, second trial"]["images"]
    assert found["check"]["errors"] == 0
    assert found["workers of ikd"]["pss_mb"] > 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(found) == 7
