"""Tables of the group coordination.k8s.io.

Enters: objects and the time.
Leaves: cells.
Next: tables.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api.objects import Object
from edgekube.api.tables.columns import AGE, NAME, Table, age, name, part, text


def _lease(lease: Object, now: float) -> list[Any]:
    return [name(lease), part(lease, "spec", "holderIdentity") or "", age(lease, now)]


TABLES: Final[dict[str, Table]] = {"Lease": Table((NAME, text("Holder", "Who holds the lease."), AGE), _lease)}
