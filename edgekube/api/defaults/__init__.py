"""Defaulting: what Kubernetes fills into an object that does not say.

Enters: a decoded object, right after decoding and after the registry has dropped what its sender may not set.
Leaves: the same object, in place, as kube-apiserver v1.36 would store it: defaults, and the structs that it always writes.
Holds: idempotent; pure; a kind without defaults is left alone. Nothing is allocated here (addresses, ports, uids, times).
Source: SetDefaults_* of each group (k8s.io/kubernetes/pkg/apis/<group>/<version>), gates as released in v1.36.
Next: registry (create and update call it before mutation and validation).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edgekube.api.defaults import (
    admissionregistration,
    apps,
    autoscaling,
    batch,
    control,
    core,
    extensions,
    networking,
    rbac,
    resource,
    storage,
)
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object

_GROUPS: Final[dict[str, dict[str, Callable[[Object], None]]]] = {
    "v1": core.DEFAULTERS,
    "admissionregistration.k8s.io/v1": admissionregistration.DEFAULTERS,
    "apiextensions.k8s.io/v1": extensions.DEFAULTERS,
    "apiregistration.k8s.io/v1": extensions.REGISTRATION_DEFAULTERS,
    "apps/v1": apps.DEFAULTERS,
    "authentication.k8s.io/v1": control.REVIEW_DEFAULTERS,
    "authorization.k8s.io/v1": control.REVIEW_DEFAULTERS,
    "autoscaling/v1": autoscaling.V1_DEFAULTERS,
    "autoscaling/v2": autoscaling.V2_DEFAULTERS,
    "batch/v1": batch.DEFAULTERS,
    "certificates.k8s.io/v1": control.CERTIFICATES_DEFAULTERS,
    "discovery.k8s.io/v1": networking.DISCOVERY_DEFAULTERS,
    "flowcontrol.apiserver.k8s.io/v1": control.FLOWCONTROL_DEFAULTERS,
    "networking.k8s.io/v1": networking.DEFAULTERS,
    "policy/v1": autoscaling.POLICY_DEFAULTERS,
    "rbac.authorization.k8s.io/v1": rbac.DEFAULTERS,
    "resource.k8s.io/v1": resource.DEFAULTERS,
    "scheduling.k8s.io/v1": control.SCHEDULING_DEFAULTERS,
    "storage.k8s.io/v1": storage.DEFAULTERS,
}


def apply_defaults(kind: Kind, obj: Object) -> None:
    """Fill ``obj``, an object of ``kind``, in place."""
    defaulter = _GROUPS.get(kind.api_version, {}).get(kind.kind)
    if defaulter is not None:
        defaulter(obj)
