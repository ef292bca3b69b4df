"""Pods and their templates: what the API takes and what it refuses, in the words that clients show."""

from __future__ import annotations

from typing import Any

import pytest

from edgekube.api.kinds import POD
from edgekube.api.validation import validate_create
from edgekube.api.validation.causes import DUPLICATE, FORBIDDEN, INVALID, NOT_FOUND, NOT_SUPPORTED, REQUIRED
from tests.api.refusals import GONE, changes_refused, edited, manifest, refusals
from tests.api.test_names import SUBDOMAIN

POD_OF_WEB = manifest(
    """
    apiVersion: v1
    kind: Pod
    metadata: {name: web, labels: {app: web}}
    spec:
      serviceAccountName: default
      initContainers: [{name: fetch, image: "busybox:1.36"}]
      containers:
      - name: web
        image: nginx:1.27
        ports: [{name: http, containerPort: 80}]
        env: [{name: A, value: b}]
        resources: {requests: {cpu: 100m}, limits: {cpu: 200m}}
        livenessProbe: {httpGet: {path: /, port: http}}
        volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, emptyDir: {}}]
      tolerations: [{key: a, operator: Exists}]
    """
)

C = "spec.containers[0]"
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
    "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)

#: (edits, what is said): the message without the field when one field is at fault and it is named by the first edit.
REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    # names and images
    ({f"{C}.name": "Web"}, [f'{C}.name: Invalid value: "Web": {LABEL}']),
    ({f"{C}.name": ""}, [f"{C}.name: Required value"]),
    ({f"{C}.image": ""}, [f"{C}.image: Required value"]),
    ({f"{C}.image": " nginx"}, [f'{C}.image: Invalid value: " nginx": must not have leading or trailing whitespace']),
    (
        {f"{C}.imagePullPolicy": "Sometimes"},
        [f'{C}.imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"'],
    ),
    ({"spec.containers": []}, ["spec.containers: Required value"]),
    ({"spec.initContainers[0].name": "web"}, ['spec.initContainers[0].name: Duplicate value: "web"']),
    (
        {"spec.initContainers[0].lifecycle": {"preStop": {"exec": {"command": ["x"]}}}},
        ["spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always"],
    ),
    # hostnames
    (
        {"spec.hostnameOverride": "web.example", "spec.setHostnameAsFQDN": True},
        ["spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true"],
    ),
    (
        {"spec.hostnameOverride": "web.example", "spec.hostNetwork": True, f"{C}.ports": GONE},
        ["spec.hostnameOverride: Forbidden: may not be specified when hostNetwork is true"],
    ),
    ({"spec.hostnameOverride": "Web"}, [f'spec.hostnameOverride: Invalid value: "Web": {SUBDOMAIN}']),
    ({"spec.hostnameOverride": "a" * 65}, ["spec.hostnameOverride: Too long: may not be more than 64 bytes"]),
    # ports
    ({f"{C}.ports[0].containerPort": 0}, [f"{C}.ports[0].containerPort: Required value"]),
    (
        {f"{C}.ports[0].containerPort": 65536},
        [f"{C}.ports[0].containerPort: Invalid value: 65536: must be between 1 and 65535, inclusive"],
    ),
    (
        {f"{C}.ports[0].protocol": "tcp"},
        [f'{C}.ports[0].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"'],
    ),
    (
        {f"{C}.ports[1]": {"name": "http", "containerPort": 81, "protocol": "TCP"}},
        [f'{C}.ports[1].name: Duplicate value: "http"'],
    ),
    (
        {f"{C}.ports[0].hostPort": 80, f"{C}.ports[1]": {"containerPort": 81, "hostPort": 80, "protocol": "TCP"}},
        [f'{C}.ports[1].hostPort: Duplicate value: "TCP//80"'],
    ),
    (
        {"spec.hostNetwork": True},
        [f"{C}.ports[0].hostPort: Invalid value: 0: must match `containerPort` when `hostNetwork` is true"],
    ),
    # environment
    ({f"{C}.env[0].name": ""}, [f"{C}.env[0].name: Required value"]),
    (
        {f"{C}.env[0].name": "a=b"},
        [
            f'{C}.env[0].name: Invalid value: "a=b": a valid environment variable name must consist only of printable '
            "ASCII characters other than '='"
        ],
    ),
    (
        {f"{C}.env[0].valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
        [f'{C}.env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty'],
    ),
    (
        {f"{C}.env[0]": {"name": "A", "valueFrom": {}}},
        [
            f'{C}.env[0].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, '
            "`configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        ],
    ),
    (
        {f"{C}.env[0]": {"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "none", "path": "../x", "key": "a=b"}}}},
        [
            f'{C}.env[0].valueFrom.fileKeyRef.key: Invalid value: "a=b": a valid environment variable name must consist only of '
            "printable ASCII characters other than '='",
            f"{C}.env[0].valueFrom.fileKeyRef.path: Invalid value: \"../x\": must not contain '..'",
            f'{C}.env[0].valueFrom.fileKeyRef.volumeName: Not found: "none"',
        ],
    ),
    (
        {
            f"{C}.env[0]": {"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "s", "path": "x", "key": "A"}}},
            "spec.volumes": [{"name": "s", "secret": {"secretName": "s"}}],
            f"{C}.volumeMounts": GONE,
        },
        [f'{C}.env[0].valueFrom.fileKeyRef.volumeName: Invalid value: "s": referenced volume must be of type emptyDir'],
    ),
    (
        {f"{C}.env[0]": {"name": "A", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels"}}}},
        [
            f'{C}.env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": supported values: '
            '"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", '
            '"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"'
        ],
    ),
    (
        {f"{C}.env[0]": {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}},
        [f"{C}.env[0].valueFrom.secretKeyRef.key: Required value"],
    ),
    ({f"{C}.envFrom": [{}]}, [f'{C}.envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`']),
    # volumes and mounts
    ({f"{C}.volumeMounts[0].name": "nope"}, [f'{C}.volumeMounts[0].name: Not found: "nope"']),
    ({f"{C}.volumeMounts[0].mountPath": ""}, [f"{C}.volumeMounts[0].mountPath: Required value"]),
    (
        {f"{C}.volumeMounts[1]": {"name": "data", "mountPath": "/data"}},
        [f'{C}.volumeMounts[1].mountPath: Invalid value: "/data": must be unique'],
    ),
    ({f"{C}.volumeMounts[0].subPath": "../x"}, [f"{C}.volumeMounts.subPath: Invalid value: \"../x\": must not contain '..'"]),
    (
        {f"{C}.volumeMounts[0].mountPropagation": "Bidirectional"},
        [
            f"{C}.volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to "
            "privileged containers"
        ],
    ),
    (
        {"spec.volumes[0].hostPath": {"path": "/x"}},
        [
            "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
            f'{C}.volumeMounts[0].name: Not found: "data"',
        ],
    ),
    (
        {"spec.volumes[1]": {"name": "cfg", "configMap": {"name": "", "defaultMode": 512}}},
        [
            "spec.volumes[1].configMap.name: Required value",
            "spec.volumes[1].configMap.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both "
            "inclusive",
        ],
    ),
    (
        {"spec.volumes[1]": {"name": "s", "secret": {"secretName": "s", "items": [{"key": "k", "path": "/abs"}]}}},
        ['spec.volumes[1].secret.items[0].path: Invalid value: "/abs": must be a relative path'],
    ),
    # resources
    (
        {f"{C}.resources.requests.cpu": "300m"},
        [f'{C}.resources.requests: Invalid value: "300m": must be less than or equal to cpu limit of 200m'],
    ),
    (
        {f"{C}.resources.limits.memory": "-1"},
        [f'{C}.resources.limits[memory]: Invalid value: "-1": must be greater than or equal to 0'],
    ),
    (
        {f"{C}.resources.limits.gpus": "1"},
        [
            f'{C}.resources.limits[gpus]: Invalid value: "gpus": must be a standard resource type or fully qualified',
            f'{C}.resources.limits[gpus]: Invalid value: "gpus": must be a standard resource for containers',
        ],
    ),
    (
        {f"{C}.resources.requests[example.com/gpu]": "1"},
        [f"{C}.resources.limits: Required value: Limit must be set for non overcommitable resources"],
    ),
    (
        {f"{C}.resources.limits[example.com/gpu]": "500m"},
        [f'{C}.resources.limits[example.com/gpu]: Invalid value: "500m": must be an integer'],
    ),
    (
        {f"{C}.resources": {"limits": {"hugepages-2Mi": "2Mi"}}},
        [f"{C}.resources: Forbidden: HugePages require cpu or memory"],
    ),
    (
        {f"{C}.resources.claims": [{"name": "gpu"}]},
        [
            f'{C}.resources.claims[0]: Not found: "gpu": must be one of the names in pod.spec.resourceClaims which is empty',
        ],
    ),
    # probes and hooks
    ({f"{C}.livenessProbe.httpGet": GONE}, [f"{C}.livenessProbe: Required value: must specify a handler type"]),
    (
        {f"{C}.livenessProbe.exec": {"command": ["x"]}},
        [f"{C}.livenessProbe.httpGet: Forbidden: may not specify more than 1 handler type"],
    ),
    ({f"{C}.livenessProbe.successThreshold": 2}, [f"{C}.livenessProbe.successThreshold: Invalid value: 2: must be 1"]),
    (
        {f"{C}.livenessProbe.periodSeconds": -1},
        [f"{C}.livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0"],
    ),
    (
        {f"{C}.livenessProbe.httpGet.port": "no_name"},
        [
            f'{C}.livenessProbe.httpGet.port: Invalid value: "no_name": must contain only alpha-numeric characters (a-z, 0-9), '
            "and hyphens (-)"
        ],
    ),
    (
        {f"{C}.lifecycle": {"preStop": {"sleep": {"seconds": 31}}}},
        [
            f"{C}.lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than "
            "terminationGracePeriodSeconds (30)"
        ],
    ),
    # security
    (
        {f"{C}.securityContext": {"privileged": True, "allowPrivilegeEscalation": False}},
        [
            f"{C}.securityContext: Invalid value: "
            '{"Capabilities":null,"Privileged":true,"SELinuxOptions":null,"WindowsOptions":null,"RunAsUser":null,"RunAsGroup":null,'
            '"RunAsNonRoot":null,"ReadOnlyRootFilesystem":null,"AllowPrivilegeEscalation":false,"ProcMount":null,'
            '"SeccompProfile":null,"AppArmorProfile":null}: '
            "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        ],
    ),
    (
        {"spec.securityContext.runAsUser": -1},
        ["spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"],
    ),
    (
        {"spec.securityContext.seccompProfile": {"type": "Localhost"}},
        [
            "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
        ],
    ),
    (
        {"spec.securityContext.sysctls": [{"name": "net.core.somaxconn", "value": "1"}, {"name": "net.core.somaxconn"}]},
        ['spec.securityContext.sysctls[1].name: Duplicate value: "net.core.somaxconn"'],
    ),
    # the pod as a whole
    (
        {"spec.restartPolicy": "Maybe"},
        ['spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never"'],
    ),
    ({"spec.dnsPolicy": "None"}, ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"]),
    (
        {"spec.dnsConfig": {"nameservers": ["1.1.1.1", "8.8.8.8", "9.9.9.9", "not-an-ip"]}},
        [
            'spec.dnsConfig.nameservers: Invalid value: ["1.1.1.1","8.8.8.8","9.9.9.9","not-an-ip"]: must not have more '
            "than 3 nameservers",
            'spec.dnsConfig.nameservers[3]: Invalid value: "not-an-ip": must be a valid IP address, (e.g. 10.9.8.7 or '
            "2001:db8::ffff)",
        ],
    ),
    (
        {"spec.activeDeadlineSeconds": 0},
        ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
    ),
    (
        {"spec.tolerations[0]": {"operator": "Equal", "value": "x"}},
        [
            'spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means '
            '"match all values and all keys"'
        ],
    ),
    (
        {"spec.tolerations[0].tolerationSeconds": 5},
        ["spec.tolerations[0].effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is set"],
    ),
    (
        {"spec.nodeSelector": {"a b": "c"}},
        [
            "spec.nodeSelector: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', "
            "and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used "
            "for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
        ],
    ),
    (
        {"spec.topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]},
        ["spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero"],
    ),
    (
        {"spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}},
        [
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: "
            "must have at least one node selector term"
        ],
    ),
    (
        {"spec.schedulingGates": [{"name": "a"}, {"name": "a"}]},
        ['spec.schedulingGates[1]: Duplicate value: "a"'],
    ),
    (
        {"spec.schedulingGates": [{"name": "a"}], "spec.nodeName": "pi"},
        ["spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"],
    ),
    ({"spec.os": {"name": "beos"}}, ['spec.os: Unsupported value: "beos": supported values: "linux", "windows"']),
    ({"metadata.name": ""}, ["metadata.name: Required value: name or generateName is required"]),
]


def test_the_pod_of_these_dialogues_is_good() -> None:
    assert refusals(POD_OF_WEB) == []


@pytest.mark.parametrize(("edits", "words"), REFUSED, ids=[next(iter(edits)) for edits, _ in REFUSED])
def test_a_pod_is_refused(edits: dict[str, Any], words: list[str]) -> None:
    assert refusals(edited(POD_OF_WEB, edits)) == words


ACCEPTED: list[dict[str, Any]] = [
    {f"{C}.env[0]": {"name": "with space.and-dots"}},
    {f"{C}.env[0]": {"name": "L", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels['app']"}}}},
    {f"{C}.restartPolicy": "Never"},
    {f"{C}.securityContext": {"privileged": True}},
    {f"{C}.ports[1]": {"containerPort": 80, "protocol": "UDP"}},
    {f"{C}.resources.limits[hugepages-2Mi]": "4Mi", f"{C}.resources.requests[hugepages-2Mi]": "4Mi"},
    {"spec.initContainers[0].restartPolicy": "Always", "spec.initContainers[0].lifecycle": {}},
    {"spec.dnsPolicy": "None", "spec.dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["_dns.example.", "."]}},
    {"spec.tolerations[0]": {"operator": "Exists"}},
    {"spec.os": {"name": "linux"}},
    {"spec.terminationGracePeriodSeconds": 0},
    {"metadata.annotations": {"controller.kubernetes.io/pod-deletion-cost": "-10"}},
]


@pytest.mark.parametrize("edits", ACCEPTED, ids=[next(iter(edits)) for edits in ACCEPTED])
def test_a_pod_is_taken(edits: dict[str, Any]) -> None:
    assert refusals(edited(POD_OF_WEB, edits)) == []


@pytest.mark.parametrize(
    ("edits", "reason"),
    [
        ({f"{C}.image": ""}, REQUIRED),
        ({f"{C}.name": "Web"}, INVALID),
        ({f"{C}.imagePullPolicy": "x"}, NOT_SUPPORTED),
        ({"spec.initContainers[0].name": "web"}, DUPLICATE),
        ({f"{C}.volumeMounts[0].name": "nope"}, NOT_FOUND),
        ({"spec.schedulingGates": [{"name": "a"}], "spec.nodeName": "pi"}, FORBIDDEN),
    ],
)
def test_each_fault_has_upstreams_reason(edits: dict[str, Any], reason: str) -> None:
    assert [cause.reason for cause in validate_create(POD, edited(POD_OF_WEB, edits))] == [reason]


# --- changes ----------------------------------------------------------------------------------------------------------

MAY_CHANGE: list[dict[str, Any]] = [
    {f"{C}.image": "nginx:1.28"},
    {"spec.initContainers[0].image": "busybox:1.37"},
    {"spec.activeDeadlineSeconds": 60},
    {"spec.tolerations[1]": {"key": "b", "operator": "Exists"}},
    {"metadata.labels.app": "shop"},
]
_ONLY = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
MAY_NOT_CHANGE: list[tuple[dict[str, Any], list[str]]] = [
    ({"spec.nodeSelector": {"a": "b"}}, [f"spec: Forbidden: {_ONLY}\n  nodeSelector"]),
    ({f"{C}.env[0].value": "c"}, [f"spec: Forbidden: {_ONLY}\n  containers"]),
    (
        {"spec.containers[1]": {**POD_OF_WEB["spec"]["containers"][0], "name": "two"}},
        ["spec.containers: Forbidden: pod updates may not add or remove containers"],
    ),
    (
        {"spec.tolerations[0]": {"key": "b", "operator": "Exists"}},
        ["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"],
    ),
    (
        {"spec.schedulingGates": [{"name": "late"}]},
        ["spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'late'"],
    ),
    ({"metadata.name": "other"}, ['metadata.name: Invalid value: "other": field is immutable']),
    ({"metadata.uid": "u-2"}, ['metadata.uid: Invalid value: "u-2": field is immutable']),
]


@pytest.mark.parametrize("edits", MAY_CHANGE, ids=[next(iter(edits)) for edits in MAY_CHANGE])
def test_this_of_a_pod_may_change(edits: dict[str, Any]) -> None:
    assert changes_refused(edited(POD_OF_WEB, edits), POD_OF_WEB) == []


@pytest.mark.parametrize(("edits", "words"), MAY_NOT_CHANGE, ids=[next(iter(edits)) for edits, _ in MAY_NOT_CHANGE])
def test_this_of_a_pod_may_not_change(edits: dict[str, Any], words: list[str]) -> None:
    assert changes_refused(edited(POD_OF_WEB, edits), POD_OF_WEB) == words


def test_a_deadline_may_only_shrink() -> None:
    with_deadline = edited(POD_OF_WEB, {"spec.activeDeadlineSeconds": 60})
    later = edited(POD_OF_WEB, {"spec.activeDeadlineSeconds": 61})
    assert changes_refused(later, with_deadline) == [
        "spec.activeDeadlineSeconds: Invalid value: 61: must be less than or equal to previous value"
    ]
    assert changes_refused(POD_OF_WEB, with_deadline) == [
        "spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value"
    ]


def test_a_gated_pod_may_be_narrowed_but_not_widened() -> None:
    gated = edited(POD_OF_WEB, {"spec.schedulingGates": [{"name": "wait"}], "spec.nodeSelector": {"a": "b"}})
    assert changes_refused(edited(gated, {"spec.nodeSelector.c": "d"}), gated) == []
    assert changes_refused(edited(gated, {"spec.nodeSelector": {}}), gated) == [
        "spec.nodeSelector: Invalid value: {}: only additions to spec.nodeSelector are allowed (no mutations or deletions)"
    ]
    assert changes_refused(edited(gated, {"spec.schedulingGates": GONE}), gated) == []


def test_a_container_that_has_ended_for_good_stays_ended() -> None:
    never = edited(POD_OF_WEB, {"spec.restartPolicy": "Never"})
    ended = edited(never, {"status.containerStatuses": [{"name": "web", "state": {"terminated": {"exitCode": 1}}}]})
    running = edited(never, {"status.containerStatuses": [{"name": "web", "state": {"running": {}}}]})
    assert changes_refused(ended, running, "status") == []
    assert changes_refused(running, ended, "status") == [
        "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"
    ]


def test_ephemeral_containers_come_by_their_own_subresource() -> None:
    debugger = {
        "name": "debugger",
        "image": "busybox:1.36",
        "targetContainerName": "web",
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePolicy": "File",
    }
    debugged = edited(POD_OF_WEB, {"spec.ephemeralContainers": [debugger]})
    assert refusals(debugged) == ["spec.ephemeralContainers: Forbidden: cannot be set on create"]
    assert changes_refused(debugged, POD_OF_WEB, "ephemeralcontainers") == []
    assert changes_refused(POD_OF_WEB, debugged, "ephemeralcontainers") == [
        'spec.ephemeralContainers: Forbidden: existing ephemeral containers "debugger" may not be removed\n'
    ]
    wrong = edited(debugged, {"spec.ephemeralContainers[0].ports": [{"containerPort": 1, "protocol": "TCP"}]})
    assert changes_refused(wrong, POD_OF_WEB, "ephemeralcontainers") == [
        "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container"
    ]


def test_resize_moves_cpu_and_memory_only() -> None:
    bigger = edited(POD_OF_WEB, {f"{C}.resources.limits.cpu": "300m"})
    assert changes_refused(bigger, POD_OF_WEB, "resize") == []
    assert changes_refused(edited(bigger, {f"{C}.image": "nginx:1"}), POD_OF_WEB, "resize") == [
        "spec: Forbidden: only cpu and memory resources are mutable"
    ]


def test_a_projected_token_needs_a_service_account() -> None:
    token = {"name": "token", "projected": {"defaultMode": 420, "sources": [{"serviceAccountToken": {"path": "t"}}]}}
    nameless = edited(POD_OF_WEB, {"spec.serviceAccountName": GONE, "spec.volumes[1]": token})
    assert refusals(nameless) == [
        "spec.volumes[1].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName "
        "is not set"
    ]
