"""Tables of events, in the core group and in events.k8s.io: the same objects under two names.

Enters: objects and the time.
Leaves: cells.
Next: tables, tables.core.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api import times
from edgekube.api.objects import Object
from edgekube.api.tables.columns import Table, name, part, section, text, wide


def _either(event: Object, *keys: str) -> Any:
    """The first of the fields that is set: the two groups name them differently."""
    return next((event[key] for key in keys if event.get(key)), None)


def _cells(event: Object, now: float) -> list[Any]:
    first = _either(event, "firstTimestamp", "deprecatedFirstTimestamp", "eventTime")
    last = _either(event, "lastTimestamp", "deprecatedLastTimestamp") or first
    count = _either(event, "count", "deprecatedCount") or 1
    series = event.get("series")
    if series:
        last, count = series.get("lastObservedTime"), series.get("count") or 0
    about = _either(event, "involvedObject", "regarding") or {}
    kind = str(about.get("kind") or "").lower()
    source = section(event, "source") or section(event, "deprecatedSource")
    component = source.get("component") or _either(event, "reportingComponent", "reportingController") or ""
    instance = source.get("host") or event.get("reportingInstance") or ""
    return [
        times.age_since(last, now),
        event.get("type") or "",
        event.get("reason") or "",
        f"{kind}/{about['name']}" if about.get("name") else kind,
        part(about, "fieldPath") or "",
        f"{component}, {instance}" if instance else component,
        str(_either(event, "message", "note") or "").strip(),
        times.age_since(first, now),
        count,
        name(event),
    ]


EVENT: Final = Table(
    (
        text("Last Seen", "Time since it was last seen."),
        text("Type", "Normal or Warning."),
        text("Reason", "Why it was reported, in one word."),
        text("Object", "What it is about."),
        wide("Subobject", "The part of the object that it is about."),
        wide("Source", "Who reported it, and from where."),
        text("Message", "What happened."),
        wide("First Seen", "Time since it was first seen."),
        wide("Count", "How often it was seen."),
        wide("Name", "Name of the event.", format="name"),
    ),
    _cells,
)

TABLES: Final[dict[str, Table]] = {"Event": EVENT}
