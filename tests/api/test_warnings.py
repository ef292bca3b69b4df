"""Warnings: what is taken and still worth a word."""

# ruff: noqa: E501  # the words stand on one line, as clients show them

from __future__ import annotations

from typing import Any

import pytest

from edgekube.api.warnings import warnings_for
from tests.api.refusals import edited, kind_of, manifest

POD = manifest("{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: web, image: nginx}]}}")
SERVICE = manifest("{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}], clusterIP: 10.43.0.5}}")
DEPLOYMENT = manifest(
    "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, generation: 1}, spec: {template: {spec: {nodeSelector:"
    " {beta.kubernetes.io/arch: arm64}, containers: [{name: web, image: nginx}]}}}}"
)
STATEFUL = manifest(
    "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: a.b}, spec: {template: {spec: {containers: [{name: web, image: n}]}},"
    " volumeClaimTemplates: [{metadata: {name: d}, spec: {resources: {requests: {storage: 100m}}}}]}}"
)
JOB = manifest("{apiVersion: batch/v1, kind: Job, metadata: {name: once}, spec: {template: {spec: {containers: []}}}}")
POLICY = manifest("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: n}, spec: {podSelector: {}}}")
DRIVER = manifest("{apiVersion: storage.k8s.io/v1, kind: CSIDriver, metadata: {name: d}, spec: {tokenRequests: [{audience: a}]}}")
SLICE = manifest("{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s}, addressType: FQDN, endpoints: []}")
CLAIM = manifest(
    "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c}, spec: {resources: {requests: {storage: 1500m}}}}"
)
INGRESS = manifest(
    "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: i, annotations: {kubernetes.io/ingress.class: x}}, spec: {}}"
)
C = "spec.containers[0]"
_LABEL = "which can result in surprising behavior; a DNS label is recommended"
_NO_POD = "a null labelSelector results in matching no pod"
_TERM = "requiredDuringSchedulingIgnoredDuringExecution"
_WEIGHTED = "preferredDuringSchedulingIgnoredDuringExecution"

SAID: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    (POD, {}, []),
    (POD, {"metadata.name": "a.b"}, [f"metadata.name: this is used in the Pod's hostname, {_LABEL}: [must not contain dots]"]),
    (
        POD,
        {"spec.nodeSelector": {"beta.kubernetes.io/os": "linux", "node-role.kubernetes.io/master": ""}},
        [
            'spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead',
            'spec.nodeSelector[node-role.kubernetes.io/master]: use "node-role.kubernetes.io/control-plane" instead',
        ],
    ),
    (
        POD,
        {f"spec.affinity.nodeAffinity.{_WEIGHTED}": [{"preference": {"matchExpressions": [{"key": "a", "values": ["-"]}]}}]},
        [
            f"spec.affinity.nodeAffinity.{_WEIGHTED}[0].preference.matchExpressions[0].values[0]: - is invalid, a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
        ],
    ),
    (
        POD,
        {
            "spec.topologySpreadConstraints": [{"topologyKey": "zone"}],
            f"spec.affinity.podAffinity.{_TERM}": [{"topologyKey": "zone"}],
            f"spec.affinity.podAntiAffinity.{_WEIGHTED}": [{"podAffinityTerm": {}}],
        },
        [
            f"spec.topologySpreadConstraints[0].labelSelector: {_NO_POD}",
            f"spec.affinity.podAffinity.{_TERM}[0].labelSelector: {_NO_POD}",
            f"spec.affinity.podAntiAffinity.{_WEIGHTED}[0].podAffinityTerm.labelSelector: {_NO_POD}",
        ],
    ),
    (
        POD,
        {"metadata.annotations": {"seccomp.security.alpha.kubernetes.io/pod": "x", "container.apparmor.security.beta.kubernetes.io/web": "unconfined"}},
        ['metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the "seccompProfile" field instead'],
    ),
    (
        POD,
        {"spec.volumes": [{"name": "v", "storageos": {}}, {"name": "w", "gitRepo": {"repository": "r"}}]},
        [
            "spec.volumes[0].storageOS: deprecated in v1.22, non-functional in v1.25+",
            "spec.volumes[1].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
        ],
    ),
    (
        POD,
        {
            "spec.volumes": [
                {"name": "c", "configMap": {"name": "m", "items": [{"path": "a/b"}, {"path": "a"}]}},
                {"name": "p", "projected": {"sources": [{}, {"secret": {"name": "s", "items": [{"path": "token"}]}}, {"serviceAccountToken": {"path": "token"}}]}},
            ]
        },
        [
            'volume "c" (ConfigMap "m"): overlapping paths: "a" with "a/b"',
            'volume "p" (Projected) has no sources provided',
            'volume "p" (Projected): overlapping paths: "token" (ServiceAccountToken) with "token" (Secret "s")',
        ],
    ),
    (
        POD,
        {f"{C}.env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}, {"name": "A", "value": "$(A)"}]},
        [f'{C}.env[2]: hides previous definition of "A", which may be dropped when using apply'],
    ),
    (
        POD,
        {f"{C}.ports": [{"containerPort": 80, "protocol": "TCP", "name": "a"}, {"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "TCP", "hostPort": 80}, {"containerPort": 81, "protocol": "TCP", "hostIP": "10.0.0.1", "name": "a"}]},
        [
            f"{C}.ports[1]: duplicate port definition with {C}.ports[0]",
            f"{C}.ports[2]: overlapping port definition with {C}.ports[0]",
            f"{C}.ports[2]: overlapping port definition with {C}.ports[1]",
            f"{C}.ports[3]: hostIP set without hostPort: {{Name:a HostPort:0 ContainerPort:81 Protocol:TCP HostIP:10.0.0.1}}",
            f'{C}.ports[3]: duplicate port name "a" with {C}.ports[0], services and probes that select ports by name will use {C}.ports[0]',
        ],
    ),
    (
        POD,
        {f"{C}.resources.requests": {"memory": "500m", "cpu": "500m"}, "spec.overhead": {"ephemeral-storage": "1500m"}},
        [
            'spec.overhead[ephemeral-storage]: fractional byte value "1500m" is invalid, must be an integer',
            f'{C}.resources.requests[memory]: fractional byte value "500m" is invalid, must be an integer',
        ],
    ),
    (
        POD,
        {"spec.dnsConfig": {"nameservers": ["fd00:0::1", "::ffff:1.2.3.4", "010.0.0.1"]}},
        [
            'spec.dnsConfig.nameservers[0]: IPv6 address "fd00:0::1" should be in RFC 5952 canonical format ("fd00::1")',
            'spec.dnsConfig.nameservers[1]: non-standard IP address "::ffff:1.2.3.4" is invalid: use "1.2.3.4"',
            'spec.dnsConfig.nameservers[2]: non-standard IP address "010.0.0.1" is invalid: use "10.0.0.1"',
        ],
    ),
    (DEPLOYMENT, {}, ['spec.template.spec.nodeSelector[beta.kubernetes.io/arch]: deprecated since v1.14; use "kubernetes.io/arch" instead']),
    (
        DEPLOYMENT,
        {"metadata.name": "a.b"},
        [
            f"metadata.name: this is used in Pod names and hostnames, {_LABEL}: [must not contain dots]",
            'spec.template.spec.nodeSelector[beta.kubernetes.io/arch]: deprecated since v1.14; use "kubernetes.io/arch" instead',
        ],
    ),
    (
        STATEFUL,
        {"spec.revisionHistoryLimit": -1},
        [
            'spec.volumeClaimTemplates[0].resources.requests[storage]: fractional byte value "100m" is invalid, must be an integer',
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended",
        ],
    ),
    (
        JOB,
        {"spec.completionMode": "Indexed", "spec.completions": 100_001, "spec.parallelism": 10_001},
        [
            "spec: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        ],
    ),
    (SERVICE, {"spec.externalName": "example.com"}, ['spec.externalName is ignored when spec.type is not "ExternalName"']),
    (SERVICE, {"spec.externalIPs": ["192.0.2.7"]}, ["spec.externalIPs is deprecated and may no longer be implemented in some clusters"]),
    (
        SERVICE,
        {"spec.clusterIP": "None", "spec.externalIPs": ["192.0.2.7"], "spec.sessionAffinity": "ClientIP"},
        ["spec.externalIPs is ignored for headless services", "spec.SessionAffinity is ignored for headless services"],
    ),
    (
        SERVICE,
        {"spec.trafficDistribution": "PreferClose", "spec.loadBalancerSourceRanges": ["10.1.2.3/8"]},
        [
            'spec.loadBalancerSourceRanges[0]: CIDR value "10.1.2.3/8" is ambiguous in this context (should be "10.0.0.0/8" or "10.1.2.3/32"?)',
            'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"',
        ],
    ),
    (
        POLICY,
        {"spec.egress": [{"to": [{"ipBlock": {"cidr": "fd00:0::/16", "except": ["010.0.0.0/8"]}}]}]},
        [
            'spec.egress[0].to[0].ipBlock.cidr: IPv6 CIDR value "fd00:0::/16" should be in RFC 5952 canonical format ("fd00::/16")',
            'spec.egress[0].to[0].ipBlock.except[0]: non-standard CIDR value "010.0.0.0/8" is invalid: use "10.0.0.0/8"',
        ],
    ),
    (
        DRIVER,
        {},
        [
            "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes"
        ],
    ),
    (SLICE, {}, ["spec.addressType: FQDN endpoints are deprecated"]),
    (CLAIM, {}, ['spec.resources.requests[storage]: fractional byte value "1500m" is invalid, must be an integer']),
    (INGRESS, {}, ["annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"]),
    (INGRESS, {"spec.ingressClassName": "x"}, []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("obj", "edits", "words"), SAID, ids=[f"{obj['kind']}:{next(iter(edits), '')}" for obj, edits, _ in SAID]
)
def test_what_is_said(obj: dict[str, Any], edits: dict[str, Any], words: list[str]) -> None:
    new = edited(obj, edits)
    assert warnings_for(kind_of(new), new) == words


UNSAID: list[tuple[dict[str, Any], dict[str, Any], int]] = [
    (POD, {f"{C}.resources.requests": {"memory": "500m"}}, 0),
    (DEPLOYMENT, {"metadata.labels": {"a": "b"}}, 0),
    (DEPLOYMENT, {"metadata.generation": 2}, 1),
    (STATEFUL, {}, 1),
    (DRIVER, {}, 0),
    (DRIVER, {"spec.tokenRequests": [{"audience": "b"}]}, 1),
    (SLICE, {}, 0),
    (INGRESS, {}, 0),
    (CLAIM, {}, 1),
]


@pytest.mark.parametrize(
    ("obj", "edits", "count"), UNSAID, ids=[f"{obj['kind']}:{next(iter(edits), '')}" for obj, edits, _ in UNSAID]
)
def test_a_change_is_told_what_its_kind_tells(obj: dict[str, Any], edits: dict[str, Any], count: int) -> None:
    new = edited(obj, edits)
    assert len(warnings_for(kind_of(new), new, obj)) == count
