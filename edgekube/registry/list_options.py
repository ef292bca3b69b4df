"""Which combinations of a list's and a watch's options mean something.

Enters: resourceVersion, resourceVersionMatch, continue and sendInitialEvents, as a client sent them.
Leaves: nothing; StatusError Invalid that names all that is wrong.
Holds: pure; the causes are upstream's, in its order.
Source: k8s.io/apimachinery pkg/apis/meta/internalversion/validation; kubernetes.io, "API concepts" (resource versions).
Next: registry.list, registry.watch, server.parameters.
"""

from __future__ import annotations

from typing import Final

from edgekube.api import errors
from edgekube.api.errors import Cause

EXACT: Final = "Exact"
NOT_OLDER_THAN: Final = "NotOlderThan"

_MATCH: Final = "resourceVersionMatch"
_INITIAL: Final = "sendInitialEvents"


def check_list(revision: str, match: str, continue_token: str, *, send_initial_events: bool = False) -> None:
    """``send_initial_events``: whether the option was given at all."""
    causes: list[Cause] = []
    if match:
        if not revision:
            causes.append(_forbidden(_MATCH, "resourceVersionMatch is forbidden unless resourceVersion is provided"))
        if continue_token:
            causes.append(_forbidden(_MATCH, "resourceVersionMatch is forbidden when continue is provided"))
        if match not in (EXACT, NOT_OLDER_THAN):
            causes.append(_unsupported(match, '"Exact", "NotOlderThan", ""'))
        if match == EXACT and revision == "0":
            causes.append(_forbidden(_MATCH, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    if send_initial_events:
        causes.append(_forbidden(_INITIAL, "sendInitialEvents is forbidden for list"))
    _raise(causes)


def check_watch(match: str, continue_token: str, *, send_initial_events: bool | None) -> None:
    causes: list[Cause] = []
    if send_initial_events is not None and match != NOT_OLDER_THAN:
        causes.append(_forbidden(_MATCH, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"))
    if match:
        if send_initial_events is None:
            causes.append(_forbidden(_MATCH, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"))
        if match != NOT_OLDER_THAN:
            causes.append(_unsupported(match, '"NotOlderThan"'))
        if continue_token:
            causes.append(_forbidden(_MATCH, "resourceVersionMatch is forbidden when continue is provided"))
    _raise(causes)


def parse_revision(text: str) -> int:
    """A resourceVersion that a client sent. "" and "0" are 0. StatusError BadRequest."""
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        why = f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise errors.bad_request(f"invalid resource version: resourceVersion: {why}")
    return int(text)


def _forbidden(field: str, why: str) -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden: {why}", field)


def _unsupported(match: str, supported: str) -> Cause:
    return Cause("FieldValueNotSupported", f'Unsupported value: "{match}": supported values: {supported}', _MATCH)


def _raise(causes: list[Cause]) -> None:
    if causes:
        raise errors.invalid("meta.k8s.io", "ListOptions", "", causes)
