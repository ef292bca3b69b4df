"""The order of versions: v2 before v1 before v1beta2 before v1alpha1 before anything else.

Enters: names of versions.
Leaves: a key to sort by, most preferred first.
Holds: names that follow the pattern come before those that do not, which are sorted as text.
Source: kubernetes.io, "Versions in CustomResourceDefinitions" (version priority).
Next: api.custom.definition.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

Priority: TypeAlias = tuple[int, int, int, int, str]

_PATTERN: Final = re.compile(r"v([1-9]\d{0,8})(?:(alpha|beta)([1-9]\d{0,8}))?", re.ASCII)
_STAGES: Final = {None: 0, "beta": 1, "alpha": 2}


def priority(version: str) -> Priority:
    match = _PATTERN.fullmatch(version)
    if match is None:
        return (1, 0, 0, 0, version)
    major, stage, minor = match.groups()
    return (0, _STAGES[stage], -int(major), -int(minor or 0), version)
