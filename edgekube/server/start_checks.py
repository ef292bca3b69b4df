"""The checks `poststarthook/…` of the health endpoints, under the names that upstream's server has for them.

Enters: nothing.
Leaves: a check for each part that upstream starts after its port is open, and that is ready here before the port answers at all.
Holds: that is why none of them fails: daemon.server loads the definitions, makes what a new cluster has and reads roles and nodes
before it serves, and a part that dies ends the server. Hooks of parts that are not here have no name.
Source: kube-apiserver v1.36, ``/readyz?verbose``; test/e2e/apimachinery/health_handlers.go.
Next: server.health.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edgekube.server.health import Check

_HOOKS: Final = (
    "start-apiserver-admission-initializer",
    "generic-apiserver-start-informers",
    "priority-and-fairness-config-consumer",
    "priority-and-fairness-filter",
    "storage-object-count-tracker-hook",
    "start-apiextensions-informers",
    "start-apiextensions-controllers",
    "crd-informer-synced",
    "start-system-namespaces-controller",
    "start-cluster-authentication-info-controller",
    "storage-readiness",
    "start-kubernetes-service-cidr-controller",
    "start-service-ip-repair-controllers",
    "rbac/bootstrap-roles",
    "scheduling/bootstrap-system-priority-classes",
    "priority-and-fairness-config-producer",
    "bootstrap-controller",
    "aggregator-reload-proxy-client-cert",
    "start-kube-aggregator-informers",
    "apiservice-status-local-available-controller",
    "apiservice-status-remote-available-controller",
    "apiservice-registration-controller",
    "apiservice-discovery-controller",
    "kube-apiserver-autoregistration",
    "apiservice-openapi-controller",
    "apiservice-openapiv3-controller",
)


def _done() -> str | None:
    return None


STARTED: Final[Mapping[str, Check]] = {**{f"poststarthook/{name}": _done for name in _HOOKS}, "autoregister-completion": _done}

#: Of /readyz alone.
SYNCED: Final[Mapping[str, Check]] = {"informer-sync": _done}
