"""A cluster to look at: the real view, filled by hand."""

from __future__ import annotations

from typing import Any, cast

import orjson

from edgekube.api.kinds import ENDPOINTSLICE, NAMESPACE, NODE, POD, SERVICE, SERVICECIDR, Kind
from edgekube.api.objects import Object, name_of, namespace_of
from edgekube.api.verbs import ADDED, DELETED, MODIFIED, Verbs, WatchEvent
from edgekube.network.dns.zone import Zone
from edgekube.network.proxy import ServiceProxy
from edgekube.reconcile.table import ViewChange
from edgekube.reconcile.view import ClusterView


class Cluster:
    """Objects that come and go; whoever follows is told as by the daemon."""

    def __init__(self) -> None:
        # The view's tables are fed below, so it never asks the API.
        self.view = ClusterView(cast(Verbs, None))
        self._revision = 0
        for kind in (SERVICE, ENDPOINTSLICE, POD, NAMESPACE, NODE, SERVICECIDR):
            self.view.want(kind)
        self.put(NAMESPACE, {"metadata": {"name": "shop"}})

    def put(self, kind: Kind, obj: Object) -> None:
        self._revision += 1
        obj["metadata"]["resourceVersion"] = str(self._revision)
        known = self.view.get(kind, namespace_of(obj), name_of(obj)) is not None
        self.view.table(kind).apply(WatchEvent(MODIFIED if known else ADDED, orjson.dumps(obj)))

    def remove(self, kind: Kind, namespace: str, name: str) -> None:
        self._revision += 1
        gone = self.view.get(kind, namespace, name)
        assert gone is not None
        gone["metadata"]["resourceVersion"] = str(self._revision)
        self.view.table(kind).apply(WatchEvent(DELETED, orjson.dumps(gone)))

    def follow_with_zone(self, zone: Zone) -> None:
        def service(change: ViewChange) -> None:
            zone.touch_service(change.old, change.new)

        def piece(change: ViewChange) -> None:
            zone.touch_slice(change.old, change.new)

        self.view.subscribe(SERVICE, service)
        self.view.subscribe(ENDPOINTSLICE, piece)

    def follow_with_proxy(self, proxy: ServiceProxy) -> None:
        def service(change: ViewChange) -> None:
            proxy.touch_service(change.key.namespace, change.key.name)

        def piece(change: ViewChange) -> None:
            proxy.touch_slice(change.old, change.new)

        def pod(change: ViewChange) -> None:
            proxy.touch_pod(change.old, change.new)

        def node(change: ViewChange) -> None:
            proxy.touch_node(change.new)

        def ranges(change: ViewChange) -> None:
            proxy.touch_ranges()

        self.view.subscribe(SERVICE, service)
        self.view.subscribe(ENDPOINTSLICE, piece)
        self.view.subscribe(POD, pod)
        self.view.subscribe(NODE, node)
        self.view.subscribe(SERVICECIDR, ranges)


def service(name: str, cluster_ip: str, *ports: Object, **spec: Any) -> Object:
    """``cluster_ip`` may be several, separated by commas."""
    addresses = cluster_ip.split(",")
    return {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"clusterIP": addresses[0], "clusterIPs": addresses, "type": "ClusterIP", "ports": list(ports), **spec},
    }


def port(number: int, name: str = "", protocol: str = "TCP", **more: Any) -> Object:
    return {"port": number, "name": name, "protocol": protocol, **more}


def endpoint(address: str, **more: Any) -> Object:
    return {"addresses": [address], "conditions": {"ready": True, "serving": True, "terminating": False}, **more}


def piece(service_name: str, endpoints: list[Object], *ports: Object, suffix: str = "x") -> Object:
    """Of IPv6 when its first endpoint is."""
    family = "IPv6" if endpoints and ":" in endpoints[0]["addresses"][0] else "IPv4"
    return {
        "metadata": {
            "name": f"{service_name}-{suffix}",
            "namespace": "shop",
            "labels": {"kubernetes.io/service-name": service_name},
        },
        "addressType": family,
        "ports": list(ports),
        "endpoints": endpoints,
    }
