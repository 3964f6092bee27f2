"""What of an attack is refused when a recipe is read: not hours later, when its teacher has been trained."""

from __future__ import annotations

from typing import Any

import pytest

from ikd.config import load_recipe
from ikd.errors import ConfigError

ONLINE = {"attack.store": "online"}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({**ONLINE, "input.cutout.enabled": True}, "attack.store: must be disk with input.cutout, which"),
        ({**ONLINE, "input.copy_paste.enabled": True}, "attack.store: must be disk with input.copy_paste, which"),
        ({"attack.eps": 0.5, "attack.step": 0.5}, "attack.eps: must be 0, or at least 1 grey level"),
        ({"attack.eps": 300.0}, "attack.eps: must be 0, or at least 1 grey level and at most 127"),
        ({"attack.published": True, "attack.loss": "cls+reg"}, "attack.loss: must be cls with attack.published"),
    ],
)
def test_an_attack_that_cannot_be_made_is_refused_where_it_would_act(values: dict[str, Any], says: str) -> None:
    recipe = load_recipe("drawn_r18")
    with pytest.raises(ConfigError) as caught:
        recipe.with_values(values)
    assert says in str(caught.value)
    idle = recipe.with_values({**values, "adversarial.enabled": False})
    assert idle.fingerprint() != recipe.fingerprint()
    staged = {"teachers.sequence": [{"teacher": "r18x16", "set": {"adversarial.enabled": True}}]}
    with pytest.raises(ConfigError, match=rf"teachers\.sequence: {says.split(':')[0]}"):
        idle.with_values(staged)
