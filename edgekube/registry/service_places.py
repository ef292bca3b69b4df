"""Where a Service leads: its ready endpoints, as the service network would choose among them.

Enters: a Service's namespace, name and port.
Leaves: Places to connect to, or what an ExternalName names; StatusError ServiceUnavailable with upstream's words.
Holds: works without rules of the packet filter, so for a server that is no node, too. Whether an address may be gone to at all is
the caller's to ask (api.reachable) (source: k8s.io/apiserver pkg/util/proxy).
Next: registry.webhook_client, server.proxy.
"""

from __future__ import annotations

from msgspec import Struct

from edgekube.api import errors
from edgekube.api.kinds import ENDPOINTSLICE, SERVICE
from edgekube.api.objects import Object, labels_of
from edgekube.registry.state import Registry


class Place(Struct, frozen=True):
    """Where to connect to; ``pod`` is "" for what is no pod of a node."""

    host: str
    port: int
    node: str = ""
    namespace: str = ""
    pod: str = ""


async def endpoints_of(registry: Registry, namespace: str, name: str, port_name: str) -> list[Place]:
    """The ready endpoints of a Service's port. StatusError when there are none."""
    choices: list[Place] = []
    for slice_ in await registry.everything(ENDPOINTSLICE, namespace):
        if labels_of(slice_).get("kubernetes.io/service-name") == name:
            choices += ready_endpoints(slice_, port_name)
    if not choices:
        raise errors.unreachable(f'no endpoints available for service "{name}"')
    return choices


async def places_of(registry: Registry, namespace: str, name: str, port: int) -> list[Place]:
    """Where a reference to a Service by its port's number leads. StatusError NotFound, ServiceUnavailable."""
    service = await registry.find(SERVICE, namespace, name)
    if service is None:
        raise errors.StatusError("NotFound", f'service "{name}" not found', kind="service", name=name)
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return [Place(str(spec.get("externalName") or ""), port)]
    found = next((p for p in spec.get("ports") or [] if p.get("port") == port), None)
    if found is None:
        raise errors.unreachable(f'no service port {port} found for service "{name}"')
    return await endpoints_of(registry, namespace, name, str(found.get("name") or ""))


def ready_endpoints(slice_: Object, port_name: str) -> list[Place]:
    if slice_.get("addressType") == "FQDN":
        return []
    numbers = [int(p["port"]) for p in slice_.get("ports") or [] if str(p.get("name") or "") == port_name and p.get("port")]
    return [
        Place(str(endpoint["addresses"][0]), number, *_pod_of(endpoint))
        for endpoint in slice_.get("endpoints") or []
        if (endpoint.get("conditions") or {}).get("ready") is not False and endpoint.get("addresses")
        for number in numbers
    ]


def _pod_of(endpoint: Object) -> tuple[str, str, str]:
    """(node, namespace, name) of the pod behind an endpoint; empty when it is no pod of a node."""
    reference, node = endpoint.get("targetRef") or {}, str(endpoint.get("nodeName") or "")
    if reference.get("kind") != "Pod" or not node:
        return "", "", ""
    return node, str(reference.get("namespace") or ""), str(reference.get("name") or "")
