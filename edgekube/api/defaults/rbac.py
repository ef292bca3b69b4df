"""Defaults of rbac.authorization.k8s.io.

Enters: bindings.
Leaves: the same; subjects and role references name their API group.
Source: rbac/v1 SetDefaults_*.
Next: api.defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edgekube.api.defaults.fill import Scalars, fill_empty, items, part
from edgekube.api.objects import Object

_GROUP: Final[Scalars] = {"apiGroup": "rbac.authorization.k8s.io"}


def default_binding(binding: Object) -> None:
    fill_empty(part(binding, "roleRef"), _GROUP)
    for subject in items(binding, "subjects"):
        if subject.get("kind") in ("User", "Group"):
            fill_empty(subject, _GROUP)


DEFAULTERS: Final[dict[str, Callable[[Object], None]]] = {
    "ClusterRoleBinding": default_binding,
    "RoleBinding": default_binding,
}
