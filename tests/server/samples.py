"""A small valid object of every kind that is stored, with a change of its intent and a status that fits it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import yaml

from edgekube.api.kinds import BUILT_IN, Kind
from edgekube.api.objects import Object

#: Of a certificate for CN=a.
REQUEST: Final = (
    "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIR01HNENBUUF3RERFS01BZ0dBMVVFQXd3QllUQlpNQk1HQnlxR1NNNDlBZ0"
    "VHQ0NxR1NNNDlBd0VIQTBJQQpCTW83dnVCbk5KVnpZcUFFUkJDRzRKTkpJUDJHRWJ0dmdzMVM2TkE3MHV6bmVGMGZlSHBPYzV4SkJGaXhldks0"
    "CmVZYXU2YnVuQWt0d3BQNUswWGtVLzFLZ0FEQUtCZ2dxaGtqT1BRUURBZ05JQURCRkFpRUFtUmw4bXVGYU9relAKZll6aVJGSitDNWxLdzAxaH"
    "hlc2pnLzJaaE9nOXFiY0NJRnN6dzFIOGZmNlBGVjFMSHBBaHFBaWdOUDBqamdhYgp6d2ErZmxuRUVSdmsKLS0tLS1FTkQgQ0VSVElGSUNBVEUg"
    "UkVRVUVTVC0tLS0tCg=="
)
_POD: Final = "{metadata: {labels: {app: web}}, spec: {containers: [{name: main, image: 'demo:1'}]}}"
_JOB: Final = "{spec: {restartPolicy: Never, containers: [{name: main, image: 'demo:1'}]}}"
_WORKLOAD: Final = f"{{selector: {{matchLabels: {{app: web}}}}, template: {_POD}}}"
_CONDITION: Final = {
    "type": "Ready",
    "status": "True",
    "reason": "Seen",
    "message": "seen",
    "lastTransitionTime": "2026-01-02T03:04:05Z",
}
_HOOK: Final = (
    "[{name: a.example.com, sideEffects: None, admissionReviewVersions: [v1], clientConfig: {url: 'https://a.example'},"
    " rules: [{operations: [CREATE], apiGroups: [''], apiVersions: [v1], resources: [pods]}]}]"
)
_PUMPS: Final = "{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}"
_MATCH: Final = "{resourceRules: [{operations: [CREATE], apiGroups: [''], apiVersions: [v1], resources: [pods]}]}"


@dataclass(frozen=True)
class Sample:
    """``body`` is YAML without type and metadata. ``change`` is a merge patch that changes what is asked for, None where no
    such change is allowed. ``status`` is what a controller may write. ``name`` has room for a letter."""

    body: str
    change: Object | None = None
    status: Object | None = None
    name: str = "sample-{}"

    def made(self, kind: Kind, letter: str = "a", **metadata: Any) -> Object:
        name = self.name.format(letter)
        body: Object = yaml.safe_load(self.body.replace("NAME", name).replace("LETTER", letter))
        return {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": {"name": name, **metadata}, **body}


SAMPLES: Final[dict[tuple[str, str], Sample]] = {
    ("v1", "ConfigMap"): Sample("{data: {a: b}}", {"data": {"a": "c"}}),
    ("v1", "Endpoints"): Sample(
        "{subsets: [{addresses: [{ip: 10.42.0.5}], ports: [{port: 80}]}]}",
        {"subsets": [{"addresses": [{"ip": "10.42.0.6"}], "ports": [{"port": 80}]}]},
    ),
    ("v1", "Event"): Sample(
        "{involvedObject: {kind: Pod, name: p, namespace: default}, reason: Started, message: it runs, type: Normal}",
        {"count": 2},
    ),
    ("v1", "LimitRange"): Sample(
        "{spec: {limits: [{type: Container, max: {cpu: '2'}}]}}",
        {"spec": {"limits": [{"type": "Container", "max": {"cpu": "3"}}]}},
    ),
    ("v1", "Namespace"): Sample(
        "{}", status={"phase": "Active", "conditions": [{**_CONDITION, "type": "NamespaceContentRemaining"}]}
    ),
    ("v1", "Node"): Sample("{spec: {podCIDR: 10.42.7.0/24}}", {"spec": {"unschedulable": True}}, {"conditions": [_CONDITION]}),
    ("v1", "PersistentVolumeClaim"): Sample(
        "{spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}", None, {"phase": "Lost"}
    ),
    ("v1", "PersistentVolume"): Sample(
        "{spec: {accessModes: [ReadWriteOnce], capacity: {storage: 1Gi}, hostPath: {path: /data}}}",
        {"spec": {"persistentVolumeReclaimPolicy": "Delete"}},
        {"phase": "Available"},
    ),
    ("v1", "Pod"): Sample(
        "{spec: {containers: [{name: main, image: 'demo:1'}]}}",
        {"spec": {"activeDeadlineSeconds": 60}},
        {"phase": "Running", "message": "well"},
    ),
    ("v1", "PodTemplate"): Sample(f"{{template: {_POD}}}", {"template": {"metadata": {"labels": {"app": "other"}}}}),
    ("v1", "ReplicationController"): Sample(f"{{spec: {{template: {_POD}}}}}", {"spec": {"minReadySeconds": 2}}, {"replicas": 1}),
    ("v1", "ResourceQuota"): Sample("{spec: {hard: {pods: '10'}}}", {"spec": {"hard": {"pods": "9"}}}, {"hard": {"pods": "10"}}),
    ("v1", "Secret"): Sample("{data: {a: YQ==}}", {"data": {"a": "Yg=="}}),
    ("v1", "ServiceAccount"): Sample("{}", {"automountServiceAccountToken": False}),
    ("v1", "Service"): Sample(
        "{spec: {selector: {app: web}, ports: [{port: 80}]}}",
        {"spec": {"sessionAffinity": "ClientIP"}},
        {"conditions": [_CONDITION]},
    ),
    ("admissionregistration.k8s.io/v1", "MutatingAdmissionPolicy"): Sample(
        f"{{spec: {{matchConstraints: {_MATCH}, reinvocationPolicy: Never, mutations: [{{patchType: ApplyConfiguration,"
        " applyConfiguration: {expression: 'Object{}'}}]}}",
        {"spec": {"failurePolicy": "Ignore"}},
    ),
    ("admissionregistration.k8s.io/v1", "MutatingAdmissionPolicyBinding"): Sample(
        "{spec: {policyName: p}}", {"spec": {"matchResources": {"matchPolicy": "Exact"}}}
    ),
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"): Sample(
        f"{{webhooks: {_HOOK}}}", {"webhooks": [{**yaml.safe_load(_HOOK)[0], "timeoutSeconds": 3}]}
    ),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"): Sample(
        f"{{spec: {{matchConstraints: {_MATCH}, validations: [{{expression: 'true'}}]}}}}",
        {"spec": {"failurePolicy": "Ignore"}},
        {"observedGeneration": 1},
    ),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"): Sample(
        "{spec: {policyName: p, validationActions: [Deny]}}", {"spec": {"validationActions": ["Warn"]}}
    ),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"): Sample(
        f"{{webhooks: {_HOOK}}}", {"webhooks": [{**yaml.safe_load(_HOOK)[0], "timeoutSeconds": 3}]}
    ),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): Sample(
        "{spec: {group: factory.example, scope: Namespaced, names: {plural: pumpsLETTER, kind: PumpLETTER},"
        f" versions: [{_PUMPS}]}}}}",
        {"spec": {"versions": [{**yaml.safe_load(_PUMPS), "deprecated": True}]}},
        name="pumps{}.factory.example",
    ),
    ("apiregistration.k8s.io/v1", "APIService"): Sample(
        "{spec: {group: LETTER.example, version: v1, groupPriorityMinimum: 100, versionPriority: 10,"
        " service: {name: a, namespace: b}}}",
        {"spec": {"versionPriority": 11}},
        {"conditions": [{**_CONDITION, "type": "Available"}]},
        name="v1.{}.example",
    ),
    ("apps/v1", "ControllerRevision"): Sample("{revision: 1, data: {a: b}}", {"revision": 2}),
    ("apps/v1", "DaemonSet"): Sample(f"{{spec: {_WORKLOAD}}}", {"spec": {"minReadySeconds": 2}}, {"numberReady": 1}),
    ("apps/v1", "Deployment"): Sample(f"{{spec: {_WORKLOAD}}}", {"spec": {"minReadySeconds": 2}}, {"replicas": 1}),
    ("apps/v1", "ReplicaSet"): Sample(f"{{spec: {_WORKLOAD}}}", {"spec": {"minReadySeconds": 2}}, {"replicas": 1}),
    ("apps/v1", "StatefulSet"): Sample(f"{{spec: {_WORKLOAD}}}", {"spec": {"minReadySeconds": 2}}, {"replicas": 1}),
    ("autoscaling/v2", "HorizontalPodAutoscaler"): Sample(
        "{spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}",
        {"spec": {"maxReplicas": 4}},
        {"currentReplicas": 1},
    ),
    ("autoscaling/v1", "HorizontalPodAutoscaler"): Sample(
        "{spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}",
        {"spec": {"maxReplicas": 4}},
        {"currentReplicas": 1},
    ),
    ("batch/v1", "CronJob"): Sample(
        f"{{spec: {{schedule: '0 3 * * *', jobTemplate: {{spec: {{template: {_JOB}}}}}}}}}",
        {"spec": {"suspend": True}},
        {"lastScheduleTime": "2026-01-02T03:00:00Z"},
    ),
    ("batch/v1", "Job"): Sample(f"{{spec: {{template: {_JOB}}}}}", {"spec": {"parallelism": 2}}, {"active": 1}),
    ("certificates.k8s.io/v1", "CertificateSigningRequest"): Sample(
        f"{{spec: {{request: {REQUEST}, signerName: example.com/client, usages: [client auth]}}}}",
        None,
        {"conditions": [{**_CONDITION, "type": "Failed", "lastUpdateTime": "2026-01-02T03:04:05Z"}]},
    ),
    ("coordination.k8s.io/v1", "Lease"): Sample("{spec: {holderIdentity: me}}", {"spec": {"holderIdentity": "you"}}),
    ("discovery.k8s.io/v1", "EndpointSlice"): Sample(
        "{addressType: IPv4, endpoints: [{addresses: [10.42.0.5]}], ports: [{port: 80, name: ''}]}",
        {"endpoints": [{"addresses": ["10.42.0.6"]}]},
    ),
    ("events.k8s.io/v1", "Event"): Sample(
        "{regarding: {kind: Pod, name: p, namespace: default}, reason: Started, note: it runs, type: Normal, action: Starting,"
        " eventTime: '2026-01-02T03:04:05.000000Z', reportingController: example.com/x, reportingInstance: x-1}",
        {"series": {"count": 2, "lastObservedTime": "2026-01-02T03:05:05.000000Z"}},
    ),
    ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema"): Sample(
        "{spec: {priorityLevelConfiguration: {name: exempt}}}",
        {"spec": {"matchingPrecedence": 7}},
        {"conditions": [{**_CONDITION, "type": "Dangling"}]},
    ),
    ("flowcontrol.apiserver.k8s.io/v1", "PriorityLevelConfiguration"): Sample(
        "{spec: {type: Limited, limited: {limitResponse: {type: Reject}}}}",
        {"spec": {"limited": {"nominalConcurrencyShares": 7}}},
        {"conditions": [{**_CONDITION, "type": "Used"}]},
    ),
    ("networking.k8s.io/v1", "IngressClass"): Sample(
        "{spec: {controller: a.io/b}}",
        {"spec": {"parameters": {"apiGroup": "a.io", "kind": "P", "name": "p", "scope": "Cluster"}}},
    ),
    ("networking.k8s.io/v1", "Ingress"): Sample(
        "{spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}}",
        {"spec": {"defaultBackend": {"service": {"port": {"number": 81}}}}},
        {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}},
    ),
    ("networking.k8s.io/v1", "IPAddress"): Sample(
        "{spec: {parentRef: {resource: services, namespace: default, name: web}}}", None, name="2001:db8::{}"
    ),
    ("networking.k8s.io/v1", "NetworkPolicy"): Sample("{spec: {podSelector: {}}}", {"spec": {"policyTypes": ["Egress"]}}),
    ("networking.k8s.io/v1", "ServiceCIDR"): Sample("{spec: {cidrs: [10.99.0.0/24]}}", None, {"conditions": [{**_CONDITION}]}),
    ("node.k8s.io/v1", "RuntimeClass"): Sample("{handler: runsc}", {"overhead": {"podFixed": {"cpu": "1m"}}}),
    ("policy/v1", "PodDisruptionBudget"): Sample(
        "{spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}}", {"spec": {"minAvailable": 2}}, {"desiredHealthy": 1}
    ),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): Sample(
        "{roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}}",
        {"subjects": [{"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"}]},
    ),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"): Sample(
        "{rules: []}", {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]}
    ),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): Sample(
        "{roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: view}}",
        {"subjects": [{"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"}]},
    ),
    ("rbac.authorization.k8s.io/v1", "Role"): Sample(
        "{rules: []}", {"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}
    ),
    ("resource.k8s.io/v1", "DeviceClass"): Sample("{spec: {}}", {"spec": {"selectors": [{"cel": {"expression": "true"}}]}}),
    ("resource.k8s.io/v1", "ResourceClaim"): Sample(
        "{spec: {devices: {requests: [{name: one, exactly: {deviceClassName: gpu.example}}]}}}",
        None,
        {"reservedFor": [], "allocation": {"devices": {}}},
    ),
    ("resource.k8s.io/v1", "ResourceClaimTemplate"): Sample(
        "{spec: {spec: {devices: {requests: [{name: one, exactly: {deviceClassName: gpu.example}}]}}}}"
    ),
    ("resource.k8s.io/v1", "ResourceSlice"): Sample(
        "{spec: {driver: gpu.example, nodeName: pi, pool: {name: pi, generation: 1, resourceSliceCount: 1},"
        " devices: [{name: one}]}}",
        {"spec": {"devices": [{"name": "two"}]}},
    ),
    ("scheduling.k8s.io/v1", "PriorityClass"): Sample("{value: 1000}", {"description": "for what matters"}),
    ("storage.k8s.io/v1", "CSIDriver"): Sample("{spec: {}}", {"spec": {"requiresRepublish": True}}),
    ("storage.k8s.io/v1", "CSINode"): Sample(
        "{spec: {drivers: []}}", {"spec": {"drivers": [{"name": "a.example", "nodeID": "pi", "topologyKeys": []}]}}
    ),
    ("storage.k8s.io/v1", "CSIStorageCapacity"): Sample("{storageClassName: local, capacity: 1Gi}", {"capacity": "2Gi"}),
    ("storage.k8s.io/v1", "StorageClass"): Sample("{provisioner: a.io/b}", {"allowVolumeExpansion": True}),
    ("storage.k8s.io/v1", "VolumeAttachment"): Sample(
        "{spec: {attacher: a.example, nodeName: pi, source: {persistentVolumeName: data}}}", None, {"attached": True}
    ),
    ("storage.k8s.io/v1", "VolumeAttributesClass"): Sample("{driverName: a.example, parameters: {a: b}}"),
}

#: Every row that keeps objects; ComponentStatus makes its own up.
STORED: Final = tuple(kind for kind in BUILT_IN if kind.stored and kind.kind != "ComponentStatus")


def sample_of(kind: Kind) -> Sample:
    return SAMPLES[kind.api_version, kind.kind]
