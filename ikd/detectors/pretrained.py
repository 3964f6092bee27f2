"""Pretrained weights named inside a config: kept when they are a local file, dropped when they need a download."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import ConfigDict
from torch import Tensor, nn

from ikd.detectors.checkpoint import read_checkpoint
from ikd.errors import BadInput, refuse


def drop_remote_weights(model: ConfigDict, *, absent: bool = False) -> None:
    """Remove every `init_cfg` (and `pretrained`) that would download, and let the backbone that lost it learn.

    A frozen stage, a norm in eval mode or without gradient is only right on top of pretrained weights: random, it would
    never learn.

    Args:
        model: changed in place.
        absent: drop files that are not there too: some configs of mmdet name one that a person is to fetch.
    """
    for node in _nodes(model):
        if isinstance(node.get("pretrained"), str) and _is_remote(node["pretrained"], absent=absent):
            node.pop("pretrained")
            _unfreeze(node)
        kept, dropped = _split(node.get("init_cfg"), absent=absent)
        if dropped:
            node.pop("init_cfg")
            if kept:
                node["init_cfg"] = kept
            _unfreeze(node)


def refuse_remote_weights(model: ConfigDict) -> None:
    """Raise when weights that need a download are still named.

    Raises:
        BadInput: an override brought them back, or the detector loads a teacher of its own.
    """
    if model.get("teacher_ckpt") or model.get("teacher_config"):
        raise BadInput(f"{model.type} is itself a distiller that loads a teacher; name the plain detector instead")
    for node in _nodes(model):
        _, dropped = _split(node.get("init_cfg"))
        if dropped:
            weights = dropped[0]["checkpoint"]
            raise BadInput(f"init_cfg {weights!r} needs a download; set pretrained_backbone: true, or name a file")


def _nodes(node: Any) -> Iterator[Any]:
    if isinstance(node, Mapping):
        yield node
        for value in list(node.values()):
            yield from _nodes(value)
    elif isinstance(node, (list, tuple)):
        for item in node:
            yield from _nodes(item)


def _split(init_cfg: Any, *, absent: bool = False) -> tuple[list[Any], list[Any]]:
    """Return the entries of an `init_cfg` to keep and those that need a download.

    Whatever names a checkpoint is loaded: PVT does so by itself, without `type: Pretrained`.
    """
    entries = init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]
    entries = [entry for entry in entries if isinstance(entry, Mapping)]
    dropped = [entry for entry in entries if "checkpoint" in entry and _is_remote(entry["checkpoint"], absent=absent)]
    return [entry for entry in entries if entry not in dropped], dropped


def _is_remote(checkpoint: str, *, absent: bool) -> bool:
    """Whether mmengine would fetch this checkpoint: anything with a scheme. A missing local file is a person's mistake.

    Raises:
        BadInput: a local file that does not exist, unless those are to be fetched too.
    """
    if "://" in checkpoint:
        return True
    if not Path(checkpoint).expanduser().is_file():
        if absent:
            return True
        raise BadInput(f"init_cfg names pretrained weights {checkpoint!r}, but there is no such file")
    return False


NOTHING_FROZEN = {"EfficientNet": 0}
"""What `frozen_stages` is where nothing is frozen, by the backbone's type; -1 for all others."""


def _unfreeze(node: Any) -> None:
    if "frozen_stages" in node:
        node["frozen_stages"] = NOTHING_FROZEN.get(node.get("type"), -1)
    if "norm_eval" in node:
        node["norm_eval"] = False
    if isinstance(node.get("norm_cfg"), Mapping) and "requires_grad" in node["norm_cfg"]:
        node["norm_cfg"]["requires_grad"] = True


def refuse_unread(detector: nn.Module) -> None:
    """Refuse a file of pretrained weights of which nothing has reached its module: mmengine takes what fits.

    Args:
        detector: built, its weights initialised.

    Raises:
        BadInput: names the module and the file.
    """
    for name, module in detector.named_modules():
        entries: Any = getattr(module, "init_cfg", None)
        for entry in entries if isinstance(entries, (list, tuple)) else [entries]:
            if not isinstance(entry, Mapping) or "://" in (file := entry.get("checkpoint", "://")):
                continue
            held = read_checkpoint(file).state_dict
            if not _reached(module, held):
                key = next(iter(held))
                prefix = entry.get("prefix") or ""
                rule = f"must hold weights of this {type(module).__name__}, and none of its {len(held)} is one"
                hint = f"the first is called {key}" + (
                    "" if prefix else "; `prefix: backbone.` takes a part of a detector"
                )
                refuse(f"{name or 'model'}.init_cfg", rule, file, hint)


def _reached(module: nn.Module, held: Mapping[str, Tensor]) -> bool:
    """Tell whether any weight of a module is one of a file's; by value, as backbones translate names."""
    by_shape: dict[tuple[int, ...], list[Tensor]] = {}
    for value in held.values():
        by_shape.setdefault(tuple(value.shape), []).append(value)
    return any(
        torch.equal(own.detach().cpu(), value.to(own.dtype))
        for own in module.parameters()
        if own.ndim > 1
        for value in by_shape.get(tuple(own.shape), ())
    )


def without_pretrained(node: Any) -> Any:
    """Return a copy of a model config that names no pretrained weights: the checkpoint holds them all."""
    if isinstance(node, Mapping):
        kept = {key: without_pretrained(value) for key, value in node.items() if not _pretrained(key, value)}
        if isinstance(node.get("init_cfg"), (list, tuple)) and "init_cfg" in kept:
            kept["init_cfg"] = [entry for entry in kept["init_cfg"] if not _pretrained("init_cfg", entry)]
        return kept
    if isinstance(node, (list, tuple)):
        return type(node)(without_pretrained(item) for item in node)
    return node


def _pretrained(key: str, value: Any) -> bool:
    if key == "pretrained":
        return isinstance(value, str)
    return key == "init_cfg" and isinstance(value, Mapping) and "checkpoint" in value
