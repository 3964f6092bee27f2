"""Detectors that are told what to look for: the names of the classes go with every image."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch

from ikd.detectors import Checkpoint, Taps, build_detector, detector_config, freeze, load_weights, loss_mode
from ikd.errors import BadInput, CheckpointError
from tests.unit.detectors.batches import batch, total
from tests.unit.detectors.kinds.language import GLIP, GROUNDING, built, config, folder_of, section

CLASSES = ["red box", "circle"]
SIDE = 96


@pytest.fixture(scope="module", params=[GLIP, GROUNDING], ids=["glip", "grounding dino"])
def detector(request: pytest.FixtureRequest, session_home: Any) -> Any:
    torch.manual_seed(0)
    return built(request.param, CLASSES)


@pytest.fixture(scope="module")
def grounding(session_home: Any) -> Any:
    torch.manual_seed(0)
    return built(GROUNDING, CLASSES)


def loss_of(detector: Any) -> torch.Tensor:
    images, samples = batch(SIDE)
    for sample in samples:
        del sample.gt_instances.masks
    torch.manual_seed(0)
    found: torch.Tensor = total(detector.train().loss(images, samples))
    return found


def test_it_trains_on_class_numbers_and_predicts_them(detector: Any) -> None:
    torch.autograd.backward(loss_of(detector))
    reached = [one.grad.abs().sum() for one in detector.backbone.parameters() if one.grad is not None]
    assert torch.stack(reached).sum() > 0
    detector.zero_grad()
    images, samples = batch(SIDE)
    detector.test_cfg.score_thr = 0.0
    with torch.no_grad():
        found = detector.eval().predict(images, samples)
    labels = torch.cat([one.pred_instances.labels for one in found])
    assert set(labels.tolist()) == {0, 1}


def test_the_names_are_what_it_looks_for(detector: Any) -> None:
    before = loss_of(detector)
    assert torch.equal(loss_of(detector), before)
    detector.entities = ("blue", "circle")
    after = loss_of(detector)
    detector.entities = tuple(CLASSES)
    assert not torch.equal(after, before)


def test_a_text_that_comes_with_an_image_goes_first(detector: Any) -> None:
    images, samples = batch(SIDE)
    for sample in samples:
        sample.set_metainfo({"text": ("blue", "circle"), "custom_entities": True})
        del sample.gt_instances.masks
    torch.manual_seed(0)
    own = total(detector.train().loss(images, samples))
    assert not torch.equal(own, loss_of(detector))


def test_long_texts_are_read_in_parts_for_a_batch_too(detector: Any) -> None:
    images, samples = batch(SIDE)
    detector.test_cfg.chunked_size = 1
    try:
        with torch.no_grad():
            both = detector.eval().predict(images, samples)
            alone = detector.predict(images[1:], batch(SIDE)[1][1:])
    finally:
        detector.test_cfg.pop("chunked_size")
    assert torch.equal(both[1].pred_instances.scores, alone[0].pred_instances.scores)
    assert len(both) == 2


def test_the_encoder_of_a_grounding_dino_is_read_with_its_text(grounding: Any) -> None:
    def maps() -> list[torch.Tensor]:
        taps, images = Taps(grounding.eval(), "encoder"), batch(SIDE)[0]
        with torch.no_grad(), taps.capture() as found:
            taps.forward(images, [(SIDE, SIDE)] * 2)
        return found

    before = maps()
    assert [one.shape[-1] for one in before] == [SIDE // stride for stride in (8, 16, 32)] + [2]
    grounding.entities = ("blue", "circle")
    after = maps()
    grounding.entities = tuple(CLASSES)
    assert not torch.equal(after[0], before[0])


def test_a_grounding_dino_reads_boxes_as_published(grounding: Any) -> None:
    from mmdet.models.layers.transformer.utils import coordinate_to_encoding

    boxes, head = torch.rand(1, 5, 4), grounding.decoder.ref_point_head
    width = grounding.embed_dims
    given, published = (coordinate_to_encoding(boxes, num_feats=features) for features in (width, width // 2))
    assert torch.equal(head(given), head(published))


def test_the_language_model_is_a_folder(session_home: Any) -> None:
    with pytest.raises(
        BadInput, match=r"GLIP: language_model\.name: must be the folder .* got 'bert-base-uncased'.*over"
    ):
        detector_config(f"mmdet::{GLIP}", classes=CLASSES)


def test_a_missing_package_is_named(session_home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "transformers" else find(name))
    with pytest.raises(BadInput, match=r"GLIP reads .* by a package that is missing: pip install 'ikd\[text\]'"):
        config(GLIP, CLASSES)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["cell (a)", "cell (b)"], r"GLIP: class 'cell \(b\)': must differ from 'cell \(a\)' in what is read of it"),
        (["red_box", "Red box"], r"GLIP: class 'Red box': must differ from 'red_box' in what is read of it"),
        (["circle", "(unknown)"], r"GLIP: class name: must hold letters .* got '\(unknown\)'"),
        (
            ["abcdefghij" * 3 + str(number) for number in range(20)],
            r"of 20 classes: must make no more than the 256 tok",
        ),
    ],
)
def test_names_that_cannot_be_read_are_refused(session_home: Any, classes: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        built(GLIP, classes)


def test_weights_for_other_classes_load(detector: Any) -> None:
    weights = detector.state_dict()
    numbers = {"language_model.language_backbone.body.model.embeddings.position_ids": torch.arange(512)[None]}
    load_weights(detector, Checkpoint({**weights, **numbers}, ("person",), "", "public.pth"), classes=CLASSES)
    with pytest.raises(CheckpointError, match="unexpected language_model"):
        load_weights(
            detector, Checkpoint({**weights, "language_model.x": torch.zeros(1)}, None, "", "x"), classes=CLASSES
        )


@pytest.mark.parametrize(("own", "classes", "found"), [(256, 2, 256), (1, 3, 3), (1, 1, 1)])
def test_there_are_scores_for_all_classes(session_home: Any, own: int, classes: int, found: int) -> None:
    detector = section(GROUNDING)
    detector["overrides"] |= {"bbox_head.num_classes": own}
    assert detector_config(**detector, classes=None).bbox_head.num_classes == own
    detector["overrides"].pop("bbox_head.num_classes")
    inline = detector_config(**detector, classes=None)
    inline.bbox_head.num_classes = own
    assert detector_config(inline, classes=["a", "b", "c"][:classes]).bbox_head.num_classes == found


def test_what_configs_for_prediction_leave_out_is_there(session_home: Any) -> None:
    inline = config(GROUNDING, None)
    inline.train_cfg, inline.use_autocast = None, True
    torch.manual_seed(0)
    found = build_detector(detector_config(inline, classes=CLASSES))
    assert loss_of(found).isfinite()
    assert not found.use_autocast


def test_its_numbers_of_scores_stay(session_home: Any) -> None:
    named, other = config(GROUNDING, CLASSES), config(GROUNDING, None)
    assert named.bbox_head.num_classes == other.bbox_head.num_classes == 256
    assert named.entities == CLASSES
    assert "entities" not in other
    assert folder_of(GROUNDING).is_dir()


def test_a_frozen_one_goes_on_looking_for_its_classes(detector: Any) -> None:
    import copy

    teacher: Any = freeze(copy.deepcopy(detector))
    assert teacher.entities == tuple(CLASSES)
    with loss_mode(teacher):
        assert torch.equal(loss_of(teacher), loss_of(teacher))
