"""The size at which a detector's own config tests it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ikd.detectors.unread import whole_config


def own_test_input(config: str | Mapping[str, Any]) -> tuple[tuple[int, int], bool] | None:
    """Return what a config's test pipeline resizes images to; None where it says nothing of that.

    Args:
        config: of a detector, as in a recipe; one of ikd's own has no pipeline.

    Returns:
        Longest and shortest side (or width and height) in pixels, and whether the aspect ratio is kept.
    """
    content = whole_config(config)
    dataset: Any = content.get("test_dataloader", {}).get("dataset", {})
    while "pipeline" not in dataset and "dataset" in dataset:
        dataset = dataset["dataset"]
    for one in _inside(dataset.get("pipeline", ())):
        scale = one.get("scale")
        if str(one.get("type", "")).endswith("Resize") and isinstance(scale, (tuple, list)) and len(scale) == 2:
            return (int(scale[0]), int(scale[1])), bool(one.get("keep_ratio", False))
    return None


def _inside(transforms: Any) -> Iterator[Mapping[str, Any]]:
    """Yield transforms and those that they hold, as test-time augmentation does."""
    for one in transforms:
        if isinstance(one, Mapping):
            yield one
            yield from _inside(one.get("transforms", ()))
        elif isinstance(one, (list, tuple)):
            yield from _inside(one)
