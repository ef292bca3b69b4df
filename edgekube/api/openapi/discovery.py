"""What the server says of itself, as OpenAPI paths: versions, groups, and what each of them has.

Enters: (group, version)s of built-in kinds.
Leaves: (path, item) pairs of a version 3 document.
Holds: pure; custom groups are found by discovery alone, as upstream has it.
Next: api.openapi.document.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from edgekube.api.objects import Object
from edgekube.api.openapi.naming import tag, word
from edgekube.api.openapi.types import reference

_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1"
_TYPES: Final = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")


def _reading(text: str, title: str, label: str, type_: str, types: tuple[str, ...] = _TYPES) -> Object:
    content = {each: {"schema": reference(type_)} for each in types}
    answers = {"200": {"description": "OK", "content": content}, "401": {"description": "Unauthorized"}}
    return {"get": {"description": text, "operationId": title, "responses": answers, "tags": [label]}}


def of_version(group: str, version: str) -> tuple[str, Object]:
    """Its resources."""
    path = f"/apis/{group}/{version}/" if group else f"/api/{version}/"
    title = f"get{word(group, version)}APIResources"
    return path, _reading("get available resources", title, tag(group, version), f"{_META}.APIResourceList")


def of_all(groups: Iterable[str]) -> Iterator[tuple[str, Object]]:
    """Above the versions: only the document of everything has it."""
    yield "/api/", _reading("get available API versions", "getCoreAPIVersions", "core", f"{_META}.APIVersions")
    yield "/apis/", _reading("get available API versions", "getAPIVersions", "apis", f"{_META}.APIGroupList")
    for group in groups:
        title = f"get{word(group)}APIGroup"
        yield f"/apis/{group}/", _reading("get information of a group", title, tag(group), f"{_META}.APIGroup")
    info = "io.k8s.apimachinery.pkg.version.Info"
    text = "get the version information for this server"
    yield "/version/", _reading(text, "getCodeVersion", "version", info, _TYPES[:1])
