"""What the server has: API groups, versions and resources, in the old form and in the aggregated one.

Enters: the table of kinds.
Leaves: JSON documents, and the ETag of the aggregated ones.
Holds: made on first request and kept as bytes (a few tens of kB); nothing decoded is kept (sources: kubernetes.io,
"Kubernetes API discovery"; k8s.io/api/apidiscovery/v2).
Next: server.app.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import orjson

from edgekube.api.kinds import Kind, KindTable
from edgekube.api.objects import Object

AGGREGATED_TYPE: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

_CHANGE: Final = ("get", "patch", "update")
_CONNECT: Final = ("create", "get")
_ANY: Final = ("create", "delete", "get", "patch", "update")
_SCALE: Final = ("autoscaling", "v1", "Scale")

#: (plural, subresource) -> (verbs, group, version and kind of its body; None: the resource's own).
_SUBRESOURCES: Final[dict[tuple[str, str], tuple[tuple[str, ...], tuple[str, str, str] | None]]] = {
    ("namespaces", "finalize"): (("update",), None),
    ("nodes", "proxy"): (_ANY, ("", "v1", "NodeProxyOptions")),
    ("pods", "attach"): (_CONNECT, ("", "v1", "PodAttachOptions")),
    ("pods", "binding"): (("create",), ("", "v1", "Binding")),
    ("pods", "eviction"): (("create",), ("policy", "v1", "Eviction")),
    ("pods", "exec"): (_CONNECT, ("", "v1", "PodExecOptions")),
    ("pods", "log"): (("get",), None),
    ("pods", "portforward"): (_CONNECT, ("", "v1", "PodPortForwardOptions")),
    ("pods", "proxy"): (_ANY, ("", "v1", "PodProxyOptions")),
    ("serviceaccounts", "token"): (("create",), ("authentication.k8s.io", "v1", "TokenRequest")),
    ("services", "proxy"): (_ANY, ("", "v1", "ServiceProxyOptions")),
}


def subresource_verbs(kind: Kind, subresource: str) -> tuple[str, ...]:
    verbs, _ = _SUBRESOURCES.get((kind.plural, subresource), (_CHANGE, None))
    return verbs


def subresource_body(kind: Kind, subresource: str) -> tuple[str, str, str]:
    """(group, version, kind) of what a subresource takes and gives."""
    if subresource == "scale":
        return _SCALE
    _, body = _SUBRESOURCES.get((kind.plural, subresource), (_CHANGE, None))
    return body or (kind.group, kind.version, kind.kind)


@dataclass(frozen=True, slots=True)
class Document:
    body: bytes
    etag: str


def _document(value: Object) -> Document:
    body = orjson.dumps(value)
    return Document(body, f'"{hashlib.sha256(body).hexdigest().upper()}"')


class Discovery:
    """The documents of one table of kinds."""

    def __init__(self, kinds: KindTable, server_address: str) -> None:
        """``server_address``: host:port, as APIVersions tells it."""
        self._kinds = kinds
        self._server_address = server_address
        self._made: dict[str, Document] = {}

    def find(self, path: str, *, aggregated: bool) -> Document | None:
        """The document under a path such as /apis/apps/v1; None when nothing is there."""
        parts = path.strip("/").split("/")
        match parts:
            case ["api"]:
                return self._kept("api+" if aggregated else "api", self._aggregated_core if aggregated else self._versions)
            case ["apis"]:
                return self._kept("apis+" if aggregated else "apis", self._aggregated if aggregated else self._groups)
            case ["api", "v1"]:
                return self._kept(path, lambda: self._resources("", "v1"))
            case ["apis", group] if group in self._group_names():
                return self._kept(path, lambda: self._group(group))
            case ["apis", group, version] if version in self._versions_of(group):
                return self._kept(path, lambda: self._resources(group, version))
        return None

    def has_group(self, name: str) -> bool:
        return name in self._group_names()

    def paths(self) -> list[str]:
        """Every path that discovery answers."""
        found = ["/api", "/api/v1", "/apis"]
        for group in self._group_names():
            found.append(f"/apis/{group}")
            found += [f"/apis/{group}/{version}" for version in self._versions_of(group)]
        return sorted(found)

    def _kept(self, key: str, make: Callable[[], Object]) -> Document:
        if key not in self._made:
            self._made[key] = _document(make())
        return self._made[key]

    def _group_names(self) -> list[str]:
        return list(dict.fromkeys(kind.group for kind in self._kinds.rows if kind.group))

    def _versions_of(self, group: str) -> list[str]:
        """The preferred one first: the order of the table."""
        return list(dict.fromkeys(kind.version for kind in self._kinds.rows if kind.group == group))

    def _rows(self, group: str, version: str) -> Iterable[Kind]:
        return (kind for kind in self._kinds.rows if kind.group == group and kind.version == version)

    # --- the old form

    def _versions(self) -> Object:
        addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": self._server_address}]
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}

    def _group(self, name: str) -> Object:
        return {"kind": "APIGroup", "apiVersion": "v1", **self._group_entry(name)}

    def _group_entry(self, name: str) -> Object:
        versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in self._versions_of(name)]
        return {"name": name, "versions": versions, "preferredVersion": versions[0]}

    def _groups(self) -> Object:
        groups = [self._group_entry(name) for name in self._group_names()]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}

    def _resources(self, group: str, version: str) -> Object:
        resources: list[Object] = []
        for kind in self._rows(group, version):
            entry: Object = {
                "name": kind.plural,
                "singularName": kind.singular,
                "namespaced": kind.namespaced,
                "kind": kind.kind,
                "verbs": list(kind.verbs),
            }
            if kind.short_names:
                entry["shortNames"] = list(kind.short_names)
            if kind.categories:
                entry["categories"] = list(kind.categories)
            resources.append(entry)
            for subresource in kind.subresources:
                body_group, body_version, body_kind = subresource_body(kind, subresource)
                below: Object = {
                    "name": f"{kind.plural}/{subresource}",
                    "singularName": "",
                    "namespaced": kind.namespaced,
                    "kind": body_kind,
                    "verbs": list(subresource_verbs(kind, subresource)),
                }
                if (body_group, body_version) != (kind.group, kind.version):
                    below |= {"group": body_group, "version": body_version}
                resources.append(below)
        resources.sort(key=lambda entry: str(entry["name"]))
        group_version = f"{group}/{version}" if group else version
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}

    # --- the aggregated form

    def _aggregated_core(self) -> Object:
        return self._aggregate([self._discovered("")])

    def _aggregated(self) -> Object:
        return self._aggregate([self._discovered(group) for group in self._group_names()])

    def _aggregate(self, items: list[Object]) -> Object:
        return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}

    def _discovered(self, group: str) -> Object:
        versions = [
            {
                "version": version,
                "resources": [_discovered_resource(kind) for kind in sorted(self._rows(group, version), key=lambda k: k.plural)],
                "freshness": "Current",
            }
            for version in self._versions_of(group)
        ]
        metadata: Object = {"creationTimestamp": None}
        if group:
            metadata["name"] = group
        return {"metadata": metadata, "versions": versions}


def _discovered_resource(kind: Kind) -> Object:
    entry: Object = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    below = []
    for subresource in sorted(kind.subresources):
        group, version, body_kind = subresource_body(kind, subresource)
        response = {"group": group, "version": version, "kind": body_kind}
        verbs = list(subresource_verbs(kind, subresource))
        below.append({"subresource": subresource, "responseKind": response, "verbs": verbs})
    if below:
        entry["subresources"] = below
    return entry
