"""Query parameters as options: list, watch, write and delete.

Enters: a Route.
Leaves: options for the verbs; StatusError BadRequest or Invalid for values that mean nothing.
Holds: pure (source: metav1 ListOptions, DeleteOptions, CreateOptions; kubernetes.io, "API concepts").
Next: server.resources.
"""

from __future__ import annotations

import random
import re
from typing import Final

import orjson

from edgekube import limits
from edgekube.api import errors
from edgekube.api.errors import Cause
from edgekube.api.objects import Object
from edgekube.api.verbs import DeleteOptions, ListOptions
from edgekube.registry.context import IGNORE, STRICT, WARN
from edgekube.registry.local import delete_options_of
from edgekube.registry.watch import WatchOptions
from edgekube.server.routes import Route

_DIGITS: Final = re.compile(r"[-+]?[0-9]+")
_OPTIONS: Final = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}
_FIELD_MANAGER_BYTES_MAX: Final = 128
#: Longer text is no int64 unless it begins with zeros, which nobody writes.
_INT64_CHARACTERS_MAX: Final = 20


def integer(route: Route, name: str) -> int | None:
    """An int64, as strconv.ParseInt reads it; None without one."""
    text = route.parameter(name)
    if not text:
        return None
    if _DIGITS.fullmatch(text) is None:
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if len(text) > _INT64_CHARACTERS_MAX or not -(1 << 63) <= int(text) < 1 << 63:
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
    return int(text)


def boolean(route: Route, name: str) -> bool | None:
    return route.flag(name) if name in route.query else None


def list_options(route: Route) -> ListOptions:
    limit = min(integer(route, "limit") or 0, limits.LIST_LIMIT_MAX)
    integer(route, "timeoutSeconds")  # a list takes no such time, but the text has to be a number
    if route.verb == "list" and "sendInitialEvents" in route.query:
        cause = Cause("FieldValueForbidden", "Forbidden: sendInitialEvents is forbidden for list", "sendInitialEvents")
        raise errors.invalid("meta.k8s.io", "ListOptions", "", [cause])
    return ListOptions(
        label_selector=route.parameter("labelSelector"),
        field_selector=route.parameter("fieldSelector"),
        limit=max(limit, 0),
        continue_token=route.parameter("continue"),
        revision=route.parameter("resourceVersion"),
    )


def watch_options(route: Route, draw: random.Random) -> WatchOptions:
    seconds = integer(route, "timeoutSeconds")
    if not seconds or seconds < 0:
        timeout = draw.uniform(limits.WATCH_SECONDS_MIN, limits.WATCH_SECONDS_MAX)
    else:
        timeout = float(seconds)
    selector = route.parameter("fieldSelector")
    if route.name:
        named = f"metadata.name={route.name}"
        selector = f"{selector},{named}" if selector else named
    return WatchOptions(
        label_selector=route.parameter("labelSelector"),
        field_selector=selector,
        revision=route.parameter("resourceVersion"),
        revision_match=route.parameter("resourceVersionMatch"),
        send_initial_events=boolean(route, "sendInitialEvents"),
        allow_bookmarks=route.flag("allowWatchBookmarks"),
        timeout_seconds=timeout,
    )


def dry_run(route: Route) -> bool:
    values = [value for value in route.query.get("dryRun", []) if value]
    if not values:
        return False
    if any(value != "All" for value in values):
        shown = ", ".join(f'"{value}"' for value in values)
        cause = Cause("FieldValueNotSupported", f'Unsupported value: [{shown}]: supported values: "All"', "dryRun")
        raise _refused(route, cause)
    return True


def field_validation(route: Route) -> str:
    """Warn where the client does not say, as upstream."""
    value = route.parameter("fieldValidation")
    if value in ("", WARN):
        return WARN
    if value not in (IGNORE, STRICT):
        why = f'Unsupported value: "{value}": supported values: "", "Ignore", "Strict", "Warn"'
        raise _refused(route, Cause("FieldValueNotSupported", why, "fieldValidation"))
    return value


def check_field_manager(route: Route) -> None:
    """fieldManager is not kept before server-side apply is here; what upstream refuses is refused."""
    name = route.parameter("fieldManager")
    if len(name.encode()) > _FIELD_MANAGER_BYTES_MAX:
        why = f"Too long: may not be more than {_FIELD_MANAGER_BYTES_MAX} bytes"
        raise _refused(route, Cause("FieldValueTooLong", why, "fieldManager"))
    if not name.isprintable():
        why = f"Invalid value: {orjson.dumps(name).decode()}: should only contain printable characters"
        raise _refused(route, Cause("FieldValueInvalid", why, "fieldManager"))


def _refused(route: Route, cause: Cause) -> errors.StatusError:
    kind = _OPTIONS.get(route.verb, "DeleteOptions")
    return errors.invalid("meta.k8s.io", kind, "", [cause])


def delete_options(route: Route, body: Object | None) -> DeleteOptions:
    """From the body when there is one, else from the query."""
    if body is None:
        body = {}
        seconds = integer(route, "gracePeriodSeconds")
        if seconds is not None:
            body["gracePeriodSeconds"] = seconds
        if route.parameter("propagationPolicy"):
            body["propagationPolicy"] = route.parameter("propagationPolicy")
        orphan = boolean(route, "orphanDependents")
        if orphan is not None:
            body["orphanDependents"] = orphan
    if dry_run(route) and not body.get("dryRun"):
        body["dryRun"] = ["All"]
    return delete_options_of(body)
