"""EndpointSlices: what older versions said of where an endpoint is, is taken from nobody any more.

Enters: the new object and the stored one.
Leaves: the object to store, changed in place.
Holds: pure (source: k8s.io/kubernetes pkg/registry/discovery/endpointslice, dropTopologyOnV1).
Next: registry.create, registry.update.
"""

from __future__ import annotations

from edgekube.api.objects import Object
from edgekube.api.verbs import UserInfo
from edgekube.registry.strategies.base import Strategy

_TOPOLOGY = "deprecatedTopology"
_HOST = "kubernetes.io/hostname"


class EndpointSliceStrategy(Strategy):
    def prepare_for_create(self, obj: Object, user: UserInfo) -> None:
        super().prepare_for_create(obj, user)
        _drop_topology(obj, set())

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        super().prepare_for_update(obj, old)
        before = old.get("endpoints") or []
        if obj.get("endpoints") != before:
            _drop_topology(obj, {(each.get(_TOPOLOGY) or {}).get(_HOST) for each in before})


def _drop_topology(endpoint_slice: Object, known_nodes: set[str | None]) -> None:
    """A node that stood there alone, as clients of old wrote it, keeps its place in nodeName."""
    for endpoint in endpoint_slice.get("endpoints") or ():
        host = (endpoint.pop(_TOPOLOGY, None) or {}).get(_HOST)
        if host and host in known_nodes and endpoint.get("nodeName") is None:
            endpoint["nodeName"] = host
