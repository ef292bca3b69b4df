"""Setting what is not set: the two ways in which Kubernetes says "unset".

Enters: an object (or a part of one) and a table of keys and values.
Leaves: the same object, filled in place.
Holds: a value that is there stays. A pointer field is unset when missing or null; a plain field also when it is zero or empty.
Next: every file of this package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from edgekube.api.objects import Object

#: Field -> default. The values are scalars only: they are shared between objects.
Scalars: TypeAlias = Mapping[str, str | int | bool]


def fill_missing(obj: Object, defaults: Scalars) -> None:
    """For pointer fields: an explicit zero, false or empty string is a choice and stays."""
    for key, value in defaults.items():
        if obj.get(key) is None:
            obj[key] = value


def fill_empty(obj: Object, defaults: Scalars) -> None:
    """For plain fields: zero and the empty string read as unset."""
    for key, value in defaults.items():
        if not obj.get(key):
            obj[key] = value


def part(obj: Object, key: str) -> Object:
    """The object under ``key``, added when it is missing: structs that Kubernetes always has and always writes."""
    value = obj.get(key)
    if not isinstance(value, dict):
        value = obj[key] = {}
    return value


def items(obj: Object, key: str) -> Sequence[Object]:
    """The objects of a list field; nothing when it is missing."""
    return obj.get(key) or ()
