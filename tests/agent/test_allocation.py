"""What a pod was given, and how it gets more."""

from __future__ import annotations

from edgekube.agent.allocation import allocation_of, as_allocated, asks_for_more, event_text, same_resources, turn, wants_resize
from edgekube.agent.cgroups import Usage
from edgekube.agent.resize import at_most_of, too_small, unfinished
from edgekube.agent.state import ResizePending, ResizeProgress
from edgekube.agent.status import pod_status
from edgekube.agent.steps import KillContainer, ResizePod
from edgekube.api.objects import Object
from edgekube.containerd.model import Resources
from tests.agent.simulated import Simulation, make_pod


def web(cpu: str = "1", memory: str = "50Mi", **more: object) -> Object:
    resources = {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}}
    return {"name": "web", "image": "busybox", "resources": resources, **more}


def test_amounts_count_not_how_they_are_written() -> None:
    assert same_resources({"limits": {"cpu": "1"}}, {"limits": {"cpu": "1000m"}, "requests": {}})
    assert not wants_resize(make_pod(web("1000m", "51200Ki")), allocation_of(make_pod(web())))
    assert wants_resize(make_pod(web("2")), allocation_of(make_pod(web())))


def test_a_pod_runs_with_what_it_was_given() -> None:
    given = allocation_of(make_pod(web()))
    pod = as_allocated(make_pod(web("4"), resources={"limits": {"cpu": "8"}}), given)
    assert pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "1"
    assert "resources" not in pod["spec"]
    assert asks_for_more(make_pod(web("4")), pod)
    assert not asks_for_more(make_pod(web("500m")), pod)


def test_who_gives_back_goes_first_then_priority_class_and_patience() -> None:
    given = make_pod(web())
    burstable = make_pod({**web("4"), "resources": {"requests": {"cpu": "4"}}})
    turns = [
        turn(make_pod(web("500m")), given, 9.0),
        turn(make_pod(web("4"), priority=5), given, 9.0),
        turn(make_pod(web("4")), given, 1.0),
        turn(make_pod(web("4")), given, 9.0),
        turn(burstable, given, 1.0),
    ]
    assert turns == sorted(turns)


def test_the_kubelets_words() -> None:
    assert event_text("Pod resize started", make_pod({"name": "a", "resources": {"limits": {"cpu": "2"}}}), 3) == (
        'Pod resize started: {"containers":[{"name":"a","resources":{"limits":{"cpu":"2"}}}],"generation":3}'
    )


def test_a_pod_level_change_reaches_the_pod_alone_and_a_policy_restarts_a_container() -> None:
    restart = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    sim = Simulation(make_pod(web(resizePolicy=restart), resources={"limits": {"cpu": "2"}}))
    sim.settle()
    sim.memory.whole_in_force = {"limits": {"cpu": "2"}}
    sim.pod["spec"]["resources"] = {"limits": {"cpu": "3"}}
    assert unfinished(sim.pod, sim.observed, sim.memory)
    assert sim.plan().steps == (ResizePod(()),)
    sim.memory.whole_in_force = {"limits": {"cpu": "3"}}
    sim.pod["spec"]["containers"][0]["resources"] = web(memory="60Mi")["resources"]
    [kill] = sim.plan().steps
    assert isinstance(kill, KillContainer) and kill.message == "Container web resize requires restart"


def test_containers_without_a_limit_have_the_pods_also_when_it_changes() -> None:
    sim = Simulation(make_pod(web(), {"name": "bare", "image": "busybox"}, resources={"limits": {"cpu": "2", "memory": "1Gi"}}))
    sim.settle()
    sim.memory.whole_in_force = {"limits": {"cpu": "2", "memory": "1Gi"}}
    sim.pod["spec"]["resources"] = {"limits": {"cpu": "3", "memory": "1024Mi"}}
    [resize] = sim.plan().steps
    assert isinstance(resize, ResizePod) and [name for name, _ in resize.containers] == ["bare"]
    sim.pod["spec"]["containers"][1]["resources"] = {"limits": {"cpu": "1"}}
    sim.memory.resized = {each.status.id: {"limits": {"cpu": "1"}} for each in sim.observed.named("bare")}
    assert sim.plan().steps == (ResizePod(()),)


def test_room_for_both_while_it_changes_and_none_is_more_than_any() -> None:
    before = Resources(cpu_shares=1024, cpu_quota_us=100_000, memory_limit_bytes=50)
    after = Resources(cpu_shares=512, cpu_quota_us=200_000)
    assert at_most_of(before, after) == Resources(cpu_shares=1024, cpu_quota_us=200_000)


def test_memory_in_use_is_not_taken_away() -> None:
    before, after, usage = Resources(memory_limit_bytes=50), Resources(memory_limit_bytes=20), Usage(0, 30, 30)
    assert too_small(before, after, usage, "pod") == "attempting to set pod memory limit (20) below current usage (30)"
    assert too_small(after, before, usage, "pod") == ""
    assert too_small(before, after, Usage(0, 10, 10), "pod") == ""
    assert too_small(before, after, None, "pod") == "missing pod memory usage"


def test_the_status_says_what_was_given_what_is_in_force_and_what_is_waited_for() -> None:
    sim = Simulation(make_pod(web()))
    sim.settle()
    sim.pod["spec"]["containers"][0]["resources"] = web("2")["resources"]
    sim.memory.resize_pending = ResizePending("Deferred", "no room", 3, sim.now)
    sim.memory.resize_progress = ResizeProgress(2)
    status = pod_status(sim.pod, sim.observed, sim.memory, sim.now, ["10.0.0.1"])
    [container] = status["containerStatuses"]
    assert container["allocatedResources"] == {"cpu": "2", "memory": "50Mi"}
    assert container["resources"]["limits"] == {"cpu": "1", "memory": "50Mi"}
    assert status["allocatedResources"] == {"cpu": "2", "memory": "50Mi"}
    conditions = {each["type"]: each for each in status["conditions"]}
    pending, progress = conditions["PodResizePending"], conditions["PodResizeInProgress"]
    assert (pending["reason"], pending["message"], pending["observedGeneration"]) == ("Deferred", "no room", 3)
    assert (progress["status"], progress["observedGeneration"]) == ("True", 2)
    sim.pod["metadata"]["generation"] = 4
    sim.memory.resize_undecided = True
    undecided = pod_status({**sim.pod, "status": status}, sim.observed, sim.memory, sim.now, ["10.0.0.1"])
    assert undecided["observedGeneration"] == status["observedGeneration"] == 1
    sim.memory.resize_undecided = False
    sim.memory.resize_pending = sim.memory.resize_progress = None
    before = {**sim.pod, "status": status}
    after = pod_status(before, sim.observed, sim.memory, sim.now, ["10.0.0.1"])
    assert not [each for each in after["conditions"] if each["type"].startswith("PodResize")]
