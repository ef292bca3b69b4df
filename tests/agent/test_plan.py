"""The lifecycle of a pod as a dialogue with the planner."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.agent.outcome import outcome_of
from edgekube.agent.plan import DEADLINE_MESSAGE
from edgekube.agent.state import Waiting
from edgekube.agent.steps import (
    Fail,
    Finish,
    KillContainer,
    Plan,
    Prepare,
    PreStop,
    RemoveContainer,
    RemoveSandbox,
    ResizePod,
    RunSandbox,
    StartContainer,
    StopSandbox,
)
from edgekube.api.objects import Object
from tests.agent.simulated import Simulation, make_pod


def named(*names: str) -> list[Object]:
    return [{"name": name, "image": "busybox"} for name in names]


def sidecar(name: str) -> Object:
    return {"name": name, "image": "busybox", "restartPolicy": "Always"}


def test_a_new_pod_is_prepared_and_gets_its_sandbox_at_once_then_its_containers() -> None:
    sim = Simulation(make_pod(*named("a", "b")))
    assert sim.step() == (Prepare(), RunSandbox(0))
    sandbox = sim.observed.sandboxes[0].sandbox.id
    assert sim.step() == (StartContainer("a", 0, sandbox), StartContainer("b", 0, sandbox))
    assert sim.step() == ()


def test_nothing_that_is_under_way_is_asked_for_again() -> None:
    sim = Simulation(make_pod())
    sim.busy = {"prepare", "sandbox"}
    assert sim.plan().steps == ()


def test_init_containers_go_one_by_one_and_a_failed_one_is_tried_again() -> None:
    sim = Simulation(make_pod(*named("web"), init=named("first", "second")))
    sim.settle()
    assert sim.running() == ["first"]
    sim.exits("first", 1)
    sim.settle()
    assert sim.running() == ["first"]
    sim.exits("first", 0)
    sim.settle()
    assert sim.running() == ["second"]
    sim.exits("second", 0)
    sim.settle()
    assert sim.running() == ["web"]
    assert sim.started == [("first", 0), ("first", 1), ("second", 0), ("web", 0)]


def test_an_init_container_that_fails_with_policy_never_fails_the_pod() -> None:
    sim = Simulation(make_pod(*named("web"), init=named("first"), restartPolicy="Never"))
    sim.settle()
    sim.exits("first", 3)
    sim.settle()
    assert sim.started == [("first", 0)]
    assert outcome_of(sim.pod, sim.observed, sim.memory) == "Failed"
    assert sim.memory.released


def test_a_sidecar_lets_the_next_begin_once_it_has_started_and_outlives_the_others() -> None:
    proxy = {**sidecar("proxy"), "startupProbe": {"exec": {"command": ["true"]}}}
    sim = Simulation(make_pod(*named("job"), init=[proxy, *named("setup")], restartPolicy="Never"))
    sim.settle()
    assert sim.running() == ["proxy"]
    sim.memory.probes.started.add(sim.observed.containers[0].status.id)
    sim.settle()
    assert sim.running() == ["proxy", "setup"]
    sim.exits("setup", 0)
    sim.settle()
    assert sim.running() == ["job", "proxy"]

    sim.exits("job", 0)
    [kill] = sim.plan().steps
    assert isinstance(kill, KillContainer) and kill.name == "proxy"
    sim.settle()
    assert sim.memory.released and sim.running() == []


def test_crashes_wait_longer_each_time_and_the_first_restart_is_immediate() -> None:
    sim = Simulation(make_pod())
    sim.settle()
    waits = []
    for _ in range(8):
        sim.exits("web", 1)
        plan = sim.plan()
        waits.append(round((plan.wake_at or sim.now) - sim.now))
        sim.now += waits[-1]
        sim.settle()
        assert sim.running() == ["web"]
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]


def test_ten_good_minutes_are_a_new_start() -> None:
    sim = Simulation(make_pod())
    sim.settle()
    for _ in range(4):
        sim.exits("web", 1)
        sim.now = sim.plan().wake_at or sim.now
        sim.settle()
    sim.now += 601
    sim.exits("web", 1)
    sim.settle()
    assert sim.running() == ["web"]


def test_restart_policies() -> None:
    for policy, code, again in (
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ):
        sim = Simulation(make_pod(restartPolicy=policy))
        sim.settle()
        sim.exits("web", code)
        sim.settle()
        assert (sim.running() == ["web"]) is again, (policy, code)
        assert sim.memory.released is not again


def test_a_changed_image_replaces_the_container() -> None:
    sim = Simulation(make_pod())
    sim.settle()
    sim.pod["spec"]["containers"][0]["image"] = "busybox:2"
    [kill] = sim.step()
    assert isinstance(kill, KillContainer)
    assert kill.message == "Container web definition changed, will be restarted"
    sim.settle()
    assert sim.started == [("web", 0), ("web", 1)]


def test_an_init_container_that_runs_ends_as_it_was_begun_and_a_sidecar_is_replaced() -> None:
    sim = Simulation(make_pod(init=[sidecar("log"), *named("setup")]))
    sim.settle()
    assert sorted(sim.running()) == ["log", "setup"]
    for container in sim.pod["spec"]["initContainers"]:
        container["image"] = "busybox:other"
    kills = [step for step in sim.plan().steps if isinstance(step, KillContainer)]
    assert [(kill.name, kill.message) for kill in kills] == [("log", "Init container log definition changed")]


def test_a_resize_reaches_a_running_container_once() -> None:
    small = {"limits": {"cpu": "1", "memory": "50Mi"}, "requests": {"cpu": "1", "memory": "50Mi"}}
    large = {"limits": {"cpu": "2", "memory": "50Mi"}, "requests": {"cpu": "2", "memory": "50Mi"}}
    web = {**named("web")[0], "resources": small}
    sim = Simulation(make_pod(web))
    sim.settle()
    web["resources"] = large
    [resize] = sim.step()
    assert isinstance(resize, ResizePod) and [name for name, _ in resize.containers] == ["web"]
    assert sim.step() == ()
    sim.forget()
    assert resize in [step for _ in range(2) for step in sim.step()], "nothing says that it was done"
    assert sim.step() == ()
    assert sim.started == [("web", 0)]


def test_a_resize_restarts_a_container_whose_policy_says_so() -> None:
    memory_restarts = [
        {"resourceName": "cpu", "restartPolicy": "NotRequired"},
        {"resourceName": "memory", "restartPolicy": "RestartContainer"},
    ]
    web = {**named("web")[0], "resources": {"limits": {"cpu": "1", "memory": "50Mi"}}, "resizePolicy": memory_restarts}
    sim = Simulation(make_pod(web))
    sim.settle()
    web["resources"] = {"limits": {"cpu": "1", "memory": "80Mi"}}
    [kill] = sim.step()
    assert isinstance(kill, KillContainer) and kill.message == "Container web resize requires restart"
    sim.settle()
    assert sim.started == [("web", 0), ("web", 1)]


def test_a_failed_probe_kills_with_its_own_grace_period() -> None:
    sim = Simulation(make_pod())
    sim.settle()
    container_id = sim.observed.containers[0].status.id
    sim.memory.probes.failed[container_id] = ("failed liveness probe", 5)
    [kill] = sim.plan().steps
    assert kill == KillContainer("web", container_id, "Container web failed liveness probe, will be restarted", 5, restart=True)


def test_deletion_stops_containers_together_then_the_sandbox_then_cleans_up() -> None:
    sim = Simulation(make_pod(*named("a", "b"), init=[sidecar("log"), sidecar("net")]))
    sim.settle()
    sim.pod["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z", deletionGracePeriodSeconds=7)
    kills = sim.step()
    assert {(step.name, step.grace_seconds) for step in kills if isinstance(step, KillContainer)} == {("a", 7), ("b", 7)}
    assert [step.name for step in sim.step() if isinstance(step, KillContainer)] == ["net"]
    assert [step.name for step in sim.step() if isinstance(step, KillContainer)] == ["log"]
    assert isinstance(sim.step()[0], StopSandbox)
    assert sim.step() == (Finish(remove=True),)
    assert sim.step() == ()


def test_a_post_start_hook_holds_the_containers_after_it_back() -> None:
    first = {"name": "proxy", "image": "busybox", "lifecycle": {"postStart": {"sleep": {"seconds": 5}}}}
    sim = Simulation(make_pod({"name": "before", "image": "busybox"}, first, {"name": "after", "image": "busybox"}))
    sim.step()
    steps = sim.plan().steps
    assert [step.name for step in steps if isinstance(step, StartContainer)] == ["before", "proxy"]
    for step in steps:
        sim.do(step)
    sim.memory.starting.add("proxy")
    sim.busy = {"container/proxy"}
    assert sim.plan().steps == ()
    sim.memory.starting.clear()
    sim.busy = set()
    assert [step.name for step in sim.plan().steps if isinstance(step, StartContainer)] == ["after"]


def hooked(name: str) -> dict[str, object]:
    return {**sidecar(name), "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}


def test_hooks_of_sidecars_run_at_once_and_their_ends_in_order() -> None:
    sim = Simulation(make_pod(*named("a"), init=[hooked("log"), hooked("net"), sidecar("dns")]))
    sim.settle()
    sim.pod["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z", deletionGracePeriodSeconds=7)
    assert {(type(step), getattr(step, "name", "")) for step in sim.step()} == {
        (KillContainer, "a"), (PreStop, "log"), (PreStop, "net")
    }  # fmt: skip
    assert [(step.name, step.hook_done) for step in sim.step() if isinstance(step, KillContainer)] == [("dns", False)]
    sim.busy = {"prestop/net"}
    waiting = sim.plan()
    assert waiting.steps == ()  # its turn, but its hook is not through
    assert waiting.wake_at == sim.now + 7
    sim.busy = set()
    assert [(step.name, step.hook_done) for step in sim.step() if isinstance(step, KillContainer)] == [("net", True)]
    assert [(step.name, step.hook_done) for step in sim.step() if isinstance(step, KillContainer)] == [("log", True)]


def test_nobody_waits_for_a_turn_when_the_grace_period_is_over() -> None:
    sim = Simulation(make_pod(*named("a"), init=[hooked("log"), sidecar("net")]))
    sim.settle()
    sim.pod["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z", deletionGracePeriodSeconds=30)
    sim.memory.stopping_since = sim.now - 10
    assert sim.plan().wake_at == sim.now + 20
    sim.memory.stopping_since = sim.now - 30
    planned = sim.plan()
    assert {(step.name, step.grace_seconds) for step in planned.steps if isinstance(step, KillContainer)} == {
        ("a", 0), ("log", 0), ("net", 0)
    }  # fmt: skip
    assert planned.wake_at is None


def test_a_hook_that_outlives_the_grace_period_is_not_waited_for() -> None:
    sim = Simulation(make_pod(*named("a"), init=[hooked("log"), hooked("net")]))
    sim.settle()
    sim.pod["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z", deletionGracePeriodSeconds=30)
    sim.memory.stopping_since = sim.now
    sim.exits("a", 0)
    sim.busy = {"prestop/log", "prestop/net"}
    assert sim.plan() == Plan((), sim.now + 30)
    sim.now += 30
    assert {(step.name, step.grace_seconds, step.hook_done) for step in sim.plan().steps if isinstance(step, KillContainer)} == {
        ("log", 0, True), ("net", 0, True)
    }  # fmt: skip


def test_a_start_that_is_being_given_up_holds_the_sandbox() -> None:
    sim = Simulation(make_pod())
    sim.step()
    sim.pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    sim.busy = {"container/web"}
    assert sim.plan().steps == ()


def test_what_is_left_of_the_grace_period() -> None:
    sim = Simulation(make_pod())
    sim.settle()
    sim.pod["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z", deletionGracePeriodSeconds=30)
    sim.memory.stopping_since = sim.now - 20.9
    [kill] = sim.plan().steps
    assert isinstance(kill, KillContainer) and kill.grace_seconds == 10


def test_after_a_power_off_old_sandboxes_go_first_and_restarts_are_counted() -> None:
    sim = Simulation(make_pod(init=named("setup")))
    sim.settle()
    sim.exits("setup", 0)
    sim.settle()
    sim.power_off()
    sim.forget()
    steps = sim.step()
    assert any(isinstance(step, RemoveSandbox) for step in steps)
    assert not any(isinstance(step, RunSandbox) for step in steps)
    sim.settle()
    assert sim.running() == ["setup"]
    sim.exits("setup", 0)
    sim.settle()
    assert sim.running() == ["web"]
    assert sim.started == [("setup", 0), ("web", 0), ("setup", 1), ("web", 1)]


def test_a_finished_job_is_not_run_again_after_a_power_off() -> None:
    sim = Simulation(make_pod(restartPolicy="Never"))
    sim.settle()
    sim.exits("web", 0)
    sim.settle()
    sim.power_off()
    sim.forget()
    sim.settle()
    assert sim.started == [("web", 0)]


def test_the_restart_count_of_the_api_is_kept_when_containerd_lost_everything() -> None:
    sim = Simulation(make_pod())
    sim.memory.restarts["web"] = 4
    sim.settle()
    assert sim.started == [("web", 5)]


def test_an_active_deadline_ends_the_pod() -> None:
    sim = Simulation(make_pod(activeDeadlineSeconds=60))
    sim.settle()
    assert sim.plan().wake_at == sim.now + 60
    sim.now += 60
    assert sim.plan().steps == (Fail("DeadlineExceeded", DEADLINE_MESSAGE),)
    sim.settle()
    assert sim.running() == [] and sim.memory.released


def test_a_container_that_waits_for_its_image_is_left_alone_until_then() -> None:
    sim = Simulation(make_pod())
    sim.step()
    sim.memory.waiting["web"] = Waiting("ErrImagePull", "no route", sim.now + 10, sim.now + 2, "ImagePullBackOff", "back-off")
    assert sim.plan().steps == ()
    assert sim.plan().wake_at == sim.now + 2
    sim.now += 10
    assert isinstance(sim.plan().steps[0], StartContainer)


_EVENTS = st.lists(
    st.tuples(st.sampled_from(["exit", "power", "kill-agent", "wait", "probe", "image", "sandbox"]), st.integers(0, 3)),
    max_size=25,
)
_POLICIES = st.sampled_from(["Always", "OnFailure", "Never"])


@settings(max_examples=150, deadline=None)
@given(events=_EVENTS, policy=_POLICIES, with_sidecar=st.booleans(), inits=st.integers(0, 2))
def test_whatever_happens_the_plan_comes_to_rest_and_never_runs_a_container_twice(
    events: list[tuple[str, int]], policy: str, with_sidecar: bool, inits: int
) -> None:
    init = named(*[f"init{n}" for n in range(inits)])
    if with_sidecar:
        init.append(sidecar("side"))
    sim = Simulation(make_pod(*named("a", "b"), init=init, restartPolicy=policy))
    for kind, number in events:
        sim.settle()
        running = sim.running()
        match kind:
            case "exit" if running:
                sim.exits(running[number % len(running)], number % 2)
            case "power":
                sim.power_off()
                sim.forget()
            case "sandbox":
                sim.power_off()
            case "kill-agent":
                before = {item.status.id for item in sim.observed.containers if item.status.state == "RUNNING"}
                sim.forget()
                sim.settle()
                after = {item.status.id for item in sim.observed.containers if item.status.state == "RUNNING"}
                assert before <= after, "adoption restarted a healthy container"
            case "wait":
                sim.now += 400 * number
            case "probe":
                for item in sim.observed.containers:
                    if item.status.state == "RUNNING":
                        sim.memory.probes.failed[item.status.id] = ("failed", 1)
            case "image":
                sim.pod["spec"]["containers"][number % 2]["image"] = f"busybox:{number}"
        sim.memory.probes.failed = {
            known: value
            for known, value in sim.memory.probes.failed.items()
            if any(item.status.id == known and item.status.state == "RUNNING" for item in sim.observed.containers)
        }
    sim.settle()
    for name in {item.status.name for item in sim.observed.containers}:
        assert sum(1 for item in sim.observed.named(name) if item.status.state == "RUNNING") <= 1
    sim.pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    sim.settle()
    assert sim.memory.cleaned and sim.observed.containers == () and sim.observed.sandboxes == ()


def test_a_rule_starts_the_whole_pod_anew_init_containers_first_whatever_its_policy() -> None:
    rules = [{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}]
    web = {**named("web")[0], "restartPolicy": "Never", "restartPolicyRules": rules}
    sim = Simulation(make_pod(web, *named("other"), init=named("setup"), restartPolicy="Never"))
    sim.settle()
    sim.exits("setup", 0)
    sim.settle()
    assert sim.running() == ["other", "web"]

    sim.exits("web", 42)
    [kill] = sim.step()
    assert isinstance(kill, KillContainer) and (kill.name, kill.grace_seconds) == ("other", 0)
    assert [step.name for step in sim.step() if isinstance(step, RemoveContainer)] == ["other", "setup"]
    sim.forget()  # what asked for it is still there, so a restart of the agent goes on
    sim.step()
    assert [step.name for step in sim.step() if isinstance(step, RemoveContainer)] == ["web"]
    sim.settle()
    assert sim.running() == ["setup"]
    sim.exits("setup", 0)
    sim.settle()
    assert sim.running() == ["other", "web"]
    assert sim.started.count(("web", 1)) == 1

    sim.exits("web", 1)
    sim.exits("other", 0)
    sim.settle()
    assert sim.memory.released


def test_a_sidecar_may_start_the_whole_pod_anew() -> None:
    rules = [{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}]
    side = {**named("side")[0], "restartPolicy": "Always", "restartPolicyRules": rules}
    sim = Simulation(make_pod(*named("web"), init=[side], restartPolicy="Never"))
    sim.settle()
    assert sim.running() == ["side", "web"]
    sim.exits("side", 42)
    sim.settle()
    assert sim.running() == ["side", "web"], "web was killed, which would have been the end of a pod with this policy"
    assert sim.started.count(("web", 1)) == 1 and not sim.memory.released
