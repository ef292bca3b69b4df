"""Who writes and how: what travels with a request through the verbs.

Enters: the user and the query parameters of a write.
Leaves: warnings, which the server sends as Warning headers.
Holds: one context per request; nothing in it outlives the answer.
Next: registry.create, registry.update, registry.patch, registry.delete.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct, field

from edgekube.api.objects import Object
from edgekube.api.verbs import UserInfo

#: Operations that metadata.managedFields tells apart.
UPDATE: Final = "Update"
APPLY: Final = "Apply"

IGNORE: Final = "Ignore"
WARN: Final = "Warn"
STRICT: Final = "Strict"


class Context(Struct):
    """``field_validation`` is metav1's fieldValidation: Ignore, Warn or Strict."""

    user: UserInfo
    dry_run: bool = False
    field_validation: str = IGNORE
    warnings: list[str] = field(default_factory=list)
    #: Audit annotations that admission left.
    annotations: dict[str, str] = field(default_factory=dict)
    #: What the body's text said twice (api.decode.duplicate_fields).
    duplicates: list[str] = field(default_factory=list)
    #: True for callers inside the process: their objects have the right shape already.
    trusted: bool = False
    #: True for what a server makes before it takes requests (admission.request).
    foundation: bool = False
    #: Who the changes belong to: the parameter fieldManager, or the User-Agent up to its "/".
    field_manager: str = ""
    #: UPDATE for create, update and patch; APPLY for server-side apply.
    operation: str = UPDATE
    #: Take fields from their managers instead of refusing (server-side apply).
    force: bool = False
    #: Objects that a webhook put into other versions for registry.managing, as long as this write lasts.
    conversions: dict[tuple[bytes, str], Object] = field(default_factory=dict)
    #: Asked before an apply or an update makes an object: whether the user may create it. StatusError Forbidden.
    check_create: Callable[[], object] | None = None
    #: What the client said of CreateOptions, UpdateOptions: fieldManager, fieldValidation.
    options: dict[str, str] | None = None

    def may_create(self) -> None:
        """The object may have gone since the request was authorized."""
        if self.check_create is not None:
            self.check_create()

    def warn(self, message: str) -> None:
        if message not in self.warnings:
            self.warnings.append(message)


class Written(Struct, frozen=True):
    """What a write left: the object in the form of the kind that was asked for, and its JSON."""

    object: Object
    raw: bytes
    created: bool = False
