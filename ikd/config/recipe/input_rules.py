"""Rules between the fields of `input`, and between these and what reads its images."""

from __future__ import annotations

from collections.abc import Iterator

from ikd.config.document import Fault
from ikd.config.recipe.sections import RecipeSections

RANGES = ("multi_scale.ratio", "batch_scale.ratio", "mosaic.centre", "mixup.jitter")


def input_faults(recipe: RecipeSections) -> Iterator[Fault]:
    """Yield the faults between fields of `input`."""
    for name in RANGES:
        section, field = name.split(".")
        low, high = recipe.value(f"input.{name}")
        if low > high:
            yield ("input", section, field), [low, high], "must be the smallest, then the largest"
    if recipe.input.mosaic.enabled and recipe.input.mosaic.centre[1] >= 2:
        yield ("input", "mosaic", "centre"), list(recipe.input.mosaic.centre), "must be below 2, the mosaic's own size"
    yield from _scale_faults(recipe)
    yield from _pad_faults(recipe)
    yield from _mixing_faults(recipe)
    yield from _online_faults(recipe)


def _scale_faults(recipe: RecipeSections) -> Iterator[Fault]:
    section, place = recipe.input.multi_scale, ("input", "multi_scale")
    if not section.enabled:
        return
    if recipe.input.pad.enabled and not section.crop:
        rule = "must be true with input.pad, whose size a larger image would leave"
        yield (*place, "crop"), False, rule
    elif recipe.input.mosaic.enabled and not section.crop:
        yield (*place, "crop"), False, "must be true with input.mosaic, of which a window is cut in any case"
    if recipe.input.mosaic.enabled and section.scales:
        rule = "must be empty with input.mosaic, which is resized by a factor of multi_scale.ratio"
        yield (*place, "scales"), [list(one) for one in section.scales], rule


def _pad_faults(recipe: RecipeSections) -> Iterator[Fault]:
    pad, scale = recipe.input.pad, recipe.input.scale
    least = (max(scale), max(scale)) if recipe.input.keep_ratio else scale
    if pad.enabled and any(side < need for side, need in zip(pad.size, least, strict=True)):
        rule = f"must be at least {least[0]} x {least[1]}, which input.scale [{scale[0]}, {scale[1]}] can give"
        yield ("input", "pad", "size"), list(pad.size), rule


def _mixing_faults(recipe: RecipeSections) -> Iterator[Fault]:
    me, noisy = recipe.distill.me.enabled, recipe.augment.enabled and recipe.augment.noise.enabled
    for name in ("mosaic", "mixup"):
        if getattr(recipe.input, name).enabled and me:
            rule = "must be false with distill.me, whose noise and crop weigh whole images"
            yield ("input", name, "enabled"), True, rule
    if recipe.input.mixup.enabled and recipe.adversarial.enabled:
        rule = "must be false with adversarial.enabled: a mixed image holds half of each perturbation"
        yield ("input", "mixup", "enabled"), True, rule
    elif recipe.input.mixup.enabled and noisy and not me:
        rule = "must be false with augment.noise: a mixed image holds half of the noise"
        yield ("input", "mixup", "enabled"), True, rule
    if recipe.input.mosaic.enabled and recipe.augment.enabled and recipe.augment.published:
        rule = "must be false with augment.published, which crops a copy elsewhere than its image"
        yield ("input", "mosaic", "enabled"), True, rule


def _online_faults(recipe: RecipeSections) -> Iterator[Fault]:
    """Yield what cannot be done once more to copies that are crafted in the step: all but flips and crops of IKD."""
    if not (recipe.adversarial.enabled and recipe.attack.store == "online"):
        return
    for name in ("cutout", "copy_paste", "mosaic", "mixup", "pad", "multi_scale"):
        if getattr(recipe.input, name).enabled:
            rule = f"must be disk with input.{name}, which cannot be done once more to copies that are crafted later"
            yield ("attack", "store"), recipe.attack.store, rule
