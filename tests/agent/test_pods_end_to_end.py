"""The agent against real containerd and the real registry: pods live and die."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
import trio

from edgekube import limits
from edgekube.agent.observe import Observer
from edgekube.api import errors
from edgekube.api.kinds import CONFIGMAP, POD, SECRET
from edgekube.api.objects import Object
from edgekube.api.verbs import DeleteOptions, ListOptions
from edgekube.containerd.model import Container
from edgekube.containerd.supervisor import supervise
from edgekube.registry.local import LocalVerbs
from tests.agent.conftest import IMAGE, Node, container, is_ready

pytestmark = pytest.mark.root


async def test_a_pod_runs_and_goes(node: Node) -> None:
    await node.create("web")
    pod = await node.until_running("web")

    assert pod["status"]["podIP"].startswith("10.199.0.")
    assert pod["status"]["hostIP"] == "127.0.0.1"
    assert pod["status"]["qosClass"] == "BestEffort"
    assert pod["status"]["observedGeneration"] == pod["metadata"]["generation"]
    assert {item["type"]: item["status"] for item in pod["status"]["conditions"]} == {
        "PodReadyToStartContainers": "True",
        "Initialized": "True",
        "Ready": "True",
        "ContainersReady": "True",
        "PodScheduled": "True",
    }
    [status] = pod["status"]["containerStatuses"]
    assert status["ready"] and status["started"] and status["restartCount"] == 0
    assert await node.run_in(pod, "hostname") == "web\n"
    # Where log shippers look: by the container's names and id.
    name, container_id = status["name"], status["containerID"].removeprefix("containerd://")
    shown = node.place.settings.container_logs_dir / f"web_default_{name}-{container_id}.log"
    assert shown.resolve() == node.place.settings.pod_logs_dir / f"default_web_{pod['metadata']['uid']}" / name / "0.log"

    await node.delete("web")
    assert list(shown.parent.glob("web_default_*")) == []
    assert [item for item in await node.runtime.list_containers() if item.labels["io.kubernetes.pod.name"] == "web"] == []
    assert not (node.place.settings.agent_dir / "pods" / pod["metadata"]["uid"]).exists()
    assert list(node.place.settings.pod_logs_dir.glob("default_web_*")) == []
    reasons = [reason for reason, _ in await node.events("web")]
    assert reasons[:3] == ["Pulled", "Created", "Started"]
    await node.until_event("web", "Killing", "Stopping container main")


async def test_the_room_of_a_pod_deleted_at_once_is_free_at_once(node: Node) -> None:
    def taking_the_port() -> Object:
        return container("main", "trap '' TERM; sleep 100 & wait", ports=[{"containerPort": 80, "hostPort": 18099}])

    await node.create("first", [taking_the_port()])
    await node.until_running("first")
    await node.verbs.delete(POD, "default", "first", DeleteOptions(grace_period_seconds=0))
    await node.create("second", [taking_the_port()])
    await node.until_running("second")


async def test_a_pod_that_ends_well_has_succeeded(node: Node) -> None:
    await node.create("job", [container("main", "echo done > /dev/termination-log")], restartPolicy="Never")
    pod = await node.until("job", lambda pod: pod["status"]["phase"] == "Succeeded")
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (0, "Completed", "done\n")
    ready = next(item for item in pod["status"]["conditions"] if item["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "PodCompleted")


async def test_a_pod_that_fails_says_why(node: Node) -> None:
    script = "echo first; echo it broke >&2; exit 7"
    broken = container("main", script, terminationMessagePolicy="FallbackToLogsOnError")
    await node.create("broken", [broken], restartPolicy="Never")
    pod = await node.until("broken", lambda pod: pod["status"]["phase"] == "Failed")
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (7, "Error")
    assert sorted(ended["message"].splitlines()) == ["first", "it broke"]


def _status(pod: Object) -> Object:
    [status] = pod["status"]["containerStatuses"]
    found: Object = status
    return found


async def test_a_container_is_stopped_by_the_signal_that_it_names(node: Node) -> None:
    script = "trap 'exit 0' USR1; trap '' TERM; while :; do sleep 0.1; done"
    deaf = container("main", script, lifecycle={"stopSignal": "SIGUSR1"})
    await node.create("own-signal", [deaf], os={"name": "linux"}, terminationGracePeriodSeconds=600)
    await node.until_running("own-signal")
    await node.verbs.delete(POD, "default", "own-signal")
    await node.until_gone("own-signal", 120)


async def test_a_crash_loop_waits_and_says_so(node: Node) -> None:
    await node.create("loop", [container("main", "exit 3")])
    pod = await node.until("loop", lambda pod: "CrashLoopBackOff" in str(pod["status"]))
    [status] = pod["status"]["containerStatuses"]
    uid = pod["metadata"]["uid"]
    assert status["state"]["waiting"] == {
        "reason": "CrashLoopBackOff",
        "message": f"back-off 10s restarting failed container=main pod=loop_default({uid})",
    }
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert pod["status"]["phase"] == "Running"
    # Another image is another container: it is not made to wait for what its predecessor did.
    image = {"spec": {"containers": [{"name": "main", "image": "busybox:1.36"}]}}
    await node.verbs.patch(POD, "default", "loop", image, patch_type="application/strategic-merge-patch+json")
    pod = await node.until("loop", lambda pod: _status(pod)["restartCount"] == 2 and "back-off" in str(_status(pod)["state"]))
    assert _status(pod)["state"]["waiting"]["message"].startswith("back-off 10s ")
    await node.delete("loop")
    messages = [message for reason, message in await node.events("loop") if reason == "BackOff"]
    assert set(messages) == {f"Back-off restarting failed container main in pod loop_default({uid})"}


async def test_init_containers_run_in_order_and_share_volumes_with_the_pod(node: Node) -> None:
    mount = [{"name": "work", "mountPath": "/work"}]
    await node.create(
        "init",
        [container("main", "sleep 1000", volumeMounts=mount)],
        initContainers=[
            container("one", "echo one >> /work/order", volumeMounts=mount),
            container("proxy", "echo proxy >> /work/order; sleep 1000", volumeMounts=mount, restartPolicy="Always"),
            container("two", "sleep 0.2; echo two >> /work/order", volumeMounts=mount),
        ],
        volumes=[{"name": "work", "emptyDir": {}}],
    )
    pod = await node.until_running("init")
    assert await node.run_in(pod, "cat", "/work/order") == "one\nproxy\ntwo\n"
    one, proxy, two = pod["status"]["initContainerStatuses"]
    assert one["state"]["terminated"]["reason"] == two["state"]["terminated"]["reason"] == "Completed"
    assert one["ready"] and proxy["ready"] and "running" in proxy["state"]
    await node.delete("init")


async def test_environment_and_volumes_of_every_kind(node: Node) -> None:
    await node.verbs.create(
        CONFIGMAP, "default", {"metadata": {"name": "settings"}, "data": {"colour": "green", "level": "3", "old": "x"}}
    )
    secret = {"metadata": {"name": "keys"}, "data": {"password": "czNjcmV0"}}
    await node.verbs.create(SECRET, "default", secret)
    mounts = [
        {"name": "settings", "mountPath": "/settings"},
        {"name": "settings", "mountPath": "/one/colour", "subPath": "colour"},
        {"name": "keys", "mountPath": "/keys"},
        {"name": "memory", "mountPath": "/memory"},
        {"name": "all", "mountPath": "/all"},
        {"name": "host", "mountPath": "/host", "readOnly": True},
    ]
    env = [
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
        {"name": "GREETING", "value": "hello $(NAME) $$(NAME) $(NOBODY)"},
    ]
    main = container("main", "sleep 1000", volumeMounts=mounts, env=env, envFrom=[{"configMapRef": {"name": "settings"}}])
    main["resources"] = {"limits": {"cpu": "250m", "memory": "64Mi"}}
    await node.create(
        "volumes",
        [main],
        securityContext={"fsGroup": 2000, "runAsUser": 1000},
        volumes=[
            {"name": "settings", "configMap": {"name": "settings"}},
            {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}},
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {
                "name": "all",
                "projected": {
                    "sources": [
                        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
                        {"configMap": {"name": "settings", "items": [{"key": "level", "path": "deep/level"}]}},
                        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                    ]
                },
            },
            {"name": "host", "hostPath": {"path": str(node.place.base), "type": "Directory"}},
        ],
    )
    pod = await node.until_running("volumes")
    assert pod["status"]["qosClass"] == "Guaranteed"

    async def shell(script: str) -> str:
        return await node.run_in(pod, "sh", "-c", script)

    lines = (await shell("cat /proc/1/environ | tr '\\0' '\\n'")).splitlines()
    assert {
        "NAME=volumes",
        f"IP={pod['status']['podIP']}",
        "CPU=250",
        "PASSWORD=s3cret",
        "GREETING=hello volumes $(NAME) $(NOBODY)",
        "colour=green",
        "level=3",
    } <= set(lines)
    assert await shell("cat /settings/colour /one/colour /all/deep/level") == "greengreen3"
    assert await shell("cat /all/labels") == 'app="volumes"'
    claims = jwt.decode(await shell("cat /all/token"), options={"verify_signature": False})
    assert claims["sub"] == "system:serviceaccount:default:default"
    assert claims["kubernetes.io"]["pod"]["uid"] == pod["metadata"]["uid"]
    assert await shell("stat -L -c '%a %g' /keys/password; cat /keys/password") == "440 2000\ns3cret"
    assert await shell("id -G") == "0 2000\n"
    assert "tmpfs" in await shell("grep ' /memory ' /proc/mounts")
    assert "size=1024k" in await shell("grep ' /memory ' /proc/mounts")
    assert (await shell("touch /memory/mine && touch /host/no 2>&1 || echo refused")).endswith("refused\n")
    assert "volumes" in await shell("cat /etc/hosts")
    assert await shell("grep -c '' /etc/resolv.conf && grep nameserver /etc/resolv.conf | head -1") != ""
    assert "nameserver 10.43.0.10" in await shell("cat /etc/resolv.conf")
    assert "default.svc.cluster.local svc.cluster.local cluster.local" in await shell("cat /etc/resolv.conf")

    # A change of the ConfigMap reaches the running pod, at once and whole; a subPath keeps what it was.
    await node.verbs.patch(CONFIGMAP, "default", "settings", {"data": {"colour": "blue", "new": "1", "old": None}})

    async def updated() -> bool:
        return await shell("cat /settings/colour; ls /settings") == "blue" + "colour\nlevel\nnew\n"

    await node.eventually(updated)
    assert await shell("cat /one/colour") == "green"
    # And labels reach the downward API.
    await node.verbs.patch(POD, "default", "volumes", {"metadata": {"labels": {"tier": "front"}}})

    async def labelled() -> bool:
        return 'tier="front"' in await shell("cat /all/labels")

    await node.eventually(labelled)

    assert node.pods is not None
    cgroups = node.pods.node.cgroups
    folder = cgroups.root / ("" if cgroups.v2 else "memory") / cgroups.path_of("Guaranteed", pod["metadata"]["uid"]).lstrip("/")
    limit = folder / ("memory.max" if cgroups.v2 else "memory.limit_in_bytes")
    assert limit.read_text() == f"{64 * 1024 * 1024}\n"
    await node.delete("volumes")
    assert str(pod["metadata"]["uid"]) not in Path("/proc/self/mountinfo").read_text()
    assert not folder.exists()


async def test_what_is_missing_is_named_and_waited_for(node: Node) -> None:
    env = [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "x"}}}]
    await node.create("waits", [container("main", "sleep 1000", env=env)])
    pod = await node.until("waits", lambda pod: "CreateContainerConfigError" in str(pod["status"]))
    assert pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"] == 'configmap "later" not found'
    assert pod["status"]["phase"] == "Pending"
    await node.verbs.create(CONFIGMAP, "default", {"metadata": {"name": "later"}, "data": {"x": "1"}})
    await node.until_running("waits")

    volumes = [{"name": "v", "secret": {"secretName": "not-yet"}}]
    main = container("main", "sleep 1000", volumeMounts=[{"name": "v", "mountPath": "/v"}])
    await node.create("mounts", [main], volumes=volumes)
    await node.until_event("mounts", "FailedMount", 'MountVolume.SetUp failed for volume "v" : secret "not-yet" not found')
    await node.verbs.create(SECRET, "default", {"metadata": {"name": "not-yet"}})
    await node.until_running("mounts")


async def test_images_that_cannot_be_had(node: Node) -> None:
    await node.create("never", [{"name": "main", "image": "edgekube.local/none:1", "imagePullPolicy": "Never"}])
    pod = await node.until("never", lambda pod: "ErrImageNeverPull" in str(pod["status"]))
    waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"]
    assert waiting["message"] == 'Container image "edgekube.local/none:1" is not present with pull policy of Never'

    await node.create("wrong", [{"name": "main", "image": "UPPER/Case:1", "imagePullPolicy": "IfNotPresent"}])
    await node.until("wrong", lambda pod: "InvalidImageName" in str(pod["status"]))

    await node.create("nowhere", [{"name": "main", "image": "127.0.0.1:1/none:1", "imagePullPolicy": "IfNotPresent"}])
    await node.until("nowhere", lambda pod: '"ErrImagePull"' in str(pod["status"]).replace("'", '"'))
    pod = await node.until("nowhere", lambda pod: "ImagePullBackOff" in str(pod["status"]))
    message = pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
    assert message.startswith('Back-off pulling image "127.0.0.1:1/none:1"')


async def test_a_container_that_may_not_be_root(node: Node) -> None:
    await node.create("root", [container("main", "sleep 1000", securityContext={"runAsNonRoot": True})])
    pod = await node.until("root", lambda pod: "CreateContainerConfigError" in str(pod["status"]))
    waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"]
    assert waiting["message"].startswith('container has runAsNonRoot and image will run as root (pod: "root_default(')


async def test_a_command_that_does_not_exist(node: Node) -> None:
    await node.create("typo", [{"name": "main", "image": IMAGE, "command": ["/no/such/thing"]}])
    pod = await node.until("typo", lambda pod: "RunContainerError" in str(pod["status"]))
    assert "/no/such/thing" in pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
    await node.until("typo", lambda pod: "CrashLoopBackOff" in str(pod["status"]))


async def test_probes_decide_readiness_and_restarts(node: Node) -> None:
    patient = {"periodSeconds": 1, "timeoutSeconds": 60}  # a busy machine takes its time for a command
    probe = {"exec": {"command": ["cat", "/tmp/ready"]}, **patient}
    alive = {"exec": {"command": ["test", "!", "-e", "/tmp/dead"]}, "failureThreshold": 1, **patient}
    await node.create("probed", [container("main", "sleep 1000", readinessProbe=probe, livenessProbe=alive)])
    pod = await node.until("probed", lambda pod: pod["status"]["phase"] == "Running")
    assert not is_ready(pod)
    await node.until_event("probed", "Unhealthy", "Readiness probe failed: cat: can't open")
    await node.run_in(pod, "touch", "/tmp/ready")
    pod = await node.until("probed", is_ready)
    first_id = pod["status"]["containerStatuses"][0]["containerID"]
    await node.run_in(pod, "touch", "/tmp/dead")
    pod = await node.until("probed", lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] == 1)
    assert pod["status"]["containerStatuses"][0]["containerID"] != first_id
    assert not is_ready(pod)
    await node.until_event("probed", "Killing", "Container main failed liveness probe, will be restarted")
    await node.delete("probed")


async def test_hooks_run_after_start_and_before_the_end(node: Node) -> None:
    hooks = {
        "postStart": {"exec": {"command": ["sh", "-c", "echo started > /shared/started"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "echo stopping > /shared/stopping"]}},
    }
    shared = node.place.base / "shared"
    shared.mkdir()
    main = container("main", "sleep 1000", lifecycle=hooks, volumeMounts=[{"name": "s", "mountPath": "/shared"}])
    await node.create("hooks", [main], volumes=[{"name": "s", "hostPath": {"path": str(shared)}}])
    await node.until_running("hooks")
    assert (shared / "started").read_text() == "started\n"
    assert not (shared / "stopping").exists()
    await node.delete("hooks")
    assert (shared / "stopping").read_text() == "stopping\n"


async def test_a_hook_outlives_the_grace_period_by_what_its_container_has_left(node: Node) -> None:
    shared = node.place.base / "outlived"
    shared.mkdir()
    hook = "while :; do echo hook >> /shared/log; sleep 0.1; done"
    more = {"lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", hook]}}}}
    mounts = [{"name": "s", "mountPath": "/shared"}]
    main = container("main", "trap 'echo term >> /shared/log' TERM; while :; do sleep 0.1; done", volumeMounts=mounts, **more)
    await node.create("outlived", [main], volumes=[{"name": "s", "hostPath": {"path": str(shared)}}])
    await node.until_running("outlived")
    await node.delete("outlived")
    lines = (shared / "log").read_text().split()
    told = lines.index("term")
    assert set(lines[:told]) == {"hook"} and lines[told + 1 :].count("hook") >= 2
    events = await node.events("outlived")
    assert events.count(("Killing", "Stopping container main")) == 1
    assert events.count(("FailedPreStopHook", "PreStopHook failed")) == 1


async def test_a_killed_container_comes_back_and_an_oom_is_named(node: Node) -> None:
    """Several at once: the exit and its reason come by two ways, and which is first is chance."""
    hungry = container("main", "sleep 0.2; tail /dev/zero", resources={"limits": {"memory": "16Mi"}})
    names = [f"hungry-{number}" for number in range(6)]
    for name in names:
        await node.create(name, [hungry], restartPolicy="Never")
    for name in names:
        pod = await node.until(name, lambda pod: pod["status"]["phase"] == "Failed")
        ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
        assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


async def test_restarting_the_agent_touches_no_container(node: Node) -> None:
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1, "timeoutSeconds": 60}
    await node.create("stays", [container("main", "sleep 1000", readinessProbe=probe)])
    before = await node.until_running("stays")
    await node.stop()
    await node.start()
    await node.create("second")
    await node.until_running("second")
    after = await node.pod("stays")
    assert after["status"] == before["status"]


async def test_a_pod_deleted_while_the_agent_was_away_is_taken_down(node: Node) -> None:
    await node.create("orphan")
    pod = await node.until_running("orphan")
    await node.stop()
    await node.verbs.delete(POD, "default", "orphan", DeleteOptions(grace_period_seconds=0))
    await node.start()

    async def gone() -> bool:
        rows = await node.runtime.list_sandboxes()
        folder = node.place.settings.agent_dir / "pods" / pod["metadata"]["uid"]
        return not folder.exists() and all(row.uid != pod["metadata"]["uid"] for row in rows)

    await node.eventually(gone)


async def test_a_sandbox_that_dies_is_replaced_and_the_restart_counted(node: Node) -> None:
    """What a node finds after a power-off: sandboxes that are not ready, and containers that ended."""
    await node.create("power")
    pod = await node.until_running("power")
    [sandbox] = [row for row in await node.runtime.list_sandboxes() if row.uid == pod["metadata"]["uid"]]
    await node.stop()
    await node.runtime.stop_sandbox(sandbox.id)
    await node.start()
    again = await node.until("power", lambda pod: is_ready(pod) and pod["status"]["containerStatuses"][0]["restartCount"] == 1)
    assert again["status"]["podIP"] != ""
    assert len([row for row in await node.runtime.list_sandboxes() if row.uid == pod["metadata"]["uid"]]) == 1
    assert again["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 137


async def test_containers_outlive_containerd(node: Node) -> None:
    await node.create("survivor")
    before = await node.until_running("survivor")
    pid = int((node.place.settings.containerd_state / "containerd.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    async with supervise(node.place.settings):
        await node.create("newcomer")
        await node.until_running("newcomer")
        after = await node.pod("survivor")
        assert after["status"]["containerStatuses"] == before["status"]["containerStatuses"]
        await node.delete("newcomer")


def count_calls(node: Node) -> Counter[str]:
    """The calls to containerd from now on, by method."""
    calls: Counter[str] = Counter()
    ask = node.runtime.rpc.call

    async def counted(service: Any, method: str, *more: Any) -> Any:
        calls[method] += 1
        return await ask(service, method, *more)

    node.runtime.rpc.call = counted  # type: ignore[method-assign,assignment]
    return calls


async def test_pods_that_start_together_cost_a_few_calls_each(node: Node) -> None:
    async def nothing_is_left() -> bool:
        return not await node.runtime.list_sandboxes()

    # Of the tests before: the end of each of their pods is a reason to look, and an agent that was away has not heard of it.
    await node.eventually(nothing_is_left)
    await node.stop()
    await node.start()
    calls = count_calls(node)
    began = trio.current_time()
    names = [f"crowd-{number}" for number in range(8)]
    for name in names:
        await node.create(name)
    for name in names:
        await node.until_running(name)

    assert {method: calls[method] for method in ("RunPodSandbox", "CreateContainer", "StartContainer")} == {
        "RunPodSandbox": 8,
        "CreateContainer": 8,
        "StartContainer": 8,
    }
    # The world is listed as the clock says, not at every event; beside a listing, each is asked for once, by its id.
    assert calls["ListContainers"] <= 3 + (trio.current_time() - began) // limits.RELIST_SECONDS
    for method in ("PodSandboxStatus", "ContainerStatus"):
        assert 8 <= calls[method] <= 8 * (1 + calls["ListContainers"])
    assert calls["ImageStatus"] <= 8


async def test_the_end_of_what_is_gone_costs_one_listing(node: Node) -> None:
    """Containerd tells of an end when its CRI part may have removed all: it is not looked for again and again."""
    await node.stop()
    calls = count_calls(node)
    async with trio.open_nursery() as nursery:
        observer = Observer(node.runtime, lambda uid: None)
        await nursery.start(observer.run)
        calls.clear()
        began = trio.current_time()
        await observer.ended("0" * 64)
        # One for the end, one when the stream of events has begun, and what the clock says.
        assert calls["ListContainers"] <= 2 + (trio.current_time() - began) // limits.RELIST_SECONDS
        nursery.cancel_scope.cancel()


async def test_a_start_is_told_in_few_words(node: Node) -> None:
    first = await node.create("terse")
    seen: list[Object] = []
    selection = ListOptions(field_selector="metadata.name=terse", revision=first["metadata"]["resourceVersion"])
    async with node.verbs.watch(POD, "default", selection) as events:
        async for event in events:
            seen.append(event.object())
            if is_ready(seen[-1]):
                break
    # At most: it is being made; it has an address; it runs and is ready.
    assert len(seen) <= 3
    assert seen[-1]["status"]["containerStatuses"][0]["state"].keys() == {"running"}


async def test_a_container_runs_when_its_post_start_hook_has_ended(node: Node) -> None:
    hook = {"postStart": {"exec": {"command": ["sh", "-c", "while [ ! -e /tmp/go ]; do sleep 0.05; done"]}}}
    await node.create("hooked", [container("main", "sleep 1000", lifecycle=hook)])

    async def made() -> bool:
        return any(item.name == "main" and item.state == "RUNNING" for item in await mine())

    async def mine() -> list[Container]:
        return [item for item in await node.runtime.list_containers() if item.labels["io.kubernetes.pod.name"] == "hooked"]

    await node.eventually(made)
    assert node.pods is not None
    node.pods.node.observer.hint()
    pod = await node.until("hooked", lambda pod: pod["status"].get("containerStatuses"))
    assert pod["status"]["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    [item] = await mine()
    await node.runtime.exec_sync(item.id, ["touch", "/tmp/go"], 10)
    await node.until_running("hooked")


class Unplugged:
    """The way to the API, with the cable out until ``plug``."""

    def __init__(self, verbs: LocalVerbs) -> None:
        self._verbs = verbs
        self.plugged = False

    def __getattr__(self, verb: str) -> Any:
        if verb == "watch":
            return self._watch

        async def call(*arguments: Any, **options: Any) -> Any:
            await trio.lowlevel.checkpoint()
            self._check()
            return await getattr(self._verbs, verb)(*arguments, **options)

        return call

    def _check(self) -> None:
        if not self.plugged:
            raise errors.unavailable("the cable is out")

    @asynccontextmanager
    async def _watch(self, *arguments: Any, **options: Any) -> AsyncIterator[Any]:
        await trio.lowlevel.checkpoint()
        self._check()
        async with self._verbs.watch(*arguments, **options) as events:
            yield events


async def test_after_a_power_off_pods_come_back_without_the_api(node: Node) -> None:
    """With the token that every pod has, which comes later, and with a ConfigMap as it was."""
    settings: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "b"}}
    await node.verbs.create(CONFIGMAP, "default", settings)
    authority: Object = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "kube-root-ca.crt"},
        "data": {"ca.crt": "x"},
    }
    await node.verbs.create(CONFIGMAP, "default", authority)
    mounts = [{"name": "settings", "mountPath": "/settings"}]
    await node.create(
        "alone",
        [container("main", "sleep 1000", env=[{"name": "COLOUR", "value": "green"}], volumeMounts=mounts)],
        automountServiceAccountToken=True,
        volumes=[{"name": "settings", "configMap": {"name": "settings"}}],
    )
    pod = await node.until_running("alone")
    checkpoint = node.place.settings.agent_dir / "pods" / pod["metadata"]["uid"] / "pod.json"
    assert checkpoint.stat().st_mode & 0o777 == 0o600
    [sandbox] = [row for row in await node.runtime.list_sandboxes() if row.uid == pod["metadata"]["uid"]]
    await node.stop()
    await node.runtime.stop_sandbox(sandbox.id)

    verbs, cable = node.agent_verbs, Unplugged(node.agent_verbs)
    node.agent_verbs = cable  # type: ignore[assignment]
    started = trio.Event()

    async def start() -> None:
        await node.start()
        started.set()

    node.nursery.start_soon(start)

    async def back() -> bool:
        return any(
            item.state == "RUNNING" and item.labels["io.kubernetes.pod.uid"] == pod["metadata"]["uid"]
            for item in await node.runtime.list_containers()
        )

    await node.eventually(back)
    before = await node.verbs.get(POD, "default", "alone")
    assert before["status"] == pod["status"]  # nobody could be told
    node.agent_verbs, cable.plugged = verbs, True
    again = await node.until(
        "alone", lambda pod: is_ready(pod) and pod["status"]["containerStatuses"][0]["restartCount"] == 1, 40
    )
    assert await node.run_in(again, "sh", "-c", "echo $COLOUR") == "green\n"
    assert await node.run_in(again, "cat", "/settings/a") == "b"

    async def has_a_token() -> bool:
        return "token" in await node.run_in(again, "ls", "/var/run/secrets/kubernetes.io/serviceaccount")

    await node.eventually(has_a_token)
    with trio.fail_after(60):
        await started.wait()
