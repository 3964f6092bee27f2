"""Taking secrets out of texts: passwords of addresses, keys, and what the environment holds of both.

Whatever ikd writes for people or other programs goes through here: messages of errors, logs, MLflow, cards.
"""

from __future__ import annotations

import os
import re

HIDDEN = "***"
SHORTEST = 8
"""Characters of a variable's value that is looked for in texts: shorter ones are words."""
_VARIABLES = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIAL|(API|ACCESS|PRIVATE|SIGNING)_?KEY", re.IGNORECASE)
_NAMES = (
    r"[\w.-]*(?:password|passwd|pwd|secret|token|signature|credential|access_?key|api_?key|accesskeyid|\bsig\b)[\w.-]*"
)
_PATTERNS = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        # user:password@, whatever the password holds; `host:5000/` begins no password
        (r"(\w://[^\s/:@\"'<>]*):(?!\d+[/?#])[^\s\"'<>]*@", rf"\1:{HIDDEN}@"),
        (r"(\bhttps?://)[^\s/:@\"'<>]{16,}@", rf"\1{HIDDEN}@"),  # a token in the place of a user
        (rf"([?&;]{_NAMES}=)[^&;\s\"'<>]+", rf"\1{HIDDEN}"),
        (r"(\b(?:password|passwd|secret_?(?:access_)?key|(?:access|auth)_?token)=['\"]?)[^\s'\"&;,)]+", rf"\1{HIDDEN}"),
        (r"(\b(?:bearer|basic)\s+)[\w+/=.~-]{8,}", rf"\1{HIDDEN}"),
    )
)


def masked(text: str) -> str:
    """Return a text without its secrets; one that has none as it is."""
    for name, value in os.environ.items():
        if len(value) >= SHORTEST and value in text and _VARIABLES.search(name) and not os.path.isabs(value):
            text = text.replace(value, HIDDEN)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def has_secret(text: str) -> bool:
    """Tell whether a text holds what only its owner may read."""
    return masked(text) != text
