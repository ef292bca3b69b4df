"""How OpenAPI's ids and tags name a group and its versions.

Enters: a group, a version.
Leaves: ``AppsV1``, ``apps_v1``.
Holds: pure; the names are those that clients were generated with.
Next: api.openapi.operations, api.openapi.discovery.
"""

from __future__ import annotations


def _labels(group: str) -> list[str]:
    """Words of the group's name: rbac and authorization of rbac.authorization.k8s.io."""
    named = (group or "core").removesuffix(".k8s.io")
    return [word for word in named.replace("-", ".").split(".") if word]


def _capital(word: str) -> str:
    return word[:1].upper() + word[1:]


def word(group: str, version: str = "") -> str:
    """``AppsV1``, ``CoreV1``; ``Apps`` without a version."""
    return "".join(map(_capital, [*_labels(group), version]))


def tag(group: str, version: str = "") -> str:
    """``apps_v1``; ``apps`` without a version."""
    first, *others = _labels(group)
    named = "".join([first, *map(_capital, others)])
    return f"{named}_{version}" if version else named
