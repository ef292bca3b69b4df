"""Services as environment variables see them: names, addresses, ports.

Enters: the API's services, watched.
Leaves: WEB_SERVICE_HOST and its companions, for a pod about to start.
Holds: only what the variables need is kept, a few hundred bytes a service.
Source: Kubernetes documentation, "Accessing the Service", environment variables.
Next: agent.env.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import trio

from edgekube.api.verbs import DELETED, WatchEvent


class _Port(msgspec.Struct):
    port: int = 0
    name: str = ""
    protocol: str = "TCP"


class _Spec(msgspec.Struct):
    clusterIP: str = ""
    ports: list[_Port] = []


class _Metadata(msgspec.Struct):
    name: str
    namespace: str = ""
    resourceVersion: str = "0"


class _Service(msgspec.Struct):
    metadata: _Metadata
    spec: _Spec = msgspec.field(default_factory=_Spec)


_decoder = msgspec.json.Decoder(_Service)


class Services:
    """A Sink for services."""

    def __init__(self) -> None:
        self.synced = trio.Event()
        self._services: dict[tuple[str, str], _Spec] = {}
        self._listed: dict[tuple[str, str], _Spec] = {}
        self._revision = 0

    def begin(self) -> None:
        self._listed = {}

    def add(self, items: Sequence[bytes]) -> None:
        for item in items:
            service = _decoder.decode(item)
            self._listed[service.metadata.namespace, service.metadata.name] = service.spec

    def finish(self, revision: int) -> None:
        self._services, self._listed, self._revision = self._listed, {}, revision
        self.synced.set()

    def apply(self, event: WatchEvent) -> None:
        service = _decoder.decode(event.raw)
        key = (service.metadata.namespace, service.metadata.name)
        if event.type == DELETED:
            self._services.pop(key, None)
        else:
            self._services[key] = service.spec
        self._revision = int(service.metadata.resourceVersion)

    def progressed(self, revision: int) -> None:
        self._revision = revision

    def resume_from(self) -> int:
        return self._revision

    def environment(self, namespace: str, enable_service_links: bool) -> dict[str, str]:
        """The API's own service always; with service links, those of the pod's namespace."""
        variables: dict[str, str] = {}
        for (service_namespace, name), spec in sorted(self._services.items()):
            own = (service_namespace, name) == ("default", "kubernetes")
            if not own and not (enable_service_links and service_namespace == namespace):
                continue
            if spec.clusterIP in ("", "None") or not spec.ports:
                continue
            variables.update(_variables(name, spec))
        return variables


def _variables(name: str, spec: _Spec) -> dict[str, str]:
    prefix = name.upper().replace("-", "_")
    host = spec.clusterIP
    shown = f"[{host}]" if ":" in host else host
    first = spec.ports[0]
    found = {f"{prefix}_SERVICE_HOST": host, f"{prefix}_SERVICE_PORT": str(first.port)}
    for port in spec.ports:
        if port.name:
            found[f"{prefix}_SERVICE_PORT_{port.name.upper().replace('-', '_')}"] = str(port.port)
    found[f"{prefix}_PORT"] = f"{first.protocol.lower()}://{shown}:{first.port}"
    for port in spec.ports:
        protocol = port.protocol.lower()
        key = f"{prefix}_PORT_{port.port}_{port.protocol.upper()}"
        found[key] = f"{protocol}://{shown}:{port.port}"
        found[f"{key}_PROTO"] = protocol
        found[f"{key}_PORT"] = str(port.port)
        found[f"{key}_ADDR"] = host
    return found
