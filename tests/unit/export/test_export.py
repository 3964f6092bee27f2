"""A trial's student as plain mmdet files."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from mmengine.config import Config
from typer.testing import CliRunner

from ikd.cli import app
from ikd.config import load_recipe
from ikd.data import DataFiles, fingerprint
from ikd.detectors import build_detector, detector_config
from ikd.detectors.pretrained import without_pretrained
from ikd.errors import BadInput, CheckpointError, JobError
from ikd.export import Exported, export_student
from ikd.export.card import _markdown
from tests.unit.export.students import recipe_on

Alter = Callable[[Callable[[dict[str, Any]], None]], Path]


def card(exported: Exported) -> dict[str, Any]:
    return json.loads((exported.directory / "card.json").read_text())


def test_the_folder_holds_what_it_should(exported: Exported) -> None:
    names = ["card.json", "card.md", "recipe.yaml", "student.pth", "student.py", "val.json"]
    assert sorted(path.name for path in exported.directory.iterdir()) == names
    assert list(exported.directory.parent.iterdir()) == [exported.directory], "and nothing is left beside it"


def test_the_card_has_best_and_last_epoch(exported: Exported) -> None:
    metrics = card(exported)["metrics"]
    assert metrics["last_epoch"].keys() == metrics["training"].keys()
    assert "| metric | plain mmdet | training | best epoch | last epoch |" in exported.card.read_text()
    assert "| AP/" in exported.card.read_text()


def test_plain_mmdet_gives_what_training_recorded(exported: Exported) -> None:
    assert exported.metrics["bbox_mAP"] > 0.05, "else the comparison says nothing"
    assert exported.metrics == pytest.approx(exported.recorded, abs=1e-6, nan_ok=True)
    assert len(exported.metrics) == len(exported.recorded) == 10 + len(card(exported)["classes"])


def test_the_checkpoint_is_plain_and_holds_the_student_alone(exported: Exported, best: Path) -> None:
    content = torch.load(exported.checkpoint, weights_only=True)
    assert sorted(content) == ["meta", "state_dict"]
    assert content["meta"]["dataset_meta"] == {"classes": ("disc", "square", "triangle", "ring")}
    assert content["meta"]["CLASSES"] == content["meta"]["dataset_meta"]["classes"]
    settings = Config.fromfile(exported.config)
    assert list(content["state_dict"]) == list(build_detector(settings.model).state_dict())
    trained = torch.load(best, weights_only=True)["state_dict"]
    assert all(torch.equal(tensor, trained[name]) for name, tensor in content["state_dict"].items())


def test_the_config_is_mmdets_own_and_names_one_path(exported: Exported, best: Path) -> None:
    text = exported.config.read_text()
    settings = Config.fromfile(exported.config)
    assert settings.default_scope == "mmdet"
    assert settings.data_root == str(best.parents[1] / "data")
    assert text.count(str(best.parents[1])) == 1, "the data root is the only path of this machine"
    assert "import" not in text.replace("exported", "")
    assert settings.model.test_cfg.score_thr == 0.1, "overrides are in it"
    assert settings.model.bbox_head.num_classes == 4
    assert settings.test_evaluator.type == "CocoMetric"
    assert Path(settings.test_evaluator.ann_file).is_file()
    dataset = settings.test_dataloader.dataset
    assert (Path(dataset.data_root) / dataset.ann_file).is_file()
    assert (Path(dataset.data_root) / dataset.data_prefix.img).is_dir()
    assert dataset.pipeline[1] == {"type": "Resize", "scale": (128, 128), "keep_ratio": True}
    assert settings.test_dataloader.batch_size == 1  # padding must not depend on neighbours


def test_the_card_says_what_the_student_is(exported: Exported, best: Path) -> None:
    found, data = card(exported), best.parents[1] / "data"
    assert found["sha256"] == exported.sha256 == hashlib.sha256(exported.checkpoint.read_bytes()).hexdigest()
    assert found["classes"] == ["disc", "square", "triangle", "ring"]
    assert found["data"]["fingerprint"] == fingerprint(data / "train.json", data / "images")
    assert found["metrics"]["plain_mmdet"]["bbox_mAP"] == exported.metrics["bbox_mAP"]
    assert found["metrics"]["training"]["bbox_mAP"] == exported.recorded["bbox_mAP"]
    assert (found["epoch"], found["input_px"]) == (24, {"width": 128, "height": 128})
    assert found["search"]["sweep"] == "night"
    assert found["search"]["values"] == {"distill.host": "mgd", "adversarial.weight": 1e-5}
    assert {"version.torch", "version.mmdet", "version.python"} <= set(found["made_with"])
    assert found["onnx"] is None
    for name, digest in found["files"].items():
        assert hashlib.sha256((exported.directory / name).read_bytes()).hexdigest() == digest


def test_the_card_reads_well(exported: Exported) -> None:
    text = (exported.directory / "card.md").read_text()
    found = card(exported)
    assert f"| mAP | {100 * found['metrics']['plain_mmdet']['bbox_mAP']:.1f} |" in text
    assert f"| Parameters | {exported.parameters:,} |" in text
    assert f"{exported.macs / 1e6:.1f} M at 128 x 128 px" in text if exported.macs else False
    assert 'init_detector("student.py", "student.pth", device="cpu")' in text
    assert "Trial 7 (host=mgd) of the sweep `night`, one of 12; it finished." in text
    assert "| distill.host | mgd |" in text
    assert "ONNX" not in text


def test_the_card_says_where_mmdets_own_test_cannot_read_the_labels(exported: Exported, tmp_path: Path) -> None:
    found, said = card(exported), "labels as floats"
    assert found["float_labels"] is False
    assert said not in exported.card.read_text()
    assert said in _markdown({**found, "float_labels": True})


def test_the_recipe_beside_it_trains_the_same(exported: Exported, best: Path) -> None:
    assert load_recipe(exported.directory / "recipe.yaml").as_dict() == yaml.safe_load(
        (best.parent / "recipe.yaml").read_text()
    )


def test_parameters_and_multiply_adds_are_those_of_the_layers(exported: Exported) -> None:
    detector: Any = build_detector(Config.fromfile(exported.config).model).eval()
    counted = [32 * (8 * 8 + 16 * 16)]  # the pyramid's upsampling: one a value

    def count(layer: Any, inputs: Any, output: torch.Tensor) -> None:
        # a convolution's value is one dot product, a norm's one multiplication and one addition
        counted.append(output.numel() * (layer.weight[0].numel() if isinstance(layer, torch.nn.Conv2d) else 2))

    for module in detector.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.BatchNorm2d)):
            module.register_forward_hook(count)
    with torch.no_grad():
        detector._forward(torch.zeros(1, 3, 128, 128))
    assert exported.macs == sum(counted)
    assert exported.parameters == sum(tensor.numel() for tensor in detector.parameters())


def test_the_same_student_gives_the_same_checkpoint_without_context_too(
    exported: Exported, best: Path, tmp_path: Path
) -> None:
    again = export_student(best, tmp_path / "again")
    assert again.sha256 == exported.sha256
    assert card(again)["search"] is None
    assert "## Search" not in (again.directory / "card.md").read_text()
    assert export_student(best, tmp_path / "again").sha256 == again.sha256, "it replaces itself"


def test_another_map_than_recorded_fails_with_both_and_leaves_nothing(altered: Alter, tmp_path: Path) -> None:
    place = tmp_path / "place"

    def change(content: dict[str, Any]) -> None:
        content["meta"]["metrics"]["bbox_mAP"] += 0.001

    path = altered(change)
    recorded = torch.load(path, weights_only=True)["meta"]["metrics"]["bbox_mAP"]
    with pytest.raises(JobError, match=f"gives bbox_mAP {recorded - 0.001:.6f}, the training recorded {recorded:.6f}"):
        export_student(path, place)
    assert sorted(tmp_path.iterdir()) == [path]


def test_weights_that_are_not_all_there_are_refused(altered: Alter, tmp_path: Path) -> None:
    path = altered(lambda content: content["state_dict"].pop("neck.fpn_convs.0.conv.bias"))
    with pytest.raises(CheckpointError, match=r"missing neck\.fpn_convs\.0\.conv\.bias"):
        export_student(path, tmp_path / "place")
    assert not (tmp_path / "place").exists()


def _drop_meta(content: dict[str, Any]) -> None:
    content.pop("meta")


def _drop_recipe(content: dict[str, Any]) -> None:
    content["meta"].pop("recipe")


def _spoil_recipe(content: dict[str, Any]) -> None:
    content["meta"]["recipe"]["schedule"]["epochs"] = "many"


def _swap_classes(content: dict[str, Any]) -> None:
    content["meta"]["dataset_meta"]["classes"].reverse()


def _lose_data(content: dict[str, Any]) -> None:
    content["meta"]["recipe"]["data"]["root"] = "/nowhere"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_drop_meta, r"must be the best\.pth of a trial, but its meta lacks epoch, metrics, recipe"),
        (_drop_recipe, r"its meta lacks recipe"),
        (_spoil_recipe, r"schedule\.epochs: .*valid integer"),
        (_swap_classes, r"was trained for the classes \['ring', .*, but .*train\.json has \['disc'"),
        (
            _lose_data,
            r"must be a COCO json file, but /nowhere/train\.json is not there; .* --data-root$",
        ),
    ],
)
def test_what_is_no_student_of_this_data_is_refused(
    altered: Alter, tmp_path: Path, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        export_student(altered(change), tmp_path / "place")
    assert not (tmp_path / "place").exists()


def test_last_and_missing_checkpoints_are_refused(best: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"must be the best\.pth of a trial"):
        export_student(best.with_name("last.pth"), tmp_path / "place")
    with pytest.raises(CheckpointError, match=r"no checkpoint at"):
        export_student(best.with_name("none.pth"), tmp_path / "place")


def test_data_that_moved_is_found_where_it_is_said_to_be(altered: Alter, best: Path, tmp_path: Path) -> None:
    exported = export_student(altered(_lose_data), tmp_path / "place", data_root=best.parents[1] / "data")
    assert Config.fromfile(exported.config).data_root == str(best.parents[1] / "data")


def test_other_data_where_it_is_said_to_be_is_refused(altered: Alter, best: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(best.parents[1] / "data", tmp_path / "other"))
    content = json.loads((other / "train.json").read_text())
    content["annotations"] = content["annotations"][::2]
    (other / "train.json").write_text(json.dumps(content))
    with pytest.raises(JobError, match=r"Has the data set changed since"):
        export_student(altered(_lose_data), tmp_path / "place", data_root=other)
    with pytest.raises(BadInput, match=r"data\.train\.annotations: .* is not there"):
        export_student(altered(_lose_data), tmp_path / "place", data_root=other / "images")
    assert not (tmp_path / "place").exists()


def test_other_data_than_the_sweep_noted_are_refused(altered: Alter, best: Path, tmp_path: Path) -> None:
    data = best.parents[1] / "data"
    other = Path(shutil.copytree(data, tmp_path / "other"))
    known = DataFiles.of(recipe_on(data)).record()
    moved = export_student(best, tmp_path / "moved", data_root=other, known=known)
    here = export_student(best, tmp_path / "here", known=known)
    assert card(moved)["recipe_fingerprint"] == card(here)["recipe_fingerprint"], "the same training, elsewhere"
    picture = next((other / "images").iterdir())
    picture.write_bytes(sorted((other / "images").iterdir())[-1].read_bytes())
    with pytest.raises(BadInput, match=r"must be the data set that the student was trained .*not the same ones") as no:
        export_student(altered(_lose_data), tmp_path / "place", data_root=other, known=known)
    assert str(other / "train.json") in str(no.value)
    assert "--data-root" in str(no.value)
    assert not (tmp_path / "place").exists()


def test_the_command_takes_where_the_data_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    def note(name: str, to: Path, **arguments: Any) -> SimpleNamespace:
        asked.append(arguments)
        return SimpleNamespace(summary=lambda: "made")

    monkeypatch.setattr("ikd.export.export_sweep", note)
    monkeypatch.setattr("ikd.sweep.study.folder.existing_folder", lambda name: name)
    for more, root in (([], None), (["--data-root", str(tmp_path)], tmp_path)):
        assert CliRunner().invoke(app, ["export", "night", "--to", "x", *more]).exit_code == 0
        assert asked.pop()["data_root"] == root


def test_a_foreign_destination_is_refused_before_any_work(best: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BadInput, match=r"nothing is deleted"):
        export_student(best, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_pretrained_weights_are_not_named_and_other_initialisation_stays() -> None:
    model = {
        "pretrained": "torchvision://resnet18",
        "backbone": {"init_cfg": {"type": "Pretrained", "checkpoint": "/home/me/r18.pth"}, "depth": 18},
        "neck": {"init_cfg": [{"type": "Pretrained", "checkpoint": "a"}, {"type": "Normal", "layer": "Conv2d"}]},
        "bbox_head": {"init_cfg": {"type": "Normal", "layer": "Conv2d"}, "pretrained": None},
        "stages": ({"pretrained": "open-mmlab://x"}, 1),
    }
    assert without_pretrained(model) == {
        "backbone": {"depth": 18},
        "neck": {"init_cfg": [{"type": "Normal", "layer": "Conv2d"}]},
        "bbox_head": {"init_cfg": {"type": "Normal", "layer": "Conv2d"}, "pretrained": None},
        "stages": ({}, 1),
    }


def test_every_shipped_detector_can_be_written_and_read_back(tmp_path: Path, best: Path) -> None:
    from ikd.export.config import write_config
    from ikd.training import DataFiles, model_config

    recipe = load_recipe(best.parent / "recipe.yaml")
    files = DataFiles.of(recipe)
    names = ["ikd::retinanet_r18", "ikd::gfl_r18", "ikd::fcos_r18", "ikd::faster_rcnn_r18"]
    for name in [*names, "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"]:
        changed = recipe.with_values({"student": {"config": name}})
        write_config(changed, files, tmp_path / "student.py", title="one\ntwo")
        written = Config.fromfile(tmp_path / "student.py")
        assert written.model == model_config(changed.student, files.classes)
        assert (tmp_path / "student.py").read_text().startswith("# one two\n")
    assert detector_config("ikd::fcos_r18", classes=("a",)).bbox_head.regress_ranges[-1][1] == 1e8
