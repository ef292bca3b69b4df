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
    #: Names that a definition chose; "" for what follows from ``kind``.
    singular_name: str = ""
    list_kind_name: str = ""
    #: Paths of the fields that a definition lets field selectors ask for: ``spec.color``.
    selectable_fields: tuple[str, ...] = ()
    #: additionalPrinterColumns as compressed JSON, and specReplicasPath, statusReplicasPath, labelSelectorPath of scale.
    printer_columns: bytes = field(default=b"", compare=False, repr=False)
    scale_paths: tuple[str, str, str] | None = None
    #: What a Warning header says to whoever uses the version; "" for nothing.
    deprecation: str = ""
    #: Rises with each change of the definition's spec, so that whatever was made of it is made anew.
    definition_generation: int = 0

    # What follows from these; asked so often that it is made once.

    #: ``apps/v1``, or ``v1`` for the core group.
    api_version: str = field(init=False, compare=False, repr=False)
    #: The store's name for the rows: ``deployments.apps``, ``pods``. The same for every version.
    resource: str = field(init=False, compare=False, repr=False)
    #: The served name, as error messages give it: ``deployments.apps``, ``pods``.
    group_resource: str = field(init=False, compare=False, repr=False)
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        group, plural = self.stored_as or (self.group, self.plural)
        put = object.__setattr__
        put(self, "api_version", f"{self.group}/{self.version}" if self.group else self.version)
        put(self, "resource", f"{plural}.{group}" if group else plural)
        put(self, "group_resource", f"{self.plural}.{self.group}" if self.group else self.plural)
        put(self, "_hash", hash((self.group, self.version, self.plural, self.definition_generation)))

    def __hash__(self) -> int:
        return self._hash

    @property
    def singular(self) -> str:
        return self.singular_name or self.kind.lower()

    @property
    def list_kind(self) -> str:
        return self.list_kind_name or f"{self.kind}List"

    @property
    def stored(self) -> bool:
        return "get" in self.verbs

    @property
    def head(self) -> bytes:
        """How the JSON of an object begins, as it is stored and served."""
        return f'{{"kind":"{self.kind}","apiVersion":"{self.api_version}",'.encode()

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

#: What nodes read of every pod (api.pod_address): made from the stored pods, never written.
PODADDRESS: Final = Kind(
    "internal.edgekube.io", "v1", "PodAddress", "podaddresses", verbs=("get", "list", "watch"), stored_as=("", "pods")
)


class KindTable:
    """Look-ups over rows. The built-in table never changes; registry.served_kinds adds custom resources."""

    def __init__(self, rows: Iterable[Kind], *, internal: Iterable[Kind] = ()) -> None:
        """``internal`` rows are served to whoever knows their path and may; discovery and the like do not name them."""
        self.rows: tuple[Kind, ...] = tuple(rows)
        every = (*self.rows, *internal)
        self._by_path = {(row.group, row.version, row.plural): row for row in every}
        self._by_name = {(row.api_version, row.kind): row for row in every}
        if len(self._by_path) != len(every):
            raise ValueError("two rows share group, version and plural")

    def by_resource(self, group: str, version: str, plural: str) -> Kind | None:
        return self._by_path.get((group, version, plural))

    def by_kind(self, api_version: str, kind: str) -> Kind | None:
        return self._by_name.get((api_version, kind))


KINDS: Final = KindTable(BUILT_IN, internal=[PODADDRESS])


def built_in(api_version: str, kind: str) -> Kind:
    """LookupError: a mistake of ours."""
    row = KINDS.by_kind(api_version, kind)
    if row is None:
        raise LookupError(f"{api_version} {kind} is not in the table of kinds")
    return row


# The rows that are named in code.
APISERVICE: Final = built_in("apiregistration.k8s.io/v1", "APIService")
CERTIFICATESIGNINGREQUEST: Final = built_in("certificates.k8s.io/v1", "CertificateSigningRequest")
CLUSTERROLE: Final = built_in("rbac.authorization.k8s.io/v1", "ClusterRole")
CLUSTERROLEBINDING: Final = built_in("rbac.authorization.k8s.io/v1", "ClusterRoleBinding")
CONFIGMAP: Final = built_in("v1", "ConfigMap")
CONTROLLERREVISION: Final = built_in("apps/v1", "ControllerRevision")
CRONJOB: Final = built_in("batch/v1", "CronJob")
CSIDRIVER: Final = built_in("storage.k8s.io/v1", "CSIDriver")
CSINODE: Final = built_in("storage.k8s.io/v1", "CSINode")
CSISTORAGECAPACITY: Final = built_in("storage.k8s.io/v1", "CSIStorageCapacity")
CUSTOMRESOURCEDEFINITION: Final = built_in("apiextensions.k8s.io/v1", "CustomResourceDefinition")
DAEMONSET: Final = built_in("apps/v1", "DaemonSet")
DEPLOYMENT: Final = built_in("apps/v1", "Deployment")
ENDPOINTS: Final = built_in("v1", "Endpoints")
ENDPOINTSLICE: Final = built_in("discovery.k8s.io/v1", "EndpointSlice")
EVENT: Final = built_in("v1", "Event")
FLOWSCHEMA: Final = built_in("flowcontrol.apiserver.k8s.io/v1", "FlowSchema")
HORIZONTALPODAUTOSCALER: Final = built_in("autoscaling/v2", "HorizontalPodAutoscaler")
INGRESSCLASS: Final = built_in("networking.k8s.io/v1", "IngressClass")
IPADDRESS: Final = built_in("networking.k8s.io/v1", "IPAddress")
JOB: Final = built_in("batch/v1", "Job")
LEASE: Final = built_in("coordination.k8s.io/v1", "Lease")
NAMESPACE: Final = built_in("v1", "Namespace")
NETWORKPOLICY: Final = built_in("networking.k8s.io/v1", "NetworkPolicy")
NODE: Final = built_in("v1", "Node")
PERSISTENTVOLUME: Final = built_in("v1", "PersistentVolume")
PERSISTENTVOLUMECLAIM: Final = built_in("v1", "PersistentVolumeClaim")
POD: Final = built_in("v1", "Pod")
PODDISRUPTIONBUDGET: Final = built_in("policy/v1", "PodDisruptionBudget")
PRIORITYCLASS: Final = built_in("scheduling.k8s.io/v1", "PriorityClass")
PRIORITYLEVELCONFIGURATION: Final = built_in("flowcontrol.apiserver.k8s.io/v1", "PriorityLevelConfiguration")
REPLICASET: Final = built_in("apps/v1", "ReplicaSet")
REPLICATIONCONTROLLER: Final = built_in("v1", "ReplicationController")
RESOURCEQUOTA: Final = built_in("v1", "ResourceQuota")
ROLE: Final = built_in("rbac.authorization.k8s.io/v1", "Role")
ROLEBINDING: Final = built_in("rbac.authorization.k8s.io/v1", "RoleBinding")
RUNTIMECLASS: Final = built_in("node.k8s.io/v1", "RuntimeClass")
SECRET: Final = built_in("v1", "Secret")
SERVICE: Final = built_in("v1", "Service")
SERVICEACCOUNT: Final = built_in("v1", "ServiceAccount")
SERVICECIDR: Final = built_in("networking.k8s.io/v1", "ServiceCIDR")
STATEFULSET: Final = built_in("apps/v1", "StatefulSet")
STORAGECLASS: Final = built_in("storage.k8s.io/v1", "StorageClass")
VALIDATINGADMISSIONPOLICY: Final = built_in("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy")
VOLUMEATTACHMENT: Final = built_in("storage.k8s.io/v1", "VolumeAttachment")
VOLUMEATTRIBUTESCLASS: Final = built_in("storage.k8s.io/v1", "VolumeAttributesClass")
