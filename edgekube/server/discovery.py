"""What the server has: API groups, versions and resources, in the old form and in the aggregated one.

Enters: the table of kinds.
Leaves: JSON documents, and the ETag of the aggregated ones.
Holds: made on first request and kept as bytes (a few tens of kB) until kinds come or go; nothing decoded is kept (sources:
kubernetes.io, "Kubernetes API discovery"; k8s.io/api/apidiscovery/v2).
Next: server.app.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import orjson
from msgspec import Struct

from edgekube.api import api_services
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.registry.served_kinds import ServedKinds

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


class Document(Struct, frozen=True):
    body: bytes
    etag: str


def _document(value: Object) -> Document:
    body = orjson.dumps(value)
    return Document(body, f'"{hashlib.sha256(body).hexdigest().upper()}"')


class Beyond(Protocol):
    """What other API servers serve behind this one (server.aggregation.published)."""

    @property
    def generation(self) -> int:
        """Rises when an answer of the other two would be another."""
        ...

    def ordered(self, served: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
        """Groups and their versions in the order of discovery, those beyond among ``served``."""
        ...

    def told(self, group: str, version: str) -> Object | None:
        """``resources`` and ``freshness`` of an APIVersionDiscovery; None: it is not served beyond."""
        ...


class Alone:
    """Beyond without any other server."""

    generation = 0

    def ordered(self, served: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
        return api_services.sorted_versions(served, {})

    def told(self, group: str, version: str) -> Object | None:
        return None


class Discovery:
    """The documents of what is served now."""

    def __init__(
        self,
        kinds: ServedKinds,
        server_address: Callable[[], str],
        beyond: Beyond | None = None,
        besides: tuple[Kind, ...] = (),
    ) -> None:
        """``server_address``: host:port as it is now, as APIVersions tells it. ``beyond``: what other API servers serve.
        ``besides``: what is served here without being stored."""
        self._kinds = kinds
        self._besides = besides
        self._beyond = beyond or Alone()
        self._order: dict[str, list[str]] = {}
        self._server_address = server_address
        self._made: dict[str, Document] = {}
        self._generation = (kinds.generation, self._beyond.generation)

    def find(self, path: str, *, aggregated: bool) -> Document | None:
        """The document under a path such as /apis/apps/v1; None when nothing is there."""
        self._renew()
        parts = path.strip("/").split("/")
        match parts:
            case ["api"]:
                key = "api+" if aggregated else f"api of {self._server_address()}"
                return self._kept(key, self._aggregated_core if aggregated else self._versions)
            case ["apis"]:
                return self._kept("apis+" if aggregated else "apis", self._aggregated if aggregated else self._groups)
            case ["api", "v1"]:
                return self._kept(path, lambda: self._resources("", "v1"))
            case ["apis", group] if group in self._group_names():
                return self._kept(path, lambda: self._group(group))
            case ["apis", group, version] if version in self._versions_of(group):
                return self._kept(path, lambda: self._resources(group, version))
        return None

    def _renew(self) -> None:
        generation = (self._kinds.generation, self._beyond.generation)
        if self._generation != generation:
            self._made, self._order, self._generation = {}, {}, generation

    def has_group(self, name: str) -> bool:
        self._renew()
        return name in self._group_names()

    def paths(self) -> list[str]:
        """Every path that discovery answers."""
        self._renew()
        found = ["/api", "/api/v1", "/apis"]
        for group in self._group_names():
            found.append(f"/apis/{group}")
            found += [f"/apis/{group}/{version}" for version in self._versions_of(group)]
        return sorted(found)

    def _kept(self, key: str, make: Callable[[], Object]) -> Document:
        if key not in self._made:
            self._made[key] = _document(make())
        return self._made[key]

    def _ordered(self) -> dict[str, list[str]]:
        """Group -> its versions; what is preferred comes first."""
        if not self._order:
            served = dict.fromkeys((kind.group, kind.version) for kind in (*self._kinds.rows, *self._besides))
            self._order = dict(self._beyond.ordered(served))
        return self._order

    def _group_names(self) -> list[str]:
        return [group for group in self._ordered() if group]

    def _versions_of(self, group: str) -> list[str]:
        return self._ordered().get(group, [])

    def _rows(self, group: str, version: str) -> Iterable[Kind]:
        return (kind for kind in (*self._kinds.rows, *self._besides) if (kind.group, kind.version) == (group, version))

    # --- the old form

    def _versions(self) -> Object:
        addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": self._server_address()}]
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
                "verbs": _verbs(kind),
            }
            if kind.short_names:
                entry["shortNames"] = list(kind.short_names)
            if kind.categories:
                entry["categories"] = list(kind.categories)
            stored_as = None if kind in self._besides else self._kinds.stored_row(kind)
            if stored_as is not None:
                entry["storageVersionHash"] = _storage_version_hash(stored_as)
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
        head: Object = {"kind": "APIResourceList"}
        if group:  # of the oldest group upstream does not say it
            head["apiVersion"] = "v1"
        return {**head, "groupVersion": group_version, "resources": resources}

    # --- the aggregated form

    def _aggregated_core(self) -> Object:
        return self._aggregate([self._discovered("")])

    def _aggregated(self) -> Object:
        return self._aggregate([self._discovered(group) for group in self._group_names()])

    def _aggregate(self, items: list[Object]) -> Object:
        return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}

    def _discovered(self, group: str) -> Object:
        versions = [self._discovered_version(group, version) for version in self._versions_of(group)]
        return {"metadata": {"name": group} if group else {}, "versions": versions}

    def _discovered_version(self, group: str, version: str) -> Object:
        told = self._beyond.told(group, version)
        if told is not None:
            return {"version": version, **told}
        rows = sorted(self._rows(group, version), key=lambda kind: kind.plural)
        return {"version": version, "resources": [_discovered_resource(kind) for kind in rows], "freshness": "Current"}


#: What upstream stores in a version that it does not serve by default.
_STORED_AS: Final = {
    "customresourcedefinitions.apiextensions.k8s.io": "v1beta1",
    "mutatingadmissionpolicies.admissionregistration.k8s.io": "v1beta1",
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io": "v1beta1",
}


def _verbs(kind: Kind) -> list[str]:
    """Of a custom kind that is being emptied upstream names no verb that writes, though finalizers may still be taken off."""
    terminating = kind.custom and "create" not in kind.verbs
    return [verb for verb in kind.verbs if not terminating or verb not in ("patch", "update")]


def _storage_version_hash(kind: Kind) -> str:
    """Opaque; another one tells clients that objects are stored in another version than before."""
    version = _STORED_AS.get(kind.resource, kind.version)
    digest = hashlib.sha256(f"{kind.group}/{version}/{kind.kind}".encode()).digest()
    return base64.b64encode(digest[:8]).decode()


def _response_kind(kind: Kind, group: str, version: str, name: str) -> Object:
    """Built-in kinds name group and version only where they are not the resource's own, as upstream's do."""
    own = not kind.custom and (group, version) == (kind.group, kind.version)
    return {"group": "" if own else group, "version": "" if own else version, "kind": name}


def _discovered_resource(kind: Kind) -> Object:
    entry: Object = {
        "resource": kind.plural,
        "responseKind": _response_kind(kind, kind.group, kind.version, kind.kind),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": _verbs(kind),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    below = []
    for subresource in sorted(kind.subresources):
        group, version, body_kind = subresource_body(kind, subresource)
        response = _response_kind(kind, group, version, body_kind)
        verbs = list(subresource_verbs(kind, subresource))
        below.append({"subresource": subresource, "responseKind": response, "verbs": verbs})
    if below:
        entry["subresources"] = below
    return entry
