"""OpenAPI, as much of it as kubectl needs to trust the server's own validation of fields.

Enters: the table of kinds.
Leaves: the index of group versions, and one document for each: paths, operations and their parameters.
Holds: documents are made when asked for and not kept (sources: kubernetes.io, "OpenAPI V3"; KEP-2896).
Next: server.app. Schemas of types join with the API issue.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

import orjson

from edgekube.api.kinds import Kind, KindTable
from edgekube.api.objects import Object
from edgekube.version import GIT_VERSION

_BODY_VERBS: Final = (("create", "post", "post"), ("update", "put", "put"), ("patch", "patch", "patch"))


def _parameter(name: str, description: str) -> Object:
    return {"name": name, "in": "query", "description": description, "schema": {"type": "string", "uniqueItems": True}}


_WRITE_PARAMETERS: Final = [
    _parameter("dryRun", "All: go through every stage, store nothing."),
    _parameter("fieldManager", "Who makes the change."),
    _parameter("fieldValidation", "Ignore, Warn or Strict: what unknown and repeated fields do."),
]
_PATCH_TYPES: Final = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)


#: The protobuf form in which kubectl asks for version 2: gnostic's Document, swagger = 1, info = 2 {title = 1, version = 2}.
VERSION_2_ASKED: Final = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
#: What is answered: "@" may not stand in a media type, and Go's parser refuses it.
VERSION_2_PROTOBUF: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


class OpenApi:
    def __init__(self, kinds: KindTable) -> None:
        self._kinds = kinds

    def version_2(self, *, protobuf: bool) -> bytes:
        """/openapi/v2 without paths: enough for kubectl to find that it has nothing to check by itself. Without any document it
        answers every kind that it does not know with "the server could not find the requested resource"."""
        if not protobuf:
            return orjson.dumps({"swagger": "2.0", "info": {"title": "Kubernetes", "version": GIT_VERSION}, "paths": {}})
        info = _text_field(1, "Kubernetes") + _text_field(2, GIT_VERSION)
        return _text_field(1, "2.0") + bytes((2 << 3 | 2, len(info))) + info

    def index(self) -> bytes:
        """/openapi/v3: where each group version's document is. The hash changes with its content."""
        paths = {}
        for key in dict.fromkeys(_key(kind) for kind in self._kinds.rows):
            digest = hashlib.sha256(self._document(key)).hexdigest().upper()
            paths[key] = {"serverRelativeURL": f"/openapi/v3/{key}?hash={digest}"}
        return orjson.dumps({"paths": paths})

    def document(self, path: str) -> bytes | None:
        """The document of ``api/v1`` or ``apis/GROUP/VERSION``; None when there is none."""
        return self._document(path) if any(_key(kind) == path for kind in self._kinds.rows) else None

    def _document(self, key: str) -> bytes:
        paths: Object = {}
        for kind in self._kinds.rows:
            if _key(kind) == key:
                paths |= dict(_paths(kind))
        info = {"title": "Kubernetes", "version": GIT_VERSION}
        return orjson.dumps({"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": {}}})


def _text_field(number: int, text: str) -> bytes:
    """A protobuf field of fewer than 128 bytes."""
    encoded = text.encode()
    return bytes((number << 3 | 2, len(encoded))) + encoded


def _key(kind: Kind) -> str:
    return f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"


def _paths(kind: Kind) -> Iterable[tuple[str, Object]]:
    collection = kind.path("{namespace}" if kind.namespaced else "")
    yield collection, _operations(kind, ("create",))
    if kind.stored:
        yield f"{collection}/{{name}}", _operations(kind, ("get", "update", "patch"))


def _operations(kind: Kind, verbs: tuple[str, ...]) -> Object:
    gvk = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    operations: Object = {}
    if "get" in verbs:
        operations["get"] = {"x-kubernetes-action": "get", "x-kubernetes-group-version-kind": gvk, "responses": _RESPONSES}
    for verb, method, action in _BODY_VERBS:
        if verb not in verbs or verb not in kind.verbs:
            continue
        operation: Object = {
            "parameters": _WRITE_PARAMETERS,
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk,
            "responses": _RESPONSES,
        }
        if verb == "patch":
            operation["requestBody"] = {"content": {media_type: {} for media_type in _PATCH_TYPES}}
        operations[method] = operation
    return operations


_RESPONSES: Final = {"200": {"description": "OK"}, "401": {"description": "Unauthorized"}}
