"""From a folder of images to a finished store."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from ikd.attack import DIFGSM, PerturbationStore, TrainingImages, generate, perturbation_key
from ikd.attack.crafting import whole_levels
from ikd.data import image_digest
from ikd.detectors import weights_sha256
from ikd.errors import BadInput, DataError
from tests.unit.attack.toys import tiny

SIZES = {3: (60, 80), 5: (60, 80), 8: (100, 50), 9: (60, 80)}  # image id -> height, width


@pytest.fixture
def source(tmp_path: Path) -> TrainingImages:
    """Four images of two shapes, one without boxes; category ids are not the labels."""
    generator = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for image_id, (height, width) in SIZES.items():
        image = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{image_id}.png"), image)
    content = {
        "images": [
            {"id": image_id, "file_name": f"{image_id}.png", "height": height, "width": width}
            for image_id, (height, width) in SIZES.items()
        ],
        "categories": [{"id": number, "name": name} for number, name in ((4, "a"), (2, "b"), (9, "c"))],
        "annotations": [
            {"id": number, "image_id": image_id, "category_id": 9, "bbox": [5, 6, 30, 40], "area": 1200, "iscrowd": 0}
            for number, image_id in enumerate((3, 8, 9), start=1)
        ],
    }
    (tmp_path / "train.json").write_text(json.dumps(content))
    return TrainingImages(tmp_path / "train.json", tmp_path / "images", (64, 64))


def digest(source: TrainingImages, image_id: int) -> str:
    return image_digest(source.images / f"{image_id}.png")


def make_store(root: Path, teacher: Any, source: TrainingImages, attack: DIFGSM) -> PerturbationStore:
    return PerturbationStore(root / "store", perturbation_key(teacher, source, attack, data_fingerprint="f"))


def test_every_image_gets_its_perturbation_at_network_size(source: TrainingImages, tmp_path: Path) -> None:
    teacher, attack, steps = tiny("retinanet_r18"), DIFGSM(eps=4.5, step=2.0, steps=3), []
    store = make_store(tmp_path, teacher, source, attack)
    summary = generate(teacher, source, store, attack, batch_size=2, progress=lambda *done: steps.append(done))
    assert store.missing(digest(source, image_id) for image_id in SIZES) == []
    assert [store.read(digest(source, image_id)).shape for image_id in (3, 8)] == [(48, 64, 3), (64, 32, 3)]
    assert (
        max(int(np.abs(store.read(digest(source, image_id))).max()) for image_id in SIZES) == 4
    )  # whole levels, never above eps
    assert summary["count"] == summary["attacked"] == 4
    assert {"bbox_mAP"} <= summary["clean"].keys() & summary["perturbed"].keys()
    assert steps == [(0, 8), (2, 8), (3, 8), (4, 8), (6, 8), (7, 8), (8, 8)]
    assert PerturbationStore.open(store.folder).summary() == summary


def test_a_teacher_of_other_classes_attacks_and_is_not_measured(source: TrainingImages, tmp_path: Path) -> None:
    teacher, attack = tiny("retinanet_r18"), DIFGSM(eps=4.0, step=2.0, steps=1, loss="feature_distance")
    torch.nn.init.constant_(teacher.bbox_head.retina_cls.bias, 3.0)  # it sees every class, of which the file has one
    store = make_store(tmp_path, teacher, source, attack)
    summary = generate(teacher, source, store, attack, measures=False)
    assert not {"clean", "perturbed"} & summary.keys()
    assert store.line("big") == "4 images; teacher big knows other classes, so that its mAP says nothing"


def test_the_stored_perturbation_is_that_of_the_loaded_pixels(source: TrainingImages, tmp_path: Path) -> None:
    import mmcv
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    teacher, attack = tiny("retinanet_r18"), DIFGSM(steps=2)
    store = make_store(tmp_path, teacher, source, attack)
    generate(teacher, source, store, attack, batch_size=3)
    image = mmcv.imrescale(mmcv.imread(str(source.images / "3.png")), (64, 64))  # [48, 64, 3] BGR
    pixels = torch.nn.functional.pad(torch.from_numpy(image).permute(2, 0, 1).float()[None], (0, 0, 0, 16))
    made = DetDataSample(metainfo={"img_shape": (48, 64), "img_id": 3})
    boxes = torch.tensor([[5.0, 6.0, 35.0, 46.0]]) * 0.8
    made.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([2]))
    made.ignored_instances = InstanceData(bboxes=boxes[:0], labels=torch.zeros(0, dtype=torch.long))
    alone = attack(teacher, pixels, [made])[0, :, :48]
    assert (
        store.read(digest(source, 3)) == whole_levels(attack, alone).permute(1, 2, 0).numpy()
    ).mean() > 0.99  # the rest: sign of a gradient of about zero


def test_resumes_and_repairs(source: TrainingImages, tmp_path: Path) -> None:
    teacher, attack = tiny("retinanet_r18"), DIFGSM(steps=1, step=8.0)
    store = make_store(tmp_path, teacher, source, attack)

    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(teacher, source, store, attack, batch_size=2, progress=stop)
    assert len(store) == 2
    assert not store.complete
    assert generate(teacher, source, store, attack)["attacked"] == 2
    whole = {image_id: store.read(digest(source, image_id)) for image_id in SIZES}

    path = store.path_of(digest(source, 8))
    path.write_bytes(path.read_bytes()[:-20])
    assert generate(teacher, source, store, attack)["attacked"] == 1
    assert all((store.read(digest(source, image_id)) == whole[image_id]).mean() > 0.99 for image_id in SIZES)

    calls: list[tuple[int, int]] = []
    generate(teacher, source, store, attack, progress=lambda *done: calls.append(done))
    assert calls == []  # all there, nothing to do


def test_damage_inside_a_file_is_remade_by_the_next_run(source: TrainingImages, tmp_path: Path) -> None:
    teacher, attack = tiny("retinanet_r18"), DIFGSM(steps=1)
    store = make_store(tmp_path, teacher, source, attack)
    generate(teacher, source, store, attack)
    store.reopen()
    path = store.path_of(digest(source, 5))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        generate(teacher, source, store, attack)
    assert generate(teacher, source, store, attack)["attacked"] == 1


def test_zero_strength_leaves_images_and_metrics(source: TrainingImages, tmp_path: Path) -> None:
    teacher, attack = tiny("retinanet_r18"), DIFGSM(eps=0.0, step=0.0, steps=1)
    store = make_store(tmp_path, teacher, source, attack)
    summary = generate(teacher, source, store, attack)
    assert all((store.read(digest(source, image_id)) == 0).all() for image_id in SIZES)
    assert summary["clean"] == pytest.approx(summary["perturbed"], nan_ok=True)


def test_everything_that_matters_is_in_the_key(source: TrainingImages, tmp_path: Path) -> None:
    attack = DIFGSM()
    teachers = [tiny("retinanet_r18", seed=0), tiny("retinanet_r18", seed=1)]
    reordered, renumbered = tmp_path / "other.json", tmp_path / "again.json"
    content = json.loads(source.annotations.read_text())
    reordered.write_text(json.dumps({**content, "categories": content["categories"][::-1]}))
    renumbered.write_text(source.annotations.read_text().replace('"id": 3,', '"id": 33,'))
    keys = [
        perturbation_key(teachers[0], source, attack, data_fingerprint="f"),
        perturbation_key(teachers[1], source, attack, data_fingerprint="f"),
        perturbation_key(teachers[0], source, DIFGSM(steps=4), data_fingerprint="f"),
        perturbation_key(teachers[0], source, attack, data_fingerprint="g"),
        perturbation_key(teachers[0], dataclasses.replace(source, input_size=(96, 96)), attack, data_fingerprint="f"),
        perturbation_key(teachers[0], dataclasses.replace(source, keep_ratio=False), attack, data_fingerprint="f"),
        perturbation_key(teachers[0], dataclasses.replace(source, annotations=reordered), attack, data_fingerprint="f"),
    ]
    assert len({json.dumps(key, sort_keys=True) for key in keys}) == len(keys)
    again = perturbation_key(tiny("retinanet_r18", seed=0), source, attack, data_fingerprint="f")
    assert again == keys[0]
    other = dataclasses.replace(source, annotations=renumbered)  # ids say nothing
    assert perturbation_key(teachers[0], other, attack, data_fingerprint="f") == keys[0]


def test_normalisation_counts_as_part_of_the_teacher() -> None:
    teacher = tiny("retinanet_r18")
    before = weights_sha256(teacher)
    teacher.data_preprocessor.mean += 1
    assert weights_sha256(teacher) != before


def test_ratio_is_kept_or_not(source: TrainingImages, tmp_path: Path) -> None:
    teacher, attack = tiny("retinanet_r18"), DIFGSM(steps=1)
    stretched = dataclasses.replace(source, keep_ratio=False)
    store = make_store(tmp_path, teacher, stretched, attack)
    generate(teacher, stretched, store, attack)
    assert store.read(digest(stretched, 3)).shape == store.read(digest(stretched, 8)).shape == (64, 64, 3)


def test_bad_input_is_refused_before_anything_is_written(source: TrainingImages, tmp_path: Path) -> None:
    teacher = tiny("retinanet_r18")
    weak = DIFGSM(eps=0.5, step=0.5)
    store = make_store(tmp_path, teacher, source, weak)
    with pytest.raises(BadInput, match=r"at least 1 grey level.*0\.5"):
        generate(teacher, source, store, weak)
    with pytest.raises(BadInput, match="attack: batch_size: must be at least 1, but got 0"):
        generate(teacher, source, store, DIFGSM(), batch_size=0)
    assert not store.folder.exists()


def test_processes_that_read_ahead_change_nothing(source: TrainingImages, tmp_path: Path) -> None:
    teacher, attack = tiny("retinanet_r18"), DIFGSM(steps=2)
    before = torch.random.get_rng_state()
    stores = []
    for workers in (0, 2):
        store = make_store(tmp_path / str(workers), teacher, source, attack)
        summary = generate(teacher, source, store, attack, batch_size=2, workers=workers)
        assert summary["bytes"] == sum(file.stat().st_size for file in store.folder.glob("*.ikdp")) + len(
            (store.folder / "key.json").read_bytes()
        )
        stores.append(store)
    names = [digest(source, image_id) for image_id in SIZES]
    assert all(np.array_equal(stores[0].read(name), stores[1].read(name)) for name in names)
    assert torch.equal(before, torch.random.get_rng_state())
