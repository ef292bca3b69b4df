"""What kube-apiserver v1.36.2 answers to objects that are wrong in one place (tests.upstream asks both)."""

# ruff: noqa: E501  # the words of a refusal stand on one line, as clients show them

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.api.refusals import GONE, changes_refused, edited, manifest, refusals
from tests.server.samples import REQUEST

_LABEL = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
_SUBDOMAIN = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
_VERBS = '"create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"'
_TEMPLATE = "template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: nginx}]}}"
_WORKLOAD = f"metadata: {{name: web}}, spec: {{selector: {{matchLabels: {{app: web}}}}, {_TEMPLATE}}}"
_UNMATCHED = "`selector` does not match template `labels`"
_IMMUTABLE = "field is immutable"


def _request(body: str) -> str:
    return base64.b64encode(f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n".encode()).decode()


GOOD = {
    name: manifest(text)
    for name, text in {
        "flowschema": "{apiVersion: flowcontrol.apiserver.k8s.io/v1, kind: FlowSchema, metadata: {name: some}, spec:"
        " {matchingPrecedence: 100, priorityLevelConfiguration: {name: some}, rules: [{subjects: [{kind: Group, group: {name: g}}],"
        " resourceRules: [{verbs: [get], apiGroups: [''], resources: [pods], namespaces: [shop]}],"
        " nonResourceRules: [{verbs: ['*'], nonResourceURLs: [/healthz/*]}]}]}}",
        "level": "{apiVersion: flowcontrol.apiserver.k8s.io/v1, kind: PriorityLevelConfiguration, metadata: {name: some}, spec:"
        " {type: Limited, limited: {nominalConcurrencyShares: 5, limitResponse: {type: Queue, queuing: {queues: 64, handSize: 4,"
        " queueLengthLimit: 10}}}}}",
        "event": "{apiVersion: v1, kind: Event, metadata: {name: happened, namespace: shop}, involvedObject: {kind: Pod,"
        " name: web, namespace: shop}}",
        "event-v1": "{apiVersion: events.k8s.io/v1, kind: Event, metadata: {name: happened, namespace: default}, eventTime:"
        " '2026-01-01T00:00:00.000000Z', regarding: {kind: Pod, name: web, namespace: shop}, action: Start, reason: Started, type:"
        " Normal, reportingController: a.io/b, reportingInstance: b-0}",
        "budget": "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: web}, spec: {minAvailable: 1}}",
        "deployment": f"{{apiVersion: apps/v1, kind: Deployment, {_WORKLOAD}}}",
        "daemonset": f"{{apiVersion: apps/v1, kind: DaemonSet, {_WORKLOAD}}}",
        "statefulset": "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db}, spec: {selector: {matchLabels: {app: web}},"
        f" serviceName: db, {_TEMPLATE}, volumeClaimTemplates: [{{metadata: {{name: data}}, spec: {{accessModes: [ReadWriteOnce],"
        " resources: {requests: {storage: 1Gi}}}}]}}",
        "revision": "{apiVersion: apps/v1, kind: ControllerRevision, metadata: {name: one}, revision: 1, data: {a: b}}",
        "role": "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: all}, aggregationRule:"
        " {clusterRoleSelectors: [{matchLabels: {a: b}}]}}",
        "binding": "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: r}, roleRef: {kind: Role,"
        " name: view}, subjects: [{kind: ServiceAccount, name: bot, namespace: shop}]}",
        "autoscaler": "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: web}, spec: {maxReplicas: 3,"
        " scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}",
        "slice": "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-a}, addressType: IPv4, endpoints:"
        " [{addresses: [10.42.0.5], hints: {forNodes: [{name: pi}]}}], ports: [{port: 80}]}",
        "policy": "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: n}, spec: {podSelector: {}, ingress:"
        " [{ports: [{port: 80, endPort: 90}]}]}}",
        "cidr": "{apiVersion: networking.k8s.io/v1, kind: ServiceCIDR, metadata: {name: more}, spec: {cidrs: [10.99.0.0/24]}}",
        "node": "{apiVersion: v1, kind: Node, metadata: {name: pi}, spec: {podCIDRs: [10.42.0.0/24], taints: [{key: k, effect:"
        " NoSchedule}]}}",
        "class": "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: local}, provisioner: A.io/b}",
        "driver": "{apiVersion: storage.k8s.io/v1, kind: CSIDriver, metadata: {name: disk.example.com}, spec: {}}",
        "runtime": "{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: gvisor}, handler: runsc, scheduling:"
        " {tolerations: [{operator: Exists}]}}",
        "quota": "{apiVersion: v1, kind: ResourceQuota, metadata: {name: q}, spec: {hard: {pods: '10'}}}",
        "service-api": "{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: v1.a.example}, spec: {group:"
        " a.example, version: v1, groupPriorityMinimum: 100, versionPriority: 10}}",
        "pod": "{apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: web, tier: back}}, spec: {containers: [{name: web,"
        " image: nginx, resources: {requests: {cpu: 50m, memory: 32Mi}}}], topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone,"
        " whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: web}, matchExpressions: [{key: tier, operator: In,"
        " values: [back]}]}, matchLabelKeys: [tier]}]}}",
        "policy-of-admission": "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: p},"
        " spec: {matchConstraints: {resourceRules: [{operations: [CREATE], apiGroups: [''], apiVersions: [v1], resources: [pods]}]},"
        " validations: [{expression: 'true'}]}}",
        "devices": "{apiVersion: resource.k8s.io/v1, kind: ResourceSlice, metadata: {name: s}, spec: {driver: a.example, nodeName: pi,"
        " pool: {name: pool/a, resourceSliceCount: 1}, devices: [{name: one}]}}",
        "device-class": "{apiVersion: resource.k8s.io/v1, kind: DeviceClass, metadata: {name: gpu}}",
        "claim": "{apiVersion: resource.k8s.io/v1, kind: ResourceClaim, metadata: {name: c}, spec: {devices: {requests: [{name: one,"
        " exactly: {deviceClassName: gpu, allocationMode: ExactCount, count: 1}}]}}}",
        "request": "{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {name: a}, spec: {request:"
        f" {REQUEST}, signerName: a.example/client, usages: [client auth]}}}}",
        "storage-claim": "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c}, spec: {accessModes: [ReadWriteOnce],"
        " resources: {requests: {storage: 2Gi}}}, status: {phase: Bound, capacity: {storage: 2Gi}}}",
        "volume": "{apiVersion: v1, kind: PersistentVolume, metadata: {name: pv}, spec: {capacity: {storage: 1Gi}, accessModes:"
        " [ReadWriteOnce], csi: {driver: a.example, volumeHandle: h, nodePublishSecretRef: {name: s, namespace: shop}}}}",
        "external": "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {type: ExternalName, externalName: a.example}}",
        "attachment": "{apiVersion: storage.k8s.io/v1, kind: VolumeAttachment, metadata: {name: v}, spec: {attacher: a.example,"
        " nodeName: pi, source: {persistentVolumeName: pv}}}",
    }.items()
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_one_passes(name: str) -> None:
    assert refusals(GOOD[name]) == []
    assert changes_refused(GOOD[name], GOOD[name]) == []


_RULE = "spec.rules[0]"
_DEVICE = "spec.devices[0]"
_EACH_PLACE = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
_EXCEPT = "spec.ingress[0].from[0].ipBlock.except"
_FILLED = {"imagePullPolicy": "Always", "terminationMessagePolicy": "File"}
_RESTARTS = {"resourceName": "cpu", "restartPolicy": "RestartContainer"}
_QUEUING = "spec.limited.limitResponse.queuing"
REFUSED: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        "flowschema",
        {"spec.matchingPrecedence": 1},
        ["spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1"],
    ),
    (
        "flowschema",
        {"spec.distinguisherMethod": {}},
        ['spec.distinguisherMethod.type: Unsupported value: {"Type":""}: supported values: "ByNamespace", "ByUser"'],
    ),
    ("flowschema", {f"{_RULE}.subjects[0].group.name": GONE}, [f"{_RULE}.subjects[0].group.name: Required value"]),
    (
        "flowschema",
        {f"{_RULE}.subjects[0].user": {"name": "u"}},
        [f"{_RULE}.subjects[0].user: Forbidden: user is forbidden when subject kind is not 'User'"],
    ),
    (
        "flowschema",
        {f"{_RULE}.subjects[0]": {"kind": "ServiceAccount", "serviceAccount": {"name": "*"}}},
        [f"{_RULE}.subjects[0].serviceAccount.namespace: Required value: must specify namespace for service account"],
    ),
    (
        "flowschema",
        {f"{_RULE}.resourceRules[0].verbs": ["get", "*"], f"{_RULE}.resourceRules[0].namespaces": ["a.b"]},
        [
            f"{_RULE}.resourceRules[0].verbs: Invalid value: [\"get\",\"*\"]: if '*' is present, must not specify other verbs",
            f"{_RULE}.resourceRules[0].namespaces[0]: Invalid value: \"a.b\": each member of this list must be '*' or a DNS-1123 label; must not contain dots",
        ],
    ),
    (
        "flowschema",
        {f"{_RULE}.nonResourceRules[0].verbs": ["x"], f"{_RULE}.nonResourceRules[0].nonResourceURLs": ["", "x", "/a b", "//", "/*a", "/"]},
        [
            f'{_RULE}.nonResourceRules[0].verbs: Unsupported value: ["x"]: supported values: {_VERBS}',
            f'{_RULE}.nonResourceRules[0].nonResourceURLs[0]: Invalid value: "": must not be empty',
            f'{_RULE}.nonResourceRules[0].nonResourceURLs[1]: Invalid value: "x": must start with slash',
            f'{_RULE}.nonResourceRules[0].nonResourceURLs[2]: Invalid value: "/a b": must not contain white-space',
            f'{_RULE}.nonResourceRules[0].nonResourceURLs[3]: Invalid value: "//": must not contain double slash',
            f'{_RULE}.nonResourceRules[0].nonResourceURLs[4]: Invalid value: "/*a": wildcard can only do suffix matching',
        ],
    ),
    (
        "level",
        {"spec.type": "Exempt", "spec.limited": GONE},
        ["spec.type: Invalid value: \"Exempt\": must be 'Exempt' if and only if `name` is 'exempt'"],
    ),
    (
        "level",
        {"metadata.name": "catch-all", "spec.limited": {"nominalConcurrencyShares": 5, "lendablePercent": 1, "limitResponse": {"type": "Reject"}}},
        [
            'spec: Invalid value: {"type":"Limited","limited":{"nominalConcurrencyShares":5,"lendablePercent":1,"limitResponse":{"type":"Reject"}}}: spec of \'catch-all\' must equal the fixed value'
        ],
    ),
    (
        "level",
        {f"{_QUEUING}.queues": 70000},
        [f"{_QUEUING}.handSize: Invalid value: 4: required entropy bits of deckSize 70000 and handSize 4 should not be greater than 60"],
    ),
    (
        "level",
        {f"{_QUEUING}.queues": -1, "spec.limited.borrowingLimitPercent": -1},
        [
            f"{_QUEUING}.queues: Invalid value: -1: must be positive",
            f"{_QUEUING}.handSize: Invalid value: 4: should not be greater than queues (-1)",
            "spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer",
        ],
    ),
    ("event", {"metadata.name": "Not a_name"}, []),
    ("event", {"metadata.name": "a/b"}, ["metadata.name: Invalid value: \"a/b\": may not contain '/'"]),
    (
        "event",
        {"involvedObject.namespace": "other", "metadata.name": "a/b"},
        ['involvedObject.namespace: Invalid value: "other": does not match event.namespace'],
    ),
    ("event-v1", {"regarding.namespace": GONE}, []),
    ("event-v1", {"deprecatedCount": 3}, ['count: Invalid value: "": needs to be unset']),
    (
        "event-v1",
        {"series": {"count": 1}},
        ['series.count: Invalid value: "": should be at least 2', "series.lastObservedTime: Required value"],
    ),
    (
        "event-v1",
        {"eventTime": GONE, "type": GONE},
        [
            'involvedObject.namespace: Invalid value: "shop": does not match event.namespace',
            "eventTime: Required value",
            'type: Invalid value: "": has invalid value: ',
        ],
    ),
    ("budget", {"metadata.name": "Not a_name"}, []),
    ("budget", {"metadata.name": GONE}, ["metadata.name: Required value: name or generateName is required"]),
    (
        "deployment",
        {"spec.selector.matchExpressions": [{"key": "a", "operator": "In", "values": []}]},
        [
            "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            'spec.selector: Invalid value: {"matchLabels":{"app":"web"},"matchExpressions":[{"key":"a","operator":"In"}]}: invalid label selector',
        ],
    ),
    ("deployment", {"spec.template.metadata": {}}, [f"spec.template.metadata.labels: Invalid value: null: {_UNMATCHED}"]),
    (
        "deployment",
        {"spec.strategy.type": "Slow"},
        [
            'spec.strategy: Unsupported value: {"Type":"Slow","RollingUpdate":{"MaxUnavailable":"25%","MaxSurge":"25%"}}: supported values: "Recreate", "RollingUpdate"'
        ],
    ),
    ("daemonset", {"spec.selector": GONE}, [f'spec.template.metadata.labels: Invalid value: {{"app":"web"}}: {_UNMATCHED}']),
    ("daemonset", {"spec.selector": {"matchLabels": {}}}, ["spec.selector: Invalid value: {}: empty selector is invalid for daemonset"]),
    ("statefulset", {"spec.serviceName": "a.b"}, ['spec.serviceName: Invalid value: "a.b": must not contain dots']),
    (
        "statefulset",
        {"spec.volumeClaimTemplates[0].spec": {}},
        [
            "spec.volumeClaimTemplates[0].spec.accessModes: Required value: at least 1 access mode is required",
            "spec.volumeClaimTemplates[0].spec.resources[storage]: Required value",
        ],
    ),
    (
        "statefulset",
        {"spec.volumeClaimTemplates[0].metadata": {}},
        [
            "spec.template.spec.volumes[0].persistentVolumeClaim.claimName: Required value",
            "spec.template.spec.volumes[0].name: Required value",
        ],
    ),
    ("statefulset", {"spec.revisionHistoryLimit": -1, "spec.template.spec.hostname": "A_b"}, []),
    (
        "statefulset",
        {"spec.updateStrategy.type": "Slow"},
        [
            'spec.updateStrategy: Invalid value: {"Type":"Slow","RollingUpdate":{"Partition":0,"MaxUnavailable":null}}: must be \'RollingUpdate\' or \'OnDelete\''
        ],
    ),
    ("revision", {"data": {}}, []),
    ("revision", {"data": "x"}, ["data: Required value: data must be a valid JSON object"]),
    ("revision", {"data": GONE}, ["data: Required value: data is mandatory"]),
    (
        "role",
        {"aggregationRule.clusterRoleSelectors[0]": {"matchExpressions": [{"key": "a", "operator": "Like"}]}},
        [
            'aggregationRule.clusterRoleSelectors[0].matchExpressions[0].operator: Invalid value: "Like": not a valid selector operator',
            "aggregationRule.clusterRoleSelectors[0]: Invalid value: null: invalid label selector.",
        ],
    ),
    ("binding", {"subjects[0].namespace": "a.b"}, []),
    ("autoscaler", {"spec.maxReplicas": -1}, ["spec.maxReplicas: Invalid value: -1: must be greater than or equal to 1", "spec.maxReplicas: Invalid value: -1: must be greater than or equal to `minReplicas`"]),
    (
        "autoscaler",
        {"spec.scaleTargetRef.apiVersion": "v1"},
        ['spec.scaleTargetRef.apiVersion: Invalid value: "v1": apiVersion must specify API group'],
    ),
    ("autoscaler", {"spec.scaleTargetRef": {"apiVersion": "v1", "kind": "ReplicationController", "name": "web"}}, []),
    (
        "slice",
        {"endpoints[0].hints.forNodes": [{"name": "pi"}, {"name": "pi"}, {"name": "P_i"}]},
        [
            'endpoints[0].hints.forNodes[1].name: Duplicate value: "pi"',
            f'endpoints[0].hints.forNodes[2].name: Invalid value: "P_i": {_SUBDOMAIN}',
        ],
    ),
    ("slice", {"ports[0].port": 70000}, []),
    ("slice", {"ports[0].protocol": ""}, ['ports[0].protocol: Unsupported value: "": supported values: "SCTP", "TCP", "UDP"']),
    (
        "policy",
        {"spec.ingress[0].ports[0].endPort": 79, "spec.ingress[0].ports[0].protocol": ""},
        [
            'spec.ingress[0].ports[0].protocol: Unsupported value: "": supported values: "TCP", "UDP", "SCTP"',
            "spec.ingress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`",
        ],
    ),
    (
        "cidr",
        {"spec.cidrs": ["10.99.0.0/24", "10.98.0.0/24"]},
        [
            'spec.cidrs: Invalid value: ["10.99.0.0/24","10.98.0.0/24"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64'
        ],
    ),
    (
        "node",
        {"spec.taints[1]": {"key": "k", "effect": "NoSchedule"}},
        [
            'metadata.taints[1]: Duplicate value: {"Key":"k","Value":"","Effect":"NoSchedule","TimeAdded":null}: taints must be unique by key and effect pair'
        ],
    ),
    ("class", {"allowedTopologies": [{}]}, ['allowedTopologies[0].matchLabelExpressions: Duplicate value: ""']),
    (
        "class",
        {"volumeBindingMode": "", "provisioner": "-Bad!"},
        [
            "provisioner: Invalid value: \"-bad!\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            'volumeBindingMode: Unsupported value: "": supported values: "Immediate", "WaitForFirstConsumer"',
        ],
    ),
    (
        "driver",
        {"spec.fsGroupPolicy": ""},
        ['spec.fsGroupPolicy: Unsupported value: "": supported values: "File", "None", "ReadWriteOnceWithFSType"'],
    ),
    ("runtime", {"handler": ""}, ["handler: Required value"]),
    (
        "runtime",
        {"scheduling.tolerations[1]": {"operator": "Exists"}},
        [
            'scheduling.tolerations[1]: Duplicate value: {"Key":"","Operator":"Exists","Value":"","Effect":"","TolerationSeconds":null}'
        ],
    ),
    (
        "runtime",
        {"overhead": {"podFixed": {"a": "1"}}},
        [
            'overhead.limits[a]: Invalid value: "a": must be a standard resource type or fully qualified',
            'overhead.limits[a]: Invalid value: "a": must be a standard resource for containers',
        ],
    ),
    (
        "quota",
        {"spec.hard": {"a": "1"}},
        [
            'spec.hard[a]: Invalid value: "a": must be a standard resource type or fully qualified',
            'spec.hard[a]: Invalid value: "a": must be a standard resource for quota',
        ],
    ),
    (
        "quota",
        {"spec.hard": {"services": "1"}, "spec.scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "Exists"}]}},
        [
            'spec.scopeSelector.matchExpressions: Invalid value: {"MatchExpressions":[{"ScopeName":"PriorityClass","Operator":"Exists","Values":null}]}: unsupported scope applied to resource'
        ],
    ),
    ("service-api", {"metadata.name": "a/b"}, ["metadata.name: Invalid value: \"a/b\": may not contain '/'"]),
    ("service-api", {"metadata.name": GONE}, ["metadata.name: Required value: name or generateName is required"]),
    (
        "pod",
        {"spec.topologySpreadConstraints[0].labelSelector.matchLabels": {"tier": "back"}},
        ['spec.topologySpreadConstraints[0][0]: Invalid value: "tier": exists in both matchLabelKeys and labelSelector'],
    ),
    (
        "pod",
        {"spec.containers[0].restartPolicy": "", "spec.containers[0].restartPolicyRules": [{"exitCodes": {}}]},
        [
            'spec.containers[0].restartPolicy: Unsupported value: "": supported values: "Always", "Never", "OnFailure"',
            'spec.containers[0].restartPolicyRules[0].action: Unsupported value: "": supported values: "Restart", "RestartAllContainers"',
            'spec.containers[0].restartPolicyRules[0].exitCodes.operator: Unsupported value: "": supported values: "In", "NotIn"',
        ],
    ),
    (
        "pod",
        {"spec.resources": {"requests": {"cpu": "10m", "memory": "5"}}},
        [
            'spec.resources.requests[cpu]: Invalid value: "10m": must be greater than or equal to aggregate container requests of 50m',
            'spec.resources.requests[memory]: Invalid value: "5": must be greater than or equal to aggregate container requests of 32Mi',
        ],
    ),
    ("pod", {"spec.os": {"name": "windows"}, "spec.resources": {}}, ["spec.resources: Forbidden: may not be set for a windows pod"]),
    (
        "pod",
        {"spec.securityContext.seccompProfile": {"type": "Unconfined", "localhostProfile": "a.json"}},
        [
            'spec.securityContext.seccompProfile.localhostProfile: Invalid value: {"Type":"Unconfined","LocalhostProfile":"a.json"}: can only be set when seccomp type is Localhost'
        ],
    ),
    (
        "policy-of-admission",
        {"spec.failurePolicy": "", "spec.validations[0].reason": ""},
        [
            'spec.failurePolicy: Unsupported value: "": supported values: "Fail", "Ignore"',
            'spec.validations[0].reason: Unsupported value: "": supported values: "Forbidden", "Invalid", "RequestEntityTooLarge"',
        ],
    ),
    (
        "devices",
        {"spec.pool.name": "A", "spec.pool.generation": -1, "spec.devices[1]": {"name": "one"}},
        [
            f'spec.pool.name: Invalid value: "A": {_SUBDOMAIN}',
            "spec.pool.generation: Invalid value: -1: must be greater than or equal to zero",
            'spec.devices[1]: Duplicate value: "one"',
        ],
    ),
    ("devices", {"spec.devices[0].name": GONE}, [f'spec.devices[0].name: Invalid value: "": {_LABEL}']),
    (
        "policy",
        {"spec.ingress[0].from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/08", "11.0.0.0/16", "10.1.0.0/16"]}}]},
        [
            f'{_EXCEPT}[0]: Invalid value: "10.0.0.0/08": must not have leading 0s in IP or prefix length',
            f'{_EXCEPT}[0]: Invalid value: "10.0.0.0/08": must be a strict subset of `cidr`',
            f'{_EXCEPT}[1]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`',
        ],
    ),
    ("device-class", {"spec": {"extendedResourceName": "cpu"}}, ['spec.extendedResourceName: Invalid value: "cpu": must be a valid extended resource name']),
    (
        "pod",
        {"spec.initContainers": [{"name": "i", "image": "b", **_FILLED, "resizePolicy": [_RESTARTS]}]},
        ["spec.initContainers[0].resizePolicy[0].restartPolicy: Invalid value: \"RestartContainer\": must not be set to 'RestartContainer' for non-sidecar initContainers"],
    ),
    (
        "pod",
        {"spec.restartPolicy": "Never", "spec.containers[0].resizePolicy": [_RESTARTS]},
        ["spec.containers[0].resizePolicy: Invalid value: \"RestartContainer\": must be 'NotRequired' when pod `restartPolicy` is 'Never'"],
    ),
    ("autoscaler", {"spec.behavior": {"scaleUp": {"policies": []}}}, ["spec.behavior.scaleUp.policies: Required value: must specify at least one Policy"]),
    (
        "autoscaler",
        {"spec.metrics": [{"type": "External", "external": {"metric": {}, "target": {"type": "Value", "value": "1"}}}]},
        ["spec.metrics[0].external.metric.name: Required value: must specify a metric name"],
    ),
    (
        "volume",
        {"spec.csi.nodePublishSecretRef": {"name": "A"}},
        [
            f'spec.csi.nodePublishSecretRef.name: Invalid value: "A": {_SUBDOMAIN}',
            "spec.csi.nodePublishSecretRef.namespace: Required value",
        ],
    ),
    (
        "volume",
        {"spec.hostPath": {"path": "/a"}, "spec.cephfs": {}},
        [f"spec.{key}: Forbidden: may not specify more than 1 volume type" for key in ("cephFS", "csi")],
    ),
    ("volume", {"spec.csi": GONE, "spec.gcePersistentDisk": {}}, ["spec.persistentDisk.pdName: Required value"]),
    (
        "volume",
        {"spec.csi": GONE, "spec.azureDisk": {"diskName": "a", "diskURI": "x", "kind": "Managed", "cachingMode": "Some"}},
        [
            'spec.azureDisk.cachingMode: Unsupported value: "Some": supported values: "None", "ReadOnly", "ReadWrite"',
            'spec.azureDisk.diskURI: Unsupported value: "x": supported values: "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"',
        ],
    ),
    (
        "volume",
        {"spec.csi": GONE, "spec.quobyte": {"registry": "a:1,b", "volume": "v"}},
        ['spec.quobyte.registry: Invalid value: "a:1,b": must be a host:port pair or multiple pairs separated by commas'],
    ),
    (
        "volume",
        {"spec.csi": GONE, "spec.flexVolume": {"options": {"a.Kubernetes.io/b": "", "c": ""}}},
        [
            "spec.flexVolume.driver: Required value",
            'spec.flexVolume.options[a.Kubernetes.io/b]: Invalid value: "a.Kubernetes.io/b": kubernetes.io and k8s.io namespaces are reserved',
        ],
    ),
    ("request", {"spec.request": _request("")}, [f'spec.request: Invalid value: "{_request("")}": asn1: syntax error: sequence truncated']),
    ("request", {"spec.request": _request("AAAA\n")}, [f'spec.request: Invalid value: "{_request("AAAA" + chr(10))}": asn1: structure error']),
    ("request", {"spec.request": GONE}, ['spec.request: Invalid value: null: PEM block type must be CERTIFICATE REQUEST']),
    *(
        (
            "pod",
            {"spec.volumes": [{"name": "v", "emptyDir": {}, kind: {}}]},
            [f"spec.volumes[0].{kind}: Forbidden: may not specify more than 1 volume type"],
        )
        for kind in ("azureDisk", "flexVolume", "quobyte", "gcePersistentDisk", "csi")
    ),
    ("external", {"spec.clusterIP": "10.0.0.1"}, ["spec.clusterIPs: Forbidden: may not be set for ExternalName services"]),
    ("budget", {"metadata.finalizers": ["plain"]}, []),
    ("runtime", {"metadata.finalizers": ["plain"]}, []),
    (
        "devices",
        {"spec.nodeName": GONE, "spec.nodeSelector": {}},
        [
            "spec.nodeSelector.nodeSelectorTerms: Required value: must have at least one node selector term",
            "spec.nodeSelector.nodeSelectorTerms: Invalid value: null: must have exactly one node selector term",
        ],
    ),
    (
        "devices",
        {f"{_DEVICE}.allNodes": True},
        [f"{_DEVICE}: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec"],
    ),
    (
        "devices",
        {"spec.nodeName": GONE, "spec.perDeviceNodeSelection": True},
        [f"{_DEVICE}: Required value: {_EACH_PLACE}"],
    ),
    (
        "devices",
        {"spec.nodeName": GONE, "spec.perDeviceNodeSelection": True, f"{_DEVICE}.nodeName": "pi", f"{_DEVICE}.allNodes": True},
        [f'{_DEVICE}: Invalid value: "{{`nodeName`, `allNodes`}}": {_EACH_PLACE}'],
    ),
    (
        "devices",
        {f"{_DEVICE}.attributes": {"a": {}, "b.example/c": {"string": "a" * 65}, "v": {"version": "1"}, "l": {"ints": []}}},
        [
            f'{_DEVICE}.attributes[a]: Invalid value: "": exactly one value must be specified',
            f"{_DEVICE}.attributes[b.example/c].string: Too long: may not be more than 64 bytes",
            f'{_DEVICE}.attributes[v].version: Invalid value: "1": must be a string compatible with semver.org spec 2.0.0',
            f"{_DEVICE}.attributes[l].ints: Invalid value: []: must not be empty if specified",
        ],
    ),
    (
        "devices",
        {f"{_DEVICE}.capacity": {"/a": {"value": "1"}, "a.example/": {"value": "1"}, "m": {"value": "1", "requestPolicy": {}}}},
        [
            f'{_DEVICE}.capacity: Invalid value: "": the domain must not be empty',
            f'{_DEVICE}.capacity: Invalid value: "": the name must not be empty',
            f"{_DEVICE}.capacity[m].requestPolicy: Forbidden: allowMultipleAllocations must be true",
        ],
    ),
    (
        "devices",
        {f"{_DEVICE}.taints": [{"key": "a"}, {"key": "b", "effect": "x"}]},
        [
            f"{_DEVICE}.taints[0].effect: Required value",
            f'{_DEVICE}.taints[1].effect: Unsupported value: "x": supported values: "NoExecute", "NoSchedule", "None"',
        ],
    ),
    (
        "devices",
        {f"{_DEVICE}.consumesCounters": [{}]},
        [f"{_DEVICE}.consumesCounters[0].{key}: Required value" for key in ("counterSet", "counters")],
    ),
    (
        "devices",
        {"spec.sharedCounters": [{"name": "A", "counters": {"a": {"value": "1"}}}]},
        [
            'spec: Invalid value: "": only one of `sharedCounters` or `devices` is allowed',
            f'spec.sharedCounters[0].name: Invalid value: "A": {_LABEL}',
        ],
    ),
    (
        "devices",
        {f"{_DEVICE}.bindingConditions": ["a", "a"]},
        [
            f'{_DEVICE}.bindingConditions[1]: Duplicate value: "a"',
            f"{_DEVICE}.bindingFailureConditions: Invalid value: null: bindingFailureConditions are required to use bindingConditions",
        ],
    ),
    (
        "claim",
        {"spec.devices.constraints": [{}]},
        ['spec.devices.constraints[0]: Required value: exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'],
    ),
    (
        "device-class",
        {"metadata.name": "a" * 254},
        [f'metadata.name: Invalid value: "{"a" * 254}": must be no more than 253 bytes'],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "edits", "words"), REFUSED, ids=[f"{name}:{next(iter(edits))}" for name, edits, _ in REFUSED])
def test_an_object_is_refused_in_upstreams_words(name: str, edits: dict[str, Any], words: list[str]) -> None:
    assert refusals(edited(GOOD[name], edits)) == words


CHANGES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("event-v1", {"reason": "Stopped"}, [f'reason: Invalid value: "Stopped": {_IMMUTABLE}']),
    ("event-v1", {"note": "more", "regarding.name": "db"}, [
        'involvedObject: Invalid value: {"Kind":"Pod","Namespace":"shop","Name":"db","UID":"","APIVersion":"","ResourceVersion":"","FieldPath":""}: '
        + _IMMUTABLE,
        f'message: Invalid value: "more": {_IMMUTABLE}',
    ]),
    ("event-v1", {"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}}, []),
    ("deployment", {"spec.selector": GONE}, [
        "spec.selector: Required value",
        f'spec.template.metadata.labels: Invalid value: {{"app":"web"}}: {_UNMATCHED}',
        f"spec.selector: Invalid value: null: {_IMMUTABLE}",
    ]),
    ("statefulset", {"spec.template.spec.containers": []}, ["spec.template.spec.containers: Required value"]),
    ("revision", {"data": GONE}, [f"data: Invalid value: null: {_IMMUTABLE}"]),
    ("binding", {"roleRef.name": "edit"}, [
        'roleRef: Invalid value: {"APIGroup":"rbac.authorization.k8s.io","Kind":"Role","Name":"edit"}: cannot change roleRef'
    ]),
    ("autoscaler", {"spec.scaleTargetRef.name": "db"}, []),
    ("cidr", {"spec.cidrs": ["10.98.0.0/24"]}, [f'spec.cidrs[0]: Invalid value: "10.98.0.0/24": {_IMMUTABLE}']),
    ("cidr", {"spec.cidrs": GONE}, [f"spec.cidrs: Invalid value: null: {_IMMUTABLE}"]),
    ("class", {"provisioner": GONE}, ["provisioner: Required value", f'provisioner: Invalid value: "": {_IMMUTABLE}']),
    ("runtime", {"scheduling.tolerations[0].effect": "x"}, [
        'scheduling.tolerations[0].effect: Unsupported value: "x": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"'
    ]),
    ("node", {"spec.taints[0].effect": "x"}, [
        'metadata.taints[0].effect: Unsupported value: "x": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"'
    ]),
    ("claim", {"spec.devices.requests[0].exactly": GONE}, [
        'spec: Invalid value: {"Devices":{"Requests":[{"Name":"one","Exactly":null,"FirstAvailable":null}],"Constraints":null,"Config":null}}: '
        + _IMMUTABLE,
    ]),
    ("pod", {"metadata.generateName": "a/b"}, [
        "metadata.generateName: Invalid value: \"a/b\": may not contain '/'",
        f'metadata.generateName: Invalid value: "a/b": {_SUBDOMAIN}',
    ]),
    ("pod", {"metadata.generateName": "A"}, [f'metadata.generateName: Invalid value: "A": {_SUBDOMAIN}']),
    ("storage-claim", {"spec.resources.requests.storage": "1Gi"}, [
        "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
    ]),
    ("storage-claim", {"spec.resources.requests": {}}, [
        "spec.resources[storage]: Required value",
        "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity",
    ]),
    ("attachment", {"spec.nodeName": "po"}, [
        'spec: Invalid value: {"Attacher":"a.example","Source":{"PersistentVolumeName":"pv","InlineVolumeSpec":null},"NodeName":"po"}: '
        + _IMMUTABLE,
    ]),
    ("devices", {"spec.nodeName": GONE, "spec.allNodes": True}, [f"spec.nodeName: Invalid value: null: {_IMMUTABLE}"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "edits", "words"), CHANGES, ids=[f"{name}:{next(iter(edits))}" for name, edits, _ in CHANGES])
def test_a_change_is_refused_in_upstreams_words(name: str, edits: dict[str, Any], words: list[str]) -> None:
    assert changes_refused(edited(GOOD[name], edits), GOOD[name]) == words


def test_a_fault_of_before_does_not_keep_a_set_from_changing() -> None:
    """The template was taken by older rules; the number of replicas is the user's to say."""
    before = edited(GOOD["statefulset"], {"spec.template.spec.containers[0].image": ""})
    assert changes_refused(edited(before, {"spec.replicas": 5}), before) == []


@pytest.mark.parametrize("key", ["automountServiceAccountToken", "enableServiceLinks", "shareProcessNamespace"])
def test_false_is_another_answer_of_a_pod_than_none(key: str) -> None:
    assert changes_refused(GOOD["pod"], GOOD["pod"]) == []
    found = changes_refused(edited(GOOD["pod"], {f"spec.{key}": False}), edited(GOOD["pod"], {f"spec.{key}": None}))
    assert [text.partition(": pod updates")[0] for text in found] == ["spec: Forbidden"]


def test_an_autoscaler_of_before_keeps_its_target() -> None:
    before = edited(GOOD["autoscaler"], {"spec.scaleTargetRef.apiVersion": ""})
    assert changes_refused(edited(before, {"spec.maxReplicas": 5}), before) == []
    other = edited(before, {"spec.scaleTargetRef.kind": "ReplicaSet"})
    assert changes_refused(other, before) == [
        'spec.scaleTargetRef.apiVersion: Invalid value: "": apiVersion must specify API group'
    ]
