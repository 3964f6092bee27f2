"""The host losses: every hyperparameter with its default, its range and its meaning, declared here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, create_model

from ikd.config.recipe.instance_hosts import CrossKd, Defeat, Fgfi, Frs, Gid, Icd, Rkd, Rmpfi, Vkd
from ikd.config.recipe.loss_section import BUILDER_KEYWORDS, Term
from ikd.config.recipe.responses import RESPONSES
from ikd.config.section import LossWeight, Positive, Probability, Section, Weight
from ikd.plugins import Plugin, plugins


class Fgd(Term):
    """Focal and Global KD."""

    summed = True

    temperature: Positive = 0.5
    """Temperature of the attention maps."""
    alpha: Weight = 1e-3
    """Weight of the foreground term."""
    beta: Weight = 5e-4
    """Weight of the background term."""
    gamma: Weight = 5e-4
    """Weight of the attention term."""
    lambda_: Weight = 5e-6
    """Weight of the global (relation) term."""


class Mgd(Term):
    """Masked Generative Distillation."""

    summed = True

    alpha: Weight = 2e-5
    """Weight."""
    mask_ratio: Probability = 0.65
    """Probability of a masked position (lambda)."""


class Pkd(Term):
    """Pearson KD."""

    weight: Weight = 10.0
    """Weight."""


class Cwd(Term):
    """Channel-wise distillation."""

    tau: Positive = 1.0
    """Temperature."""
    weight: Weight = 5.0
    """Weight; 1 with normalise batch."""
    normalise: Literal["none", "batch"] = "none"
    """Compare maps as they are, or behind a batch norm without scale and shift on either side, with a 1x1 convolution
    for the student even where channels are equal: RTMDet's and YOLOX's, whatever the scale of their maps."""


class Fbkd(Term):
    """Feature-based KD (FKD in the papers' tables): attention-masked features and non-local relations."""

    temperature: Positive = 0.1
    """Temperature of the attention maps (t)."""
    w_feature: Weight = 4.2e-4
    """Weight of the feature and non-local terms (w1)."""
    w_attention: Weight = 2.4e-2
    """Weight of the attention terms (w2)."""
    channel_mask: bool = True
    """Weigh features by channel attention too (the one-stage recipe)."""


class FitNet(Term):
    """FitNet hints, in the joint form."""

    weight: Weight = 1.0
    """Weight."""


class Nad(Term):
    """Neural Attention Distillation: attention transfer."""

    beta: Weight = 1000.0
    """Weight."""
    p: Annotated[float, Field(ge=1.0)] = 2.0
    """Power of the magnitudes whose sum over channels is the attention."""


class Amd(Term):
    """Adaptive Masking Distillation (a reconstruction: the paper has no public code)."""

    reconstruction = True
    summed = True

    alpha: Weight = 2e-5
    """Weight."""
    mask_ratio: Probability = 0.65
    """Share of cells masked, those of highest teacher attention."""
    se_side: Literal["student", "both", "none"] = "student"
    """What the channel gate acts on: the restored map, it and the teacher's, or nothing."""


class Dmkd(Term):
    """Dual Masking KD (a reconstruction: the paper has no public code)."""

    reconstruction = True
    summed = True

    alpha: Weight = 2e-5
    """Weight."""
    spatial_mask_ratio: Probability = 0.65
    """Share of cells masked, those of highest teacher attention."""
    channel_mask_ratio: Probability = 0.15
    """Share of channels masked, those of highest teacher attention."""
    se: bool = True
    """Channel gate on the channel-masked branch."""


class Dfmsd(Dmkd):
    """Dual masking of DFMSD (a reconstruction: the paper has no public code)."""

    beta: Annotated[Weight | None, LossWeight()] = None
    """Weight of images that masking enhancement has altered, the others count with alpha; null is alpha, so that
    enhancement keeps the strength. See distill.me.form."""


class Sl2(Term):
    """Score-weighted L2: maps where the teacher's head is sure of something."""

    between_heads = True

    weight: Weight = 6.0
    """Weight; 0.6 to 60."""


_OWN: Mapping[str, type[Term]] = {
    "fgd": Fgd,
    "mgd": Mgd,
    "fbkd": Fbkd,
    "cwd": Cwd,
    "pkd": Pkd,
    "fitnet": FitNet,
    "amd": Amd,
    "dmkd": Dmkd,
    "dfmsd": Dfmsd,
    "crosskd": CrossKd,
    "nad": Nad,
    "sl2": Sl2,
    "fgfi": Fgfi,
    "vkd": Vkd,
    "frs": Frs,
    "defeat": Defeat,
    "rkd": Rkd,
    "rmpfi": Rmpfi,
    "gid": Gid,
    "icd": Icd,
}


_TAKEN = (
    *(*_OWN, *RESPONSES, "adversarial", "agreement", "confidence", "host", "keep_strength", "levels", "match", "me"),
    *(
        "measure_gradients",
        "none",
        "prototypes",
        "reduction",
        "rescale_from",
        "response",
        "sfa",
        "teacher_precision",
        "total",
    ),
)
"""Names that a recipe or a loss report has for something else."""


def checked_host(plugin: Plugin) -> type[Term]:
    """Return the section that another package registers.

    Raises:
        BadInput: it breaks the contract of a host; names the package.
    """
    section, name = plugin.value, plugin.name
    if not name.isidentifier() or name.startswith("_") or name in _TAKEN or hasattr(Section, name):
        plugin.refuse("must have a name of its own, of letters, digits and underscores", name)
    if not (isinstance(section, type) and issubclass(section, Term)):
        plugin.refuse("must be a class derived from ikd.config.Term", section)
    if "implementation" in section.model_fields:
        plugin.refuse("must set implementation without a type: implementation = 'module:Class'")
    if not section.implementation.partition(":")[2]:
        plugin.refuse("must say where its loss is (implementation = 'module:Class')", section.implementation)
    own = [name for name in ("between_heads", "decodes", "rises") if getattr(section, name)]
    if own or not section.reads_maps:
        plugin.refuse(f"must compare maps: {own[0] if own else 'reads_maps'} is for ikd's own")
    _check_fields(plugin, section)
    return section


def _check_fields(plugin: Plugin, section: type[Term]) -> None:
    for key, field in section.model_fields.items():
        if key in BUILDER_KEYWORDS:
            plugin.refuse(f"must not have a hyperparameter {key}: the builder gives that to a loss itself")
        if key == "enabled":
            plugin.refuse("must not have a hyperparameter enabled: distill.host is its switch")
        if field.is_required():
            plugin.refuse(f"must have a default for its hyperparameter {key}")
    try:
        section.model_validate_json(section().model_dump_json(warnings=False))
    except ValueError as error:
        plugin.refuse(f"must have defaults that it accepts itself: {' '.join(str(error).split())}")


HOSTS: Mapping[str, type[Term]] = {**_OWN, **{one.name: checked_host(one) for one in plugins("ikd.losses")}}
"""Every host loss by its name, those of other packages after ikd's own."""
FOREIGN = tuple(name for name in HOSTS if name not in _OWN)
"""Names of the losses of other packages."""


class _Choice(Section):
    host: Literal[("none", *HOSTS)] = "none"  # type: ignore[valid-type]  # made from the registry
    """The loss on clean images."""


if TYPE_CHECKING:

    class Hosts(_Choice):
        """See below; the sections are made from the registry, so a type checker does not know them."""

        def __getattr__(self, name: str) -> Any: ...

else:
    Hosts = create_model(
        "Hosts",
        __base__=_Choice,
        **{
            name: (host, Field(default=host(), description=f"Used when host is {name}."))
            for name, host in HOSTS.items()
        },
    )
