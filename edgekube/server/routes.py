"""From a request's method and path to what it wants: upstream's RequestInfo.

Enters: method, path and query.
Leaves: a Route: a verb on a resource, or a path that is none.
Holds: pure; percent-escapes are decoded once, per segment (source: k8s.io/apiserver pkg/endpoints/request/requestinfo.go).
Next: server.app.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs, unquote

from msgspec import Struct

#: Resources that sit below a namespace in the path although they are the namespace's own subresources.
_NAMESPACE_SUBRESOURCES: Final = frozenset({"status", "finalize"})
_VERBS: Final = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}

Query = dict[str, list[str]]


class Route(Struct, frozen=True):
    """``verb`` is a resource verb when ``is_resource``, else the method in lower case."""

    is_resource: bool
    verb: str
    path: str
    query: Query
    group: str = ""
    version: str = ""
    namespace: str = ""
    plural: str = ""
    name: str = ""
    subresource: str = ""
    #: What follows the subresource: the path behind a proxy.
    rest: str = ""

    def parameter(self, name: str) -> str:
        """The first value of a query parameter, "" without one."""
        values = self.query.get(name)
        return values[0] if values else ""

    def flag(self, name: str) -> bool:
        """A boolean parameter, as conversion.Convert_Slice_string_To_bool reads it: present and neither "0" nor "false"."""
        values = self.query.get(name)
        return values is not None and values[0].lower() not in ("0", "false")


_NO_QUERY: Final[Query] = {}


def route(method: str, path: str, query_text: str) -> Route:
    query = parse_qs(query_text, keep_blank_values=True) if query_text else _NO_QUERY
    parts = [unquote(part) if "%" in part else part for part in path.strip("/").split("/")]
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return Route(False, method.lower(), path, query)
    namespace = ""
    watches = rest[0] == "watch" and len(rest) > 1 and method in ("GET", "HEAD")
    if watches:  # the old form of ?watch=true
        rest = rest[1:]
    if rest[0] == "namespaces" and not group:
        if len(rest) > 1:
            namespace = rest[1]
            if len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
                rest = rest[2:]
    elif rest[0] == "namespaces" and len(rest) > 2:
        namespace = rest[1]
        rest = rest[2:]
    plural = rest[0]
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    tail = "/".join(rest[3:])
    if not group and plural == "namespaces":
        namespace = ""
    verb = _VERBS.get(method, "")
    if watches:
        verb = "watch"
    elif verb == "get" and not name:
        asked = query.get("watch")
        verb = "watch" if asked and asked[0].lower() not in ("0", "false") else "list"
    elif verb == "delete" and not name:
        verb = "deletecollection"
    return Route(True, verb, path, query, group, version, namespace, plural, name, subresource, tail)
