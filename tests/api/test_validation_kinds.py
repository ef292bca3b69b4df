"""Every other kind: one good object, and what of it is refused."""

# ruff: noqa: E501  # the words of a refusal stand on one line, as clients show them

from __future__ import annotations

from typing import Any

import pytest

from tests.api.refusals import GONE, changes_refused, edited, manifest, refusals
from tests.server.samples import REQUEST

_POD = "template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: nginx}]}}"
_WORKLOAD = f"metadata: {{name: web}}, spec: {{selector: {{matchLabels: {{app: web}}}}, {_POD}}}"
_JOB_LABELS = "{controller-uid: u-1, job-name: once, batch.kubernetes.io/controller-uid: u-1, batch.kubernetes.io/job-name: once}"
#: What no selector selects: the labels of the template of _WORKLOAD.
_NO_MATCH = 'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`'

GOOD = {
    name: manifest(text)
    for name, text in {
        "configmap": "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {a: b}}",
        "secret": "{apiVersion: v1, kind: Secret, metadata: {name: keys}, data: {a: YQ==}}",
        "namespace": "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}",
        "node": "{apiVersion: v1, kind: Node, metadata: {name: pi}, spec: {podCIDRs: [10.42.0.0/24], providerID: edgekube://pi}}",
        "service": "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: 10.43.0.5, clusterIPs: [10.43.0.5],"
        " ipFamilies: [IPv4], ports: [{port: 80}]}}",
        "serviceaccount": "{apiVersion: v1, kind: ServiceAccount, metadata: {name: bot}}",
        "endpoints": "{apiVersion: v1, kind: Endpoints, metadata: {name: web}, subsets: [{addresses: [{ip: 10.42.0.5}],"
        " ports: [{port: 80}]}]}",
        "limitrange": "{apiVersion: v1, kind: LimitRange, metadata: {name: b}, spec: {limits: [{type: Container, max: {cpu: '2'}}]}}",
        "resourcequota": "{apiVersion: v1, kind: ResourceQuota, metadata: {name: q}, spec: {hard: {pods: '10'}}}",
        "persistentvolumeclaim": "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data}, spec: {accessModes:"
        " [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}",
        "persistentvolume": "{apiVersion: v1, kind: PersistentVolume, metadata: {name: data}, spec: {accessModes:"
        " [ReadWriteOnce], capacity: {storage: 1Gi}, hostPath: {path: /data}}}",
        "deployment": f"{{apiVersion: apps/v1, kind: Deployment, {_WORKLOAD}}}",
        "replicaset": f"{{apiVersion: apps/v1, kind: ReplicaSet, {_WORKLOAD}}}",
        "daemonset": f"{{apiVersion: apps/v1, kind: DaemonSet, {_WORKLOAD}}}",
        "statefulset": f"{{apiVersion: apps/v1, kind: StatefulSet, {_WORKLOAD}}}",
        "job": "{apiVersion: batch/v1, kind: Job, metadata: {name: once}, spec: {selector: {matchLabels: {controller-uid: u-1}},"
        f" template: {{metadata: {{labels: {_JOB_LABELS}}}, spec: {{restartPolicy: Never,"
        " containers: [{name: work, image: busybox}]}}}}",
        "cronjob": "{apiVersion: batch/v1, kind: CronJob, metadata: {name: nightly}, spec: {schedule: '*/5 1-3 * jan mon',"
        " jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: work, image: busybox}]}}}}}}",
        "horizontalpodautoscaler": "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: web}, spec:"
        " {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}",
        "poddisruptionbudget": "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: web}, spec: {minAvailable: 1}}",
        "ingress": "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: web}, spec: {rules: [{host: a.example,"
        " http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}}",
        "ingressclass": "{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: n}, spec: {controller: a.io/b}}",
        "networkpolicy": "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: n}, spec: {podSelector: {},"
        " ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}], ports: [{port: 80}]}]}}",
        "endpointslice": "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-a}, addressType: IPv4,"
        " endpoints: [{addresses: [10.42.0.5]}], ports: [{port: 80}]}",
        "role": "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: 'a:b'}, rules: [{apiGroups: [''],"
        " resources: [pods], verbs: [get]}]}",
        "clusterrolebinding": "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: r},"
        " roleRef: {kind: ClusterRole, name: view}, subjects: [{kind: User, name: ann}]}",
        "lease": "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: pi}, spec: {leaseDurationSeconds: 40}}",
        "priorityclass": "{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: high}, value: 1000}",
        "runtimeclass": "{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: gvisor}, handler: runsc}",
        "storageclass": "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: local}, provisioner: a.io/b}",
        "csidriver": "{apiVersion: storage.k8s.io/v1, kind: CSIDriver, metadata: {name: disk.example.com}, spec: {}}",
        "certificatesigningrequest": "{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {name: c},"
        f" spec: {{request: {REQUEST}, signerName: kubernetes.io/kubelet-serving, usages: [server auth]}}}}",
        "validatingwebhookconfiguration": "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration,"
        " metadata: {name: g}, webhooks: [{name: a.example.com, sideEffects: None, admissionReviewVersions: [v1], clientConfig:"
        " {url: 'https://a.example'}, rules: [{operations: [CREATE], apiGroups: [''], apiVersions: [v1], resources: [pods]}]}]}",
        "customresourcedefinition": "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata:"
        " {name: pumps.factory.example}, spec: {group: factory.example, scope: Namespaced, names: {plural: pumps, kind: Pump},"
        " versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]}}",
        "apiservice": "{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: v1.a.example}, spec: {group:"
        " a.example, version: v1, groupPriorityMinimum: 100, versionPriority: 10, service: {name: a, namespace: b}}}",
        "resourceclaim": "{apiVersion: resource.k8s.io/v1, kind: ResourceClaim, metadata: {name: gpu}, spec: {devices: {requests:"
        " [{name: one, exactly: {deviceClassName: gpu.example}}]}}}",
    }.items()
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_object_is_taken_and_may_stay_as_it_is(name: str) -> None:
    assert refusals(GOOD[name]) == []
    assert changes_refused(GOOD[name], GOOD[name]) == []


_TEMPLATE = "spec.template"
REFUSED: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        "configmap",
        {"data.a b": "c"},
        [
            "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
        ],
    ),
    ("configmap", {"binaryData": {"a": "YQ=="}}, ['data[a]: Invalid value: "a": duplicate of key present in binaryData']),
    ("configmap", {"data.big": "x" * 1048577}, [": Too long: may not be more than 1048576 bytes"]),
    ("secret", {"type": "kubernetes.io/tls"}, ["data[tls.crt]: Required value", "data[tls.key]: Required value"]),
    (
        "secret",
        {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "bm8="}},
        ['data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": invalid character in JSON input'],
    ),
    ("secret", {"type": "kubernetes.io/ssh-auth"}, ["data[ssh-privatekey]: Required value"]),
    (
        "namespace",
        {"metadata.name": "Shop.x"},
        [
            "metadata.name: Invalid value: \"Shop.x\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        ],
    ),
    ("namespace", {"metadata.namespace": "x"}, ["metadata.namespace: Forbidden: not allowed on this type"]),
    (
        "node",
        {"status.declaredFeatures": ["B", "A", "a/b"]},
        [
            'status.declaredFeatures[1]: Invalid value: "A": list must be sorted alphabetically',
            'status.declaredFeatures[2]: Invalid value: "a/b": invalid feature name "a/b": must start with an UpperCamelCase segment, with subsequent segments separated by \'/\' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes',
        ],
    ),
    ("node", {"spec.taints": [{"key": "a"}]}, ["metadata.taints[0].effect: Required value"]),
    (
        "node",
        {"spec.podCIDRs": ["nope"]},
        ['spec.podCIDRs[0]: Invalid value: "nope": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)'],
    ),
    ("service", {"spec.ports": []}, ["spec.ports: Required value"]),
    ("service", {"spec.ports[0].port": 0}, ["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"]),
    (
        "service",
        {"spec.ports[0].nodePort": 30000},
        ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
    ),
    (
        "service",
        {"spec.type": "Magic"},
        ['spec.type: Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"'],
    ),
    (
        "service",
        {"spec.sessionAffinity": "ClientIP"},
        ["spec.sessionAffinityConfig: Required value: when session affinity type is ClientIP"],
    ),
    (
        "service",
        {"spec.externalIPs": ["127.0.0.1"], "spec.externalTrafficPolicy": "Cluster"},
        ['spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)'],
    ),
    (
        "service",
        {"spec.ipFamilies": ["IPv6"]},
        ['spec.clusterIPs[0]: Invalid value: "10.43.0.5": expected an IPv6 value as indicated by `ipFamilies[0]`'],
    ),
    (
        "service",
        {"metadata.name": "1-"},
        [
            "metadata.name: Invalid value: \"1-\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        ],
    ),
    (
        "service",
        {"spec.ports[1]": {"port": 80, "protocol": "TCP", "targetPort": 80, "name": "b"}, "spec.ports[0].name": "a"},
        ['spec.ports[1]: Duplicate value: {"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,"TargetPort":0,"NodePort":0}'],
    ),
    ("endpoints", {"subsets[0].addresses": []}, ["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"]),
    (
        "limitrange",
        {"spec.limits[0].min": {"cpu": "3"}},
        [
            'spec.limits[0].min[cpu]: Invalid value: "3": min value 3 is greater than max value 2',
            'spec.limits[0].defaultRequest[cpu]: Invalid value: "2": min value 3 is greater than default request value 2',
            'spec.limits[0].default[cpu]: Invalid value: "3": min value 3 is greater than default value 2',
        ],
    ),
    (
        "limitrange",
        {"spec.limits[0].type": "Box"},
        ['spec.limits[0].type: Invalid value: "Box": must be a standard limit type or fully qualified'],
    ),
    ("resourcequota", {"spec.hard.pods": "1500m"}, ['spec.hard[pods]: Invalid value: "1500m": must be an integer']),
    (
        "resourcequota",
        {"spec.scopes": ["BestEffort", "NotBestEffort"]},
        ['spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes'],
    ),
    ("persistentvolumeclaim", {"spec.accessModes": []}, ["spec.accessModes: Required value: at least 1 access mode is required"]),
    ("persistentvolumeclaim", {"spec.resources.requests": {}}, ["spec.resources[storage]: Required value"]),
    ("persistentvolume", {"spec.hostPath": GONE}, ["spec: Required value: must specify a volume type"]),
    (
        "persistentvolume",
        {"spec.capacity": GONE},
        ["spec.capacity: Required value", 'spec.capacity: Unsupported value: null: supported values: "storage"'],
    ),
    ("deployment", {"spec.selector": GONE}, ["spec.selector: Required value", _NO_MATCH]),
    ("deployment", {"spec.selector": {}}, ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]),
    (
        "deployment",
        {f"{_TEMPLATE}.metadata.labels": {"app": "x"}},
        ['spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`'],
    ),
    (
        "deployment",
        {f"{_TEMPLATE}.spec.restartPolicy": "Never"},
        ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'],
    ),
    (
        "deployment",
        {"spec.strategy.rollingUpdate": {"maxUnavailable": 0, "maxSurge": "0%"}},
        ["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
    ),
    (
        "deployment",
        {"spec.strategy.rollingUpdate.maxUnavailable": "101%"},
        ['spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%'],
    ),
    ("deployment", {"spec.replicas": -1}, ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
    (
        "deployment",
        {"spec.progressDeadlineSeconds": 5, "spec.minReadySeconds": 5},
        ["spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"],
    ),
    ("deployment", {f"{_TEMPLATE}.spec.containers[0].image": ""}, ["spec.template.spec.containers[0].image: Required value"]),
    ("replicaset", {"spec.selector": GONE}, ["spec.selector: Required value", _NO_MATCH]),
    (
        "daemonset",
        {"spec.updateStrategy.rollingUpdate.maxSurge": 1},
        ["spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"],
    ),
    (
        "statefulset",
        {"spec.podManagementPolicy": "x"},
        ["spec.podManagementPolicy: Invalid value: \"x\": must be 'OrderedReady' or 'Parallel'"],
    ),
    (
        "statefulset",
        {f"{_TEMPLATE}.spec.containers[0].volumeMounts": [{"name": "d", "mountPath": "/d"}]},
        ['spec.template.spec.containers[0].volumeMounts[0].name: Not found: "d"'],
    ),
    (
        "job",
        {f"{_TEMPLATE}.spec.restartPolicy": "Always"},
        ['spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'],
    ),
    (
        "job",
        {"spec.completionMode": "Indexed", "spec.completions": GONE},
        ["spec.completions: Required value: when completion mode is Indexed"],
    ),
    ("job", {"spec.backoffLimitPerIndex": 1}, ["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"]),
    (
        "cronjob",
        {"spec.schedule": "* * *"},
        ['spec.schedule: Invalid value: "* * *": expected exactly 5 fields, found 3: [* * *]'],
    ),
    (
        "cronjob",
        {"spec.schedule": "61 * * * *"},
        ['spec.schedule: Invalid value: "61 * * * *": end of range (61) above maximum (59): 61'],
    ),
    ("cronjob", {"spec.schedule": "@often"}, ['spec.schedule: Invalid value: "@often": unrecognized descriptor: @often']),
    ("cronjob", {"metadata.name": "n" * 53}, [f'metadata.name: Invalid value: "{"n" * 53}": must be no more than 52 characters']),
    (
        "cronjob",
        {"spec.concurrencyPolicy": "x"},
        ['spec.concurrencyPolicy: Unsupported value: "x": supported values: "Allow", "Forbid", "Replace"'],
    ),
    (
        "horizontalpodautoscaler",
        {"spec.maxReplicas": 0},
        [
            "spec.maxReplicas: Required value: must be set and greater than 0",
            "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
        ],
    ),
    ("horizontalpodautoscaler", {"spec.scaleTargetRef.name": ""}, ["spec.scaleTargetRef.name: Required value"]),
    (
        "poddisruptionbudget",
        {"spec.maxUnavailable": "20%"},
        [
            'spec: Invalid value: {"MinAvailable":1,"Selector":null,"MaxUnavailable":"20%","UnhealthyPodEvictionPolicy":null}: '
            "minAvailable and maxUnavailable cannot be both set"
        ],
    ),
    ("ingress", {"spec.rules": GONE}, ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"]),
    (
        "ingress",
        {"spec.rules[0].http.paths[0].pathType": GONE},
        ["spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"],
    ),
    (
        "ingress",
        {"spec.rules[0].http.paths[0].path": "x"},
        ['spec.rules[0].http.paths[0].path: Invalid value: "x": must be an absolute path'],
    ),
    (
        "ingress",
        {"spec.rules[0].host": "10.0.0.1"},
        ['spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address'],
    ),
    (
        "ingressclass",
        {"spec.controller": "plain"},
        ['spec.controller: Invalid value: "plain": must be a domain-prefixed path (such as "acme.io/foo")'],
    ),
    (
        "networkpolicy",
        {"spec.ingress[0].from[0].ipBlock.except": ["11.0.0.0/16"]},
        ['spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`'],
    ),
    ("networkpolicy", {"spec.ingress[0].from[0]": {}}, ["spec.ingress[0].from[0]: Required value: must specify a peer"]),
    (
        "endpointslice",
        {"addressType": "IPv6"},
        ['endpoints[0].addresses: Invalid value: "10.42.0.5": must be an IPv6 address'],
    ),
    (
        "endpointslice",
        {"endpoints[0].addresses": []},
        ["endpoints[0].addresses: Required value: must contain at least 1 address"],
    ),
    ("role", {"rules[0].verbs": []}, ["rules[0].verbs: Required value: verbs must contain at least one value"]),
    (
        "role",
        {"rules[0].nonResourceURLs": ["/x"]},
        [
            'rules[0].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs',
            'rules[0].nonResourceURLs: Invalid value: ["/x"]: rules cannot apply to both regular resources and non-resource URLs',
        ],
    ),
    (
        "clusterrolebinding",
        {"roleRef.kind": "Role"},
        ['roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"'],
    ),
    ("clusterrolebinding", {"subjects[0]": {"kind": "ServiceAccount", "name": "bot"}}, ["subjects[0].namespace: Required value"]),
    ("lease", {"spec.leaseDurationSeconds": 0}, ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"]),
    (
        "priorityclass",
        {"value": 1000000001},
        ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
    ),
    ("storageclass", {"provisioner": GONE}, ["provisioner: Required value"]),
    ("certificatesigningrequest", {"spec.usages": []}, ["spec.usages: Required value"]),
    (
        "validatingwebhookconfiguration",
        {"webhooks[0].name": "short"},
        ['webhooks[0].name: Invalid value: "short": should be a domain with at least three segments separated by dots'],
    ),
    (
        "validatingwebhookconfiguration",
        {"webhooks[0].clientConfig": {}},
        ["webhooks[0].clientConfig: Required value: exactly one of url or service is required"],
    ),
    (
        "validatingwebhookconfiguration",
        {"webhooks[0].clientConfig": {"service": {"name": "a", "namespace": "b", "path": ""}}},
        [],
    ),
    (
        "validatingwebhookconfiguration",
        {"webhooks[0].clientConfig": {"service": {"name": "a", "namespace": "b", "path": "/a//b/"}}},
        ['webhooks[0].clientConfig.service.path: Invalid value: "/a//b/": segment[1] may not be empty'],
    ),
    (
        "validatingwebhookconfiguration",
        {"webhooks[0].sideEffects": GONE},
        ["webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun"],
    ),
    (
        "validatingwebhookconfiguration",
        {"webhooks[0].clientConfig": {"service": {"name": "a", "namespace": "b", "port": 443, "path": "/a//B"}}},
        [
            'webhooks[0].clientConfig.service.path: Invalid value: "/a//B": segment[1] may not be empty',
            "webhooks[0].clientConfig.service.path: Invalid value: \"/a//B\": segment[2]: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ],
    ),
    (
        "validatingwebhookconfiguration",
        {"webhooks[0].admissionReviewVersions": ["v2", "v2"]},
        [
            'webhooks[0].admissionReviewVersions[1]: Invalid value: "v2": duplicate version',
            'webhooks[0].admissionReviewVersions: Invalid value: ["v2","v2"]: must include at least one of v1, v1beta1',
        ],
    ),
    ("customresourcedefinition", {"spec.scope": GONE}, ["spec.scope: Required value"]),
    (
        "customresourcedefinition",
        {"spec.versions[0].schema": GONE},
        ["spec.versions[0].schema.openAPIV3Schema: Required value"],
    ),
    ("apiservice", {"spec.versionPriority": 0}, ["spec.versionPriority: Invalid value: 0: must be positive and less than 1000"]),
    (
        "resourceclaim",
        {"spec.devices.requests[0].name": "one.a"},
        ['spec.devices.requests[0].name: Invalid value: "one.a": must not contain dots'],
    ),
]


@pytest.mark.parametrize(("name", "edits", "words"), REFUSED, ids=[f"{name}:{next(iter(edits))}" for name, edits, _ in REFUSED])
def test_an_object_is_refused(name: str, edits: dict[str, Any], words: list[str]) -> None:
    assert refusals(edited(GOOD[name], edits)) == words


_IMMUTABLE = "field is immutable"
CHANGES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("secret", {"type": "x/y"}, [f'type: Invalid value: "x/y": {_IMMUTABLE}']),
    (
        "deployment",
        {"spec.selector.matchLabels": {"app": "x"}, f"{_TEMPLATE}.metadata.labels": {"app": "x"}},
        [f'spec.selector: Invalid value: {{"matchLabels":{{"app":"x"}}}}: {_IMMUTABLE}'],
    ),
    ("deployment", {"spec.replicas": 3, f"{_TEMPLATE}.spec.containers[0].image": "nginx:2"}, []),
    (
        "statefulset",
        {"spec.serviceName": "other"},
        [
            "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
        ],
    ),
    ("statefulset", {"spec.replicas": 0, "spec.minReadySeconds": 5}, []),
    ("job", {"spec.completions": 2}, [f"spec.completions: Invalid value: 2: {_IMMUTABLE}"]),
    ("job", {"spec.parallelism": 2, "spec.suspend": True, "spec.activeDeadlineSeconds": 5}, []),
    (
        "service",
        {"spec.clusterIP": "10.43.0.6", "spec.clusterIPs": ["10.43.0.6"]},
        ['spec.clusterIPs[0]: Invalid value: ["10.43.0.6"]: may not change once set'],
    ),
    ("service", {"spec.ports[0].port": 81}, []),
    (
        "node",
        {"spec.podCIDRs": ["10.42.1.0/24"]},
        ['spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid'],
    ),
    ("node", {"spec.unschedulable": True}, []),
    (
        "persistentvolumeclaim",
        {"spec.accessModes": ["ReadWriteMany"]},
        [
            "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n  accessModes"
        ],
    ),
    ("persistentvolumeclaim", {"status.phase": "Bound", "spec.resources.requests.storage": "2Gi"}, []),
    (
        "persistentvolume",
        {"spec.hostPath.path": "/other"},
        ["spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\n  hostPath"],
    ),
    (
        "clusterrolebinding",
        {"roleRef.name": "edit"},
        [
            'roleRef: Invalid value: {"APIGroup":"rbac.authorization.k8s.io","Kind":"ClusterRole","Name":"edit"}: cannot change roleRef'
        ],
    ),
    ("storageclass", {"provisioner": "a.io/c"}, ['provisioner: Invalid value: "a.io/c": field is immutable']),
    ("priorityclass", {"value": 1}, ["value: Forbidden: may not be changed in an update."]),
    ("ingressclass", {"spec.controller": "a.io/c"}, [f'spec.controller: Invalid value: "a.io/c": {_IMMUTABLE}']),
    ("runtimeclass", {"handler": "kata"}, [f'handler: Invalid value: "kata": {_IMMUTABLE}']),
    ("endpointslice", {"addressType": "FQDN", "endpoints": []}, [f'addressType: Invalid value: "FQDN": {_IMMUTABLE}']),
    ("certificatesigningrequest", {"spec.usages": ["client auth"]}, ["spec: Forbidden: updates may not change the request"]),
    (
        "customresourcedefinition",
        {"spec.group": "x.example", "metadata.name": "pumps.x.example"},
        [
            'metadata.name: Invalid value: "pumps.x.example": field is immutable',
            f'spec.group: Invalid value: "x.example": {_IMMUTABLE}',
        ],
    ),
]


@pytest.mark.parametrize(("name", "edits", "words"), CHANGES, ids=[f"{name}:{next(iter(edits))}" for name, edits, _ in CHANGES])
def test_a_change_is_judged(name: str, edits: dict[str, Any], words: list[str]) -> None:
    assert changes_refused(edited(GOOD[name], edits), GOOD[name]) == words


def test_what_is_marked_immutable_is() -> None:
    frozen = edited(GOOD["configmap"], {"immutable": True})
    assert changes_refused(edited(frozen, {"data.a": "c"}), frozen) == [
        "data: Forbidden: field is immutable when `immutable` is set"
    ]
    assert changes_refused(edited(frozen, {"immutable": GONE}), frozen) == [
        "immutable: Forbidden: field is immutable when `immutable` is set"
    ]
    assert changes_refused(edited(frozen, {"metadata.labels": {"a": "b"}}), frozen) == []


def test_a_claim_may_not_shrink_below_what_it_has() -> None:
    bound = edited(GOOD["persistentvolumeclaim"], {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}})
    assert changes_refused(edited(bound, {"spec.resources.requests.storage": "512Mi"}), bound) == [
        "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
    ]


def test_a_suspended_job_that_never_ran_may_be_placed_elsewhere() -> None:
    suspended = edited(GOOD["job"], {"spec.suspend": True})
    moved = edited(suspended, {"spec.template.spec.nodeSelector": {"a": "b"}})
    assert changes_refused(moved, suspended) == []
    started = edited(suspended, {"status.startTime": "2026-01-01T00:00:00Z"})
    assert [line.partition(":")[0] for line in changes_refused(moved, started)] == ["spec.template"]


def test_approval_goes_through_its_own_subresource() -> None:
    asked = GOOD["certificatesigningrequest"]
    approved = edited(asked, {"status.conditions": [{"type": "Approved", "status": "True"}]})
    assert changes_refused(approved, asked, "approval") == []
    assert changes_refused(approved, asked, "status") == [
        'status.conditions: Forbidden: updates may not add a condition of type "Approved"'
    ]


def test_a_service_may_become_external_and_come_back() -> None:
    external = manifest(
        "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: ExternalName, externalName: example.com}}"
    )
    assert refusals(external) == []
    assert changes_refused(external, GOOD["service"]) == []
    assert changes_refused(GOOD["service"], external) == []


# --- metadata, of any kind -----------------------------------------------------------------------------------------------

METADATA: list[tuple[dict[str, Any], list[str]]] = [
    ({"metadata.annotations": {"a": "x" * 262144}}, ["metadata.annotations: Too long: may not be more than 262144 bytes"]),
    ({"metadata.annotations": {"a": "é" * 131072}}, ["metadata.annotations: Too long: may not be more than 262144 bytes"]),
    (
        {"metadata.ownerReferences": [{"apiVersion": "apps/", "kind": "Deployment", "name": "p", "uid": "u"}]},
        ['metadata.ownerReferences.apiVersion: Invalid value: "apps/": version must not be empty'],
    ),
    (
        {
            "metadata.managedFields": [
                {"manager": "m" * 129, "operation": "Update", "fieldsType": "FieldsV1", "subresource": "s" * 257}
            ]
        },
        [
            "metadata.managedFields[0].manager: Too long: may not be more than 128 bytes",
            "metadata.managedFields[0].subresource: Too long: may not be more than 256 bytes",
        ],
    ),
    (
        {"metadata.managedFields": [{"manager": "é\t", "operation": "Read", "fieldsType": "V2"}]},
        [
            'metadata.managedFields[0].operation: Invalid value: "Read": must be `Apply` or `Update`',
            'metadata.managedFields[0].fieldsType: Invalid value: "V2": must be `FieldsV1`',
            'metadata.managedFields[0].manager: Invalid value: "é\\t": invalid character U+0009 (at position 2)',
        ],
    ),
    ({"metadata.generateName": "a" * 252 + "b-"}, []),
    (
        {"metadata.finalizers": ["plain"]},
        ['metadata.finalizers[0]: Invalid value: "plain": name is neither a standard finalizer name nor is it fully qualified'],
    ),
    (
        {"metadata.finalizers": ["orphan", "foregroundDeletion"]},
        [
            'metadata.finalizers: Invalid value: ["orphan","foregroundDeletion"]: finalizer orphan and foregroundDeletion cannot be both set'
        ],
    ),
    (
        {"metadata.ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]},
        ['metadata.ownerReferences.uid: Invalid value: "": must not be empty'],
    ),
    ({"metadata.namespace": ""}, ["metadata.namespace: Required value"]),
]


@pytest.mark.parametrize(("edits", "words"), METADATA, ids=[next(iter(edits)) for edits, _ in METADATA])
def test_metadata_is_refused(edits: dict[str, Any], words: list[str]) -> None:
    assert refusals(edited(GOOD["configmap"], edits)) == words


def test_a_plain_finalizer_is_taken_where_upstream_takes_it() -> None:
    for kind in ("validatingwebhookconfiguration", "customresourcedefinition", "apiservice", "lease"):
        assert refusals(edited(GOOD[kind], {"metadata.finalizers": ["plain"]})) == [], kind


def test_two_controllers_are_one_too_many() -> None:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a", "uid": "1", "controller": True}
    owned = edited(GOOD["configmap"], {"metadata.ownerReferences": [owner, {**owner, "name": "b"}]})
    (line,) = refusals(owned)
    assert line.endswith('Found "true" in references for ReplicaSet/a and ReplicaSet/b')


def test_an_object_on_its_way_out_takes_no_new_finalizers() -> None:
    leaving = edited(GOOD["configmap"], {"metadata.deletionTimestamp": "2026-01-01T00:00:00Z"})
    assert changes_refused(edited(leaving, {"metadata.finalizers": ["a.io/b"]}), leaving) == [
        "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers "
        '[]string{"a.io/b"}'
    ]


def test_what_an_update_leaves_out_of_server_owned_metadata_is_unchanged() -> None:
    stored = edited(GOOD["configmap"], {"metadata.creationTimestamp": "2026-01-01T00:00:00Z"})
    assert changes_refused(edited(stored, {"metadata.uid": GONE, "metadata.creationTimestamp": GONE}), stored) == []
