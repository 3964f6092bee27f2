from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from ikd.sweep.signals import GRACE_SECONDS, Interrupts, StopNow, listening


@pytest.fixture(autouse=True)
def taken() -> Iterator[None]:
    """Let signals be taken also where the tests run in a shell's background, which ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_first_signal_saves_and_the_second_ends() -> None:
    said: list[str] = []
    interrupts = Interrupts(said.append)
    before = signal.getsignal(signal.SIGINT)
    with listening(interrupts):
        interrupts.beat()
        assert said == []
        os.kill(os.getpid(), signal.SIGINT)
        interrupts.beat()
        interrupts.beat()
        assert said == ["Ctrl-C: ending the sweep"]
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(StopNow):
            interrupts.beat()
    assert signal.getsignal(signal.SIGINT) is before


def test_sigterm_saves_and_ends_when_its_grace_is_over() -> None:
    said: list[str] = []
    now = [100.0]
    interrupts = Interrupts(said.append, clock=lambda: now[0])
    with listening(interrupts):
        os.kill(os.getpid(), signal.SIGTERM)
        interrupts.beat()
        assert said == ["SIGTERM: ending the sweep"]
        now[0] += GRACE_SECONDS
        interrupts.beat()
        now[0] += 0.1
        with pytest.raises(StopNow):
            interrupts.beat()
