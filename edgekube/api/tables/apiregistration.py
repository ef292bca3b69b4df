"""Tables of the group apiregistration.k8s.io.

Enters: objects and the time.
Leaves: cells.
Next: tables.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api.objects import Object
from edgekube.api.tables.columns import AGE, NAME, Table, age, condition, name, section, text


def _api_service(api_service: Object, now: float) -> list[Any]:
    service = section(api_service, "spec", "service")
    available = condition(api_service, "Available")
    status = "Unknown"
    if available is not None:
        status = available.get("status") or ""
        if status != "True" and available.get("reason"):
            status = f"{status} ({available['reason']})"
    shown = f"{service.get('namespace') or ''}/{service.get('name') or ''}" if service else "Local"
    return [name(api_service), shown, status, age(api_service, now)]


TABLES: Final[dict[str, Table]] = {
    "APIService": Table(
        (NAME, text("Service", "Who serves the group version."), text("Available", "Whether it answers."), AGE), _api_service
    )
}
