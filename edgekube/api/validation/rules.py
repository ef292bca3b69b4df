"""The table of rules: which checks a kind has, and how its objects are named.

Enters: nothing; each group's rules are collected here.
Leaves: Rules by apiVersion and kind.
Holds: every stored built-in kind has a row; a test says so.
Next: api.validation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from msgspec import Struct, field

from edgekube.api import names
from edgekube.api.names import NameCheck
from edgekube.api.objects import Object
from edgekube.api.validation import (
    admissionregistration,
    apps,
    attachments,
    autoscaling,
    batch,
    control,
    core,
    csi,
    device_slices,
    devices,
    events,
    extensions,
    flowcontrol,
    job_changes,
    networking,
    pod_resize,
    pods,
    policies,
    quotas,
    rbac,
    services,
    storage,
)
from edgekube.api.validation.fields import Out

Check: TypeAlias = Callable[[Out, Object], None]
Change: TypeAlias = Callable[[Out, Object, Object], None]


class Rules(Struct, frozen=True):
    """``update`` replaces ``create`` on update when it is there; ``subresources`` replace both."""

    create: Check | None = None
    update: Change | None = None
    subresources: Mapping[str, Change] = field(default_factory=dict)
    #: None: the kind's own checks leave its metadata alone.
    name: NameCheck | None = names.dns1123_subdomain
    #: What remains to be asked of the metadata once all else is found good: that the name fits into a path.
    path_name: bool = False
    #: False for what is asked and never stored, and so has no name.
    metadata: bool = True
    #: False: a finalizer may be a name without a domain and a slash, as upstream's generic check has it. The kinds of
    #: admissionregistration, apiextensions, apiregistration and coordination, and a few others, are checked by no more than that.
    qualified_finalizers: bool = True


PLAIN: Final = Rules()

_CORE: Final[dict[str, Rules]] = {
    "Binding": Rules(pods.check_binding, metadata=False),
    "ConfigMap": Rules(core.check_config_map, core.check_config_map_update),
    "Endpoints": Rules(services.check_endpoints),
    "Event": Rules(events.check_event, events.check_event_update, name=None, path_name=True, qualified_finalizers=False),
    "LimitRange": Rules(quotas.check_limit_range),
    "Namespace": Rules(
        core.check_namespace,
        core.check_namespace_finalize,
        {"status": core.check_namespace_status, "finalize": core.check_namespace_finalize},
        names.dns1123_label,
    ),
    "Node": Rules(core.check_node, core.check_node_update),
    "PersistentVolume": Rules(storage.check_volume, storage.check_volume_update),
    "PersistentVolumeClaim": Rules(storage.check_claim, storage.check_claim_update, {"status": storage.check_claim_status}),
    "Pod": Rules(
        pods.check_pod_create,
        pods.check_pod_update,
        {
            "status": pods.check_pod_status,
            "ephemeralcontainers": pods.check_ephemeral_update,
            "resize": pod_resize.check_resize,
        },
    ),
    "PodTemplate": Rules(core.check_pod_template),
    "ReplicationController": Rules(
        core.check_replication_controller,
        subresources={"status": core.check_replication_controller_status},
        name=names.dns1123_long_name,
    ),
    "ResourceQuota": Rules(quotas.check_quota, quotas.check_quota_update, {"status": quotas.check_quota_status}),
    "Secret": Rules(core.check_secret, core.check_secret_update),
    "Service": Rules(
        services.check_service, services.check_service_update, {"status": services.check_service_status}, names.dns1123_label
    ),
    "ServiceAccount": PLAIN,
}

_APPS: Final[dict[str, Rules]] = {
    "ControllerRevision": Rules(apps.check_controller_revision, apps.check_controller_revision_update),
    "DaemonSet": Rules(apps.check_daemon_set, apps.check_daemon_set_update, {"status": apps.check_daemon_set_status}),
    "Deployment": Rules(apps.check_deployment, apps.check_deployment_update, {"status": apps.check_deployment_status}),
    "ReplicaSet": Rules(apps.check_replica_set, apps.check_replica_set_update, {"status": apps.check_replica_set_status}),
    "StatefulSet": Rules(
        apps.check_stateful_set,
        apps.check_stateful_set_update,
        {"status": apps.check_stateful_set_status},
        names.dns1123_label,
    ),
}

_WEBHOOKS: Final = Rules(admissionregistration.check_webhooks, qualified_finalizers=False)
_ADMISSION: Final[dict[str, Rules]] = {
    "MutatingAdmissionPolicy": Rules(
        policies.check_mutating_policy, policies.check_mutating_policy_update, qualified_finalizers=False
    ),
    "MutatingAdmissionPolicyBinding": Rules(policies.check_mutating_binding, qualified_finalizers=False),
    "MutatingWebhookConfiguration": _WEBHOOKS,
    "ValidatingAdmissionPolicy": Rules(
        policies.check_validating_policy,
        policies.check_validating_policy_update,
        {"status": policies.check_validating_policy_status},
        qualified_finalizers=False,
    ),
    "ValidatingAdmissionPolicyBinding": Rules(policies.check_validating_binding, qualified_finalizers=False),
    "ValidatingWebhookConfiguration": _WEBHOOKS,
}

_AUTOSCALER: Final = Rules(
    autoscaling.check_autoscaler, autoscaling.check_autoscaler_update, {"status": autoscaling.check_autoscaler_status}
)

_BATCH: Final[dict[str, Rules]] = {
    "CronJob": Rules(batch.check_cron_job, batch.check_cron_job_update),
    "Job": Rules(batch.check_job, job_changes.check_job_update, {"status": job_changes.check_job_status}),
}

_CERTIFICATES: Final[dict[str, Rules]] = {
    "CertificateSigningRequest": Rules(
        control.check_signing_request,
        control.check_signing_request_update,
        {"status": control.check_signing_request_status, "approval": control.check_signing_request_approval},
        control.any_name,
        path_name=True,
    ),
}

_NETWORKING: Final[dict[str, Rules]] = {
    "Ingress": Rules(
        networking.check_ingress_create, networking.check_ingress_update, {"status": networking.check_ingress_status}
    ),
    "IngressClass": Rules(networking.check_ingress_class, networking.check_ingress_class_update),
    "IPAddress": Rules(networking.check_ip_address, networking.check_ip_address_update, name=networking.address_name),
    "NetworkPolicy": Rules(networking.check_network_policy, networking.check_network_policy_update),
    "ServiceCIDR": Rules(networking.check_service_cidr, networking.check_service_cidr_update),
}

_RBAC: Final[dict[str, Rules]] = {
    "ClusterRole": Rules(rbac.check_cluster_role, name=names.path_segment),
    "ClusterRoleBinding": Rules(rbac.check_cluster_role_binding, rbac.check_cluster_role_binding_update, name=names.path_segment),
    "Role": Rules(rbac.check_role, name=names.path_segment),
    "RoleBinding": Rules(rbac.check_role_binding, rbac.check_role_binding_update, name=names.path_segment),
}

_RESOURCE: Final[dict[str, Rules]] = {
    "DeviceClass": Rules(devices.check_device_class, name=names.dns1123_long_name),
    "ResourceClaim": Rules(devices.check_claim, devices.check_claim_update),
    "ResourceClaimTemplate": Rules(devices.check_claim_template, devices.check_claim_template_update),
    "ResourceSlice": Rules(device_slices.check_slice, device_slices.check_slice_update),
}

_STORAGE: Final[dict[str, Rules]] = {
    "CSIDriver": Rules(csi.check_csi_driver, csi.check_csi_driver_update),
    "CSINode": Rules(csi.check_csi_node, csi.check_csi_node_update),
    "CSIStorageCapacity": Rules(csi.check_capacity, csi.check_capacity_update),
    "StorageClass": Rules(storage.check_storage_class, storage.check_storage_class_update),
    "VolumeAttachment": Rules(
        attachments.check_attachment, attachments.check_attachment_update, {"status": attachments.check_attachment_update}
    ),
    "VolumeAttributesClass": Rules(storage.check_attributes_class, storage.check_attributes_class_update),
}

#: Reviews are asked, never stored: they have no name, and the server that answers them checks what it needs.
_REVIEW: Final = Rules(metadata=False)

GROUPS: Final[dict[str, dict[str, Rules]]] = {
    "v1": _CORE,
    "admissionregistration.k8s.io/v1": _ADMISSION,
    "apiextensions.k8s.io/v1": {
        "CustomResourceDefinition": Rules(
            extensions.check_definition,
            extensions.check_definition_update,
            {"status": extensions.check_definition_status},
            qualified_finalizers=False,
        ),
    },
    "apiregistration.k8s.io/v1": {
        "APIService": Rules(extensions.check_api_service, name=names.path_segment, qualified_finalizers=False)
    },
    "apps/v1": _APPS,
    "authentication.k8s.io/v1": dict.fromkeys(("SelfSubjectReview", "TokenReview"), _REVIEW),
    "authorization.k8s.io/v1": dict.fromkeys(
        ("LocalSubjectAccessReview", "SelfSubjectAccessReview", "SelfSubjectRulesReview", "SubjectAccessReview"), _REVIEW
    ),
    "autoscaling/v1": {"HorizontalPodAutoscaler": _AUTOSCALER},
    "autoscaling/v2": {"HorizontalPodAutoscaler": _AUTOSCALER},
    "batch/v1": _BATCH,
    "certificates.k8s.io/v1": _CERTIFICATES,
    "coordination.k8s.io/v1": {"Lease": Rules(control.check_lease, qualified_finalizers=False)},
    "discovery.k8s.io/v1": {
        "EndpointSlice": Rules(networking.check_endpoint_slice, networking.check_endpoint_slice_update),
    },
    "events.k8s.io/v1": {"Event": Rules(events.check_events_v1, events.check_events_v1_update)},
    "flowcontrol.apiserver.k8s.io/v1": {
        "FlowSchema": Rules(flowcontrol.check_flow_schema, subresources={"status": flowcontrol.check_status}),
        "PriorityLevelConfiguration": Rules(flowcontrol.check_priority_level, subresources={"status": flowcontrol.check_status}),
    },
    "networking.k8s.io/v1": _NETWORKING,
    "node.k8s.io/v1": {
        "RuntimeClass": Rules(control.check_runtime_class, control.check_runtime_class_update, qualified_finalizers=False)
    },
    "policy/v1": {
        "PodDisruptionBudget": Rules(
            autoscaling.check_budget,
            subresources={"status": autoscaling.check_budget_status},
            name=None,
            path_name=True,
            qualified_finalizers=False,
        ),
    },
    "rbac.authorization.k8s.io/v1": _RBAC,
    "resource.k8s.io/v1": _RESOURCE,
    "scheduling.k8s.io/v1": {
        "PriorityClass": Rules(control.check_priority_class, control.check_priority_class_update),
    },
    "storage.k8s.io/v1": _STORAGE,
}
