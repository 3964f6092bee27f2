"""Perturbations on disk: lossless, atomic, resumable, and honest about damage."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ikd.attack import PerturbationStore
from ikd.attack.settings import AttackSettings
from ikd.errors import DataError

KEY: dict[str, Any] = {"teacher": "abc", "attack": {"eps": 8.0}}


def delta(seed: int = 0, height: int = 33, width: int = 47) -> Any:
    return np.random.default_rng(seed).integers(-128, 128, (height, width, 3), dtype=np.int8)


@pytest.fixture
def store(tmp_path: Path) -> PerturbationStore:
    return PerturbationStore(tmp_path, KEY)


def test_reads_back_exactly(store: PerturbationStore) -> None:
    for image, seed in (("1", 0), ("20", 1)):
        store.write(image, delta(seed))
    assert np.array_equal(store.read("1"), delta(0))
    assert np.array_equal(store.read("20"), delta(1))
    assert store.missing(["20", "3", "1"]) == ["3"]
    assert len(store) == 2
    assert sorted(path.suffix for path in store.folder.iterdir()) == [".ikdp", ".ikdp", ".json"]


def test_folder_depends_on_the_key_alone(tmp_path: Path) -> None:
    assert PerturbationStore(tmp_path, KEY).folder == PerturbationStore(tmp_path, dict(reversed(KEY.items()))).folder
    changed = {**KEY, "attack": {"eps": 4.0}}
    assert PerturbationStore(tmp_path, KEY).folder != PerturbationStore(tmp_path, changed).folder
    assert not PerturbationStore(tmp_path, KEY).folder.exists()


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_file_cut_short_is_missing_and_refused(store: PerturbationStore, kept: int) -> None:
    store.write("7", delta())
    path = store.folder / "7.ikdp"
    path.write_bytes(path.read_bytes()[:kept])
    assert store.missing(["7"]) == ["7"]
    with pytest.raises(DataError, match=r"7\.ikdp is cut short or damaged"):
        store.read("7")
    store.write("7", delta())
    assert np.array_equal(store.read("7"), delta())


def test_a_flipped_byte_is_refused(store: PerturbationStore) -> None:
    store.write("7", delta())
    path = store.folder / "7.ikdp"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        store.read("7")


def test_only_a_finished_store_opens_for_reading(store: PerturbationStore, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no perturbations"):
        PerturbationStore.open(store.folder)
    store.write("1", delta())
    with pytest.raises(DataError, match=r"incomplete \(1 files"):
        PerturbationStore.open(store.folder)
    with pytest.raises(DataError, match="incomplete"):
        store.summary()
    store.finish({"count": 1})
    opened = PerturbationStore.open(store.folder)
    assert opened.summary() == {"count": 1}
    moved = store.folder.rename(tmp_path / "elsewhere")
    assert np.array_equal(pickle.loads(pickle.dumps(PerturbationStore.open(moved))).read("1"), delta())
    with pytest.raises(DataError, match=r"no perturbation in .* of SHA-256 2; an image has changed"):
        PerturbationStore.open(moved).read("2")


def test_a_line_for_people_says_how_well_the_teacher_is_fooled(store: PerturbationStore) -> None:
    with pytest.raises(DataError, match="incomplete"):
        store.line("r50")
    store.finish({"count": 1, "clean": {"bbox_mAP": 0.412}, "perturbed": {"bbox_mAP": 0.0349}})
    assert store.line("r50") == "1 images; teacher r50 mAP 41.2 clean, 3.5 perturbed"


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "7aab199c923c6a96950e5e6eb29425225bf565db8132a053a97368c609b6296a"),
        (
            {
                **{"eps": 4.0, "step": 1.0, "steps": 3, "momentum": 0.5, "loss": "cls+reg", "seed": 7},
                **{"diversity_probability": 0.25, "diversity_min_scale": 0.75},
            },
            "7e1f17b6ebdf9b1e4723dfff25abc5a27e019a8af6db8be3226e3e2fb6a6fd16",
        ),
        ({"published": True}, "66213f6604464dbc1f01b522c28d0fd025e59fe1520cb2e75b04b172c6193112"),
    ],
)
def test_an_attack_finds_what_earlier_versions_have_stored(settings: dict[str, Any], name: str, tmp_path: Path) -> None:
    assert PerturbationStore(tmp_path, {"attack": AttackSettings(**settings).parameters()}).folder.name == name
