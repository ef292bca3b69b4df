"""What API servers behind this one say that they serve, for discovery.

Enters: each look of server.aggregation.checking, the index of APIServices.
Leaves: the order of groups, the resources of each remote group version, as aggregated discovery tells them, and where its
OpenAPI document is.
Holds: what was told last stays, marked as stale, while a server does not answer. The document of a group version is asked for in
the form that every API server must serve, and turned into the aggregated one.
Source: kubernetes.io, "Kubernetes API discovery"; k8s.io/client-go discovery, conversion of the two forms.
Bound: limits.AGGREGATED_DISCOVERY_BYTES_MAX each, AGGREGATED_GROUP_VERSIONS_MAX of them.
Next: server.discovery.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import orjson

from edgekube import limits
from edgekube.api import api_services
from edgekube.api.objects import Object
from edgekube.server.aggregation.index import ApiServices

CURRENT: Final = "Current"
STALE: Final = "Stale"
DOCUMENTS: Final = "/openapi/v3"


class Published:
    """server.discovery.Beyond."""

    def __init__(self, index: ApiServices) -> None:
        self._index = index
        self._resources: dict[tuple[str, str], bytes] = {}
        #: Where the OpenAPI v3 document of a group version is: a path below its server, with the hash of its content.
        self._documents: dict[tuple[str, str], str] = {}
        self._own_generation = 0

    @property
    def generation(self) -> int:
        return self._own_generation + self._index.generation

    def heard(self, group: str, version: str, document: bytes) -> None:
        """An APIResourceList. What is none is passed over."""
        try:
            entries = aggregated_resources(group, version, orjson.loads(document))
        except (ValueError, KeyError, TypeError, AttributeError):
            return
        resources = orjson.dumps(entries)
        if self._resources.get((group, version)) != resources:
            self._resources[group, version] = resources
            self._own_generation += 1

    def heard_documents(self, group: str, version: str, index: bytes) -> None:
        """The index of /openapi/v3; what is none, and a place elsewhere, are passed over."""
        key = f"apis/{group}/{version}"
        try:
            url = orjson.loads(index)["paths"][key]["serverRelativeURL"]
        except (ValueError, KeyError, TypeError):
            url = None
        if isinstance(url, str) and url.partition("?")[0] == f"{DOCUMENTS}/{key}" and len(url) <= limits.WIRE_TARGET_BYTES_MAX:
            self._documents[group, version] = url
        else:
            self._documents.pop((group, version), None)

    def documents(self) -> dict[str, str]:
        """Group version, as the index names it -> where its document is."""
        return {f"apis/{group}/{version}": url for (group, version), url in self._documents.items()}

    def keep_only(self, group_versions: Iterable[tuple[str, str]]) -> None:
        kept = set(group_versions)
        for gone in self._documents.keys() - kept:
            del self._documents[gone]
        for gone in self._resources.keys() - kept:
            del self._resources[gone]
            self._own_generation += 1

    def ordered(self, served: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
        beyond = [(group, version) for group, version, _, _ in self._index.remotes()]
        return api_services.sorted_versions(dict.fromkeys([*served, *beyond]), self._index.by_name)

    def told(self, group: str, version: str) -> Object | None:
        if not self._index.is_remote(group, version):
            return None
        fresh = any((g, v) == (group, version) and available for g, v, _, available in self._index.remotes())
        told = self._resources.get((group, version))
        return {
            "resources": orjson.loads(told) if told is not None else [],
            "freshness": CURRENT if fresh and told is not None else STALE,
        }


def aggregated_resources(group: str, version: str, document: Object) -> list[Object]:
    """APIResourceDiscovery of each entry of an APIResourceList. Pure."""
    found: dict[str, Object] = {}
    below: list[tuple[str, Object]] = []
    for entry in document["resources"]:
        kind = {"group": entry.get("group") or group, "version": entry.get("version") or version, "kind": entry["kind"]}
        plural, slash, subresource = entry["name"].partition("/")
        if slash:
            below.append((plural, {"subresource": subresource, "responseKind": kind, "verbs": entry["verbs"]}))
            continue
        resource: Object = {
            "resource": plural,
            "responseKind": kind,
            "scope": "Namespaced" if entry.get("namespaced") else "Cluster",
            "singularResource": entry.get("singularName") or "",
            "verbs": entry["verbs"],
        }
        for key in ("shortNames", "categories"):
            if entry.get(key):
                resource[key] = entry[key]
        found[plural] = resource
    for plural, told in below:
        # A subresource without its resource is told below a row that has no verbs, as upstream does.
        scope = {"scope": "Namespaced", "singularResource": "", "verbs": []}
        found.setdefault(plural, {"resource": plural, **scope}).setdefault("subresources", []).append(told)
    return list(found.values())
