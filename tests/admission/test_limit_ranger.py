"""Limit ranges: defaults, bounds, and the words of a refusal."""

from __future__ import annotations

from typing import Any

from edgekube.admission import limit_ranger, pod_resources
from edgekube.api.objects import Object


def limit_range(**row: Any) -> Object:
    return {"spec": {"limits": [{"type": "Container", **row}]}}


def container(name: str = "c", requests: Object | None = None, limits: Object | None = None, **more: Any) -> Object:
    return {"name": name, "resources": {"requests": requests or {}, "limits": limits or {}}, **more}


def pod(*containers: Object, **spec: Any) -> Object:
    return {"metadata": {"name": "p"}, "spec": {"containers": list(containers), **spec}}


def test_defaults_are_filled_and_told() -> None:
    row = limit_range(default={"cpu": "500m", "memory": "500Mi"}, defaultRequest={"cpu": "100m", "memory": "200Mi"})
    changed = pod(
        container("a"), container("b", {"cpu": "1"}, {"cpu": "2"}), initContainers=[container("i", {}, {"memory": "1Gi"})]
    )
    limit_ranger.fill(row, changed)
    a, b = changed["spec"]["containers"]
    assert a["resources"] == {"requests": {"cpu": "100m", "memory": "200Mi"}, "limits": {"cpu": "500m", "memory": "500Mi"}}
    assert b["resources"] == {"requests": {"cpu": "1", "memory": "200Mi"}, "limits": {"cpu": "2", "memory": "500Mi"}}
    assert changed["metadata"]["annotations"] == {
        "kubernetes.io/limit-ranger": "LimitRanger plugin set: cpu, memory request for container a; "
        "cpu, memory limit for container a; memory request for container b; memory limit for container b; "
        "cpu, memory request for init container i; cpu limit for init container i"
    }


def test_a_container_that_says_everything_is_left_alone() -> None:
    row = limit_range(default={"cpu": "500m"}, defaultRequest={"cpu": "100m"})
    same = pod(container("a", {"cpu": "1"}, {"cpu": "1"}))
    limit_ranger.fill(row, same)
    assert "annotations" not in same["metadata"]


def test_bounds_of_a_container() -> None:
    row = limit_range(min={"cpu": "100m", "memory": "64Mi"}, max={"cpu": "1"}, maxLimitRequestRatio={"cpu": "2"})
    found = limit_ranger.objections(row, "pods", pod(container("c", {"cpu": "50m"}, {"cpu": "1100m"})))
    assert found == [
        "minimum cpu usage per Container is 100m, but request is 50m",
        "minimum memory usage per Container is 64Mi.  No request is specified",
        "maximum cpu usage per Container is 1, but limit is 1100m",
        "cpu max limit to request ratio per Container is 2, but provided ratio is 22.000000",
    ]
    assert limit_ranger.refusal(found[:1]) == found[0]
    assert limit_ranger.refusal(found[:2]) == f"[{found[0]}, {found[1]}]"


def test_bounds_of_a_pod_count_all_of_it() -> None:
    row = {"spec": {"limits": [{"type": "Pod", "max": {"cpu": "1"}}]}}
    two = pod(container("a", {"cpu": "600m"}, {"cpu": "600m"}), container("b", {"cpu": "600m"}, {"cpu": "600m"}))
    assert limit_ranger.objections(row, "pods", two) == ["maximum cpu usage per Pod is 1, but limit is 1200m"]
    sidecar = container("s", {"cpu": "300m"}, {"cpu": "300m"}, restartPolicy="Always")
    beside = pod(container("a", {"cpu": "600m"}, {"cpu": "600m"}), initContainers=[sidecar, container("i", {}, {"cpu": "800m"})])
    assert limit_ranger.objections(row, "pods", beside) == ["maximum cpu usage per Pod is 1, but limit is 1100m"]
    itself = pod(container("a"), resources={"limits": {"cpu": "2"}})
    assert limit_ranger.objections(row, "pods", itself) == ["maximum cpu usage per Pod is 1, but limit is 2"]


def test_bounds_of_a_claim() -> None:
    row = {"spec": {"limits": [{"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "5Gi"}}]}}

    def claim(size: str) -> Object:
        return {"spec": {"resources": {"requests": {"storage": size}}}}

    assert limit_ranger.objections(row, "persistentvolumeclaims", claim("1Gi")) == []
    small = ["minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 512Mi"]
    assert limit_ranger.objections(row, "persistentvolumeclaims", claim("512Mi")) == small
    large = ["maximum storage usage per PersistentVolumeClaim is 5Gi, but request is 6Gi"]
    assert limit_ranger.objections(row, "persistentvolumeclaims", claim("6Gi")) == large


def test_what_is_charged_has_overhead_and_the_larger_side_of_a_resize() -> None:
    resized = pod(container("a", {"cpu": "1"}, {"cpu": "1"}), overhead={"cpu": "250m", "memory": "16Mi"})
    resized["status"] = {
        "containerStatuses": [{"name": "a", "resources": {"requests": {"cpu": "2"}}, "allocatedResources": {"cpu": "3"}}]
    }
    assert pod_resources.charged(resized, "requests") == {"cpu": "3250m", "memory": "16Mi"}
    assert pod_resources.charged(resized, "limits") == {"cpu": "1250m"}
    assert pod_resources.asked(resized, "requests") == {"cpu": "1"}
