"""Which levels are distilled, and what their number does to weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ikd.config import Recipe
from ikd.detectors import build_detector, freeze
from ikd.distill.detector import DistillDetector
from ikd.errors import BadInput, ConfigError
from ikd.training import DataFiles, build_model, model_config, run_trial, said_of_levels
from ikd.training.levels import box_sizes
from tests.unit.distill.test_canvas import batch_of

Build = Callable[..., Recipe]
SMALL = {"base_channels": 4, "neck_channels": 16}
WHOLE = 18_134  # cells of strides 8 to 128 at 1088x800


@pytest.fixture(scope="module")
def pair(tiny_recipe: Build) -> Build:
    """Build a recipe of any student and teacher of the zoo, without an adversarial term."""

    def build(student: str = "retinanet_r18", teacher: str = "retinanet_r18", **changes: Any) -> Recipe:
        values = {
            "student__config": f"ikd::{student}",
            "student__arguments": SMALL,
            "teachers__available": {
                "t": {"config": f"ikd::{teacher}", "arguments": SMALL, "recipe": "drawn_r18_teacher"}
            },
            "teachers__sequence": ["t"],
            "adversarial__enabled": False,
            "distill__host": "mgd",
            "schedule__epochs": 1,
        }
        return tiny_recipe(**(values | changes))

    return build


def model_of(recipe: Recipe) -> DistillDetector:
    files = DataFiles.of(recipe)
    assert recipe.teacher is not None
    torch.manual_seed(0)
    teacher: Any = freeze(build_detector(model_config(recipe.teacher, files.classes)))
    return build_model(recipe, files, teacher)


def levels_of(recipe: Recipe) -> tuple[Any, Any]:
    terms = model_of(recipe).terms
    return tuple(terms.student_levels), tuple(terms.teacher_levels)


@pytest.mark.parametrize(
    ("levels", "expected"), [("auto", (0, 1, 2)), ("all", (0, 1, 2, 3, 4)), ([0], (0,)), ([1, 4], (1, 4))]
)
def test_levels_are_those_chosen(pair: Build, levels: Any, expected: tuple[int, ...]) -> None:
    """128 px drawn, so that no box reaches P6 and P7."""
    recipe = pair(input__scale=[160, 160], distill__levels=levels, adversarial__enabled=True)
    terms = model_of(recipe).terms
    assert (tuple(terms.student_levels), tuple(terms.teacher_levels)) == (expected, expected)
    assert terms.host is not None
    assert terms.adversarial is not None
    assert len(terms.host[1]) == len(terms.adversarial) == len(expected)


def test_the_input_size_decides(pair: Build) -> None:
    assert levels_of(pair(input__scale=[800, 800])) == ((0, 1, 2, 3, 4), (0, 1, 2, 3, 4))
    assert said_of_levels(pair(input__scale=[800, 800])) == []
    assert said_of_levels(pair(input__scale=[160, 160])) == [
        "recipe drawn_r18: distill.levels auto distils 0, 1, 2 (strides 8, 16, 32), and not 3, 4 (strides 64, 128), "
        "which no training box reaches at 160x160 px (levels: all distils them too)"
    ]
    assert said_of_levels(pair(input__scale=[160, 160], distill__levels="all")) == []
    assert said_of_levels(pair(input__scale=[160, 160], distill__host="crosskd")) == [], "it reads no maps"


def test_a_head_that_is_not_known_keeps_all_and_says_so(pair: Build) -> None:
    recipe = pair(**{"student__overrides": {"bbox_head.type": "FreeAnchorRetinaHead"}})
    (said,) = said_of_levels(recipe)
    assert said == (
        "recipe drawn_r18: distill.levels auto keeps all: which levels boxes reach in a RetinaNet like this is not "
        "known"
    )
    assert levels_of(recipe)[0] == (0, 1, 2, 3, 4)


def test_boxes_are_measured_at_the_input_size(tiny_data: Path) -> None:
    plain, doubled = (box_sizes(tiny_data / "train.json", 0, (side, side), True) for side in (128, 256))
    assert len(plain) > 16
    assert torch.allclose(2 * plain, doubled)
    wide = box_sizes(tiny_data / "train.json", 0, (256, 128), False)
    assert torch.allclose(wide, plain * torch.tensor([2.0, 1.0]).double())


def test_a_crop_that_zooms_further_reaches_further(pair: Build) -> None:
    usual = pair(input__scale=[128, 128], augment__enabled=True)
    far = pair(input__scale=[128, 128], augment__enabled=True, augment__crop__min_ratio=0.3)
    assert len(levels_of(usual)[0]) <= len(levels_of(far)[0])
    off = pair(input__scale=[128, 128], augment__enabled=False, augment__crop__min_ratio=0.3)
    assert levels_of(off) == levels_of(usual)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"distill__levels": [0, 5]},
            r"recipe drawn_r18: distill\.levels: must be among 0\.\.4, the levels that student and teacher share "
            r"\(strides 8, 16, 32, 64, 128\), but got 5",
        ),
        (
            {"teacher": "faster_rcnn_r18", "distill__levels": [3]},
            r"distill\.levels: must be among 0\.\.2, .* \(strides 8, 16, 32\), but got 3",
        ),
        (
            {"distill__sfa__enabled": True, "distill__sfa__levels": [6]},
            r"distill\.sfa\.levels: must be among 0\.\.4, .* but got 6",
        ),
        (
            {"distill__sfa__enabled": True, "distill__sfa__levels": [3, 4], "input__scale": [160, 160]},
            r"distill\.sfa\.levels: must hold one of the levels that are distilled, 0, 1, 2 \(strides 8, 16, 32\), "
            r"but got \[3, 4\]; distill\.levels: all distils all",
        ),
        (
            {"teacher": "faster_rcnn_r18", "distill__match": "index", "distill__levels": "all"},
            r"distill\.levels: must list levels where match is index and the student has 5 levels and the teacher 4, "
            r"but got 'all'; the levels that both have are \[0, 1, 2, 3\]",
        ),
        (
            {"teacher": "faster_rcnn_r18", "distill__match": "index", "distill__levels": [4]},
            r"distill\.levels: must be among 0\.\.3, .* but got 4",
        ),
    ],
)
def test_levels_that_are_not_there_are_refused(pair: Build, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        model_of(pair(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distill__levels": "some"}, r"distill\.levels: should be 'auto' or 'all', but got 'some'"),
        ({"distill__levels": []}, r"must list at least one level, rising, and none twice, but got \[\]"),
        ({"distill__levels": [1, 0]}, r"rising, and none twice, but got \[1, 0\]"),
        ({"distill__levels": [-1]}, r"distill\.levels\[0\]: should be greater than or equal to 0, but got -1"),
        ({"distill__match": "size"}, r"distill\.match: should be 'stride' or 'index', but got 'size'"),
        ({"distill__keep_strength": 2}, r"distill\.keep_strength: should be a valid boolean, but got 2"),
        ({"distill__measure_gradients": "x"}, r"distill\.measure_gradients: should be a valid boolean, but got 'x'"),
        (
            {"distill__levels": [3], "distill__sfa__enabled": True},
            r"distill\.levels: must hold one of distill\.sfa\.levels \[0, 1, 2\], but got \[3\]",
        ),
        (
            {"distill__host": "crosskd", "distill__reduction": "variance"},
            r"distill\.reduction: must be published or mean where the host compares predictions \(host crosskd\)",
        ),
    ],
)
def test_values_that_say_nothing_are_refused(pair: Build, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pair(**changes)


def test_alignment_follows_the_choice(pair: Build) -> None:
    """SFA's levels are counted as the pair's, and stand among those that are distilled."""
    sfa = {"distill__sfa__enabled": True, "distill__sfa__levels": [1, 2]}
    both = model_of(pair(distill__levels=[0, 2, 3], **sfa)).terms
    assert list(both.alignment) == [1]  # of 0, 2, 3 the second
    inputs = model_of(pair(distill__levels=[0, 2, 3], distill__sfa__mode="standardise_inputs", **sfa)).terms
    assert inputs.standardised == {1}


def test_a_loss_that_knows_its_level_keeps_it(pair: Build) -> None:
    host = model_of(pair(distill__host="fbkd", distill__levels=[1, 2])).terms.host
    assert host is not None
    losses: list[Any] = [one.loss for one in host[1]]
    assert [loss.student_relation.stride for loss in losses] == [4, 2]  # 8 would be that of level 0


class TestStrength:
    """A sum over fewer levels keeps the strength that its weight has on the whole pyramid."""

    def weights(self, recipe: Recipe) -> tuple[float | None, float]:
        """The factor, and MGD's effective weight over all levels of a step at the reference size."""
        model = model_of(recipe)
        model.losses(batch_of((800, 1088)))
        return model.terms.cells_factor, model.effective_weights["mgd"]

    def test_two_stage_students_of_one_stage_teachers(self, pair: Build) -> None:
        recipe = pair("faster_rcnn_r18", distill__levels="all", input__scale=[1088, 800])
        model = model_of(recipe)
        assert model.terms.cells_factor == pytest.approx(72_250 / 17_850)
        assert model.terms.cells_factor == pytest.approx(4.05, abs=0.003)

    @pytest.mark.parametrize("levels", ["all", [0, 1, 2], [0]])
    def test_the_weight_of_a_mean_is_that_of_the_whole_pyramid(self, pair: Build, levels: Any) -> None:
        """It is carried to the input size too: 1088x800 of 256 channels here, of 16 where it is used."""
        recipe = pair(distill__levels=levels)  # rescaled from 1088x800 to 96x96
        model = model_of(recipe)
        model.losses(batch_of((96, 96)))
        assert model.effective_weights["mgd"] == pytest.approx(2e-5 * WHOLE * 256)

    def test_as_written_it_is_that_of_the_cells_that_are_left(self, pair: Build) -> None:
        recipe = pair(distill__levels=[0], distill__keep_strength=False)
        model = model_of(recipe)
        model.losses(batch_of((96, 96)))
        assert model.effective_weights["mgd"] == pytest.approx(2e-5 * 136 * 100 * 256)
        assert model.terms.cells_factor is None

    def test_without_another_input_the_ratio_is_that_of_the_input_itself(self, pair: Build) -> None:
        recipe = pair(distill__levels=[0], distill__rescale_from=None)
        cells = [(96 // stride) ** 2 for stride in (8, 16, 32)] + [4, 1]  # the last two are rounded up
        assert model_of(recipe).terms.cells_factor == pytest.approx(sum(cells) / cells[0])

    def test_a_fixed_square_is_the_input_whatever_the_images_are(self, pair: Build) -> None:
        pad = {"enabled": True, "size": [160, 128]}
        recipe = pair(distill__levels=[0], distill__rescale_from=None, input__pad=pad)
        cells = [(128 // stride) * (160 // stride) for stride in (8, 16, 32)] + [2 * 3, 1 * 2]  # rounded up
        assert model_of(recipe).terms.cells_factor == pytest.approx(sum(cells) / cells[0])

    def test_means_have_no_factor(self, pair: Build) -> None:
        for changes in ({"distill__reduction": "mean"}, {"distill__host": "pkd"}, {"distill__reduction": "variance"}):
            assert model_of(pair(distill__levels=[0], **changes)).terms.cells_factor is None


class TestIndex:
    """The finest with the finest, resized."""

    def test_four_levels_of_a_one_and_a_two_stage_detector(self, pair: Build) -> None:
        recipe = pair(teacher="faster_rcnn_r18", distill__match="index", distill__levels=[0, 1, 2, 3])
        model = model_of(recipe)
        assert (tuple(model.terms.student_levels), tuple(model.terms.teacher_levels)) == ((0, 1, 2, 3), (0, 1, 2, 3))
        ours = [torch.rand(2, 16, 64 // stride, 96 // stride) for stride in (8, 16, 32, 64, 128) if stride <= 64]
        theirs = [torch.rand(2, 16, 64 // stride, 96 // stride) for stride in (4, 8, 16, 32)]
        maps = model.lessons[0].reader.shared(ours, theirs)
        assert [one.shape for one in maps[0]] == [one.shape for one in theirs]
        expected = torch.nn.functional.interpolate(ours[0], size=(16, 24), mode="bilinear", align_corners=False)
        assert torch.equal(maps[0][0], expected)

    def test_maps_of_one_size_are_not_touched(self, pair: Build) -> None:
        model = model_of(pair(distill__match="index", distill__levels="all"))
        maps = [torch.rand(1, 16, size, size) for size in (16, 8, 4, 2, 1)]
        assert all(one is other for one, other in zip(model.lessons[0].reader.shared(maps, maps)[0], maps, strict=True))

    def test_auto_takes_the_levels_that_both_have(self, pair: Build) -> None:
        recipe = pair(teacher="faster_rcnn_r18", distill__match="index", input__scale=[800, 800])
        assert levels_of(recipe) == ((0, 1, 2, 3), (0, 1, 2, 3))

    @pytest.mark.parametrize("host", ["pkd", "fgd", "mgd", "fbkd", "cwd", "nad", "dfmsd"])
    def test_every_host_takes_resized_maps(self, pair: Build, host: str) -> None:
        recipe = pair(
            "fcos_r18",
            "mask_rcnn_r18",
            distill__match="index",
            distill__levels=[0, 1, 2],
            distill__host=host,
            distill__sfa__enabled=True,
            adversarial__enabled=True,
        )
        model = model_of(recipe)
        data = batch_of((96, 96), (64, 96))
        losses = model.losses({**data, "adversarial": [image.clone() for image in data["inputs"]]})
        total, named = model.parse_losses(losses)
        total.backward()
        assert {f"loss_{host}", "loss_sfa", "loss_adversarial"} <= named.keys()
        assert torch.isfinite(total)

    def test_it_acts(self, pair: Build) -> None:
        """Against pairs of one stride, on data of the same weights."""
        values = []
        for match in ("index", "stride"):
            model = model_of(
                pair(teacher="faster_rcnn_r18", distill__match=match, distill__levels=[0, 1], distill__host="pkd")
            )
            torch.manual_seed(1)
            values.append(model.losses(batch_of((96, 96)))["loss_pkd"].item())
        assert values[0] != values[1]


def test_a_trial_notes_once_what_was_chosen(
    tiny_recipe: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny_recipe(schedule__epochs=2, input__scale=[48, 48], adversarial__enabled=False)
    result = run_trial(recipe, directory=tmp_path)
    (said,) = said_of_levels(recipe)
    of_teacher, *others = (tmp_path / "notes.txt").read_text().splitlines()
    assert of_teacher.startswith("teacher big: mAP ")
    assert others == [said]
    assert capsys.readouterr().out.splitlines() == [of_teacher, said]
    run_trial(recipe, checkpoint=result.last, directory=tmp_path)
    assert capsys.readouterr().out == ""
    assert (tmp_path / "notes.txt").read_text().splitlines() == [of_teacher, said]
