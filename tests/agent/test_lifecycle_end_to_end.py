"""What a kubelet does beyond running a pod, against real containerd and the real registry: refuse, preempt, resize, start anew,
and run pods of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from edgekube.agent import pods as pods_module
from edgekube.api.kinds import KINDS, POD
from edgekube.api.objects import Object
from edgekube.api.verbs import DeleteOptions
from tests.agent.conftest import Node, container, is_ready

pytestmark = pytest.mark.root

_found = KINDS.by_resource("scheduling.k8s.io", "v1", "priorityclasses")
assert _found is not None
PRIORITYCLASS = _found


def condition(pod: Object, kind: str) -> Object:
    found = [each for each in pod["status"].get("conditions") or [] if each["type"] == kind]
    return found[0] if found else {}


def cpus() -> int:
    return os.cpu_count() or 1


async def test_what_does_not_fit_is_refused_and_a_critical_pod_makes_room(node: Node) -> None:
    large = {"resources": {"requests": {"cpu": str(cpus())}}}
    await node.create("first", [container("main", "sleep 1000", **large)])
    await node.until_running("first")
    await node.create("second", [container("main", "sleep 1000", **large)])
    pod = await node.until("second", lambda pod: pod["status"]["phase"] == "Failed")
    capacity = cpus() * 1000
    message = f"Node didn't have enough resource: cpu, requested: {capacity}, used: {capacity}, capacity: {capacity}"
    assert (pod["status"]["reason"], pod["status"]["message"]) == ("OutOfcpu", f"Pod was rejected: {message}")
    assert pod["status"]["observedGeneration"] == 1
    assert "containerStatuses" not in pod["status"]
    await node.until_event("second", "OutOfcpu", message)

    critical: Object = {"metadata": {"name": "system-node-critical"}, "value": 2000001000}
    await node.verbs.create(PRIORITYCLASS, "", {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", **critical})
    most = {"cpu": f"{capacity - 500}m"}
    sized = container("main", "sleep 1000", resources={"requests": most, "limits": most})
    await node.create("critical", [sized], priorityClassName="system-node-critical")
    gone = await node.until("first", lambda pod: pod["status"]["phase"] == "Failed")
    assert (gone["status"]["reason"], gone["status"]["message"]) == ("Preempting", "Preempted in order to admit critical pod")
    assert condition(gone, "DisruptionTarget")["reason"] == "TerminationByKubelet"
    assert "terminated" in gone["status"]["containerStatuses"][0]["state"]
    await node.until_running("critical")

    await node.create("little", [container("main", "sleep 1000", resources={"requests": {"cpu": "500m"}})])
    await node.until_running("little")
    await resize(node, "critical", cpu=f"{capacity}m")
    gone = await node.until("little", lambda pod: pod["status"]["phase"] == "Failed")
    assert gone["status"]["reason"] == "Preempting"
    await node.until(
        "critical", lambda pod: pod["status"]["containerStatuses"][0]["resources"]["limits"]["cpu"] == f"{capacity}m"
    )
    for name in ("first", "second", "critical", "little"):
        await node.delete(name)


async def test_an_end_that_was_begun_outlives_the_worker_and_the_agent(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods_module, "WORKER_RETRY_SECONDS", 0.5)
    await node.create("ending")
    pod = await node.until_running("ending")
    assert node.pods is not None
    worker = node.pods.named("default", "ending")
    assert worker is not None
    faults = [RuntimeError("a fault")]

    def clock() -> float:
        if faults:
            raise faults.pop()
        return time.time()

    context = node.pods.node
    context.clock = clock
    worker.poke()
    await node.until_event("ending", "FailedSync", "error syncing pod")
    worker.end("Evicted", "The node was low.")
    await node.eventually(lambda: _is(context.paths(pod).ending.exists))
    assert node.pods.named("default", "ending") is not worker
    await node.stop()
    await node.start()
    pod = await node.until("ending", lambda pod: pod["status"]["phase"] == "Failed")
    assert (pod["status"]["reason"], pod["status"]["message"]) == ("Evicted", "The node was low.")
    assert "terminated" in pod["status"]["containerStatuses"][0]["state"]
    await node.delete("ending")


async def _is(true: Callable[[], bool]) -> bool:
    return true()


async def resize(node: Node, name: str, **amounts: str) -> Object:
    containers = [{"name": "main", "resources": {"requests": amounts, "limits": amounts}}]
    merge = "application/strategic-merge-patch+json"
    return await node.verbs.patch(
        POD, "default", name, {"spec": {"containers": containers}}, patch_type=merge, subresource="resize"
    )


async def test_a_resize_is_allocated_carried_out_and_told_and_survives_a_restart_of_the_agent(node: Node) -> None:
    def sized(cpu: str, memory: str) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}}}

    await node.create("web", [container("main", "sleep 1000", **sized("100m", "32Mi"))])
    pod = await node.until_running("web")
    assert pod["status"]["resources"] == {part: {"cpu": "100m", "memory": "32Mi"} for part in ("requests", "limits")}

    await resize(node, "web", cpu="200m", memory="48Mi")

    def has(cpu: str) -> Any:
        def holds(pod: Object) -> bool:
            [status] = pod["status"]["containerStatuses"]
            settled = not [each for each in pod["status"]["conditions"] if each["type"].startswith("PodResize")]
            return bool(settled and status["resources"]["limits"]["cpu"] == cpu)

        return holds

    pod = await node.until("web", has("200m"))
    [status] = pod["status"]["containerStatuses"]
    assert status["restartCount"] == 0 and status["allocatedResources"] == {"cpu": "200m", "memory": "48Mi"}
    limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max"
    assert int(await node.run_in(pod, "/bin/sh", "-c", limit)) == 48 * 1024 * 1024
    await node.until_event("web", "ResizeStarted", "Pod resize started: {")
    await node.until_event("web", "ResizeCompleted", "Pod resize completed: {")

    await node.create("other", [container("main", "sleep 1000", resources={"requests": {"cpu": f"{cpus() * 1000 - 500}m"}})])
    await node.until_running("other")
    await resize(node, "web", cpu="1", memory="48Mi")
    pod = await node.until("web", lambda pod: condition(pod, "PodResizePending"))
    pending = condition(pod, "PodResizePending")
    assert (pending["reason"], pending["observedGeneration"]) == ("Deferred", 3)
    assert pending["message"].startswith("Node didn't have enough resource: cpu")
    await node.until_event("web", "ResizeDeferred", "Pod resize Deferred: {")
    await node.stop()
    await node.start()
    pod = await node.until("web", lambda pod: condition(pod, "PodResizePending"))
    [status] = pod["status"]["containerStatuses"]
    assert status["allocatedResources"]["cpu"] == "200m" and status["restartCount"] == 0

    less = {"spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "100m"}}}]}}
    merge = "application/strategic-merge-patch+json"
    await node.verbs.patch(POD, "default", "other", less, patch_type=merge, subresource="resize")
    await node.until("web", has("1"))
    await node.delete("other")

    await resize(node, "web", cpu="1", memory="16Ki")
    pod = await node.until("web", lambda pod: condition(pod, "PodResizeInProgress").get("reason") == "Error")
    assert "memory limit (16384) below current usage" in condition(pod, "PodResizeInProgress")["message"]
    await resize(node, "web", cpu="100m", memory="48Mi")
    await node.until("web", has("100m"))
    await node.delete("web")


async def test_a_rule_starts_all_containers_anew(node: Node) -> None:
    rules = [{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}]
    volume = {"volumeMounts": [{"name": "work", "mountPath": "/work"}]}
    await node.create(
        "batch",
        [
            container("main", "[ $(wc -l < /work/runs) = 2 ] && sleep 1000; sleep 2; exit 42", restartPolicy="Never", **volume)
            | {"restartPolicyRules": rules},
            container("beside", "sleep 1000"),
        ],
        initContainers=[container("setup", "echo run >> /work/runs", **volume)],
        volumes=[{"name": "work", "emptyDir": {}}],
        restartPolicy="Never",
    )
    pod = await node.until(
        "batch", lambda pod: is_ready(pod) and all(each["restartCount"] == 1 for each in pod["status"]["containerStatuses"])
    )
    for status in pod["status"]["containerStatuses"]:
        assert status["lastState"]["terminated"]["reason"] == "RestartingAllContainers"
    assert condition(pod, "AllContainersRestarting")["status"] == "False"
    assert (await node.run_in(pod, "cat", "/work/runs")) == "run\nrun\n"
    await node.delete("batch")


STATIC = """
apiVersion: v1
kind: Pod
metadata: {name: own, labels: {app: own}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: docker.io/library/busybox:1.36
    command: [sleep, "1000"]
"""


def place_file(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}")
    draft.write_text(text)
    draft.replace(path)


async def test_a_static_pod_runs_from_its_file_and_has_a_mirror(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekube.agent.static.keeper.STATIC_PODS_CHECK_SECONDS", 0.05)
    await node.stop()
    folder = node.place.settings.agent_dir / "manifests"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "own.yaml"
    place_file(folder / "wrong.yaml", STATIC.replace("name: main", "name: Main"))
    place_file(path, STATIC)
    await node.start()
    name = f"own-{node.place.settings.node_name}"
    mirror = await node.until_running(name)
    annotations = mirror["metadata"]["annotations"]
    assert annotations["kubernetes.io/config.source"] == "file"
    assert annotations["kubernetes.io/config.mirror"] == annotations["kubernetes.io/config.hash"]
    assert [owner["kind"] for owner in mirror["metadata"]["ownerReferences"]] == ["Node"]
    [first] = mirror["status"]["containerStatuses"]

    await node.verbs.delete(POD, "default", name, DeleteOptions(grace_period_seconds=0))
    again = await node.until(name, lambda pod: pod["metadata"]["uid"] != mirror["metadata"]["uid"] and is_ready(pod))
    assert again["status"]["containerStatuses"][0]["containerID"] == first["containerID"], "nothing was started anew"

    # As a shutdown of the machine ends it: its file stays, and so does it.
    assert node.pods is not None
    worker = node.pods.named("default", name)
    assert worker is not None
    worker.end("Terminated", "Pod was terminated in response to imminent node shutdown.")
    await node.until(name, lambda pod: pod["status"]["phase"] == "Failed")
    await node.stop()
    for left in await node.runtime.list_sandboxes():  # a boot has none
        await node.runtime.stop_sandbox(left.id)
        await node.runtime.remove_sandbox(left.id)
    await node.start()
    booted = await node.until_running(name)
    [first] = booted["status"]["containerStatuses"]

    place_file(path, STATIC.replace("app: own", "app: other"))
    other = await node.until(name, lambda pod: pod["metadata"]["labels"]["app"] == "other" and is_ready(pod))
    assert other["status"]["containerStatuses"][0]["containerID"] != first["containerID"]
    path.unlink()
    (folder / "wrong.yaml").unlink()
    await node.until_gone(name)

    async def nothing_runs() -> bool:
        return not [row for row in await node.runtime.list_containers() if row.labels["io.kubernetes.pod.name"] == name]

    with trio.fail_after(60):
        await node.eventually(nothing_runs)
