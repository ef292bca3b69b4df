"""Who writes and how: what travels with a request through the verbs.

Enters: the user and the query parameters of a write.
Leaves: warnings, which the server sends as Warning headers.
Holds: one context per request; nothing in it outlives the answer.
Next: registry.create, registry.update, registry.patch, registry.delete.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from edgekube.api.objects import Object
from edgekube.api.verbs import UserInfo

IGNORE: Final = "Ignore"
WARN: Final = "Warn"
STRICT: Final = "Strict"


@dataclass(slots=True)
class Context:
    """``field_validation`` is metav1's fieldValidation: Ignore, Warn or Strict."""

    user: UserInfo
    dry_run: bool = False
    field_validation: str = IGNORE
    warnings: list[str] = field(default_factory=list)
    #: What the body's text said twice (api.decode.duplicate_fields).
    duplicates: list[str] = field(default_factory=list)
    #: True for callers inside the process: their objects have the right shape already.
    trusted: bool = False

    def warn(self, message: str) -> None:
        if message not in self.warnings:
            self.warnings.append(message)


@dataclass(frozen=True, slots=True)
class Written:
    """What a write left: the object in the form of the kind that was asked for, and its JSON."""

    object: Object
    raw: bytes
    created: bool = False
