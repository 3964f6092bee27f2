"""Terms between predictions that are on must teach something."""

from __future__ import annotations

import pytest

from ikd.config import load_recipe
from ikd.errors import ConfigError

IDLE = {
    "response.bckd": ("w_cls", {"w_cls": 0, "w_loc": 0}),
    "response.logits": ("w_cls", {"w_cls": 0}),
    "response.ld": ("w", {"w": 0, "w_vlr": 0}),
    "response.dense_teacher": ("w_cls", {"w_cls": 0, "w_box": 0, "w_quality": 0}),
    "response.kd_detr": ("w_cls", {"w_cls": 0, "w_l1": 0, "w_giou": 0}),
    "response.vkd": ("weight", {"weight": 0}),
    "response.crosskd": ("w_cls", {"w_cls": 0, "w_reg": 0}),
    "labels.soft": ("w_cls", {"w_cls": 0, "w_box": 0}),
}


@pytest.mark.parametrize("term", IDLE)
def test_a_term_without_any_weight_is_refused(term: str) -> None:
    first, weights = IDLE[term]
    given = {f"distill.{term}.{name}": value for name, value in weights.items()}
    on: dict[str, object] = {"distill.labels": {"enabled": True, "labelled": "fill", "form": "soft"}}
    on = on if term == "labels.soft" else {f"distill.{term}.enabled": True}
    assert load_recipe("drawn_r18", given), "off, it may say anything"
    with pytest.raises(
        ConfigError, match=rf"distill\.{term}\.{first}: must be above 0.* for the term to act, but got 0"
    ):
        load_recipe("drawn_r18", {**on, **given})
    last = f"distill.{term}.{list(weights)[-1]}"
    assert load_recipe("drawn_r18", {**on, **given, last: 0.5})
