"""Tables of the group flowcontrol.apiserver.k8s.io.

Enters: objects and the time.
Leaves: cells.
Next: tables.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api.objects import Object
from edgekube.api.tables.columns import AGE, NAME, Table, age, condition, name, part, section, text


def _flow_schema(schema: Object, now: float) -> list[Any]:
    spec = section(schema, "spec")
    dangling = condition(schema, "Dangling")
    return [
        name(schema),
        part(spec, "priorityLevelConfiguration", "name") or "",
        spec.get("matchingPrecedence") or 0,
        part(spec, "distinguisherMethod", "type") or "<none>",
        age(schema, now),
        "?" if dangling is None else dangling.get("status") or "",
    ]


def _priority_level(level: Object, now: float) -> list[Any]:
    limited = part(level, "spec", "limited")
    queuing = part(limited or {}, "limitResponse", "queuing")
    queues: list[Any] = ["<none>"] * 3
    if queuing is not None:
        queues = [queuing.get(key) or 0 for key in ("queues", "handSize", "queueLengthLimit")]
    shares = "<none>" if limited is None else limited.get("nominalConcurrencyShares") or 0
    return [name(level), part(level, "spec", "type") or "", shares, *queues, age(level, now)]


TABLES: Final[dict[str, Table]] = {
    "FlowSchema": Table(
        (
            NAME,
            text("PriorityLevel", "The priority level that requests get."),
            text("MatchingPrecedence", "Order in which schemas are tried."),
            text("DistinguisherMethod", "How flows are told apart."),
            AGE,
            text("MissingPL", "Whether the priority level is missing."),
        ),
        _flow_schema,
    ),
    "PriorityLevelConfiguration": Table(
        (
            NAME,
            text("Type", "Exempt or Limited."),
            text("NominalConcurrencyShares", "Its share of the server."),
            text("Queues", "Number of queues."),
            text("HandSize", "Queues that one flow may use."),
            text("QueueLengthLimit", "Requests that one queue holds."),
            AGE,
        ),
        _priority_level,
    ),
}
