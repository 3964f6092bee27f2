"""Detector configs that would run code: files, what they are based on, inline models, and weights that they name."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ikd.detectors import build_detector, detector_config, read_source
from ikd.detectors.plain_python import code_in
from ikd.errors import BadInput
from ikd.trust import VARIABLE

CLASSES = ("a", "b")
BASE = "mmdet::retinanet/retinanet_r18_fpn_1x_coco.py"
PLAIN = f"_base_ = ['{BASE}']\nmodel = dict(bbox_head=dict(num_classes=2))\n"


@pytest.fixture
def touched(tmp_path: Path) -> Path:
    """Where the attacks of these tests leave a file."""
    return tmp_path / "touched"


def attacks(touched: Path) -> dict[str, str]:
    """Return Python configs that leave a file, by what is done in them."""
    run = f"__import__('pathlib').Path({str(touched)!r}).touch()"
    evil = f"[{run!r}]"
    quoted = run.replace("'", '"')
    return {
        "import": f"import pathlib\npathlib.Path({str(touched)!r}).touch()\n",
        "call": f"x = {run}\n",
        "handed on": f"x = sorted({evil}, key=eval)\n",
        "assigned later": f"x = sorted({evil}, key=eval)\neval = 1\n",
        "in a loop": f"for x in [eval]:\n    x({run!r})\n",
        "comprehension": f"x = [f({run!r}) for f in [eval]]\n",
        "attribute": f"x = ().__class__.__base__.__subclasses__()\nx = {run}\n",
        "function": f"def f():\n    return {run}\nx = f()\n",
        "lambda": f"x = (lambda: {run})()\n",
        "class": f"class A:\n    x = {run}\n",
        "builtins": f"__builtins__ = {{}}\nx = {run}\n",
        "decorator": f"@print\ndef f(x={run}): pass\n",
        "f-string": f'x = f"{{{run}}}"\n',
        "annotation": f"x: {run} = 1\n",
        "base": f"_base_ = sorted({evil}, key=eval)\n",
        "walrus": f"x = [y := {run}]\n",
        "with": f"with open({str(touched)!r}, 'w'): pass\n",
        "environment": "x = {{'$NO_SUCH_VARIABLE:" + quoted.replace(" ", "") + "'}}\n",
        "substituted": "_base_ = './base.py'\nx = \"a\\{{_base_.a}} + " + run + ' #"\n',
    }


@pytest.mark.parametrize("name", sorted(attacks(Path("x"))))
@pytest.mark.parametrize("through", ["itself", "its base"])
def test_a_python_config_runs_nothing(name: str, through: str, tmp_path: Path, touched: Path) -> None:
    text = attacks(touched)[name]
    (tmp_path / "base.py").write_text("a = 1\n")
    file = tmp_path / "evil.py"
    file.write_text(text + "model = dict(type='RetinaNet')\n")
    if through == "its base":
        file = tmp_path / "above.py"
        file.write_text("_base_ = ['./evil.py']\n")
    with pytest.raises(BadInput, match="would run code") as error:
        detector_config(str(file), classes=CLASSES)
    assert "evil.py" in str(error.value)
    assert "--trust-code" in str(error.value)
    assert not touched.exists()


@pytest.mark.parametrize("name", ["import", "function", "call"])
def test_a_trusted_config_is_the_program_that_it_is(
    name: str, tmp_path: Path, touched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(attacks(touched)[name] + PLAIN)
    monkeypatch.setenv(VARIABLE, "1")
    assert detector_config(str(file), classes=CLASSES).type == "RetinaNet"
    assert touched.exists()


USUAL = {
    "values": "lr = 0.01 / 16\nstages = (1, 2)\nx = [dict(a=i, b=[*stages]) for i in range(3)]\n",
    "changes": "x = dict(a=1)\nx.update(b=2)\nx['c'] = 3\ny = [1]\ny.append(x['a'])\ny += [2]\n",
    "conditions": "big = True\nif big:\n    depth = 50\nelse:\n    depth = 18\nfor i in range(2):\n    depth += i\n",
    "texts": "name = 'r18'\nx = f'{name}-{1:03d}'\ny = '-'.join(['a', name]).upper()\nz = '%s' % name\n",
    "of its base": "x = _base_.model.backbone.depth\ny = {{_base_.model.neck}}\n",
    "its place": "x = '{{ fileDirname }}/weights.pth'\n",
}


@pytest.mark.parametrize("name", sorted(USUAL))
def test_configs_that_only_say_values_need_no_trust(name: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(PLAIN + USUAL[name])
    assert detector_config(str(file), classes=CLASSES).backbone.depth == 18


def test_the_configs_of_mmdet_only_say_values() -> None:
    import mmdet

    files = sorted((Path(mmdet.__file__).parent / ".mim" / "configs").glob("*/*.py"))
    assert len(files) > 500
    assert {file.name: code for file in files if (code := code_in(file.read_text(encoding="utf-8")))} == {}


def test_other_formats_run_nothing(tmp_path: Path, touched: Path) -> None:
    def read(name: str, text: str) -> None:
        file = tmp_path / name
        file.write_text(text)
        with pytest.raises(BadInput, match="would run code"):
            detector_config(str(file), classes=CLASSES)
        assert not touched.exists()

    read(
        "a.yaml", f"model: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{touched}]]\n"
    )
    read("b.yaml", f"model: !!python/object/new:os.system ['touch {touched}']\n")
    (tmp_path / "evil.py").write_text(f"import os\nos.system('touch {touched}')\n")
    read("c.json", json.dumps({"_base_": "./evil.py", "model": {"type": "RetinaNet"}}))
    read("d.yaml", "_base_: ./evil.py\nmodel: {type: RetinaNet}\n")


def test_modules_of_others_are_imported_where_they_are_trusted(
    tmp_path: Path, touched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil_module.py").write_text(f"open({str(touched)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "mine.py"
    file.write_text(PLAIN + "custom_imports = dict(imports=['evil_module'])\n")
    with pytest.raises(BadInput, match=r"custom_imports of 'evil_module'"):
        detector_config(str(file), classes=CLASSES)
    assert not touched.exists()
    file.write_text(PLAIN + "custom_imports = dict(imports=['mmdet.models'])\n")
    assert detector_config(str(file), classes=CLASSES).type == "RetinaNet"
    monkeypatch.setenv(VARIABLE, "1")
    file.write_text(PLAIN + "custom_imports = dict(imports=['evil_module'])\n")
    detector_config(str(file), classes=CLASSES)
    assert touched.exists()


def test_a_config_that_is_based_on_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("_base_ = ['./b.py']\n")
    (tmp_path / "b.py").write_text("_base_ = ['./a.py']\n")
    with pytest.raises(BadInput, match="leads back to itself"):
        read_source(tmp_path / "a.py")


def small() -> Any:
    return detector_config("ikd::retinanet_r18", arguments={"base_channels": 4, "neck_channels": 16}, classes=CLASSES)


def _command(touched: Path) -> dict[str, Any]:
    return {"args": ["touch", str(touched)]}


MODELS: dict[str, Callable[[Any, Path], object]] = {
    "the model": lambda model, touched: (model.clear(), model.update(type="subprocess.Popen", **_command(touched))),
    "a part": lambda model, touched: model.update(backbone={"type": "subprocess.check_call", **_command(touched)}),
    "a module below mmengine": lambda model, touched: model.backbone.update(
        norm_cfg={"type": "mmengine.utils.misc.subprocess.Popen", **_command(touched)}
    ),
    "a function of mmengine": lambda model, touched: model.update(
        neck={"type": "mmengine.load", "file": str(touched.with_suffix(".pkl"))}
    ),
    "a list": lambda model, touched: model.update(neck=[{"type": "os.system", "command": f"touch {touched}"}]),
    "a scope": lambda model, touched: model.backbone.update(_scope_="evil"),
    "suppression": lambda model, touched: model.test_cfg.nms.update(type=f"__import__('os').system('touch {touched}')"),
    "an argument": lambda model, touched: model.train_cfg.update(
        assigner={"type": "CameraMotionCompensation", "warp_mode": f"open({str(touched)!r}, 'w')"}
    ),
    "another config": lambda model, touched: model.update(
        backbone={"type": "KnowledgeDistillationSingleStageDetector", "teacher_config": str(touched.with_suffix(".py"))}
    ),
    "weights": lambda model, touched: model.backbone.update(
        init_cfg={"type": "Pretrained", "checkpoint": str(touched.with_suffix(".pkl"))}
    ),
}


class _Touch:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_model_of_plain_values_runs_nothing(
    name: str, tmp_path: Path, touched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched.with_suffix(".pkl").write_bytes(pickle.dumps(_Touch(touched)))
    torch.save({"state_dict": _Touch(touched)}, touched.with_suffix(".pkl"))
    touched.with_suffix(".py").write_text(f"open({str(touched)!r}, 'w').close()\n")
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "registry.py").write_text(f"open({str(touched)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    model = small()
    MODELS[name](model, touched)
    with pytest.raises(BadInput) as error:
        build_detector(model)
    assert "weights_only=False" not in str(error.value).replace("`", "").replace(" to ", "=")
    assert not touched.exists()
    assert error.value.exit_status == 2


def test_classes_named_in_full_are_those_of_openmmlab() -> None:
    model = small()
    model.neck.type = "mmdet.models.necks.fpn.FPN"
    model.type = "mmdet.RetinaNet"
    assert type(build_detector(model).neck).__name__ == "FPN"


def test_weights_stay_weights_where_code_is_trusted(touched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    torch.save({"state_dict": _Touch(touched)}, touched.with_suffix(".pkl"))
    model = small()
    MODELS["weights"](model, touched)
    with pytest.raises(BadInput):
        build_detector(model)
    assert not touched.exists()
