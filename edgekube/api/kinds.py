"""The table of kinds: one row per resource that the server has. Everything else is derived from it.

Enters: nothing; this is data, written by hand from the v1.36 API reference.
Leaves: Kind rows, and look-ups by resource path and by apiVersion and kind.
Holds: a (group, version, plural) names one row; every served group version of v1.36 that upstream enables by default is here.
Next: api.schemas (shape), server.discovery and server.router (paths), registry.strategies (behaviour).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

ALL_VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
#: Kinds that are asked and answered, never stored (reviews, bindings).
CREATE_ONLY: Final = ("create",)


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource: its names, scope, verbs and subresources."""

    group: str  # "" is the core group
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    #: The (group, plural) under which objects are stored, when another row owns them: one object, two API groups.
    stored_as: tuple[str, str] | None = None
    #: False: acknowledged from memory, written now and then (Lease, Event). Losing the last minute harms nobody.
    durable: bool = True
    #: Set for custom resources only: the row came from a CustomResourceDefinition.
    custom: bool = field(default=False, compare=False)

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def list_kind(self) -> str:
        return f"{self.kind}List"

    @property
    def api_version(self) -> str:
        """``apps/v1``, or ``v1`` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """The store's name for the rows: ``deployments.apps``, ``pods``. The same for every version."""
        group, plural = self.stored_as or (self.group, self.plural)
        return f"{plural}.{group}" if group else plural

    @property
    def group_resource(self) -> str:
        """The served name, as error messages give it: ``deployments.apps``, ``pods``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def stored(self) -> bool:
        return "get" in self.verbs

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path, e.g. ``/apis/apps/v1/namespaces/default/deployments/web/status``."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


_STATUS: Final = ("status",)
_SCALE: Final = ("status", "scale")


def _rows() -> Iterator[Kind]:
    yield Kind("", "v1", "Binding", "bindings", verbs=CREATE_ONLY)
    yield Kind("", "v1", "ComponentStatus", "componentstatuses", False, ("cs",), verbs=("get", "list"))
    yield Kind("", "v1", "ConfigMap", "configmaps", short_names=("cm",))
    yield Kind("", "v1", "Endpoints", "endpoints", short_names=("ep",))
    yield Kind("", "v1", "Event", "events", short_names=("ev",), durable=False)
    yield Kind("", "v1", "LimitRange", "limitranges", short_names=("limits",))
    yield Kind("", "v1", "Namespace", "namespaces", False, ("ns",), subresources=("status", "finalize"),
               verbs=("create", "delete", "get", "list", "patch", "update", "watch"))  # fmt: skip
    yield Kind("", "v1", "Node", "nodes", False, ("no",), subresources=("status", "proxy"))
    yield Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", short_names=("pvc",), subresources=_STATUS)
    yield Kind("", "v1", "PersistentVolume", "persistentvolumes", False, ("pv",), subresources=_STATUS)
    yield Kind("", "v1", "Pod", "pods", short_names=("po",), categories=("all",),
               subresources=("status", "log", "exec", "attach", "portforward", "proxy", "binding", "eviction",
                             "ephemeralcontainers", "resize"))  # fmt: skip
    yield Kind("", "v1", "PodTemplate", "podtemplates")
    yield Kind("", "v1", "ReplicationController", "replicationcontrollers", short_names=("rc",), categories=("all",),
               subresources=_SCALE)  # fmt: skip
    yield Kind("", "v1", "ResourceQuota", "resourcequotas", short_names=("quota",), subresources=_STATUS)
    yield Kind("", "v1", "Secret", "secrets")
    yield Kind("", "v1", "ServiceAccount", "serviceaccounts", short_names=("sa",), subresources=("token",))
    yield Kind("", "v1", "Service", "services", short_names=("svc",), categories=("all",),
               subresources=("status", "proxy"))  # fmt: skip

    for kind, plural in (
        ("MutatingAdmissionPolicy", "mutatingadmissionpolicies"),
        ("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings"),
        ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
        ("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"),
        ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations"),
    ):
        yield Kind("admissionregistration.k8s.io", "v1", kind, plural, False, categories=("api-extensions",))
    yield Kind("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", False,
               categories=("api-extensions",), subresources=_STATUS)  # fmt: skip
    yield Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False,
               ("crd", "crds"), ("api-extensions",), _STATUS)  # fmt: skip
    yield Kind("apiregistration.k8s.io", "v1", "APIService", "apiservices", False,
               categories=("api-extensions",), subresources=_STATUS)  # fmt: skip

    yield Kind("apps", "v1", "ControllerRevision", "controllerrevisions")
    yield Kind("apps", "v1", "DaemonSet", "daemonsets", True, ("ds",), ("all",), _STATUS)
    yield Kind("apps", "v1", "Deployment", "deployments", True, ("deploy",), ("all",), _SCALE)
    yield Kind("apps", "v1", "ReplicaSet", "replicasets", True, ("rs",), ("all",), _SCALE)
    yield Kind("apps", "v1", "StatefulSet", "statefulsets", True, ("sts",), ("all",), _SCALE)

    yield Kind("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", False, verbs=CREATE_ONLY)
    yield Kind("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", False, verbs=CREATE_ONLY)
    for kind, plural, namespaced in (
        ("LocalSubjectAccessReview", "localsubjectaccessreviews", True),
        ("SelfSubjectAccessReview", "selfsubjectaccessreviews", False),
        ("SelfSubjectRulesReview", "selfsubjectrulesreviews", False),
        ("SubjectAccessReview", "subjectaccessreviews", False),
    ):
        yield Kind("authorization.k8s.io", "v1", kind, plural, namespaced, verbs=CREATE_ONLY)

    yield Kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", True, ("hpa",), ("all",),
               _STATUS)  # fmt: skip
    yield Kind("autoscaling", "v1", "HorizontalPodAutoscaler", "horizontalpodautoscalers", True, ("hpa",), ("all",),
               _STATUS)  # fmt: skip
    yield Kind("batch", "v1", "CronJob", "cronjobs", True, ("cj",), ("all",), _STATUS)
    yield Kind("batch", "v1", "Job", "jobs", True, (), ("all",), _STATUS)
    yield Kind("certificates.k8s.io", "v1", "CertificateSigningRequest", "certificatesigningrequests", False, ("csr",),
               subresources=("status", "approval"))  # fmt: skip
    yield Kind("coordination.k8s.io", "v1", "Lease", "leases", durable=False)
    yield Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
    yield Kind("events.k8s.io", "v1", "Event", "events", short_names=("ev",), stored_as=("", "events"), durable=False)
    yield Kind("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", "flowschemas", False, subresources=_STATUS)
    yield Kind("flowcontrol.apiserver.k8s.io", "v1", "PriorityLevelConfiguration", "prioritylevelconfigurations", False,
               subresources=_STATUS)  # fmt: skip
    yield Kind("networking.k8s.io", "v1", "IngressClass", "ingressclasses", False)
    yield Kind("networking.k8s.io", "v1", "Ingress", "ingresses", True, ("ing",), (), _STATUS)
    yield Kind("networking.k8s.io", "v1", "IPAddress", "ipaddresses", False, ("ip",))
    yield Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", True, ("netpol",))
    yield Kind("networking.k8s.io", "v1", "ServiceCIDR", "servicecidrs", False, subresources=_STATUS)
    yield Kind("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", False)
    yield Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", True, ("pdb",), (), _STATUS)
    for kind, plural, namespaced in (
        ("ClusterRoleBinding", "clusterrolebindings", False),
        ("ClusterRole", "clusterroles", False),
        ("RoleBinding", "rolebindings", True),
        ("Role", "roles", True),
    ):
        yield Kind("rbac.authorization.k8s.io", "v1", kind, plural, namespaced)
    yield Kind("resource.k8s.io", "v1", "DeviceClass", "deviceclasses", False)
    yield Kind("resource.k8s.io", "v1", "ResourceClaim", "resourceclaims", subresources=_STATUS)
    yield Kind("resource.k8s.io", "v1", "ResourceClaimTemplate", "resourceclaimtemplates")
    yield Kind("resource.k8s.io", "v1", "ResourceSlice", "resourceslices", False)
    yield Kind("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", False, ("pc",))
    yield Kind("storage.k8s.io", "v1", "CSIDriver", "csidrivers", False)
    yield Kind("storage.k8s.io", "v1", "CSINode", "csinodes", False)
    yield Kind("storage.k8s.io", "v1", "CSIStorageCapacity", "csistoragecapacities")
    yield Kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", False, ("sc",))
    yield Kind("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", False, subresources=_STATUS)
    yield Kind("storage.k8s.io", "v1", "VolumeAttributesClass", "volumeattributesclasses", False, ("vac",))


#: Every built-in row, in the order of upstream's groups.
BUILT_IN: Final[tuple[Kind, ...]] = tuple(_rows())


class KindTable:
    """Look-ups over rows. The built-in table never changes; custom resources will come as a second table."""

    def __init__(self, rows: Iterable[Kind]) -> None:
        self.rows: tuple[Kind, ...] = tuple(rows)
        self._by_path = {(row.group, row.version, row.plural): row for row in self.rows}
        self._by_name = {(row.api_version, row.kind): row for row in self.rows}
        if len(self._by_path) != len(self.rows):
            raise ValueError("two rows share group, version and plural")

    def by_resource(self, group: str, version: str, plural: str) -> Kind | None:
        return self._by_path.get((group, version, plural))

    def by_kind(self, api_version: str, kind: str) -> Kind | None:
        return self._by_name.get((api_version, kind))


KINDS: Final = KindTable(BUILT_IN)


def _named(api_version: str, kind: str) -> Kind:
    row = KINDS.by_kind(api_version, kind)
    if row is None:
        raise LookupError(f"{api_version} {kind} is not in the table of kinds")
    return row


# The rows that controllers, scheduler and agent name in code.
CONFIGMAP: Final = _named("v1", "ConfigMap")
CONTROLLERREVISION: Final = _named("apps/v1", "ControllerRevision")
DEPLOYMENT: Final = _named("apps/v1", "Deployment")
ENDPOINTS: Final = _named("v1", "Endpoints")
ENDPOINTSLICE: Final = _named("discovery.k8s.io/v1", "EndpointSlice")
EVENT: Final = _named("v1", "Event")
LEASE: Final = _named("coordination.k8s.io/v1", "Lease")
NAMESPACE: Final = _named("v1", "Namespace")
NODE: Final = _named("v1", "Node")
POD: Final = _named("v1", "Pod")
REPLICASET: Final = _named("apps/v1", "ReplicaSet")
SECRET: Final = _named("v1", "Secret")
SERVICE: Final = _named("v1", "Service")
SERVICEACCOUNT: Final = _named("v1", "ServiceAccount")
