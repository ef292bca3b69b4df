"""An autoscaler asks for as many replicas as the load needs, within its bounds, and says why."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api import times
from edgekube.api.controller import Moment
from edgekube.api.kinds import DEPLOYMENT, HORIZONTALPODAUTOSCALER, POD
from edgekube.api.objects import Object
from edgekube.controllers.autoscaling.behavior import Memory, Remembered, limited
from edgekube.controllers.autoscaling.metrics import question_of
from edgekube.controllers.autoscaling.plan import Facts, plan, wants_metrics
from edgekube.controllers.autoscaling.readings import MetricError
from tests.controllers.world import World

CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}


class Scaled:
    """A Deployment of so many pods, and an autoscaler of it."""

    def __init__(self, replicas: int, *, metrics: list[Object] | None = None, **spec: Any) -> None:
        self.world = World()
        self.memory = Memory()
        self.replicas = replicas
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        whole = {"minReplicas": 1, "maxReplicas": 10, "scaleTargetRef": reference, "metrics": metrics or [CPU], **spec}
        metadata = {"name": "web", "namespace": "default"}
        self.world.put(HORIZONTALPODAUTOSCALER, {"metadata": metadata, "spec": whole, "status": {}})
        for number in range(replicas):
            self.pod(number)

    def pod(self, number: int, *, ready: bool = True, age: float = 3600, **spec: Any) -> None:
        since = times.rfc3339(self.world.now - age)
        conditions = [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": since}]
        container = {"name": "c", "resources": {"requests": {"cpu": "100m", "memory": "100Mi"}}}
        pod = {
            "metadata": {"name": f"web-{number}", "namespace": "default", "labels": {"app": "web"}},
            "spec": {"containers": [container], **spec},
            "status": {"phase": "Running", "startTime": since, "conditions": conditions},
        }
        self.world.put(POD, pod)

    def readings(self, *cpu: str) -> Object:
        now = times.rfc3339(self.world.now)
        return {
            "items": [
                {
                    "metadata": {"name": f"web-{number}"},
                    "timestamp": now,
                    "window": "30s",
                    "containers": [{"name": "c", "usage": {"cpu": amount, "memory": "50Mi"}}],
                }
                for number, amount in enumerate(cpu)
            ]
        }

    def look(self, *answers: Object | MetricError, there: int | None = None) -> None:
        status = {"replicas": self.replicas if there is None else there, "selector": "app=web"}
        scale = {"spec": {"replicas": self.replicas}, "status": status}
        given = list(answers) if wants_metrics(self.autoscaler, scale) else []
        calls = plan(self.memory, Facts(DEPLOYMENT, scale, answers=given), self.world, self.autoscaler, self.world.moment())
        self.world.events.clear()
        for call in calls:
            if getattr(call, "subresource", "") == "scale":
                self.replicas = getattr(call, "patch")["spec"]["replicas"]  # noqa: B009
                report = getattr(call, "report")  # noqa: B009
                self.world.events.append(f"{report.success_reason}: {report.success_message}")
            else:
                self.world.carry_out([call])

    @property
    def autoscaler(self) -> Object:
        found = self.world.get(HORIZONTALPODAUTOSCALER, "default", "web")
        assert found is not None, "the autoscaler is there"
        return found

    def conditions(self) -> dict[str, tuple[str, str]]:
        return {each["type"]: (each["status"], each["reason"]) for each in self.autoscaler["status"].get("conditions") or ()}


def test_twice_the_load_asks_for_twice_the_pods() -> None:
    scaled = Scaled(2)
    scaled.look(scaled.readings("100m", "100m"))
    assert scaled.replicas == 4
    status = scaled.autoscaler["status"]
    assert (status["currentReplicas"], status["desiredReplicas"], status["lastScaleTime"]) == (
        2,
        4,
        times.rfc3339(scaled.world.now),
    )
    current = {"averageUtilization": 100, "averageValue": "100m"}
    assert status["currentMetrics"] == [{"type": "Resource", "resource": {"name": "cpu", "current": current}}]
    assert scaled.conditions() == {
        "AbleToScale": ("True", "SucceededRescale"),
        "ScalingActive": ("True", "ValidMetricFound"),
        "ScalingLimited": ("False", "DesiredWithinRange"),
    }
    reason = "cpu resource utilization (percentage of request) above target"
    assert scaled.world.events == [f"SuccessfulRescale: New size: 4; reason: {reason}"]
    message = next(each["message"] for each in status["conditions"] if each["type"] == "ScalingActive")
    assert message == (
        "the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)"
    )


def test_within_the_tolerance_nothing_changes() -> None:
    scaled = Scaled(3)
    scaled.look(scaled.readings("54m", "54m", "55m"))
    assert (scaled.replicas, scaled.world.events) == (3, [])
    narrow = Scaled(3, behavior={"scaleUp": {"tolerance": "0.01", "stabilizationWindowSeconds": 0, "selectPolicy": "Max",
                                             "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}]},
                                 "scaleDown": {"selectPolicy": "Max", "policies": []}})  # fmt: skip
    narrow.look(narrow.readings("54m", "54m", "55m"))
    assert narrow.replicas == 4


def test_fewer_are_kept_for_five_minutes() -> None:
    scaled = Scaled(4)
    scaled.look(scaled.readings("10m", "10m", "10m", "10m"))
    assert scaled.replicas == 4
    assert scaled.conditions()["AbleToScale"] == ("True", "ScaleDownStabilized")
    scaled.world.now += 301
    scaled.look(scaled.readings("10m", "10m", "10m", "10m"))
    assert scaled.replicas == 1
    assert scaled.world.events == ["SuccessfulRescale: New size: 1; reason: All metrics below target"]


def test_the_bounds_come_first() -> None:
    scaled = Scaled(12)
    scaled.look()
    assert scaled.replicas == 10
    assert scaled.world.events == ["SuccessfulRescale: New size: 10; reason: Current number of replicas above Spec.MaxReplicas"]
    few = Scaled(1, minReplicas=3)
    few.look()
    assert few.replicas == 3


def test_no_more_than_double_or_four_at_once() -> None:
    scaled = Scaled(1)
    scaled.look(scaled.readings("1"))
    assert (scaled.replicas, scaled.conditions()["ScalingLimited"]) == (4, ("True", "ScaleUpLimit"))
    most = Scaled(6)
    most.look(most.readings(*["1"] * 6))
    assert (most.replicas, most.conditions()["ScalingLimited"]) == (10, ("True", "TooManyReplicas"))


def test_a_target_of_zero_is_left_alone() -> None:
    scaled = Scaled(0)
    scaled.look()
    assert scaled.replicas == 0
    assert scaled.conditions()["ScalingActive"] == ("False", "ScalingDisabled")


def test_pods_that_start_do_not_ask_for_more() -> None:
    scaled = Scaled(2)
    scaled.pod(2, ready=False, age=10)
    # Of three pods two are busy: the third is taken for idle, and the rest of the ratio is no more than the tolerance.
    scaled.look(scaled.readings("80m", "80m", "100m"))
    assert scaled.replicas == 2


def test_missing_figures_are_taken_in_the_cautious_way() -> None:
    scaled = Scaled(3)
    scaled.look(scaled.readings("10m"))  # the other two are taken for busy
    assert scaled.replicas == 3
    scaled.look(scaled.readings("200m"))  # and for idle
    assert scaled.replicas == 4


def test_an_unknown_metric_never_scales_down() -> None:
    pods = {"type": "Pods", "pods": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "10"}}}
    scaled = Scaled(4, metrics=[CPU, pods])
    scaled.world.now += 1000
    fault = MetricError("the server could not find the requested resource (get pods.custom.metrics.k8s.io)")
    scaled.look(scaled.readings("10m", "10m", "10m", "10m"), fault)
    assert scaled.replicas == 4
    why = (
        "unable to get metric queue: unable to fetch metrics from custom metrics API: "
        "the server could not find the requested resource (get pods.custom.metrics.k8s.io)"
    )
    assert scaled.world.events == [
        f"FailedGetPodsMetric: {why}",
        "FailedComputeMetricsReplicas: invalid metrics (1 invalid out of 2), first error is: "
        f"failed to get pods metric value: {why}",
    ]
    assert scaled.conditions()["ScalingActive"] == ("False", "FailedGetPodsMetric")
    scaled.look(scaled.readings(*["200m"] * 4), fault)
    assert scaled.replicas == 8, "what is known suffices to scale up"


def test_no_metrics_server_is_told_in_upstreams_words() -> None:
    scaled = Scaled(1)
    scaled.look(MetricError("the server could not find the requested resource (get pods.metrics.k8s.io)"))
    assert scaled.world.events[0] == (
        "FailedGetResourceMetric: failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics "
        "from resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)"
    )


def test_a_pod_without_requests_has_no_utilization() -> None:
    scaled = Scaled(1)
    scaled.pod(0, containers=[{"name": "c"}])
    scaled.look(scaled.readings("10m"))
    assert "missing request for cpu in container c of Pod web-0" in scaled.world.events[0]


def value(amount: str) -> Object:
    return {"items": [{"value": amount, "describedObject": {"name": "web-0"}, "timestamp": "2027-01-15T08:00:00Z"}]}


def external(target: Object) -> Object:
    return {"type": "External", "external": {"metric": {"name": "jobs"}, "target": target}}


@pytest.mark.parametrize(
    ("metric", "answer", "expected", "shown"),
    [
        (
            external({"type": "AverageValue", "averageValue": "5"}),
            value("32"),
            7,
            {"external": {"metric": {"name": "jobs"}, "current": {"averageValue": "16"}}},
        ),
        (
            external({"type": "Value", "value": "10"}),
            value("15"),
            3,
            {"external": {"metric": {"name": "jobs"}, "current": {"value": "15"}}},
        ),
        (
            {
                "type": "Object",
                "object": {
                    "metric": {"name": "rps"},
                    "describedObject": {"apiVersion": "v1", "kind": "Service", "name": "web"},
                    "target": {"type": "Value", "value": "100"},
                },
            },
            value("300"),
            6,
            {
                "object": {
                    "describedObject": {"apiVersion": "v1", "kind": "Service", "name": "web"},
                    "metric": {"name": "rps"},
                    "current": {"value": "300"},
                }
            },
        ),
        (
            {
                "type": "ContainerResource",
                "containerResource": {
                    "name": "memory",
                    "container": "c",
                    "target": {"type": "AverageValue", "averageValue": "20Mi"},
                },
            },
            None,
            5,
            {"containerResource": {"name": "memory", "container": "c", "current": {"averageValue": "50Mi"}}},
        ),
    ],
)  # fmt: skip
def test_every_kind_of_metric(metric: Object, answer: Object | None, expected: int, shown: Object) -> None:
    behavior = {"scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max",
                            "policies": [{"type": "Pods", "value": 9, "periodSeconds": 15}]},
                "scaleDown": {"selectPolicy": "Max", "policies": []}}  # fmt: skip
    scaled = Scaled(2, metrics=[metric], behavior=behavior)
    scaled.look(answer or scaled.readings("10m", "10m"))
    assert scaled.replicas == expected
    assert scaled.autoscaler["status"]["currentMetrics"] == [{"type": metric["type"], **shown}]


@pytest.mark.parametrize(
    ("metric", "path"),
    [
        (CPU, "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods?labelSelector=app%3Dweb"),
        (
            {"type": "Pods", "pods": {"metric": {"name": "rps", "selector": {"matchLabels": {"a": "b"}}}}},
            "namespaces/default/pods/%2A/rps?labelSelector=app%3Dweb&metricLabelSelector=a%3Db",
        ),
        (
            {"type": "Object", "object": {"metric": {"name": "rps"}, "describedObject": {"kind": "Service", "name": "web"}}},
            "namespaces/default/services/web/rps",
        ),
        (
            {"type": "External", "external": {"metric": {"name": "jobs"}}},
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/jobs",
        ),
    ],
)
def test_metrics_are_asked_for_where_upstream_asks(metric: Object, path: str) -> None:
    assert question_of(metric, "default", "app=web", lambda _, kind: f"{kind.lower()}s").path == path


def rules(value: int, kind: str = "Pods", period: int = 60, window: int = 0, select: str = "Max") -> Object:
    policy = {"type": kind, "value": value, "periodSeconds": period}
    return {"stabilizationWindowSeconds": window, "selectPolicy": select, "policies": [policy]}


def test_policies_bound_the_change_within_their_period() -> None:
    spec = {"maxReplicas": 100, "behavior": {"scaleUp": rules(3), "scaleDown": rules(10, "Percent")}}
    remembered = Remembered()
    first = limited(spec, remembered, 10, 30, 1, 0.0)
    assert (first.replicas, first.limited.reason) == (13, "ScaleUpLimit")
    remembered.scaled(10, 13, 0.0, 60)
    assert limited(spec, remembered, 13, 30, 1, 15.0).replicas == 13, "the period has had its three"
    assert limited(spec, remembered, 13, 30, 1, 61.0).replicas == 16
    down = limited(spec, Remembered(), 20, 5, 1, 0.0)
    assert (down.replicas, down.limited.reason) == (18, "ScaleDownLimit")


def test_scaling_can_be_switched_off_one_way() -> None:
    spec = {"maxReplicas": 100, "behavior": {"scaleUp": rules(3), "scaleDown": {**rules(3), "selectPolicy": "Disabled"}}}
    assert limited(spec, Remembered(), 10, 1, 1, 0.0).replicas == 10


def test_a_window_upwards_waits_for_the_load_to_last() -> None:
    spec = {"maxReplicas": 100, "behavior": {"scaleUp": rules(50, window=60), "scaleDown": rules(50)}}
    remembered = Remembered()
    assert limited(spec, remembered, 2, 10, 1, 0.0).replicas == 2
    found = limited(spec, remembered, 2, 10, 1, 30.0)
    assert (found.replicas, found.able.reason) == (2, "ScaleUpStabilized")
    assert limited(spec, remembered, 2, 10, 1, 61.0).replicas == 10


def test_two_autoscalers_of_the_same_pods_both_stand_still() -> None:
    scaled = Scaled(2)
    scaled.look(scaled.readings("100m", "100m"))
    rival = {**scaled.autoscaler, "metadata": {"name": "rival", "namespace": "default"}, "status": {}}
    rival = scaled.world.put(HORIZONTALPODAUTOSCALER, rival)
    scale = {"spec": {"replicas": 4}, "status": {"replicas": 2, "selector": "app=web"}}
    facts = Facts(DEPLOYMENT, scale, answers=[scaled.readings("100m", "100m")])
    scaled.world.events.clear()
    scaled.world.carry_out(plan(scaled.memory, facts, scaled.world, rival, scaled.world.moment()))
    text = "pods by selector app=web are controlled by multiple HPAs: [{rival default} {web default}]"
    assert scaled.world.events[0] == f"AmbiguousSelector: {text}"


def test_figures_alone_are_written_now_and_then() -> None:
    scaled = Scaled(2)
    scaled.look(scaled.readings("50m", "50m"))
    before = scaled.autoscaler["metadata"]["resourceVersion"]
    scaled.world.now += 15
    scaled.look(scaled.readings("51m", "51m"))
    assert scaled.autoscaler["metadata"]["resourceVersion"] == before
    scaled.world.now += 15
    scaled.look(scaled.readings("46m", "40m"))
    assert scaled.autoscaler["metadata"]["resourceVersion"] != before, "that is more than a tenth"


def test_a_target_that_is_not_there() -> None:
    scaled = Scaled(1)
    calls = plan(
        scaled.memory, Facts(fault='deployments/scale.apps "web" not found'), scaled.world, scaled.autoscaler, Moment(0, 0)
    )
    scaled.world.carry_out(calls)
    assert scaled.world.events == ['FailedGetScale: deployments/scale.apps "web" not found']
    assert scaled.conditions() == {"AbleToScale": ("False", "FailedGetScale")}


@settings(max_examples=200, deadline=None)
@given(
    loads=st.lists(st.integers(0, 400), min_size=1, max_size=15),
    start=st.integers(1, 10),
    least=st.integers(1, 5),
    room=st.integers(0, 15),
    behavior=st.sampled_from([None, {"scaleUp": rules(2), "scaleDown": rules(50, "Percent", 30)}]),
)
def test_the_number_stays_within_bounds_and_rates(
    loads: list[int], start: int, least: int, room: int, behavior: Object | None
) -> None:
    spec: Object = {"maxReplicas": least + room, "behavior": behavior}
    remembered = Remembered()
    current = min(max(start, least), least + room)
    lately: list[tuple[float, int]] = []
    asked: list[int] = []
    for step, load in enumerate(loads):
        now = step * 15.0
        wanted = math.ceil(load / 20)
        found = limited(spec, remembered, current, wanted, least, now)
        assert least <= found.replicas <= least + room
        if behavior is None:
            assert found.replicas <= max(2 * current, 4)
        else:
            assert found.replicas <= max([current, *(count for at, count in lately if at > now - 60)]) + 2
        asked.append(wanted)
        assert found.replicas <= max([current, least, *asked]), "nobody has asked for so many"
        assert found.replicas >= min([current, *asked])
        if found.replicas != current:
            remembered.scaled(current, found.replicas, now, 60)
            lately.append((now, current))
        current = found.replicas
