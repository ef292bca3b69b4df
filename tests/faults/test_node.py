"""The plug is pulled, the server is killed, the runtime is killed: what runs on, what comes back, how soon."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.namespace import Namespace
from tests.lab.cluster import Cluster, until

pytestmark = pytest.mark.root

WORKLOAD = """
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web}
    spec:
      replicas: 3
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec:
          terminationGracePeriodSeconds: 1
          containers:
            - name: web
              image: edgekube.local/demo:1
              readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, timeoutSeconds: 20}
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
    ---
    apiVersion: v1
    kind: Pod
    metadata: {name: mortal}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: 'busybox:1.36', command: [sleep, '123456']}]
"""


@pytest.fixture(scope="module")
def world(cluster: Cluster) -> Iterator[Namespace]:
    cluster.kubectl("create", "namespace", "world")
    world = Namespace(cluster, "world")
    world.wait_for_service_account()
    world.apply(WORKLOAD)
    world.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    world.ready("pod/mortal")
    address = world.field("service/web", ".spec.clusterIP")
    until(lambda: "Hello from web-" in page(world, address))  # Ready is known before everybody forwards to it
    yield world


@dataclass(frozen=True)
class Seen:
    """One pod's only container."""

    container_id: str
    restarts: int
    ip: str


def seen(world: Namespace) -> dict[str, Seen]:
    pods = world.get("pods")["items"]
    return {
        pod["metadata"]["name"]: Seen(
            pod["status"]["containerStatuses"][0]["containerID"],
            pod["status"]["containerStatuses"][0]["restartCount"],
            pod["status"]["podIP"],
        )
        for pod in pods
    }


def everything_ready(world: Namespace) -> bool:
    pods = world.get("pods")["items"]
    return len(pods) == 4 and all(
        condition["status"] == "True" for pod in pods for condition in pod["status"]["conditions"] if condition["type"] == "Ready"
    )


def addresses_in_use(cluster: Cluster) -> set[str]:
    """What the CNI plugin has given out."""
    return {path.name for path in (cluster.node.data_dir / "cni/addresses").rglob("10.42.*")}


def page(world: Namespace, address: str) -> str:
    """What the node gets; nothing while nobody answers."""
    try:
        return world.cluster.fetch(address, 80)
    except OSError:
        return ""


def test_the_server_killed_and_started_again(world: Namespace) -> None:
    cluster = world.cluster
    before = seen(world)
    address = world.field("service/web", ".spec.clusterIP")
    assert cluster.stop(signal.SIGKILL) != 0
    # Nobody keeps house; what runs, runs on.
    assert "Hello from web-" in page(world, address)
    sleeper = cluster.processes("sleep")
    assert len(sleeper) == 1
    os.kill(sleeper[0], signal.SIGKILL)

    cluster.start()
    until(lambda: seen(world)["mortal"].restarts == before["mortal"].restarts + 1)
    until(lambda: everything_ready(world))
    after = seen(world)
    assert {name: pod for name, pod in after.items() if name != "mortal"} == {
        name: pod for name, pod in before.items() if name != "mortal"
    }, "the containers are the same ones"
    assert after["mortal"].container_id != before["mortal"].container_id
    assert "Hello from web-" in page(world, address)
    # And it works as before.
    world.kubectl("scale", "deployment/web", "--replicas=4")
    world.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    world.kubectl("scale", "deployment/web", "--replicas=3")
    until(lambda: everything_ready(world))


def test_containerd_killed(world: Namespace) -> None:
    cluster = world.cluster
    before = seen(world)
    address = world.field("service/web", ".spec.clusterIP")
    for pid in cluster.processes("containerd"):
        os.kill(pid, signal.SIGKILL)
    assert "Hello from web-" in page(world, address)
    # Caught up: a container can be started and entered.
    world.kubectl("run", "fresh", "--image=busybox:1.36", "--restart=Never", "--", "sleep", "1000")
    world.ready("pod/fresh")
    assert world.exec("fresh", "echo", "here") == "here\n"
    world.kubectl("delete", "pod", "fresh", "--grace-period=0", "--force")
    assert world.exec("mortal", "echo", "here") == "here\n"
    assert seen(world) == before


def test_a_polite_stop_and_start(world: Namespace) -> None:
    cluster = world.cluster
    before = seen(world)
    revision = cluster.request("GET", "/api/v1/namespaces/world/pods").json()["metadata"]["resourceVersion"]
    with world.running("get", "pods", "-w") as watch:
        watch.expect("mortal")
        assert cluster.stop(signal.SIGTERM) == 0
    assert cluster.processes("containerd"), "the runtime stays, and the containers with it"
    cluster.start()
    until(lambda: everything_ready(world))
    assert seen(world) == before
    assert told_to_list_again(cluster, f"/api/v1/namespaces/world/pods?watch=true&resourceVersion={int(revision) - 1}")
    assert "Traceback" not in cluster.log.read_text()


def told_to_list_again(cluster: Cluster, path: str) -> bool:
    """The history before a start is gone: 410, as an answer or as the watch's first event."""
    answer = cluster.request("GET", path)
    status = answer.json() if answer.status == 410 else json.loads(answer.text.splitlines()[0])["object"]
    return (status["code"], status["reason"]) in ((410, "Expired"), (410, "Gone"))


def test_what_was_acknowledged_is_there_after_a_kill(world: Namespace) -> None:
    cluster = world.cluster
    path = "/api/v1/namespaces/world/configmaps"
    acknowledged = []
    for number in range(30):
        body = json.dumps({"metadata": {"name": f"c{number}"}, "data": {"n": str(number)}})
        answer = cluster.request("POST", path, body, {"Content-Type": "application/json"})
        assert answer.status == 201
        acknowledged.append((f"c{number}", int(answer.json()["metadata"]["resourceVersion"])))
    cluster.stop(signal.SIGKILL)
    cluster.start()
    found = {
        item["metadata"]["name"]: int(item["metadata"]["resourceVersion"])
        for item in cluster.request("GET", path).json()["items"]
    }
    assert [(name, found.get(name)) for name, _ in acknowledged] == acknowledged
    answer = cluster.request("POST", path, '{"metadata":{"name":"later"}}', {"Content-Type": "application/json"})
    assert int(answer.json()["metadata"]["resourceVersion"]) > acknowledged[-1][1], "revisions never run backwards"


def test_the_plug_is_pulled(world: Namespace) -> None:
    cluster = world.cluster
    before = seen(world)
    world.kubectl("create", "configmap", "last-words", "--from-literal=said=yes")
    cluster.power_off()
    cluster.node.power_on()
    cluster.start()
    assert world.field("configmap/last-words", ".data.said") == "yes"
    until(lambda: everything_ready(world) and all(seen(world)[name].restarts > before[name].restarts for name in before))
    after = seen(world)
    assert after.keys() == before.keys(), "the pods are the same ones"
    assert {name: pod.restarts - before[name].restarts for name, pod in after.items()} == dict.fromkeys(before, 1)
    until(lambda: "Hello from web-" in page(world, world.field("service/web", ".spec.clusterIP")))
    until(lambda: addresses_in_use(cluster) == {pod.ip for pod in after.values()})  # no address is lost
    state = world.get("pod", "mortal")["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert state["exitCode"] in (137, 255)


def test_the_plug_is_pulled_in_the_middle_of_things(world: Namespace) -> None:
    """While pods come and go: whatever was acknowledged is carried out, and nothing is left over."""
    cluster = world.cluster
    world.kubectl("scale", "deployment/web", "--replicas=9")
    world.kubectl("delete", "pod", "mortal", "--wait=false")
    until(lambda: len(world.get("pods", "-l", "app=web")["items"]) >= 5)
    cluster.power_off()
    cluster.node.power_on()
    cluster.start()
    world.kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout_seconds=150)
    until(lambda: world.kubectl("get", "pod", "mortal", "--ignore-not-found") == "")
    world.kubectl("delete", "deployment", "web", "--wait=false")
    until(lambda: not world.get("pods")["items"])
    until(lambda: addresses_in_use(cluster) == set())
    until(lambda: not list((cluster.node.data_dir / "agent/pods").iterdir()))
    until(lambda: not cluster.processes("containerd-shim") and not cluster.processes("pause"))
