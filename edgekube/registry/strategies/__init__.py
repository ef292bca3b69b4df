"""The rules of writing, by kind.

Enters: a Kind.
Leaves: its Strategy; one object per kind, made once.
Holds: a kind that is not named here follows the table in registry.strategies.base.
Next: registry.create, registry.update, registry.delete.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from edgekube.api.kinds import Kind
from edgekube.registry.strategies.base import Strategy
from edgekube.registry.strategies.namespaces import NamespaceStrategy
from edgekube.registry.strategies.pods import PodStrategy
from edgekube.registry.strategies.services import ServiceStrategy
from edgekube.registry.strategies.workloads import JobStrategy, NodeStrategy, PendingStrategy, SigningRequestStrategy

_BY_RESOURCE: Final[dict[str, type[Strategy]]] = {
    "certificatesigningrequests.certificates.k8s.io": SigningRequestStrategy,
    "jobs.batch": JobStrategy,
    "namespaces": NamespaceStrategy,
    "nodes": NodeStrategy,
    "persistentvolumeclaims": PendingStrategy,
    "persistentvolumes": PendingStrategy,
    "pods": PodStrategy,
    "services": ServiceStrategy,
}


@cache
def strategy_of(kind: Kind) -> Strategy:
    return _BY_RESOURCE.get(kind.resource, Strategy)(kind)
