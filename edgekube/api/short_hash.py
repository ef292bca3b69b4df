"""A short name for a template: stable over processes and versions of Python, and no word of any language.

Enters: the canonical JSON of what is to be told apart, and how often its name was taken already.
Leaves: up to ten letters and digits, fit for names and labels.
Source: k8s.io/kubernetes pkg/controller ComputeHash; apimachinery util/rand.SafeEncodeString.
Next: controllers.deployment, api.revisions.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

#: No vowels, so that no words come out.
_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"


def short_hash(value: Any, collision_count: int | None) -> str:
    """FNV-1a of the value with its keys in order, and of the count of collisions."""
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    if collision_count is not None:
        text += collision_count.to_bytes(8, "little", signed=True)
    digest = 0x811C9DC5
    for byte in text:
        digest = (digest ^ byte) * 0x01000193 & 0xFFFFFFFF
    return "".join(_ALPHABET[ord(digit) % len(_ALPHABET)] for digit in str(digest))
