"""Tables of the group rbac.authorization.k8s.io; roles show their name and creation time.

Enters: objects and the time.
Leaves: cells.
Next: tables.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api.objects import Object
from edgekube.api.tables.columns import AGE, NAME, Table, age, listed, name, section, text, wide


def _binding(binding: Object, now: float) -> list[Any]:
    role, subjects = section(binding, "roleRef"), listed(binding, "subjects")

    def of(kind: str) -> list[Object]:
        return [subject for subject in subjects if subject.get("kind") == kind]

    return [
        name(binding),
        f"{role.get('kind') or ''}/{role.get('name') or ''}",
        age(binding, now),
        ", ".join(user.get("name") or "" for user in of("User")),
        ", ".join(group.get("name") or "" for group in of("Group")),
        ", ".join(f"{account.get('namespace') or ''}/{account.get('name') or ''}" for account in of("ServiceAccount")),
    ]


_BINDING: Final = Table(
    (
        NAME,
        text("Role", "The role that is granted."),
        AGE,
        wide("Users", "Users that get it."),
        wide("Groups", "Groups that get it."),
        wide("ServiceAccounts", "Service accounts that get it."),
    ),
    _binding,
)

TABLES: Final[dict[str, Table]] = {"RoleBinding": _BINDING, "ClusterRoleBinding": _BINDING}
