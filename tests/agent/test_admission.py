"""What a node says to pods that it cannot take, in the kubelet's words; and who makes room."""

from __future__ import annotations

from typing import Any

import pytest

from edgekube.agent.admission import Applicant, Refusal, refusal_of
from edgekube.agent.held import held_by
from edgekube.agent.preemption import victims
from edgekube.api.objects import Object
from tests.agent.simulated import make_pod

NODE: Object = {
    "metadata": {"name": "n1", "labels": {"kubernetes.io/os": "linux", "disk": "ssd"}},
    "spec": {},
    "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "ephemeral-storage": "10Gi", "pods": "3", "vendor.example/gpu": "1"}},
}


def asks(name: str = "web", *, port: Any = 0, limits: Any = False, **requests: Any) -> Object:
    container: Object = {"name": name, "image": "busybox", "resources": {"requests": requests}}
    if limits:
        container["resources"]["limits"] = requests
    if port:
        container["ports"] = [{"containerPort": 80, "hostPort": port, "protocol": "TCP"}]
    return make_pod(container, metadata={"name": name, "uid": name})


def asked(pod: Object, *others: Object, node: Object = NODE) -> Refusal | None:
    return refusal_of(Applicant(pod, node, [held_by(other) for other in others]))


def with_spec(**spec: Any) -> Object:
    return make_pod(**spec)


@pytest.mark.parametrize(
    ("pod", "reason", "message"),
    [
        (asks(cpu="3"), "OutOfcpu", "Node didn't have enough resource: cpu, requested: 3000, used: 0, capacity: 2000"),
        (
            asks(memory="2Gi"),
            "OutOfmemory",
            "Node didn't have enough resource: memory, requested: 2147483648, used: 0, capacity: 1073741824",
        ),
        (
            asks(**{"vendor.example/gpu": "2"}),
            "OutOfvendor.example/gpu",
            "Node didn't have enough resource: vendor.example/gpu, requested: 2, used: 0, capacity: 1",
        ),
        (
            asks(**{"hugepages-2Mi": "2Mi"}),
            "OutOfhugepages-2Mi",
            "Node didn't have enough resource: hugepages-2Mi, requested: 2097152, used: 0, capacity: 0",
        ),
        (
            with_spec(nodeSelector={"disk": "hdd"}),
            "NodeAffinity",
            "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
        ),
        (
            with_spec(nodeName="n2"),
            "NodeName",
            "Predicate NodeName failed: node(s) didn't match the requested node name",
        ),
        (
            with_spec(os={"name": "windows"}),
            "PodOSNotSupported",
            "Failed to admit pod as the OS field doesn't match node OS",
        ),
        (
            make_pod(metadata={"labels": {"kubernetes.io/os": "windows"}}),
            "PodOSSelectorNodeLabelDoesNotMatch",
            "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
        ),
        (
            with_spec(securityContext={"supplementalGroupsPolicy": "Strict"}),
            "SupplementalGroupsPolicyNotSupported",
            "SupplementalGroupsPolicy=Strict is not supported in this node",
        ),
        (
            with_spec(hostNetwork=True, hostUsers=False),
            "PodFeatureUnsupported",
            "Pod requires node features that are not available: UserNamespacesHostNetworkSupport",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isalnum() else "",
)
def test_reasons_and_messages(pod: Object, reason: str, message: str) -> None:
    found = asked(pod)
    assert found is not None
    assert (found.reason, found.message) == (reason, message)


def test_what_fits_is_let_in_and_resources_that_the_node_does_not_know_are_somebody_elses() -> None:
    assert asked(asks(cpu="2", memory="1Gi", **{"other.example/thing": "5"})) is None


def test_others_count_by_their_number_their_requests_and_their_ports() -> None:
    full = asked(asks(), asks("a"), asks("b"), asks("c"))
    assert full is not None and full.reason == "OutOfpods"
    assert full.message == "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3"
    busy = asked(asks(cpu="1500m"), asks("a", cpu="1"))
    assert busy is not None
    assert busy.message == "Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000"
    port = asked(asks(port=80), asks("a", port=80))
    assert port is not None
    assert port.message == "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"


def test_only_taints_that_would_throw_it_out_matter_and_static_pods_stay() -> None:
    tainted: Object = {**NODE, "spec": {"taints": [{"key": "k", "effect": "NoExecute"}, {"key": "l", "effect": "NoSchedule"}]}}
    found = asked(asks(), node=tainted)
    assert found is not None
    assert found.message == "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"
    tolerant = with_spec(tolerations=[{"key": "k", "operator": "Exists"}])
    assert asked(tolerant, node=tainted) is None
    static = make_pod(metadata={"annotations": {"kubernetes.io/config.source": "file"}})
    assert asked(static, node=tainted) is None


def test_a_critical_pod_is_told_first_of_what_no_room_could_mend() -> None:
    pod = asks(cpu="3")
    pod["spec"] |= {"priority": 2_000_000_000, "nodeSelector": {"disk": "hdd"}}
    found = asked(pod)
    assert found is not None and found.reason == "NodeAffinity"


def critical(**requests: Any) -> Object:
    pod = asks("critical", **requests)
    pod["spec"]["priority"] = 2_000_000_000
    return pod


def chosen(pod: Object, *others: Object) -> list[str] | None:
    refusal = asked(pod, *others)
    assert refusal is not None
    found = victims(pod, others, refusal.shortages)
    return None if found is None else [each["metadata"]["name"] for each in found]


def test_room_is_made_by_the_least_important_class_and_by_as_few_and_small_pods_as_will_do() -> None:
    guaranteed = asks("guaranteed", limits=True, cpu="1", memory="100Mi")
    small, large = asks("small", cpu="250m"), asks("large", cpu="500m")
    assert chosen(critical(cpu="500m"), guaranteed, small, large) == ["small"]
    assert chosen(critical(cpu="700m"), guaranteed, small, large) == ["large"]
    assert chosen(critical(cpu="1"), guaranteed, small, large) == ["large", "small"]
    assert chosen(critical(cpu="1500m"), guaranteed, small, large) == ["small", "guaranteed"]


def test_a_place_is_made_by_a_best_effort_pod() -> None:
    assert chosen(critical(), asks("a", cpu="1"), asks("b"), asks("c", cpu="1")) == ["b"]


def test_nobody_goes_when_all_of_them_would_not_do_and_critical_pods_never() -> None:
    assert chosen(critical(cpu="3"), asks("a", cpu="1")) is None
    assert chosen(critical(cpu="2"), critical(cpu="1")) is None


def test_sysctls_that_are_not_the_pods_own_are_refused() -> None:
    pod = with_spec(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]})
    assert asked(pod) == Refusal("SysctlForbidden", 'forbidden sysctl: "kernel.msgmax" not allowlisted')
    assert refusal_of(Applicant(pod, NODE, allowed_sysctls=["kernel.msg*"])) is None


def test_apparmor_is_refused_where_the_kernel_has_none() -> None:
    pod = with_spec(securityContext={"appArmorProfile": {"type": "RuntimeDefault"}})
    assert asked(pod) == Refusal("AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host")
    assert refusal_of(Applicant(pod, NODE, apparmor=True)) is None
