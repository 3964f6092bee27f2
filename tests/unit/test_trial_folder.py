"""The log of a trial: whole lines are read, whatever a crash has left between them."""

from __future__ import annotations

from pathlib import Path

from ikd.trial import TrialFolder

TORN = b'{"epoch": 2, "metr'
GARBAGE = b"\xff\xfe\x00\n"


def test_an_epoch_after_a_torn_line_has_a_line_of_its_own(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    folder.note(1, {"bbox_mAP": 0.1})
    with folder.log.open("ab") as log:
        log.write(TORN)
    folder.note(2, {"bbox_mAP": 0.2})
    assert folder.logged() == {1: {"bbox_mAP": 0.1}, 2: {"bbox_mAP": 0.2}}


def test_the_latest_of_an_epoch_counts_and_garbage_is_passed_over(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    folder.note(2, {"bbox_mAP": 0.1})
    with folder.log.open("ab") as log:
        log.write(GARBAGE)
    folder.note(1, {"bbox_mAP": 0.3})
    folder.note(2, {"bbox_mAP": 0.2})
    assert list(folder.logged().items()) == [(1, {"bbox_mAP": 0.3}), (2, {"bbox_mAP": 0.2})]


def test_a_log_is_put_back_to_an_epoch(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    for epoch in (1, 2, 3):
        folder.note(epoch, {"bbox_mAP": epoch / 10})
    with folder.log.open("ab") as log:
        log.write(TORN)
    folder.cut_log(2)
    assert folder.log.read_text().splitlines()[-1] == '{"epoch": 2, "metrics": {"bbox_mAP": 0.2}}'
    assert list(folder.logged()) == [1, 2]


def test_there_is_nothing_without_a_log(tmp_path: Path) -> None:
    assert TrialFolder(tmp_path).logged() == {}
