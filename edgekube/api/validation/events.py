"""Events of both groups, which are one kind of object.

Enters: events as core/v1 and as events.k8s.io/v1 write them; the old one on update.
Leaves: causes appended to ``out``, with fields as upstream names them in both groups.
Holds: core/v1 asks little, for clients of old; events.k8s.io/v1 wants an eventTime and what goes with it.
Source: core/validation events.go.
Next: api.validation.
"""

from __future__ import annotations

from typing import Final

from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.fields import Out, check, check_immutable, dns_subdomain, number, part, qualified_name, same, text
from edgekube.api.validation.inner import OBJECT_REFERENCE

_TYPES: Final = ("Normal", "Warning")
_WORDS_BYTES_MAX: Final = 128
_NOTE_BYTES_MAX: Final = 1024
_NO_MATCH: Final = "does not match event.namespace"
#: As events.k8s.io/v1 writes them, and as a refusal names them.
_OLD_FIELDS: Final = {
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_FIXED_TEXTS: Final = {
    "reason": "reason",
    "note": "message",
    "type": "type",
    "action": "action",
    "reportingController": "reportingController",
    "reportingInstance": "reportingInstance",
}


def check_event(out: Out, event: Object) -> None:
    """core/v1."""
    _check_any(out, event, "involvedObject", "reportingComponent", "message")


def check_events_v1(out: Out, event: Object) -> None:
    _check_any(out, event, "regarding", "reportingController", "note")
    _check_series(out, event)
    if not event.get("eventTime"):
        out.append(causes.required("eventTime"))
    if text(event, "type") not in _TYPES:
        out.append(causes.invalid("type", "", f"has invalid value: {text(event, 'type')}"))
    for key, field in _OLD_FIELDS.items():
        if event.get(key):
            out.append(causes.invalid(field, "", "needs to be unset"))
    source = part(event, "deprecatedSource")
    if source.get("component") or source.get("host"):
        out.append(causes.invalid("source", "", "needs to be unset"))


def _check_any(out: Out, event: Object, about: str, reporter: str, note: str) -> None:
    namespace, of_object = text(part(event, "metadata"), "namespace"), text(part(event, about), "namespace")
    if event.get("eventTime"):
        agree = bool(of_object) or namespace in ("default", "kube-system")
    else:
        agree = namespace == of_object if of_object else namespace in ("", "default")
    if not agree:
        out.append(causes.invalid("involvedObject.namespace", of_object, _NO_MATCH))
    if event.get("eventTime"):
        _check_reported(out, event, reporter, note)
    check(out, dns_subdomain(namespace), "namespace", namespace)


def _check_reported(out: Out, event: Object, reporter: str, note: str) -> None:
    name = text(event, reporter)
    if not name:
        out.append(causes.required(reporter))
    check(out, qualified_name(name), reporter, name)
    for key in ("reportingInstance", "action", "reason"):
        value = text(event, key)
        if not value:
            out.append(causes.required(key))
        if len(value.encode()) > _WORDS_BYTES_MAX:
            out.append(causes.invalid(key, "", f"can have at most {_WORDS_BYTES_MAX} characters"))
    if len(text(event, note).encode()) > _NOTE_BYTES_MAX:
        out.append(causes.invalid("message", "", f"can have at most {_NOTE_BYTES_MAX} characters"))


def _check_series(out: Out, event: Object) -> None:
    series = event.get("series")
    if series is None:
        return
    if number(series, "count") < 2:
        out.append(causes.invalid("series.count", "", "should be at least 2"))
    if not series.get("lastObservedTime"):
        out.append(causes.required("series.lastObservedTime"))


def check_event_update(out: Out, new: Object, old: Object) -> None:
    check_event(out, new)


def check_events_v1_update(out: Out, new: Object, old: Object) -> None:
    """What happened does not change; how often it happened does (series)."""
    _check_any(out, new, "regarding", "reportingController", "note")
    if not same(new.get("series"), old.get("series")):
        _check_series(out, new)
    about, before = part(new, "regarding"), part(old, "regarding")
    check_immutable(out, about, before, "involvedObject", shape=OBJECT_REFERENCE)
    for key, field in _FIXED_TEXTS.items():
        check_immutable(out, new.get(key), old.get(key), field, missing="")
    check_immutable(out, new.get("deprecatedSource"), old.get("deprecatedSource"), "source")
    for key, field in _OLD_FIELDS.items():
        check_immutable(out, new.get(key), old.get(key), field)
    check_immutable(out, new.get("eventTime"), old.get("eventTime"), "eventTime")
    check_immutable(out, new.get("related"), old.get("related"), "related")
