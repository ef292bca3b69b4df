"""The rules of writing, by kind.

Enters: a Kind.
Leaves: its Strategy, one object per kind.
Bound: limits.STRATEGIES_HELD_MAX, for custom kinds come and go.
Holds: a kind that is not named here follows the table in registry.strategies.base.
Next: registry.create, registry.update, registry.delete.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from edgekube import limits
from edgekube.api.kinds import Kind
from edgekube.registry.strategies.base import Strategy
from edgekube.registry.strategies.custom import CustomStrategy
from edgekube.registry.strategies.definitions import DefinitionStrategy
from edgekube.registry.strategies.endpoint_slices import EndpointSliceStrategy
from edgekube.registry.strategies.namespaces import NamespaceStrategy
from edgekube.registry.strategies.pods import PodStrategy
from edgekube.registry.strategies.services import ServiceStrategy
from edgekube.registry.strategies.storage import ClaimStrategy, CsiDriverStrategy, VolumeStrategy
from edgekube.registry.strategies.workloads import (
    DaemonSetStrategy,
    JobStrategy,
    NodeStrategy,
    SigningRequestStrategy,
)

_BY_RESOURCE: Final[dict[str, type[Strategy]]] = {
    "certificatesigningrequests.certificates.k8s.io": SigningRequestStrategy,
    "customresourcedefinitions.apiextensions.k8s.io": DefinitionStrategy,
    "daemonsets.apps": DaemonSetStrategy,
    "endpointslices.discovery.k8s.io": EndpointSliceStrategy,
    "jobs.batch": JobStrategy,
    "namespaces": NamespaceStrategy,
    "nodes": NodeStrategy,
    "csidrivers.storage.k8s.io": CsiDriverStrategy,
    "persistentvolumeclaims": ClaimStrategy,
    "persistentvolumes": VolumeStrategy,
    "pods": PodStrategy,
    "services": ServiceStrategy,
}


@lru_cache(maxsize=limits.STRATEGIES_HELD_MAX)
def strategy_of(kind: Kind) -> Strategy:
    if kind.custom:
        return CustomStrategy(kind)
    return _BY_RESOURCE.get(kind.resource, Strategy)(kind)
