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
from msgspec import Struct

from edgekube import limits
from edgekube.api import errors, names
from edgekube.api.delete_options import delete_options_of, of_dry_run
from edgekube.api.errors import Cause
from edgekube.api.managed.elements import quoted
from edgekube.api.objects import Object
from edgekube.api.verbs import APPLY_PATCH, DeleteOptions, ListOptions
from edgekube.registry.context import IGNORE, STRICT, WARN
from edgekube.registry.list_options import check_list
from edgekube.registry.watch import WatchOptions
from edgekube.server.routes import Route


class WriteOptions(Struct, frozen=True):
    """metav1 CreateOptions, UpdateOptions and PatchOptions."""

    dry_run: bool
    #: Warn where the client does not say, as upstream.
    field_validation: str
    #: The parameter fieldManager, else the client program's name.
    field_manager: str
    force: bool


_DURATION: Final = re.compile(r"[-+]?(0|((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)", re.ASCII)
_DURATION_PART: Final = re.compile(r"(\d*\.?\d*)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_UNIT_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DIGITS: Final = re.compile(r"[-+]?[0-9]+")
_OPTIONS: Final = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}
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


def timeout_seconds(route: Route) -> float:
    """What is left to a request: its parameter timeout, as time.ParseDuration reads it, and no more than REQUEST_SECONDS_MAX,
    which 0 stands for as well. StatusError BadRequest."""
    text = route.parameter("timeout")
    if not text:
        return limits.REQUEST_SECONDS_MAX
    if _DURATION.fullmatch(text) is None:
        quoted = orjson.dumps(text).decode()
        raise errors.bad_request(f"invalid timeout specified in the request URL - time: invalid duration {quoted}")
    asked = sum(float(number or "0") * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    return asked if 0 < asked < limits.REQUEST_SECONDS_MAX and not text.startswith("-") else limits.REQUEST_SECONDS_MAX


def boolean(route: Route, name: str) -> bool | None:
    return route.flag(name) if name in route.query else None


def list_options(route: Route) -> ListOptions:
    limit = min(integer(route, "limit") or 0, limits.LIST_LIMIT_MAX)
    integer(route, "timeoutSeconds")  # a list takes no such time, but the text has to be a number
    check_list(
        route.parameter("resourceVersion"),
        route.parameter("resourceVersionMatch"),
        route.parameter("continue"),
        send_initial_events="sendInitialEvents" in route.query,
    )
    return ListOptions(
        label_selector=route.parameter("labelSelector"),
        field_selector=route.parameter("fieldSelector"),
        limit=max(limit, 0),
        continue_token=route.parameter("continue"),
        revision=route.parameter("resourceVersion"),
    )


def watch_options(route: Route, draw: random.Random) -> WatchOptions:
    integer(route, "limit")  # a watch has none, but the text has to be a number
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
        continue_token=route.parameter("continue"),
        timeout_seconds=timeout,
    )


def dry_run(route: Route) -> bool:
    values = [value for value in route.query.get("dryRun", []) if value]
    if causes := of_dry_run(values):
        raise _refused(route, causes)
    return bool(values)


def write_options(route: Route, user_agent: str, patch_type: str = "") -> WriteOptions:
    """Of create, update and patch. StatusError Invalid names everything that is wrong."""
    manager = route.parameter("fieldManager")
    causes: list[Cause] = []
    if patch_type == APPLY_PATCH:
        if not manager:
            causes.append(Cause("FieldValueRequired", "Required value: is required for apply patch", "fieldManager"))
    elif route.verb == "patch" and "force" in route.query:
        causes.append(Cause("FieldValueForbidden", "Forbidden: may not be specified for non-apply patch", "force"))
    if len(manager.encode()) > limits.FIELD_MANAGER_BYTES_MAX:
        why = f"Too long: may not be more than {limits.FIELD_MANAGER_BYTES_MAX} bytes"
        causes.append(Cause("FieldValueTooLong", why, "fieldManager"))
    elif manager:
        shown = quoted(manager)
        causes += (
            Cause("FieldValueInvalid", f"Invalid value: {shown}: {message}", "fieldManager")
            for message in names.field_manager(manager)
        )
    values = [value for value in route.query.get("dryRun", []) if value]
    causes += of_dry_run(values)
    validation = route.parameter("fieldValidation") or WARN
    if validation not in (IGNORE, WARN, STRICT):
        why = f'Unsupported value: "{validation}": supported values: "", "Ignore", "Strict", "Warn"'
        causes.append(Cause("FieldValueNotSupported", why, "fieldValidation"))
    if causes:
        raise _refused(route, causes)
    return WriteOptions(bool(values), validation, manager or _program(user_agent), route.flag("force"))


def _program(user_agent: str) -> str:
    """``kubectl/v1.36.0 (linux/amd64) …`` → ``kubectl``: what can be printed of it, cut to what a name may have."""
    program = user_agent.partition("/")[0]
    if program.isascii() and program.isprintable():
        return program[: limits.FIELD_MANAGER_BYTES_MAX]
    printable = "".join(filter(str.isprintable, program))
    return printable.encode()[: limits.FIELD_MANAGER_BYTES_MAX].decode(errors="ignore")


def _refused(route: Route, causes: list[Cause]) -> errors.StatusError:
    kind = _OPTIONS.get(route.verb, "DeleteOptions")
    return errors.invalid("meta.k8s.io", kind, "", causes)


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
