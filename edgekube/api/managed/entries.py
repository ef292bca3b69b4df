"""metadata.managedFields as values: who, how, in which version, when, and which fields.

Enters: the list of an object, as it is stored or as a client sent it.
Leaves: Entries by Key, and the list again.
Holds: pure. An entry whose fields did not change is written again as it was read. The list is in upstream's order; of entries for
updates it keeps limits.MANAGED_UPDATERS_MAX, the oldest of which become one.
Source: k8s.io/apimachinery pkg/util/managedfields/internal (managedfields.go, capmanagers.go).
Next: api.managed.updater.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import orjson
from msgspec import Struct
from msgspec.structs import replace

from edgekube import limits
from edgekube.api import times
from edgekube.api.managed import fieldsets
from edgekube.api.managed.fieldsets import FieldSet
from edgekube.api.objects import Object

UPDATE: Final = "Update"
APPLY: Final = "Apply"
_FIELDS_V1: Final = "FieldsV1"
#: Who gets the fields of entries that were too many.
_ANCIENT: Final = "ancient-changes"
#: Who gets the fields that were there before anybody applied anything.
BEFORE_FIRST_APPLY: Final = "before-first-apply"
_UNKNOWN: Final = "unknown"


class Key(Struct, frozen=True):
    """Tells managers apart. Of an applier the version does not count: one who applies has one entry."""

    manager: str
    operation: str
    api_version: str = ""
    subresource: str = ""

    def text(self) -> str:
        """What upstream sorts by where only the name is left to go by."""
        parts: Object = {}
        for name, value in (
            ("manager", self.manager),
            ("operation", self.operation),
            ("apiVersion", self.api_version),
            ("subresource", self.subresource),
        ):
            if value:
                parts[name] = value
        return orjson.dumps(parts).decode()


class Entry(Struct, frozen=True):
    api_version: str
    applied: bool
    fields: FieldSet
    time: str = ""
    #: The entry as it was read; None once its fields or its time are others.
    written: Object | None = None

    def changed(self, fields: FieldSet) -> Entry:
        return self if fields is self.fields else replace(self, fields=fields, written=None)

    def at(self, time: str) -> Entry:
        return self if time == self.time else replace(self, time=time, written=None)


Entries: TypeAlias = dict[Key, Entry]


def key_of(manager: str, operation: str, api_version: str, subresource: str) -> Key:
    return Key(manager or _UNKNOWN, operation, "" if operation == APPLY else api_version, subresource)


def read(written: list[Object] | None) -> Entries:
    """The stored list: canonical, for only this module writes it."""
    made: Entries = {}
    for each in written or ():
        operation, api_version = each.get("operation") or "", each.get("apiVersion") or ""
        key = key_of(each.get("manager") or "", operation, api_version, each.get("subresource") or "")
        made[key] = Entry(api_version, operation == APPLY, each.get("fieldsV1") or {}, each.get("time") or "", each)
    return made


def parse(sent: Any) -> Entries:
    """A list that a client sent. ValueError, in upstream's words, for one that makes no sense."""
    made: Entries = {}
    if type(sent) is not list:
        raise ValueError("managedFields is no list")
    for index, each in enumerate(sent):
        if type(each) is not dict:
            raise ValueError(f"entry {index} is no object")
        operation, api_version = each.get("operation") or "", each.get("apiVersion") or ""
        if operation not in (APPLY, UPDATE):
            raise ValueError("operation must be `Apply` or `Update`")
        if not api_version:
            raise ValueError("apiVersion must not be empty")
        fields_type = each.get("fieldsType") or ""
        if fields_type != _FIELDS_V1:
            if not fields_type:
                raise ValueError(f"missing fieldsType in managed fields entry {index}")
            raise ValueError(f'invalid fieldsType "{fields_type}" in managed fields entry {index}')
        try:
            fields = fieldsets.canonical(each.get("fieldsV1") or {}, limits.BODY_DEPTH_MAX)
        except ValueError as error:
            raise ValueError(f"error decoding set: {error}") from None
        if not fieldsets.children(fields):
            fields = {}
        key = Key(
            each.get("manager") or "",
            operation,
            "" if operation == APPLY else api_version,
            each.get("subresource") or "",
        )
        made[key] = Entry(api_version, operation == APPLY, fieldsets.children(fields), each.get("time") or "")
    return made


def is_reset(sent: Any) -> bool:
    """A client that sends an empty list, or one with an empty entry, wants nobody to manage anything."""
    return sent == [] or (type(sent) is list and len(sent) == 1 and not any((sent[0] or {}).values()))


def _seconds(time: str) -> float:
    if not time:
        return 0
    try:
        return times.parse(time)
    except ValueError:
        return 0


def write(entries: Entries) -> list[Object] | None:
    """None: the field is left out."""
    made = [_written(key, entry) for key, entry in entries.items()]
    if len(made) > 1:
        made.sort(
            key=lambda each: (
                each["operation"],
                each.get("time") or "",
                each.get("manager") or "",
                each["apiVersion"],
                each.get("subresource") or "",
            )
        )
    return made or None


def _written(key: Key, entry: Entry) -> Object:
    if entry.written is not None:
        return entry.written
    made: Object = {}
    if key.manager:
        made["manager"] = key.manager
    made["operation"] = APPLY if entry.applied else key.operation
    made["apiVersion"] = entry.api_version
    if entry.time:
        made["time"] = entry.time
    made["fieldsType"] = _FIELDS_V1
    made["fieldsV1"] = fieldsets.ordered(entry.fields)
    if key.subresource:
        made["subresource"] = key.subresource
    return made


def capped(entries: Entries) -> Entries:
    """Of entries for updates no more than the bound: the oldest of one version become one."""
    updaters = [key for key, entry in entries.items() if not entry.applied]
    too_many = len(updaters) - limits.MANAGED_UPDATERS_MAX
    if too_many <= 0:
        return entries
    made = dict(entries)
    updaters.sort(key=lambda key: (_seconds(made[key].time), key.text()))
    first: dict[str, Key] = {}
    for key in updaters:
        if too_many <= 0:
            break
        entry = made[key]
        if entry.api_version not in first:
            first[entry.api_version] = key
            continue
        bucket = Key(_ANCIENT, UPDATE, entry.api_version)
        if bucket not in made:
            made[bucket] = made.pop(first[entry.api_version])
        merged = fieldsets.union(entry.fields, made[bucket].fields)
        made[bucket] = Entry(entry.api_version, applied=False, fields=merged, time=entry.time)
        if key != bucket:
            del made[key]
        too_many -= 1
    return made
