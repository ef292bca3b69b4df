"""What a table is made of: columns, and the cells that most kinds share.

Enters: objects and the time.
Leaves: columns and cell values.
Holds: a missing field reads as its zero value; no cell function raises on an object that passed api.strict.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables.
Next: one module per API group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from msgspec import Struct

from edgekube.api import times
from edgekube.api.objects import Object, metadata_of
from edgekube.api.selectors.labels import label_selector_of


class Column(Struct, frozen=True):
    """One TableColumnDefinition. ``priority`` 1 is shown by ``-o wide`` only."""

    name: str
    type: str = "string"
    description: str = ""
    format: str = ""
    priority: int = 0

    def as_object(self) -> Object:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        }


#: Cells of one object at a time (seconds since the epoch), as many as there are columns.
Cells: TypeAlias = Callable[[Object, float], list[Any]]


class Table(Struct, frozen=True):
    columns: tuple[Column, ...]
    cells: Cells


NAME: Final = Column("Name", "string", "Name of the object, unique in its namespace.", format="name")
AGE: Final = Column("Age", "string", "Time since the object was created.")
CREATED_AT: Final = Column("Created At", "date", "When the object was created.")
CONTAINERS: Final = Column("Containers", "string", "Names of the containers in the template.", priority=1)
IMAGES: Final = Column("Images", "string", "Images of the containers in the template.", priority=1)
SELECTOR: Final = Column("Selector", "string", "Labels that select the pods.", priority=1)


def wide(name: str, description: str, type: str = "string", format: str = "") -> Column:
    return Column(name, type, description, format, priority=1)


def whole(name: str, description: str) -> Column:
    return Column(name, "integer", description)


def flag(name: str, description: str) -> Column:
    return Column(name, "boolean", description)


def text(name: str, description: str) -> Column:
    return Column(name, "string", description)


# --- cells ---------------------------------------------------------------------------------------------------------------


def part(obj: Mapping[str, Any], *path: str) -> Any:
    """The value at a path, None when a step is missing."""
    value: Any = obj
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
        if value is None:
            return None
    return value


def section(obj: Mapping[str, Any], *path: str) -> Object:
    """The object at a path, empty when a step is missing."""
    value = part(obj, *path)
    return value if isinstance(value, dict) else {}


def listed(obj: Mapping[str, Any], *path: str) -> list[Any]:
    value = part(obj, *path)
    return value if isinstance(value, list) else []


def name(obj: Object) -> str:
    return metadata_of(obj).get("name") or ""


def age(obj: Object, now: float) -> str:
    return times.age_since(metadata_of(obj).get("creationTimestamp"), now)


def joined(values: Sequence[str], none: str = "<none>") -> str:
    return ",".join(values) or none


def first_few(values: Sequence[str], most: int = 3) -> str:
    """``a,b,c + 2 more...``"""
    shown = ",".join(values[:most])
    return f"{shown} + {len(values) - most} more..." if len(values) > most else shown


def labels(pairs: Mapping[str, str] | None) -> str:
    """``a=b,c=d``, or ``<none>``."""
    return joined([f"{key}={value}" for key, value in sorted((pairs or {}).items())])


def label_selector(selector: Object | None) -> str:
    """A metav1.LabelSelector as one line."""
    try:
        return str(label_selector_of(selector)) or "<none>"
    except ValueError:
        return "<error>"


def containers(template: Object) -> tuple[str, str]:
    """Names and images of a pod template's containers."""
    held = listed(template, "spec", "containers")
    return ",".join(c.get("name") or "" for c in held), ",".join(c.get("image") or "" for c in held)


def condition(obj: Object, type: str) -> Object | None:
    return next((held for held in listed(obj, "status", "conditions") if held.get("type") == type), None)


def truth(value: bool | None, unset: str = "<unset>") -> str:
    return unset if value is None else ("True" if value else "False")
