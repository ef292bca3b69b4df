"""Which EndpointSlices belong to which Service: the index that the API's labels do not give.

Enters: slices as they change. Leaves: names of slices. Holds: pure; a slice that changes its Service leaves the old one.
Next: network.proxy, network.dns.zone.
"""

from __future__ import annotations

from edgekube.api.kinds import ENDPOINTSLICE
from edgekube.api.objects import Object, labels_of, name_of, namespace_of
from edgekube.api.view import View

SERVICE_NAME = "kubernetes.io/service-name"


class SliceIndex:
    def __init__(self) -> None:
        self._names: dict[tuple[str, str], set[str]] = {}

    def touch(self, old: Object | None, new: Object | None) -> set[tuple[str, str]]:
        """Take in one change; the Services, as (namespace, name), that it concerns."""
        concerned = set()
        for obj, present in ((old, False), (new, True)):
            service = service_of(obj) if obj is not None else None
            if obj is None or service is None:
                continue
            names = self._names.setdefault(service, set())
            if present:
                names.add(name_of(obj))
            else:
                names.discard(name_of(obj))
            if not names:
                del self._names[service]
            concerned.add(service)
        return concerned

    def slices(self, view: View, namespace: str, service: str) -> list[Object]:
        found = (view.get(ENDPOINTSLICE, namespace, name) for name in sorted(self._names.get((namespace, service), ())))
        return [piece for piece in found if piece is not None]


def service_of(piece: Object) -> tuple[str, str] | None:
    name = labels_of(piece).get(SERVICE_NAME)
    return (namespace_of(piece), name) if name else None
