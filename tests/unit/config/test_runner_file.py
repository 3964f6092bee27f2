"""What a runner file refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from ikd.config import load_runner
from ikd.errors import ConfigError

WRONG = [
    ("ray: {address: 'ray://host:10001'}", "ray.address: must not be a ray:// address: start the sweep on a node"),
    ("ray: {address: elsewhere}", "ray.address: must be local, auto or host:port, but got 'elsewhere'"),
    ("ray: {address: auto, temp: /tmp/x}", "ray: temp goes only with address: local"),
    ("trial: {gpus: 1, processes: 2}", "trial: gpus must be 0 or a multiple of processes (2), and is 1"),
    ("trial: {gpus: 1.5, processes: 2}", "and is 1.5"),
    ("keep_top: 0", "keep_top: should be greater than or equal to 1, but got 0"),
]


@pytest.mark.parametrize(("text", "says"), WRONG)
def test_what_cannot_be_is_refused_with_its_line(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "runner.yaml"
    file.write_text(f"concurrency: 1\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        load_runner(file)
    assert f"{file}:2: " in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "text", ["ray: {address: auto}", "ray: {address: 'head:6379'}", "trial: {gpus: 4, processes: 2}"]
)
def test_what_can_be_is_read(text: str, tmp_path: Path) -> None:
    file = tmp_path / "runner.yaml"
    file.write_text(text)
    assert load_runner(file).keep_top == 5
