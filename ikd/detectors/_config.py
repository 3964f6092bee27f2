"""From a detector's name, file or inline dict to a plain mmdet model config."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from ikd.detectors._classes import set_classes
from ikd.detectors._names import nearest
from ikd.detectors._overrides import apply_overrides
from ikd.detectors._pretrained import drop_remote_weights, refuse_remote_weights
from ikd.detectors._zoo_arguments import PREFIX, zoo_config
from ikd.errors import BadInput

MMDET_PREFIX = "mmdet::"


def detector_config(
    config: str | Mapping[str, Any],
    *,
    arguments: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    classes: Sequence[str],
    pretrained_backbone: bool = False,
) -> ConfigDict:
    """Return the plain mmdet model config of a detector.

    Nothing is ever downloaded unless asked for: an `init_cfg` that points at `torchvision://`, `open-mmlab://` or a
    URL is dropped, and with it what only makes sense on top of pretrained weights: a backbone that lost them gets
    `frozen_stages=-1`, `norm_eval=False` and trainable norms. Weights in a local file are kept.

    Args:
        config: `mmdet::FOLDER/NAME.py` (shipped with mmdet), `ikd::NAME` (shipped with ikd), the path of a mmengine
            config file with a `model`, or the model itself.
        arguments: keyword arguments of an `ikd::` detector.
        overrides: dotted key into the model -> new value; list items by index
            (`roi_head.bbox_head.0.fc_out_channels`). A dict given as value replaces what was there.
        classes: class names of the data set; their number goes into every head.
        pretrained_backbone: keep `init_cfg` weights that need a download.

    Raises:
        BadInput: unknown name, argument or key, unreadable file, or a model in which no head has classes.
    """
    if isinstance(config, str) and config.startswith(PREFIX):
        model = ConfigDict(zoo_config(config, arguments or {}))
    elif arguments:
        raise BadInput(f"only {PREFIX} detectors take arguments, got {dict(arguments)} for {config!r}; use overrides")
    elif isinstance(config, Mapping):
        model = _model_of(copy.deepcopy(dict(config)), "the inline detector")
    else:
        model = _read(config)
    if not pretrained_backbone:
        drop_remote_weights(model)
    apply_overrides(model, overrides or {}, classes)
    if not pretrained_backbone:
        refuse_remote_weights(model)
    set_classes(model, len(classes))
    return model


def _read(config: str) -> ConfigDict:
    path = _shipped(config) if config.startswith(MMDET_PREFIX) else Path(config).expanduser()
    if not path.is_file():
        raise BadInput(
            f"no detector config at {config!r}; give {MMDET_PREFIX}FOLDER/NAME.py, {PREFIX}NAME, or the path of a file"
        )
    try:
        content = Config.fromfile(path, lazy_import=False if path.suffix == ".py" else None)
    except Exception as error:  # a config file is a program: it can fail in any way
        raise BadInput(f"cannot read detector config {config!r}: {type(error).__name__}: {error}") from error
    return _model_of(content._cfg_dict, repr(config))


def _model_of(content: Mapping[str, Any], name: str) -> ConfigDict:
    model = content.get("model", content)
    if not isinstance(model, Mapping) or "type" not in model:
        raise BadInput(f"{name} must be a model with a type, or hold one as `model`; got keys {sorted(content)}")
    return ConfigDict(model)


def _shipped(name: str) -> Path:
    """Return the file of a config that mmdet ships, without importing mmdet."""
    spec = importlib.util.find_spec("mmdet")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    root = Path(spec.submodule_search_locations[0]) / ".mim" / "configs"
    path = root / name.removeprefix(MMDET_PREFIX)
    if path.is_file() and path.resolve().is_relative_to(root.resolve()):
        return path
    known = [MMDET_PREFIX + str(file.relative_to(root)) for file in root.glob("*/*.py")]
    raise BadInput(f"mmdet ships no config called {name!r}{nearest(name, known)}")
