"""Whatever a node is found in, plan() leads from there to where it should be, and rests.

Random pods, random things that containerd shows and that this process remembers (or forgot), and random events in between:
containers end, sandboxes die, the agent is killed, the machine loses power, the pod is changed and deleted.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from msgspec.structs import replace

from edgekube.agent.names import CONTAINER_HASH, RESOURCES, container_hash
from edgekube.agent.outcome import outcome_of
from edgekube.agent.podspec import containers_of, init_containers_of, is_sidecar
from edgekube.agent.resize import resources_text
from edgekube.agent.state import ObservedContainer, PodObserved
from edgekube.agent.status import pod_status
from edgekube.api.objects import Object
from edgekube.containerd.model import ContainerStatus, Sandbox, SandboxStatus
from tests.agent.simulated import Simulation, make_pod

_STATES = ("CREATED", "RUNNING", "EXITED", "UNKNOWN")
_RULES = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [3]}}]
_ANEW = [{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}]
_CODES = (0, 1, 3, 42, 137)


@st.composite
def pods(draw: DrawFn) -> Object:
    def container(name: str, init: bool) -> Object:
        made: Object = {"name": name, "image": draw(st.sampled_from(("a", "b")))}
        if init and draw(st.booleans()):
            return {**made, "restartPolicy": "Always"}
        rules = draw(st.sampled_from((None, _RULES, _ANEW)))
        if rules:
            made |= {"restartPolicy": draw(st.sampled_from(("Never", "OnFailure"))), "restartPolicyRules": rules}
        if draw(st.booleans()):
            made["resources"] = {"limits": {"cpu": draw(st.sampled_from(("1", "2")))}}
        return made

    init = [container(f"i{n}", True) for n in range(draw(st.integers(0, 2)))]
    ordinary = [container(f"c{n}", False) for n in range(draw(st.integers(1, 2)))]
    policy = draw(st.sampled_from(("Always", "OnFailure", "Never")))
    return make_pod(*ordinary, init=init, restartPolicy=policy)


@st.composite
def observed(draw: DrawFn, pod: Object) -> PodObserved:
    """Anything that containerd could show of a pod of this name, however it came to that: also what no plan would have made."""
    sandboxes: list[SandboxStatus] = []
    containers: list[ObservedContainer] = []
    serial = 0
    for index in range(draw(st.integers(0, 2))):
        state: Any = draw(st.sampled_from(("READY", "NOTREADY"))) if index == 0 else "NOTREADY"
        row = Sandbox(f"old{index}", "web", "u1", "default", 0, state, 1_000_000 - index, {}, {})
        sandboxes.append(SandboxStatus(row, ("10.42.0.5",), "POD"))
        for wanted in (*init_containers_of(pod), *containers_of(pod)):
            attempts = draw(st.integers(0, 2))
            for attempt in range(attempts - 1, -1, -1):
                serial += 1
                alive = state == "READY" and attempt == attempts - 1
                shown: Any = draw(st.sampled_from(_STATES if alive else ("EXITED", "CREATED")))
                containers.append(
                    ObservedContainer(row.id, _status(wanted, f"x{serial}", attempt + 10 * (1 - index), shown, draw, serial))
                )
    return PodObserved(tuple(sandboxes), tuple(containers))


def _status(container: Object, id_: str, attempt: int, state: Any, draw: DrawFn, serial: int) -> ContainerStatus:
    before = {**container, "image": draw(st.sampled_from((container["image"], "other")))}
    return ContainerStatus(
        id=id_,
        name=container["name"],
        attempt=attempt,
        state=state,
        created_at_ns=10_000 - serial,
        started_at_ns=10_000 - serial,
        finished_at_ns=20_000 if state == "EXITED" else 0,
        exit_code=draw(st.sampled_from(_CODES)) if state == "EXITED" else 0,
        reason="",
        message="",
        image=container["image"],
        image_ref="sha256:1",
        labels={},
        annotations={CONTAINER_HASH: container_hash(before), RESOURCES: resources_text(container)},
        log_path="",
    )


def come_to_rest(sim: Simulation) -> None:
    """With nothing left to do now, and after every wait."""
    for _ in range(40):
        sim.settle(200)
        for sidecar in init_containers_of(sim.pod):
            found = sim.observed.latest(sidecar["name"])
            if found and found.status.state == "RUNNING" and not is_sidecar(sidecar):
                sim.exits(sidecar["name"], 0)
        wake_at = sim.plan().wake_at
        if not sim.plan().steps:
            if wake_at is None:
                return
            sim.now = max(sim.now, wake_at)
    raise AssertionError(f"no rest: {sim.plan()}")


def where_it_should_be(sim: Simulation) -> None:
    alive = [item.status.name for item in sim.observed.alive()]
    assert len(alive) == len(set(alive)), f"twice: {alive}"
    if sim.memory.cleaned:
        assert sim.observed == PodObserved()
        return
    outcome = outcome_of(sim.pod, sim.observed, sim.memory)
    if outcome != "Running" or sim.memory.failure:
        assert not alive and sim.memory.released
        assert not [item for item in sim.observed.sandboxes if item.sandbox.state == "READY"], "its address is free again"
        return
    [sandbox] = sim.observed.sandboxes
    assert sandbox.sandbox.state == "READY"
    wanted = {container["name"]: container for container in (*init_containers_of(sim.pod), *containers_of(sim.pod))}
    for item in sim.observed.alive():
        assert item.sandbox_id == sandbox.sandbox.id
        assert item.status.annotations[CONTAINER_HASH] == container_hash(wanted[item.status.name])
    assert any(name in alive for name in (container["name"] for container in containers_of(sim.pod))), "something runs"
    for container in init_containers_of(sim.pod):
        if is_sidecar(container):
            assert container["name"] in alive


def begin(pod: Object, found: PodObserved) -> Simulation:
    sim = Simulation(pod, observed=found)
    sim.forget()
    return sim


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_from_anything_that_containerd_may_show_to_what_the_pod_wants(data: st.DataObject) -> None:
    pod = data.draw(pods())
    sim = begin(pod, data.draw(observed(pod)))
    come_to_rest(sim)
    where_it_should_be(sim)
    status = pod_status(sim.pod, sim.observed, sim.memory, sim.now, ["10.0.0.1"])
    phases = {"Running": ("Running", "Pending"), "Succeeded": ("Succeeded",), "Failed": ("Failed",)}
    assert status["phase"] in phases[outcome_of(sim.pod, sim.observed, sim.memory)]
    assert status == pod_status({**sim.pod, "status": status}, sim.observed, sim.memory, sim.now, ["10.0.0.1"]), "told once"


_EVENTS = ("exit", "sandbox", "forget", "power", "image", "resize", "step", "wait")


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_faults_at_any_step_lead_to_the_same_place_and_deletion_leaves_nothing(data: st.DataObject) -> None:
    pod = data.draw(pods())
    sim = begin(pod, PodObserved())
    for _ in range(data.draw(st.integers(1, 12))):
        match data.draw(st.sampled_from(_EVENTS)):
            case "exit":
                alive = [item.status.name for item in sim.observed.alive()]
                if alive:
                    sim.exits(data.draw(st.sampled_from(alive)), data.draw(st.sampled_from(_CODES)))
            case "sandbox":
                sim.sandbox_dies()
                for item in list(sim.observed.alive()):
                    sim.exits(item.status.name, 255)
            case "forget":
                sim.forget()
            case "power":
                sim.power_off()
                sim.forget()
            case "image":
                sim.pod["spec"]["containers"][0]["image"] = data.draw(st.sampled_from(("a", "b", "c")))
            case "resize":
                sim.pod["spec"]["containers"][0]["resources"] = {"limits": {"cpu": data.draw(st.sampled_from(("1", "2")))}}
            case "step":
                for step in sim.plan().steps[:1]:
                    sim.do(step)
            case "wait":
                sim.now += data.draw(st.sampled_from((1, 10, 700)))
    come_to_rest(sim)
    where_it_should_be(sim)

    sim.pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    for step in sim.plan().steps[:1]:
        sim.do(step)
    sim.memory = replace(sim.memory, stopping_since=sim.now)
    sim.settle()
    assert sim.memory.cleaned and sim.observed == PodObserved()
