"""A pod's status as people read it."""

from __future__ import annotations

from msgspec.structs import replace

from edgekube.agent.log_source import log_of
from edgekube.agent.state import Waiting
from edgekube.agent.status import pod_status
from edgekube.agent.status_writer import can_wait
from edgekube.agent.takeover import memory_from
from edgekube.api.objects import Object
from tests.agent.simulated import Simulation, make_pod
from tests.agent.test_plan import named, sidecar


def shown(sim: Simulation) -> Object:
    return pod_status(sim.pod, sim.observed, sim.memory, sim.now, ("192.0.2.7",))


def condition(status: Object, kind: str) -> Object:
    found: Object = next(item for item in status["conditions"] if item["type"] == kind)
    return found


def test_before_anything_happened() -> None:
    status = shown(Simulation(make_pod()))
    assert status["phase"] == "Pending"
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert condition(status, "Ready")["message"] == "containers with unready status: [web]"
    assert condition(status, "PodReadyToStartContainers")["status"] == "False"
    assert (status["hostIP"], status["podIP"], status["qosClass"]) == ("192.0.2.7", None, "BestEffort")


def test_while_it_initializes() -> None:
    sim = Simulation(make_pod(*named("web"), init=named("one", "two")))
    sim.settle()
    status = shown(sim)
    assert status["phase"] == "Pending"
    assert [next(iter(item["state"])) for item in status["initContainerStatuses"]] == ["running", "waiting"]
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert condition(status, "Initialized")["message"] == "containers with incomplete status: [one two]"


def test_running_and_a_condition_keeps_the_time_it_turned() -> None:
    sim = Simulation(make_pod(init=[sidecar("proxy")]))
    sim.settle()
    sim.pod["status"] = shown(sim)
    assert sim.pod["status"]["phase"] == "Running"
    assert condition(sim.pod["status"], "Ready")["status"] == "True"
    sim.pod["status"]["conditions"].append({"type": "example.com/gate", "status": "True"})
    sim.now += 100
    later = shown(sim)
    assert condition(later, "Ready") == condition(sim.pod["status"], "Ready")
    assert condition(later, "example.com/gate") == {"type": "example.com/gate", "status": "True"}

    sim.memory.probes.ready.clear()
    assert condition(shown(sim), "Ready")["lastTransitionTime"] > condition(later, "Ready")["lastTransitionTime"]


def test_readiness_gates() -> None:
    sim = Simulation(make_pod(readinessGates=[{"conditionType": "example.com/gate"}]))
    sim.settle()
    ready = condition(shown(sim), "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ReadinessGatesNotReady")
    sim.pod["status"] = {"conditions": [{"type": "example.com/gate", "status": "True"}]}
    assert condition(shown(sim), "Ready")["status"] == "True"


def test_the_end() -> None:
    for code, phase, reason in ((0, "Succeeded", "PodCompleted"), (1, "Failed", "PodFailed")):
        sim = Simulation(make_pod(restartPolicy="Never"))
        sim.settle()
        sim.exits("web", code)
        status = shown(sim)
        assert (status["phase"], condition(status, "Ready")["reason"]) == (phase, reason)
        assert status["containerStatuses"][0]["ready"] is False


def test_a_phase_is_final_only_when_nothing_runs_any_more() -> None:
    sim = Simulation(make_pod(*named("job"), init=[sidecar("proxy")], restartPolicy="Never"))
    sim.settle()
    sim.exits("job", 0)
    assert shown(sim)["phase"] == "Running"
    sim.exits("proxy", 137)
    assert shown(sim)["phase"] == "Succeeded"
    sim.pod["status"] = shown(sim)
    sim.memory.failure = ("Evicted", "The node was low on resource: memory.")
    status = shown(sim)
    assert (status["phase"], status.get("reason")) == ("Succeeded", None), "too late to be evicted"


def test_images_that_do_not_come() -> None:
    sim = Simulation(make_pod())
    sim.memory.waiting["web"] = Waiting("ErrImagePull", "no route", sim.now + 10, sim.now + 2, "ImagePullBackOff", "Back-off")
    assert shown(sim)["containerStatuses"][0]["state"]["waiting"] == {"reason": "ErrImagePull", "message": "no route"}
    sim.now += 3
    assert shown(sim)["containerStatuses"][0]["state"]["waiting"] == {"reason": "ImagePullBackOff", "message": "Back-off"}


def test_an_oom_is_believed_only_of_the_dead() -> None:
    sim = Simulation(make_pod())
    sim.settle()
    item = sim.observed.containers[0]
    sim.observed = replace(sim.observed, containers=(replace(item, status=replace(item.status, reason="OOMKilled")),))
    assert "running" in shown(sim)["containerStatuses"][0]["state"]
    sim.exits("web", 137)
    assert shown(sim)["containerStatuses"][0]["state"]["terminated"]["reason"] == "OOMKilled"


def test_deadlines_have_a_reason() -> None:
    sim = Simulation(make_pod(activeDeadlineSeconds=5))
    sim.settle()
    sim.now += 5
    sim.settle()
    status = shown(sim)
    assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")


def test_a_new_agent_takes_over_what_the_api_remembers() -> None:
    sim = Simulation(make_pod())
    sim.settle()
    for _ in range(2):
        sim.exits("web", 1)
        sim.now = sim.plan().wake_at or sim.now
        sim.settle()
    sim.pod["status"] = shown(sim)
    sim.memory = memory_from(sim.pod, sim.now)
    sim.memory.prepared = True
    again = shown(sim)
    assert again["containerStatuses"] == sim.pod["status"]["containerStatuses"]
    assert again["conditions"] == sim.pod["status"]["conditions"]
    assert again["startTime"] == sim.pod["status"]["startTime"]


def test_which_log_is_meant() -> None:
    sim = Simulation(make_pod())
    sim.settle()
    sim.exits("web", 1)
    sim.settle()
    assert log_of(sim.pod, "web", sim.observed, sim.memory, previous=False) == 1
    assert log_of(sim.pod, "web", sim.observed, sim.memory, previous=True) == 0
    sim.exits("web", 1)
    assert log_of(sim.pod, "web", sim.observed, sim.memory, previous=True) == 1, "the run that it backs off from"


def test_what_can_wait_is_the_way_up_alone() -> None:
    sim = Simulation(make_pod())
    creating = shown(sim)
    assert can_wait({"phase": "Pending"}, creating)
    sim.step()
    with_address = shown(sim)
    assert with_address["podIP"] and can_wait(creating, with_address)
    sim.memory.waiting["web"] = Waiting("ErrImagePull", "no route", sim.now + 10)
    assert not can_wait({"phase": "Pending"}, shown(sim)) and not can_wait(creating, shown(sim))
    del sim.memory.waiting["web"]
    sim.settle()
    running = shown(sim)
    assert not can_wait(creating, running)
    # Once it runs nothing waits, be it a lost address.
    assert not can_wait(running, {**running, "podIP": None})
    sim.memory.failure = ("DeadlineExceeded", "too late")
    assert not can_wait(creating, shown(sim))


def test_that_a_container_makes_room_for_the_next_can_wait() -> None:
    sim = Simulation(make_pod())
    sim.settle()
    running = shown(sim)
    sim.memory.restarting.add(sim.observed.containers[0].status.id)
    sim.exits("web", 137)
    between = shown(sim)
    assert not between["containerStatuses"][0]["ready"] and can_wait(running, between)
    assert not can_wait(between, between), "it was told of"
    sim.settle()
    assert shown(sim)["containerStatuses"][0]["ready"] and not can_wait(running, shown(sim))
    sim.exits("web", 1)
    assert not can_wait(running, shown(sim)), "that one ended by itself"
