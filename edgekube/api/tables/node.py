"""Tables of the group node.k8s.io.

Enters: objects and the time.
Leaves: cells.
Next: tables.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api.objects import Object
from edgekube.api.tables.columns import AGE, NAME, Table, age, name, text


def _runtime_class(runtime_class: Object, now: float) -> list[Any]:
    return [name(runtime_class), runtime_class.get("handler") or "", age(runtime_class, now)]


TABLES: Final[dict[str, Table]] = {
    "RuntimeClass": Table((NAME, text("Handler", "Name of the runtime in the node's configuration."), AGE), _runtime_class)
}
