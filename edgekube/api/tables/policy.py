"""Tables of the group policy.

Enters: objects and the time.
Leaves: cells.
Next: tables.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api.objects import Object
from edgekube.api.tables.columns import AGE, NAME, Table, age, name, part, section, text, whole


def _disruption_budget(budget: Object, now: float) -> list[Any]:
    spec = section(budget, "spec")
    minimum, maximum = spec.get("minAvailable"), spec.get("maxUnavailable")
    return [
        name(budget),
        "N/A" if minimum is None else str(minimum),
        "N/A" if maximum is None else str(maximum),
        part(budget, "status", "disruptionsAllowed") or 0,
        age(budget, now),
    ]


TABLES: Final[dict[str, Table]] = {
    "PodDisruptionBudget": Table(
        (
            NAME,
            text("Min Available", "Pods that must stay."),
            text("Max Unavailable", "Pods that may be away."),
            whole("Allowed Disruptions", "Pods that may be evicted now."),
            AGE,
        ),
        _disruption_budget,
    )
}
