"""Why an apply was refused: fields that somebody else manages, as the Status that upstream answers.

Enters: for each manager the fields that would change.
Leaves: StatusError Conflict with a cause for each field.
Holds: pure; managers are sorted, fields are in upstream's order.
Source: k8s.io/apimachinery pkg/util/managedfields/internal/conflict.go.
Next: api.managed.updater.
"""

from __future__ import annotations

from edgekube.api.errors import Cause, StatusError
from edgekube.api.managed import elements, fieldsets
from edgekube.api.managed.entries import UPDATE, Key
from edgekube.api.managed.fieldsets import FieldSet


class Conflicts(Exception):
    """``by_manager``: what each would lose."""

    def __init__(self, by_manager: dict[Key, FieldSet]) -> None:
        super().__init__()
        self.by_manager = by_manager

    def fields(self) -> FieldSet:
        found: FieldSet = {}
        for fields in self.by_manager.values():
            found = fieldsets.union(found, fields)
        return found

    def without(self, allowed: FieldSet) -> Conflicts:
        left = {key: fieldsets.difference(fields, allowed) for key, fields in self.by_manager.items()}
        return Conflicts({key: fields for key, fields in left.items() if fields})

    def status(self) -> StatusError:
        sorted_keys = sorted(self.by_manager, key=Key.text)
        shown = {key: [fieldsets.shown(path) for path in fieldsets.paths(self.by_manager[key])] for key in sorted_keys}
        found = [(_named(key), path) for key in sorted_keys for path in shown[key]]
        causes = [Cause("FieldManagerConflict", f"conflict with {name}", path) for name, path in found]
        if len(found) == 1:
            name, path = found[0]
            message = f"Apply failed with 1 conflict: conflict with {name}: {path}"
        else:
            lines: list[str] = []
            for key in sorted_keys:
                lines.append(f"conflicts with {_named(key)}:")
                lines += [f"- {path}" for path in shown[key]]
            message = f"Apply failed with {len(found)} conflicts: " + "\n".join(lines)
        return StatusError("Conflict", message, causes=causes)


def _named(key: Key) -> str:
    name = elements.quoted(key.manager)
    if key.subresource:
        name = f"{name} with subresource {elements.quoted(key.subresource)}"
    return f"{name} using {key.api_version}" if key.operation == UPDATE else name
