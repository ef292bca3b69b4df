"""Tables of the group scheduling.k8s.io.

Enters: objects and the time.
Leaves: cells.
Next: tables.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api.objects import Object
from edgekube.api.tables.columns import AGE, NAME, Table, age, flag, name, text, whole


def _priority_class(priority: Object, now: float) -> list[Any]:
    return [
        name(priority),
        priority.get("value") or 0,
        bool(priority.get("globalDefault")),
        age(priority, now),
        priority.get("preemptionPolicy") or "",
    ]


TABLES: Final[dict[str, Table]] = {
    "PriorityClass": Table(
        (
            NAME,
            whole("Value", "The priority."),
            flag("Global-Default", "Whether pods without a class get this one."),
            AGE,
            text("PreemptionPolicy", "Whether pods of lower priority may be evicted for it."),
        ),
        _priority_class,
    )
}
