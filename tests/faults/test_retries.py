"""What goes wrong inside trials: each ends as it should, and its reason stands in study, table and MLflow."""

from __future__ import annotations

import pytest

from tests.faults.conftest import MakeSweep, NoteFault
from tests.faults.sweeps import LIMIT_SECONDS
from tests.unit.sweep import fake_training as fake

pytestmark = pytest.mark.fault
# number: state, epochs recorded, attempts, words of its reason
EXPECTED = {
    fake.NAN_METRIC: ("diverged", 2, 1, "bbox_mAP is not finite at epoch 2"),
    fake.NAN_LOSS: ("diverged", 1, 1, "non-finite loss in epoch 2, step 7: mgd=inf"),
    fake.BAD_INPUT: ("failed", 0, 1, "data: has no boxes"),
    fake.ALWAYS_CRASHES: ("failed", 2, 3, "crashed 3 times, last: ValueError: this always breaks"),
    fake.OUT_OF_MEMORY: ("failed", 1, 1, "out of memory: CUDA out of memory"),
    fake.KILLED_ONCE: ("finished", 6, 2, ""),
}


def test_every_kind_of_failure(make_sweep: MakeSweep, note_fault: NoteFault) -> None:
    sweep = make_sweep(
        values={"seed": fake.MISBEHAVING}, space={"scheduler": {"none": {}}, "budget": {"trials": 9}},
        runner={"concurrency": 2, "trial": {"max_retries": 2}},
    )  # fmt: skip
    text = sweep.run()
    records = sweep.records()
    for number, (state, epochs, attempts, reason) in EXPECTED.items():
        record = records[number]
        assert (number, record.state, record.epochs, record.attempts) == (number, state, epochs, attempts)
        assert reason in record.reason
        assert reason in text, "the table says it"
    assert [record.state for record in records if record.number not in EXPECTED] == ["finished"] * 3
    figures = sweep.check(trials=9)  # compares state and reason of each run in MLflow too
    assert figures["epochs begun again"] >= 2 + 1, "three attempts at one epoch, two at another"
    note_fault("NaN metric, inf loss, bad input, crash, out of memory, a worker killed once", figures)


def test_data_that_vanish(make_sweep: MakeSweep, note_fault: NoteFault) -> None:
    """No trial is lost or tried in vain: the sweep waits for them, and the same command goes on."""
    sweep = make_sweep(knobs={"seconds": 0.3}, runner={"concurrency": 2})
    gone = sweep.folder.path / fake.NO_DATA
    with sweep.start() as process:
        sweep.wait_for(sweep.after("epoch", 5), process)
        gone.touch()
        process.wait(LIMIT_SECONDS)
    text = sweep.output.read_text()
    assert process.returncode == 1, text
    assert "error: the data set is no longer there: train.json is not there; put it back as it was, and" in text
    assert "crashed" not in text
    assert {record.state for record in sweep.records()} <= {"waiting", "finished", "stopped"}, "none failed"
    gone.unlink()
    sweep.run()
    note_fault("data gone in mid-training", sweep.check())
