"""Quotas: what counts, whether there is room, and that sums agree with what is counted anew."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.admission.pod_resources import plus
from edgekube.admission.quota import charge, count
from edgekube.admission.quota.charge import Write
from edgekube.admission.quota.meters import CREATE, UPDATE, Meter, meter_of
from edgekube.api import quantities
from edgekube.api.errors import StatusError
from edgekube.api.kinds import KINDS, POD, SERVICE
from edgekube.api.objects import Object

NOW = 1_800_000_000.0


def meter(group_resource: str) -> Meter:
    found = meter_of(group_resource)
    assert found is not None
    return found


def quota(hard: Object, used: Object | None = None, **spec: Any) -> Object:
    status = {"hard": hard, "used": used if used is not None else dict.fromkeys(hard, "0")}
    return {"metadata": {"name": "q"}, "spec": {"hard": hard, **spec}, "status": status}


def pod(requests: Object | None = None, limits: Object | None = None, **spec: Any) -> Object:
    containers = [{"name": "c", "resources": {"requests": requests or {}, "limits": limits or {}}}]
    return {"metadata": {"name": "p"}, "spec": {"containers": containers, **spec}}


def ask(row: Object, obj: Object, *, old: Object | None = None, group_resource: str = "pods", subresource: str = "") -> Any:
    kind = POD if group_resource == "pods" else SERVICE
    write = Write(kind, CREATE if old is None else UPDATE, "p", obj, old, subresource)
    return charge.charges([row], write, meter(group_resource), NOW)


def refusal(row: Object, obj: Object, **more: Any) -> str:
    with pytest.raises(StatusError) as refused:
        ask(row, obj, **more)
    assert refused.value.code == 403
    return refused.value.message


def test_what_a_pod_is_charged() -> None:
    row = quota(
        {"pods": "5", "count/pods": "5", "requests.cpu": "2", "cpu": "2", "limits.memory": "1Gi", "requests.nvidia.com/gpu": "3"}
    )
    asked = pod({"cpu": "500m", "memory": "1Gi", "nvidia.com/gpu": "2"}, {"cpu": "1", "memory": "256Mi", "nvidia.com/gpu": "2"})
    assert ask(row, asked) == {
        "q": {
            "pods": "1",
            "count/pods": "1",
            "requests.cpu": "500m",
            "cpu": "500m",
            "limits.memory": "256Mi",
            "requests.nvidia.com/gpu": "2",
        }
    }


def test_a_full_quota_says_so() -> None:
    assert refusal(quota({"pods": "5", "secrets": "1"}, {"pods": "5", "secrets": "0"}), pod()) == (
        'pods "p" is forbidden: exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5'
    )
    row = quota(
        {"pods": "5", "requests.cpu": "1", "requests.memory": "1Gi"},
        {"pods": "1", "requests.cpu": "600m", "requests.memory": "900Mi"},
    )
    assert refusal(row, pod({"cpu": "500m", "memory": "200Mi"})).endswith(
        "exceeded quota: q, requested: requests.cpu=500m,requests.memory=200Mi, used: requests.cpu=600m,requests.memory=900Mi, "
        "limited: requests.cpu=1,requests.memory=1Gi"
    )


def test_what_must_be_said() -> None:
    row = quota({"limits.cpu": "2", "requests.memory": "1Gi"})
    assert refusal(row, pod({"cpu": "1"})) == (
        'pods "p" is forbidden: failed quota: q: must specify limits.cpu for: c; requests.memory for: c'
    )
    assert ask(row, pod(resources={"limits": {"cpu": "1"}})) == {"q": {"limits.cpu": "1"}}, "the pod speaks for its containers"


def test_a_quota_that_nobody_has_counted_yet() -> None:
    row = quota({"pods": "5"})
    row["status"] = {}
    assert ask(row, pod()) == {}, "before its status tells its limits it limits nothing"
    row["status"] = {"hard": {"pods": "5"}, "used": {}}
    assert refusal(row, pod()).endswith("status unknown for quota: q, resources: pods")


REQUIRED: Object = {"requiredDuringSchedulingIgnoredDuringExecution": [{"namespaces": ["x"]}]}
PREFERRED: Object = {"preferredDuringSchedulingIgnoredDuringExecution": [{"podAffinityTerm": {"namespaceSelector": {}}}]}
SCOPES: list[tuple[str, Object, Object]] = [
    ("Terminating", {"activeDeadlineSeconds": 30}, {}),
    ("NotTerminating", {}, {"activeDeadlineSeconds": 30}),
    ("CrossNamespacePodAffinity", {"affinity": {"podAffinity": REQUIRED}}, {"affinity": {}}),
    ("CrossNamespacePodAffinity", {"affinity": {"podAntiAffinity": PREFERRED}}, {}),
    ("PriorityClass", {"priorityClassName": "high"}, {}),
]


@pytest.mark.parametrize(("scope", "inside", "outside"), SCOPES)
def test_scopes(scope: str, inside: Object, outside: Object) -> None:
    row = quota({"pods": "1"}, {"pods": "0"}, scopes=[scope])
    assert ask(row, pod(**inside)) == {"q": {"pods": "1"}}
    assert ask(row, pod(**outside)) == {}


def test_best_effort_is_without_any_request() -> None:
    row = quota({"pods": "1"}, scopes=["BestEffort"])
    assert ask(row, pod()) == {"q": {"pods": "1"}}
    assert ask(row, pod({"cpu": "1m"})) == {}
    assert ask(quota({"pods": "1"}, scopes=["NotBestEffort"]), pod({"cpu": "1m"})) == {"q": {"pods": "1"}}


@pytest.mark.parametrize(
    ("operator", "values", "classes"),
    [
        ("In", ["high", "low"], {"high"}),
        ("NotIn", ["low"], {"high", None}),
        ("Exists", [], {"high"}),
        ("DoesNotExist", [], {None}),
    ],
)
def test_operators_of_a_scope_selector(operator: str, values: list[str], classes: set[str | None]) -> None:
    requirement = {"scopeName": "PriorityClass", "operator": operator, "values": values}
    row = quota({"pods": "9"}, scopeSelector={"matchExpressions": [requirement]})
    for name in ("high", None):
        spec: Object = {"priorityClassName": name} if name else {}
        assert bool(ask(row, pod(**spec))) is (name in classes)


def test_services_by_type() -> None:
    row = quota({"services": "5", "services.nodeports": "2", "services.loadbalancers": "1"})

    def service(type_: str, ports: int = 1, **spec: Any) -> Object:
        return {"metadata": {"name": "s"}, "spec": {"type": type_, "ports": [{"port": n} for n in range(ports)], **spec}}

    assert ask(row, service("ClusterIP"), group_resource="services") == {"q": {"services": "1"}}
    both = {"q": {"services": "1", "services.nodeports": "2", "services.loadbalancers": "1"}}
    assert ask(row, service("LoadBalancer", 2), group_resource="services") == both
    without = service("LoadBalancer", 2, allocateLoadBalancerNodePorts=False)
    assert ask(row, without, group_resource="services") == {"q": {"services": "1", "services.loadbalancers": "1"}}
    grown = {"q": {"services.nodeports": "1"}}
    assert ask(row, service("NodePort", 2), old=service("NodePort"), group_resource="services") == grown
    assert ask(row, service("ClusterIP"), old=service("NodePort"), group_resource="services") == {}
    message = refusal(row, service("NodePort", 3), old=service("ClusterIP"), group_resource="services")
    assert message.endswith("requested: services.nodeports=3, used: services.nodeports=0, limited: services.nodeports=2")


def test_claims_by_class() -> None:
    row = quota(
        {
            "requests.storage": "10Gi",
            "gold.storageclass.storage.k8s.io/requests.storage": "5Gi",
            "count/persistentvolumeclaims": "9",
        }
    )
    claim = {"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "3Gi"}}}}
    expected = {
        "requests.storage": "3Gi",
        "gold.storageclass.storage.k8s.io/requests.storage": "3Gi",
        "count/persistentvolumeclaims": "1",
    }
    assert ask(row, claim, group_resource="persistentvolumeclaims") == {"q": expected}
    claim_old = {"spec": {**claim["spec"], "resources": {"requests": {"storage": "1Gi"}}}}
    assert ask(row, claim, old=claim_old, group_resource="persistentvolumeclaims") == {
        "q": {"requests.storage": "2Gi", "gold.storageclass.storage.k8s.io/requests.storage": "2Gi"}
    }


def test_pods_that_ended_and_pods_that_come_into_a_scope() -> None:
    row = quota({"pods": "1", "count/pods": "5"})
    done = {**pod(), "status": {"phase": "Succeeded"}}
    assert ask(row, done) == {"q": {"count/pods": "1"}}
    terminating = quota({"pods": "1"}, scopes=["Terminating"])
    assert ask(terminating, pod(activeDeadlineSeconds=5), old=pod()) == {"q": {"pods": "1"}}
    assert ask(terminating, pod(activeDeadlineSeconds=5), old=pod(activeDeadlineSeconds=9)) == {}
    resize = quota({"requests.cpu": "2"}, {"requests.cpu": "1"})
    assert ask(resize, pod({"cpu": "2"}), old=pod({"cpu": "1"}), subresource="resize") == {"q": {"requests.cpu": "1"}}


def test_every_kind_can_be_counted_but_for_questions_and_events() -> None:
    assert meter("widgets.example.com").usage({}, NOW) == {"count/widgets.example.com": "1"}
    assert meter("configmaps").usage({}, NOW) == {"count/configmaps": "1", "configmaps": "1"}
    for row in KINDS.rows:
        counted = row.stored and row.namespaced and row.kind != "Event"
        if counted:
            assert meter_of(row.group_resource) is not None
    assert meter_of("events") is meter_of("events.events.k8s.io") is meter_of("tokenreviews.authentication.k8s.io") is None


def test_device_claims() -> None:
    claim = {
        "spec": {
            "devices": {
                "requests": [
                    {"exactly": {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 2}},
                    {"firstAvailable": [
                        {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1},
                        {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 3},
                    ]},
                ]
            }
        }
    }  # fmt: skip
    used = meter("resourceclaims.resource.k8s.io").usage(claim, NOW)
    assert used == {"count/resourceclaims.resource.k8s.io": "1", "gpu.deviceclass.resource.k8s.io/devices": "5"}


def test_the_status_names_what_the_spec_limits() -> None:
    row = quota({"pods": "3", "cpu": "1000m", "unknown.example.com/x": "1"})
    row["status"] = {"hard": {"pods": "2"}, "used": {"pods": "1", "secrets": "7"}}
    counted = count.used_by(row, meter("pods"), [pod({"cpu": "250m"}), pod({"cpu": "250m"})], NOW)
    status = count.status_of(row, counted)
    assert status == {"hard": {"pods": "3", "cpu": "1", "unknown.example.com/x": "1"}, "used": {"pods": "2", "cpu": "500m"}}
    assert count.is_news(row, status)
    row["status"] = {"hard": {**status["hard"], "cpu": "1000m"}, "used": status["used"]}
    assert not count.is_news(row, status)


_pods = st.builds(
    pod,
    st.fixed_dictionaries(
        {}, optional={"cpu": st.sampled_from(["100m", "1", "250m"]), "memory": st.sampled_from(["64Mi", "1Gi"])}
    ),
    st.fixed_dictionaries({}, optional={"cpu": st.sampled_from(["2", "3"])}),
    activeDeadlineSeconds=st.none() | st.just(30),
)
HARD = {"pods": "6", "requests.memory": "3Gi", "count/pods": "100"}


@given(st.lists(_pods, max_size=12), st.sampled_from([[], ["Terminating"], ["NotTerminating"], ["NotBestEffort"]]))
def test_what_is_charged_is_what_is_counted(pods: list[Object], scopes: list[str]) -> None:
    """Whoever gets in is charged once; the sum never passes the limit and equals what is there."""
    row = quota(HARD, scopes=scopes)
    there: list[Object] = []
    for each in pods:
        try:
            added = ask(row, each).get("q", {})
        except StatusError:
            continue
        there.append(each)
        row["status"]["used"] = plus(row["status"]["used"], added)
    counted = count.used_by(row, meter("pods"), there, NOW)
    assert counted.keys() == row["status"]["used"].keys()
    for name, amount in counted.items():
        assert quantities.equal(amount, row["status"]["used"][name])
        assert quantities.compare(amount, HARD[name]) <= 0
