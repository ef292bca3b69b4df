"""The Pod Security Standards, in the words that people meet."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.admission.pod_security import admit
from edgekube.admission.pod_security.evaluate import findings, in_detail, in_short
from edgekube.admission.pod_security.levels import DEFAULT, LATEST, PREFIX, Policy, Standard, policy_of
from edgekube.api.objects import Object

RESTRICTED = Standard("restricted")
BASELINE = Standard("baseline")


def pod(security: Object | None = None, **spec: Any) -> Object:
    return {"containers": [{"name": "c", "image": "demo", "securityContext": security or {}}], **spec}


GOOD = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def test_a_plain_pod_under_restricted() -> None:
    assert in_detail(findings(RESTRICTED, {}, pod())) == (
        'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), '
        'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), '
        'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), '
        'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
    )


def test_a_pod_that_says_all_it_must() -> None:
    assert findings(RESTRICTED, {}, pod(GOOD)) == []


BASELINE_CASES: list[tuple[Object, Object, str]] = [
    ({"hostNetwork": True, "hostPID": True}, {}, "host namespaces (hostNetwork=true, hostPID=true)"),
    (
        {"volumes": [{"name": "a", "hostPath": {"path": "/"}}, {"name": "b", "hostPath": {"path": "/"}}]},
        {},
        'hostPath volumes (volumes "a", "b")',
    ),
    ({}, {"privileged": True}, 'privileged (container "c" must not set securityContext.privileged=true)'),
    (
        {},
        {"capabilities": {"add": ["SYS_ADMIN", "CHOWN", "NET_RAW"]}},
        'non-default capabilities (container "c" must not include "NET_RAW", "SYS_ADMIN" in securityContext.capabilities.add)',
    ),
    ({}, {"procMount": "Unmasked"}, 'procMount (container "c" must not set securityContext.procMount to "Unmasked")'),
    (
        {},
        {"seLinuxOptions": {"type": "spc_t", "user": "u", "role": "r"}},
        'seLinuxOptions (container "c" set forbidden securityContext.seLinuxOptions: type "spc_t"; user may not be set; '
        "role may not be set)",
    ),
    (
        {"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
        {"seccompProfile": {"type": "Unconfined"}},
        'seccompProfile (pod and container "c" must not set securityContext.seccompProfile.type to "Unconfined")',
    ),
    (
        {"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}, {"name": "net.ipv4.tcp_rmem", "value": "1"}]}},
        {},
        "forbidden sysctls (kernel.msgmax)",
    ),
    (
        {"securityContext": {"windowsOptions": {"hostProcess": True}}},
        {},
        "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
    ),
    (
        {"securityContext": {"appArmorProfile": {"type": "Unconfined"}}},
        {},
        'forbidden AppArmor profile (pod must not set AppArmor profile type to "Unconfined")',
    ),
]


@pytest.mark.parametrize(
    ("spec", "security", "text"), BASELINE_CASES, ids=[case[2].partition(" (")[0] for case in BASELINE_CASES]
)
def test_what_baseline_forbids(spec: Object, security: Object, text: str) -> None:
    assert in_detail(findings(BASELINE, {}, pod(security, **spec))) == text


def test_host_ports_and_hosts_of_probes() -> None:
    container = {
        "name": "c",
        "ports": [{"containerPort": 1, "hostPort": 80}, {"containerPort": 2, "hostPort": 8080}],
        "livenessProbe": {"httpGet": {"host": "10.0.0.1", "port": 80}},
    }
    assert in_detail(findings(BASELINE, {}, {"containers": [container]})) == (
        'hostPort (container "c" uses hostPorts 80, 8080), '
        'probe or lifecycle host (container "c" uses probe or lifecycle host "10.0.0.1")'
    )
    assert in_short(findings(Standard("baseline", 33), {}, {"containers": [container]})) == "hostPort"


def test_annotations_of_older_days() -> None:
    metadata = {
        "annotations": {
            "container.apparmor.security.beta.kubernetes.io/c": "unconfined",
            "seccomp.security.alpha.kubernetes.io/pod": "unconfined",
        }
    }
    assert in_detail(findings(Standard("baseline", 18), metadata, pod())) == (
        "forbidden AppArmor profile (annotation must not set AppArmor profile type to "
        '"container.apparmor.security.beta.kubernetes.io/c="unconfined""), '
        'seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod="unconfined")'
    )
    assert in_short(findings(BASELINE, metadata, pod())) == "forbidden AppArmor profile"


def test_versions_decide_what_is_asked() -> None:
    assert in_short(findings(Standard("restricted", 7), {}, pod())) == "runAsNonRoot != true"
    windows = pod({"runAsNonRoot": True}, os={"name": "windows"})
    assert findings(Standard("restricted", 25), {}, windows) == []
    assert len(findings(Standard("restricted", 24), {}, windows)) == 3


def test_a_user_namespace_of_its_own() -> None:
    root = pod({**GOOD, "runAsNonRoot": False, "runAsUser": 0}, hostUsers=False)
    assert findings(RESTRICTED, {}, root) == []
    assert in_short(findings(Standard("restricted", 34), {}, root)) == "runAsNonRoot != true, runAsUser=0"
    unmasked = pod({"procMount": "Unmasked"}, hostUsers=False)
    assert findings(BASELINE, {}, unmasked) == []
    assert "procMount" in in_short(findings(RESTRICTED, {}, unmasked))


def test_restricted_volumes_take_the_place_of_host_paths() -> None:
    spec = pod(GOOD, volumes=[{"name": "h", "hostPath": {}}, {"name": "n", "nfs": {}}, {"name": "e", "emptyDir": {}}])
    assert in_detail(findings(RESTRICTED, {}, spec)) == (
        'restricted volume types (volumes "h", "n" use restricted volume types "hostPath", "nfs")'
    )


# --- a namespace's labels


def test_labels_make_a_policy() -> None:
    assert policy_of({"other": "label"}) == (DEFAULT, [])
    policy, causes = policy_of({f"{PREFIX}enforce": "baseline", f"{PREFIX}enforce-version": "v1.25"})
    assert causes == []
    assert str(policy.enforce) == str(policy.warn) == "baseline:v1.25", "who enforces is warned of the same"
    assert str(policy.audit) == "privileged:latest"


def test_labels_that_cannot_be_read() -> None:
    labels = {f"{PREFIX}enforce": "strict", f"{PREFIX}warn": "x", f"{PREFIX}audit-version": "1.25"}
    policy, causes = policy_of(labels)
    assert policy == Policy(Standard("restricted"), Standard("privileged"), Standard("privileged"))
    assert [(cause.field, cause.message) for cause in causes] == [
        (
            "metadata.labels[pod-security.kubernetes.io/enforce]",
            'Invalid value: "strict": must be one of privileged, baseline, restricted',
        ),
        (
            "metadata.labels[pod-security.kubernetes.io/audit-version]",
            'Invalid value: "1.25": must be "latest" or "v1.x"',
        ),
        (
            "metadata.labels[pod-security.kubernetes.io/warn]",
            'Invalid value: "x": must be one of privileged, baseline, restricted',
        ),
    ]


def test_three_modes_of_one_pod() -> None:
    policy = Policy(Standard("baseline"), Standard("restricted", 20), Standard("restricted"))
    verdict = admit.judge_pod(policy, [], {}, pod({**GOOD, "runAsNonRoot": None}), enforced=True)
    assert verdict.refusal == ""
    missing = 'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true)'
    assert verdict.warnings == [f'would violate PodSecurity "restricted:latest": {missing}']
    assert verdict.annotations == {
        f"{PREFIX}enforce-policy": "baseline:latest",
        f"{PREFIX}audit-violations": f'would violate PodSecurity "restricted:v1.20": {missing}',
    }
    refused = admit.judge_pod(policy, [], {}, pod(hostNetwork=True), enforced=True)
    assert refused.refusal == 'violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)'
    assert refused.warnings == [], "nobody is warned of what is refused"


def test_running_pods_are_named_once_for_each_reason() -> None:
    pods = [{"metadata": {"name": name}, "spec": pod(hostNetwork=True)} for name in ("web-2", "web-1", "web-3")]
    pods.append({"metadata": {"name": "db"}, "spec": pod({"privileged": True})})
    running = admit.Running("shop", BASELINE)
    for each in pods:
        running.add(each)
    assert running.warnings(9) == [
        "new PodSecurity enforce level only checked against the first 4 of 9 existing pods",
        'existing pods in namespace "shop" violate the new PodSecurity enforce level "baseline:latest"',
        "db: privileged",
        "web-1 (and 2 other pods): host namespaces",
    ]


def test_one_pod_of_each_controller_is_looked_at_first() -> None:
    assert admit.looked_at(["", "a", "a", "b", "", "a"]) == [0, 1, 3, 4, 2, 5]


def test_only_a_stricter_label_looks_at_pods() -> None:
    privileged, baseline, restricted = (Policy(enforce=Standard(level)) for level in ("privileged", "baseline", "restricted"))
    assert admit.looks_at_pods(baseline, privileged)
    assert admit.looks_at_pods(restricted, baseline)
    assert not admit.looks_at_pods(baseline, restricted)
    assert not admit.looks_at_pods(privileged, restricted)
    assert admit.looks_at_pods(Policy(enforce=Standard("baseline", 24)), restricted)


def test_what_changes_of_a_pod_matter() -> None:
    old = {"spec": pod()}
    assert not admit.matters({"spec": pod(activeDeadlineSeconds=5)}, old)
    assert admit.matters({"spec": {"containers": [{"name": "c", "image": "other"}]}}, old)
    assert admit.matters({"spec": pod(ephemeralContainers=[{"name": "debug", "image": "demo"}])}, old)


# --- properties

_contexts = st.fixed_dictionaries(
    {},
    optional={
        "privileged": st.booleans(),
        "allowPrivilegeEscalation": st.booleans(),
        "runAsNonRoot": st.booleans(),
        "runAsUser": st.integers(0, 3),
        "capabilities": st.fixed_dictionaries(
            {},
            optional={
                "add": st.lists(st.sampled_from(["CHOWN", "NET_BIND_SERVICE", "SYS_ADMIN"])),
                "drop": st.lists(st.sampled_from(["ALL", "CHOWN"])),
            },
        ),
        "seccompProfile": st.fixed_dictionaries({"type": st.sampled_from(["RuntimeDefault", "Unconfined", "Localhost"])}),
        "procMount": st.sampled_from(["Default", "Unmasked"]),
    },
)
_specs = st.fixed_dictionaries(
    {"containers": st.lists(st.fixed_dictionaries({"name": st.just("c")}, optional={"securityContext": _contexts}), max_size=1)},
    optional={
        "hostNetwork": st.booleans(),
        "securityContext": _contexts,
        "volumes": st.lists(
            st.sampled_from([{"name": "v", "hostPath": {}}, {"name": "v", "secret": {}}, {"name": "v", "nfs": {}}])
        ),
    },
)


@given(_specs, st.integers(0, 40) | st.just(LATEST))
def test_restricted_forbids_what_baseline_forbids(spec: Object, minor: int) -> None:
    if findings(Standard("baseline", minor), {}, spec):
        assert findings(Standard("restricted", minor), {}, spec)


@given(_specs)
def test_versions_after_the_last_change_nothing(spec: Object) -> None:
    assert findings(RESTRICTED, {}, spec) == findings(Standard("restricted", 36), {}, spec)
    assert findings(Standard("privileged"), {}, spec) == []
