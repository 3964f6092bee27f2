"""What is known of detectors by name: where a neck is tapped, which heads are special, and the small ones of the zoo.

ikd's own stand in `_OWN`; other packages register theirs as entry points of the group `ikd.detectors`.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.config import ConfigDict
from pydantic import validate_call
from torch import nn

from ikd.detectors.build import build_detector
from ikd.detectors.pretrained import drop_remote_weights
from ikd.detectors.zoo import ZOO
from ikd.errors import BadInput
from ikd.ops import install
from ikd.plugins import Plugin, plugins


@dataclass(frozen=True)
class Neck:
    """A neck whose output l comes from one convolution; a subclass that adds a path after them is another neck.

    Attributes:
        name: of its class.
        convolutions: their names below the neck, with `*` for the level; several where levels lie in several lists, or
            are made in several ways.
    """

    name: str
    convolutions: str | tuple[str, ...] = "fpn_convs.*.conv"


@dataclass(frozen=True)
class Head:
    """A dense head that is not as most are.

    Attributes:
        name: of its class.
        tensors_by_level: its forward gives lists of tensors, one a level, as ONNX needs.
        reads_border: it takes off its boxes what mmdet's `RandomCenterCropPad` has put around the image.
    """

    name: str
    tensors_by_level: bool = True
    reads_border: bool = False


@dataclass(frozen=True)
class Family:
    """What one package says of its detectors; everything may be left out.

    An entry point of the group `ikd.detectors` refers to one. It is loaded when detectors are first asked for, after
    mmdet, so its module may import mmdet and register classes there.

    Attributes:
        necks: those that can be tapped.
        heads: those that are special.
        zoo: by name, functions of keywords with defaults that return the mmdet model config of `ikd::NAME`.
    """

    necks: tuple[Neck, ...] = ()
    heads: tuple[Head, ...] = ()
    zoo: Mapping[str, Callable[..., Mapping[str, Any]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Known:
    """All rows by name, those of other packages after ikd's own.

    Attributes:
        necks: by class name.
        heads: by class name.
        zoo: by the name after `ikd::`.
        owners: who registered a neck of another package, by class name.
    """

    necks: dict[str, Neck] = field(default_factory=dict)
    heads: dict[str, Head] = field(default_factory=dict)
    zoo: dict[str, Callable[..., Mapping[str, Any]]] = field(default_factory=dict)
    owners: dict[str, Plugin] = field(default_factory=dict)

    def add(self, family: Family) -> None:
        """Add the rows of a family."""
        self.necks.update({row.name: row for row in family.necks})
        self.heads.update({row.name: row for row in family.heads})
        self.zoo.update(family.zoo)

    def register(self, plugin: Plugin) -> None:
        """Add the family of another package.

        Raises:
            BadInput: it breaks the contract; names the package.
        """
        family = _checked_rows(plugin, self)
        self.add(family)
        self.owners.update(dict.fromkeys((row.name for row in family.necks), plugin))
        for name, function in family.zoo.items():
            detector = _built(plugin, name, function)
            neck = getattr(detector, "neck", None)
            if neck is not None and type(neck).__name__ in self.necks:
                self.convolutions(neck)

    def convolutions(self, neck: nn.Module) -> list[str]:
        """Return the names below a neck that has a row of its convolutions, finest level first.

        Returns:
            An empty list where an output has none.

        Raises:
            BadInput: it has none, and its row is another package's; names the package.
        """
        row = self.necks[type(neck).__name__]
        modules = dict(neck.named_modules())
        found: dict[str, str] = {}
        for pattern in [row.convolutions] if isinstance(row.convolutions, str) else row.convolutions:
            levels, _, inside = pattern.partition(".*")
            for level, _ in modules[levels].named_children() if levels in modules else ():
                place, name = f"{levels}.{level}", f"{levels}.{level}{inside}"
                if not found.get(place):
                    found[place] = name if hasattr(modules.get(name), "out_channels") else ""
        if found and all(found.values()):
            return list(found.values())
        if row.name in self.owners:
            self.owners[row.name].refuse(f"neck {row.name} must have a convolution at every level", row.convolutions)
        return []


_SEPARABLE = ("out_convs.*.conv", "out_convs.*.pointwise_conv.conv")  # the second with use_depthwise
_OWN = Family(
    necks=(
        *(Neck(name) for name in ("FPN", "FPN_CARAFE", "FPN_DropBlock", "HRFPN")),
        *(Neck(name, _SEPARABLE) for name in ("CSPNeXtPAFPN", "YOLOXPAFPN")),
        Neck("ChannelMapper", ("convs.*.conv", "extra_convs.*.conv")),
    ),
    heads=(
        Head("SABLRetinaHead", tensors_by_level=False),  # pairs of tensors for the boxes
        *(Head(name, reads_border=True) for name in ("CenterNetHead", "CornerHead", "CentripetalHead")),
    ),
    zoo=ZOO,
)


@functools.cache
def known() -> Known:
    """Return everything that is registered; loaded with the first call.

    Raises:
        BadInput: another package breaks the contract; names it.
    """
    install()  # before the others' modules, which import mmdet
    found = Known()
    found.add(_OWN)
    for plugin in plugins("ikd.detectors"):
        found.register(plugin)
    return found


def head_row(head: object) -> Head:
    """Return what is special about a head, given itself or the name of its class; nothing where it has no row."""
    name = head if isinstance(head, str) else type(head).__name__
    return known().heads.get(name, Head(name))


def _checked_rows(plugin: Plugin, taken: Known) -> Family:
    family = plugin.value
    if not isinstance(family, Family):
        plugin.refuse("must be an ikd.detectors.Family", family)
    for name, kind in (("necks", Neck), ("heads", Head)):
        rows = getattr(family, name)
        if not (isinstance(rows, tuple) and all(isinstance(row, kind) for row in rows)):
            plugin.refuse(f"{name} must be a tuple of ikd.detectors.{kind.__name__}", rows)
    if not (isinstance(family.zoo, Mapping) and all(callable(function) for function in family.zoo.values())):
        plugin.refuse("zoo must be a mapping of functions", family.zoo)
    necks, heads = ([row.name for row in rows] for rows in (family.necks, family.heads))
    for kind_of, names, others in (
        ("neck", necks, taken.necks),
        ("head", heads, taken.heads),
        ("detector", list(family.zoo), taken.zoo),
    ):
        for name in names:
            if not (isinstance(name, str) and name.isidentifier()) or name in others or names.count(name) > 1:
                plugin.refuse(f"must give its {kind_of} a name that is not taken, of letters, digits and _", name)
    return family


def _built(plugin: Plugin, name: str, function: Callable[..., Any]) -> nn.Module:
    """Build a detector of another package from its defaults, on the generators of nobody."""
    try:
        config = validate_call(config=ConfigDict(strict=True))(function)()
    except Exception as error:  # somebody else's function may fail in any way
        plugin.refuse(f"detector {name} must have a config by its defaults: {type(error).__name__}: {error}")
    if not isinstance(config, Mapping):
        plugin.refuse(f"detector {name} must return a mapping, its mmdet model config", config)
    try:
        model = ConfigDict(copy.deepcopy(dict(config)))
        drop_remote_weights(model)
        with torch.random.fork_rng(devices=[]):
            return build_detector(model)
    except BadInput as error:
        plugin.refuse(f"detector {name} must be one that mmdet can build: {error}")
