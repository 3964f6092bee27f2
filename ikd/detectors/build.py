"""Building a detector, freezing one, predicting boxes alone, and the identity of its weights."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.config import ConfigDict
from torch import nn

from ikd.detectors.kinds.crowd import learn_without_crowds
from ikd.detectors.kinds.dino import read_as_published
from ikd.detectors.kinds.first import put_first
from ikd.detectors.kinds.text import NAMES, name_classes, reads_text, settle
from ikd.detectors.pretrained import refuse_unread
from ikd.detectors.semantic import learn_without_maps
from ikd.detectors.untrusted import harmless, refuse_harm
from ikd.errors import BadInput, IkdError, refuse
from ikd.ops import install
from ikd.progress import library_level

warnings.filterwarnings("ignore", "torch.meshgrid", UserWarning)  # mmdet calls it in an old way, which nobody can mend


def build_detector(model_config: Mapping[str, Any]) -> nn.Module:
    """Return the mmdet detector of a config, its weights initialised from the global torch generator.

    A module that holds the detector must not call its `init_weights` again.

    Raises:
        BadInput: mmdet refuses the config, or it would run code that nobody trusts.
    """
    refuse_harm(model_config)
    install()
    if reads_text(model_config):
        settle()
    _mend_point_assigner()
    from mmdet.registry import MODELS
    from mmengine.registry import DefaultScope

    try:
        with quiet(), harmless(), DefaultScope.overwrite_default_scope("mmdet"):
            detector = MODELS.build(ConfigDict({key: model_config[key] for key in model_config if key != NAMES}))
            with _unnoted(), contextlib.redirect_stdout(io.StringIO()):  # mmengine prints what it loads
                detector.init_weights()
        refuse_unread(detector)
    except IkdError:
        raise
    except Exception as error:  # whatever a constructor of any registered module raises at its arguments
        hint = next((hint for word, hint in BUILD_HINTS.items() if word in f"{type(error).__name__}: {error}"), "")
        raise BadInput(
            f"mmdet cannot build {model_config.get('type')}: {type(error).__name__}: {error}{hint}"
        ) from error
    _complete(detector)
    read_as_published(detector)
    if NAMES in model_config:
        name_classes(detector, model_config[NAMES])
    learn_without_maps(detector)
    learn_without_crowds(detector)
    _check_normalisation(detector, str(model_config.get("type")))
    return detector


@contextlib.contextmanager
def _unnoted() -> Iterator[None]:
    """Keep mmengine from noting, after each module of a detector, which parameters that has changed.

    It takes the means of all of them again for a line in a log that is held back: half of the time of `init_weights`.
    """
    from mmengine.model import base_module, weight_init

    noted = weight_init.update_init_info
    base_module.update_init_info = weight_init.update_init_info = lambda *_, **__: None
    try:
        yield
    finally:
        base_module.update_init_info = weight_init.update_init_info = noted


def _check_normalisation(detector: nn.Module, kind: str) -> None:
    """Refuse a preprocessor that makes every pixel NaN or infinite; mmdet takes any numbers.

    Raises:
        BadInput: a mean or standard deviation that is not finite, or a deviation that is not above 0.
    """
    for name, module in detector.named_modules():
        for field, least in (("mean", float("-inf")), ("std", 0.0)):
            value = getattr(module, field, None) if "data_preprocessor" in name else None
            if isinstance(value, torch.Tensor) and not (value.isfinite() & (value > least)).all():
                rule = "must be finite" + (" and above 0, as pixels are divided by it" if field == "std" else "")
                refuse(f"{kind}: {name}.{field}", rule, value.flatten().tolist())


BUILD_HINTS = {
    "fairscale": "; or set the override encoder.num_cp: 0, which trains the same with more memory",
    "URLError": "; its init_cfg names weights that cannot be fetched from here: set pretrained_backbone: false, or the "
    "override backbone.init_cfg.checkpoint: FILE",
}
"""Word in what a constructor raised, and the way out."""


@functools.cache
def _mend_point_assigner() -> None:
    """Let mmdet's PointAssigner (RepPoints) count its points where they lie.

    It counts them on the CPU and indexes that by a mask of the points' device, which CUDA refuses.
    """
    from mmdet.models.task_modules.assigners import PointAssigner

    plain = PointAssigner.assign

    @functools.wraps(plain)
    def assign(self: Any, pred_instances: Any, *args: Any, **kwargs: Any) -> Any:
        with pred_instances.priors.device:
            return plain(self, pred_instances, *args, **kwargs)

    PointAssigner.assign = assign


def _complete(detector: Any) -> None:
    """Give an SSD's head what its prediction asks for and its constructor forgets (mmdetection issue 11063)."""
    head: Any = getattr(detector, "bbox_head", None)
    if type(head).__name__.endswith("SSDHead") and not hasattr(head, "loss_cls"):
        head.loss_cls = None


def freeze(detector: nn.Module) -> nn.Module:
    """Make a detector a teacher for good: eval mode, no gradients, and `train()` of a parent cannot wake it.

    Returns:
        The same detector.
    """
    detector.eval()
    detector.requires_grad_(False)
    if not isinstance(detector, Frozen):
        put_first(Frozen, detector)
    return detector


class Frozen(nn.Module):
    """Stays in eval mode; a method bound to a teacher would keep it alive until reference cycles are looked for."""

    def train(self, mode: bool = True) -> Frozen:
        """Do nothing."""
        del mode
        return self


def has_masks(detector: Any) -> bool:
    """Return whether a detector learns and predicts masks, which RTMDet-Ins does by its box head."""
    return bool(getattr(detector, "with_mask", False)) or hasattr(getattr(detector, "bbox_head", None), "mask_head")


@contextlib.contextmanager
def boxes_only(detector: Any) -> Iterator[None]:
    """Let a detector with a mask head predict boxes alone; on CPU, pasting masks takes longer than all the rest."""
    head: Any = getattr(detector, "roi_head", None)
    masks = getattr(head, "mask_head", None)
    if masks is not None:
        head.mask_head = None
    try:
        yield
    finally:
        if masks is not None:
            head.mask_head = masks


@torch.no_grad()
def weights_sha256(detector: nn.Module) -> str:
    """Return the hex digest of a detector's names, shapes and values, and of how it normalises its input."""
    digest = hashlib.sha256()
    tensors = dict(detector.state_dict())
    preprocessor = detector.data_preprocessor
    for name in ("mean", "std"):  # buffers that a state dict leaves out
        if hasattr(preprocessor, name):
            tensors[f"data_preprocessor.{name}"] = getattr(preprocessor, name)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    fields = ("_channel_conversion", "pad_size_divisor", "pad_value")
    digest.update(repr([getattr(preprocessor, field, None) for field in fields]).encode())
    return digest.hexdigest()


LIBRARIES = r"(mmdet|mmcv|mmengine)\."
"""Modules that warn a person of what only their authors can mend, as their own older names."""


@contextlib.contextmanager
def quiet(warnings_of: str = LIBRARIES) -> Iterator[None]:
    """Hold back mmengine's log below errors (it notes every initialised weight), and some warnings.

    Args:
        warnings_of: pattern of the modules whose warnings are held back.
    """
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(library_level())
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=warnings_of)
            yield
    finally:
        logger.setLevel(level)
