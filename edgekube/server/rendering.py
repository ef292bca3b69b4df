"""Objects, lists and events as bytes, in the form that the client asked for.

Enters: stored JSON and a Form.
Leaves: response bodies and watch lines.
Holds: a plain list or event is spliced from stored bytes, never decoded; Tables and metadata-only forms decode one object at a
time (source: kubernetes.io, "API concepts": Table, PartialObjectMetadata).
Next: server.resources, server.watching.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec
import orjson

from edgekube.api.kinds import CREATE_ONLY, Kind
from edgekube.api.objects import Object
from edgekube.api.protobuf import PROTOBUF_TYPE
from edgekube.api.verbs import BOOKMARK, RawList, WatchEvent
from edgekube.server.negotiation import YAML, Form, not_acceptable

#: What of an object a Table's rows carry (includeObject).
INCLUDE_METADATA: Final = "Metadata"
INCLUDE_NONE: Final = "None"
INCLUDE_OBJECT: Final = "Object"


class _WithMetadata(msgspec.Struct):
    metadata: msgspec.Raw = msgspec.Raw(b"{}")


_metadata_of: Final = msgspec.json.Decoder(_WithMetadata).decode


def dressed(body: bytes, form: Form) -> bytes:
    """JSON as YAML, as protobuf, or with line breaks."""
    if form.media_type == PROTOBUF_TYPE:
        from edgekube.api.protobuf_answers import encode  # few clients want it

        return encode(orjson.loads(body))
    if form.media_type == YAML:
        from edgekube.server import yaml_text  # people have their own

        return yaml_text.written(orjson.loads(body))
    return orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2) + b"\n"


def list_metadata(listed: RawList) -> Object:
    metadata: Object = {"resourceVersion": listed.revision} if listed.revision else {}
    if listed.continue_token:
        metadata["continue"] = listed.continue_token
    if listed.remaining:
        metadata["remainingItemCount"] = listed.remaining
    return metadata


def _envelope(kind: str, api_version: str, metadata: Object, items: list[bytes], *, empty: bytes = b"[]") -> bytes:
    """In one copy: a long list is megabytes."""
    head = orjson.dumps({"kind": kind, "apiVersion": api_version, "metadata": metadata})[:-1] + b',"items":'
    if not items:
        return head + empty + b"}"
    head += b"["
    parts = [head + items[0], *items[1:]]
    parts[-1] += b"]}"
    return b",".join(parts)


def _without_types(kind: Kind, items: list[bytes]) -> list[bytes]:
    """Items of a list of a built-in kind do not say what they are, as upstream's: Go clients would keep it, and find that an
    object from a list is not equal to the same one asked for alone."""
    head = kind.head
    size = len(head)
    return [b"{" + item[size:] if item.startswith(head) else item for item in items]


def list_body(kind: Kind, listed: RawList, form: Form, include: str = INCLUDE_METADATA) -> bytes:
    if not form.view:
        items = listed.items if kind.custom else _without_types(kind, listed.items)
        return _envelope(kind.list_kind, kind.api_version, list_metadata(listed), items)
    if form.view == "Table":
        return table(kind, listed.items, list_metadata(listed), form, include, with_columns=True)
    partial = [_partial(raw, form) for raw in listed.items]
    return _envelope("PartialObjectMetadataList", f"meta.k8s.io/{form.version}", list_metadata(listed), partial, empty=b"null")


def object_body(kind: Kind, raw: bytes, form: Form, include: str = INCLUDE_METADATA) -> bytes:
    if not form.view:
        return raw
    if form.view == "Table":
        if kind.verbs == CREATE_ONLY:  # a review is no row of anything
            raise not_acceptable()
        return table(kind, [raw], {"resourceVersion": _revision(raw)}, form, include, with_columns=True)
    return _partial(raw, form)


def _revision(raw: bytes) -> str:
    return str(orjson.loads(bytes(_metadata_of(raw).metadata)).get("resourceVersion") or "")


def _partial(raw: bytes, form: Form) -> bytes:
    head = b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/%s","metadata":' % form.version.encode()
    return b"".join((head, bytes(_metadata_of(raw).metadata), b"}"))


def table(kind: Kind, items: list[bytes], metadata: Object, form: Form, include: str, *, with_columns: bool) -> bytes:
    """A meta.k8s.io Table. Watch events after the first carry no column definitions, as upstream's."""
    from edgekube.api.tables import cells_of, columns_of, is_default, row_conditions_of  # only people ask for Tables

    now = time.time()
    rows = []
    for raw in items:
        obj = orjson.loads(raw)
        cells = orjson.dumps(cells_of(kind, obj, now))
        conditions = row_conditions_of(kind, obj)
        marked = b',"conditions":' + orjson.dumps(conditions) if conditions else b""
        rows.append(b"".join((b'{"cells":', cells, marked, b',"object":', _row_object(raw, form, include), b"}")))
    head = orjson.dumps({
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{form.version}",
        "metadata": metadata,
        "columnDefinitions": [column.as_object() for column in columns_of(kind)] if with_columns else None,
    })  # fmt: skip
    if not rows and is_default(kind):
        return head[:-1] + b',"rows":null}'
    return b"".join((head[:-1], b',"rows":[', b",".join(rows), b"]}"))


def _row_object(raw: bytes, form: Form, include: str) -> bytes:
    if include == INCLUDE_OBJECT:
        return raw
    if include == INCLUDE_NONE:
        return b"null"
    return _partial(raw, form)


def event_line(kind: Kind, event: WatchEvent, form: Form, include: str, *, first: bool) -> bytes:
    """One line of a watch stream."""
    raw = event.raw
    if form.view == "Table":
        raw = _table_event(kind, event, form, include, first=first)
    elif form.view:
        raw = _partial(raw, form)
    if form.media_type == PROTOBUF_TYPE:
        from edgekube.api.protobuf_answers import encode_event

        return encode_event(event.type, orjson.loads(raw))
    return b"".join((b'{"type":"', event.type.encode(), b'","object":', raw, b"}\n"))


def _table_event(kind: Kind, event: WatchEvent, form: Form, include: str, *, first: bool) -> bytes:
    metadata = {"resourceVersion": _revision(event.raw)}
    if event.type != BOOKMARK:
        return table(kind, [event.raw], metadata, form, include, with_columns=first)
    head = orjson.dumps({"kind": "Table", "apiVersion": f"meta.k8s.io/{form.version}", "metadata": metadata})
    row = b'{"cells":[],"object":' + _partial(event.raw, form) + b"}"
    return b"".join((head[:-1], b',"columnDefinitions":null,"rows":[', row, b"]}"))
