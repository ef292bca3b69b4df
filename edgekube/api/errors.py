"""Errors as Kubernetes sends them: a Status with reason, code and causes.

Enters: what went wrong, in the words of the place that found it.
Leaves: StatusError, which the server writes out and a client raises again; both sides see the same class.
Holds: reason and code always belong together (the table below; source: apimachinery, meta/v1 StatusReason).
Next: server.errors writes them; client raises them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from edgekube.api.objects import Object

#: Reasons whose Status has details even when they say nothing, as upstream's constructors leave them.
_ALWAYS_DETAILED: Final = frozenset({"Forbidden", "MethodNotAllowed", "NotFound"})

#: StatusReason -> HTTP code.
CODES: Final[dict[str, int]] = {
    "BadRequest": 400,
    "Unauthorized": 401,
    "Forbidden": 403,
    "NotFound": 404,
    "MethodNotAllowed": 405,
    "NotAcceptable": 406,
    "AlreadyExists": 409,
    "Conflict": 409,
    "Gone": 410,
    "Expired": 410,
    "RequestEntityTooLarge": 413,
    "UnsupportedMediaType": 415,
    "Invalid": 422,
    "TooManyRequests": 429,
    "InternalError": 500,
    "ServiceUnavailable": 503,
    "ServerTimeout": 500,
    "Timeout": 504,
}


class Cause(Struct, frozen=True):
    """One StatusCause. ``field`` is a path such as ``spec.containers[0].image``."""

    reason: str
    message: str
    field: str = ""

    def as_object(self) -> Object:
        cause: Object = {"message": self.message}
        if self.reason:
            cause = {"reason": self.reason, "message": self.message}
        if self.field:
            cause["field"] = self.field
        return cause


class StatusError(Exception):
    """A request failed for a reason that its sender should be told. ``status()`` is the response body."""

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        code: int = 0,
        group: str = "",
        kind: str = "",
        name: str = "",
        uid: str = "",
        causes: Iterable[Cause] = (),
        retry_after_seconds: int = 0,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.code = code or CODES.get(reason, 500)
        self.group = group
        self.kind = kind
        self.name = name
        self.uid = uid
        self.causes = tuple(causes)
        self.retry_after_seconds = retry_after_seconds
        #: Texts for Warning headers that were found before the request failed.
        self.warnings: list[str] = []

    def status(self) -> Object:
        """The metav1.Status object of this error."""
        details: Object = {}
        for key, value in (("name", self.name), ("group", self.group), ("kind", self.kind), ("uid", self.uid)):
            if value:
                details[key] = value
        if self.causes:
            details["causes"] = [cause.as_object() for cause in self.causes]
        if self.retry_after_seconds:
            details["retryAfterSeconds"] = self.retry_after_seconds
        status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if details or self.reason in _ALWAYS_DETAILED:
            status["details"] = details
        status["code"] = self.code
        return status

    @classmethod
    def from_status(cls, status: Object) -> StatusError:
        """The error that a response body describes (the client's side)."""
        details = status.get("details") or {}
        return cls(
            status.get("reason") or "Unknown",
            status.get("message") or "the server reported an error without a message",
            code=int(status.get("code") or 0),
            group=details.get("group") or "",
            kind=details.get("kind") or "",
            name=details.get("name") or "",
            uid=details.get("uid") or "",
            causes=[
                Cause(c.get("reason") or "", c.get("message") or "", c.get("field") or "") for c in details.get("causes") or []
            ],
            retry_after_seconds=int(details.get("retryAfterSeconds") or 0),
        )


def _qualified(group: str, plural: str) -> str:
    return f"{plural}.{group}" if group else plural


def not_found(group: str, plural: str, name: str) -> StatusError:
    return StatusError("NotFound", f'{_qualified(group, plural)} "{name}" not found', group=group, kind=plural, name=name)


def already_exists(group: str, plural: str, name: str) -> StatusError:
    return StatusError(
        "AlreadyExists", f'{_qualified(group, plural)} "{name}" already exists', group=group, kind=plural, name=name
    )


def conflict(group: str, plural: str, name: str, why: str = "") -> StatusError:
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {_qualified(group, plural)} "{name}": {why}'
    return StatusError("Conflict", message, group=group, kind=plural, name=name)


def forbidden(group: str, plural: str, name: str, why: str) -> StatusError:
    subject = f'{_qualified(group, plural)} "{name}"' if name else _qualified(group, plural)
    message = f"{subject} is forbidden: {why}" if subject else f"forbidden: {why}"
    return StatusError("Forbidden", message, group=group, kind=plural, name=name)


def invalid(group: str, kind: str, name: str, causes: Iterable[Cause]) -> StatusError:
    """422 with a cause per field. The message lists them as upstream's aggregate does."""
    causes = tuple(causes)
    lines = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes]
    different = list(dict.fromkeys(lines))
    text = lines[0] if len(different) == 1 else "[" + ", ".join(different) + "]"
    qualified = f"{kind}.{group}" if group else kind
    message = f'{qualified} "{name}" is invalid: {text}'
    return StatusError("Invalid", message, group=group, kind=kind, name=name, causes=causes)


def bad_request(message: str) -> StatusError:
    return StatusError("BadRequest", message)


def unauthorized(message: str = "Unauthorized") -> StatusError:
    return StatusError("Unauthorized", message)


def method_not_allowed(group: str, plural: str, verb: str) -> StatusError:
    message = f'{verb} is not supported on resources of kind "{_qualified(group, plural)}"'
    return StatusError("MethodNotAllowed", message, group=group, kind=plural)


def expired(message: str) -> StatusError:
    """410: the asked-for revision is no longer held. Clients list again."""
    return StatusError("Expired", message)


def unsupported_media_type(message: str) -> StatusError:
    return StatusError("UnsupportedMediaType", message)


def rejected() -> StatusError:
    """422 that says no more, as upstream's answer to a patch that does not apply."""
    return StatusError("Invalid", "the server rejected our request due to an error in our request")


def failed(message: str) -> StatusError:
    """500 without a reason: upstream's answer where its own code gave up with nothing but words."""
    return StatusError("", message, code=500)


def too_many_requests(message: str, retry_after_seconds: int = 1) -> StatusError:
    return StatusError("TooManyRequests", message, retry_after_seconds=retry_after_seconds)


def entity_too_large(message: str) -> StatusError:
    return StatusError("RequestEntityTooLarge", f"Request entity too large: {message}")


def unavailable(message: str, retry_after_seconds: int = 1) -> StatusError:
    return StatusError("ServiceUnavailable", message, retry_after_seconds=retry_after_seconds)


def unreachable(message: str) -> StatusError:
    """503 for what lies behind this server. Without Retry-After: clients would ask ten times before they said so."""
    return StatusError("ServiceUnavailable", message)


def internal(message: str) -> StatusError:
    return StatusError("InternalError", f"Internal error occurred: {message}", causes=[Cause("", message)])
