"""What runs on the nodes that are going to be broken, and what must be true again once they are healed.

Enters: a MultiCluster. Leaves: a Deployment with a pod on each node, its Service, a pod bound to each node; every difference
between what is desired, what the API says, what the nodes' containerds have and what can be reached.
Holds: containers are counted on the nodes, past edgekube; pages are asked for by each node. Next: tests.lab.containers.
"""

from __future__ import annotations

import http.client
import json
from collections import Counter
from dataclasses import dataclass
from textwrap import dedent
from typing import Any, Final

from edgekube.agent.leases import leases_directory
from edgekube.containerd.model import RuntimeFailure
from tests.e2e.namespace import Namespace
from tests.faults_nodes.leftovers import left_on
from tests.lab import inside
from tests.lab.cluster import until
from tests.lab.clusters import MultiCluster
from tests.lab.containers import running_containers

NAME: Final = "world"
_PAGE: Final = "/cgi-bin/index.cgi"

#: Pods of ``web`` leave a lost node two seconds after it counts as lost; those that are bound to a node stay.
WORKLOAD: Final = """
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
          tolerations:
            - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
            - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
          containers:
            - name: web
              image: edgekube.local/demo:1
              readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, timeoutSeconds: 20}
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""

BOUND: Final = """
    apiVersion: v1
    kind: Pod
    metadata: {name: %(name)s}
    spec:
      nodeName: %(node)s
      terminationGracePeriodSeconds: 1
      tolerations: [{operator: Exists}]
      containers: [{name: web, image: 'edgekube.local/demo:1'}]
"""


@dataclass(frozen=True)
class Pod:
    """As the API has it, with its only container."""

    name: str
    uid: str
    node: str
    address: str
    ready: bool
    deleting: bool
    container_id: str
    restarts: int


class World(Namespace):
    def __init__(self, cluster: MultiCluster) -> None:
        super().__init__(cluster.server, NAME)
        self.nodes = cluster
        cluster.server.kubectl("create", "namespace", NAME)
        self.wait_for_service_account()
        self.apply(WORKLOAD)
        for program in cluster.programs:
            self.bind(f"on-{program.name}", program.name)
        self._visitors = 0
        #: What differed last before the last settling; "" when nothing did.
        self.lasted = ""
        self.bind("visitor-0", cluster.agents[0].name)
        self.settle()

    def bind(self, name: str, node: str) -> None:
        """A pod that the scheduler has no say in."""
        self.apply(BOUND % {"name": name, "node": node})

    def pods(self) -> dict[str, Pod]:
        answer = self.cluster.request("GET", f"/api/v1/namespaces/{NAME}/pods")
        assert answer.status == 200, answer.text
        return {pod.name: pod for pod in map(_pod, answer.json()["items"])}

    def web(self) -> dict[str, Pod]:
        return {name: pod for name, pod in self.pods().items() if name.startswith("web-")}

    def change_visitors(self) -> None:
        """Something to catch up with for n2: one pod shall go, another come. Waits for neither."""
        # Without kubectl: it is done while a node cannot be heard, and that must not last.
        pods, yaml = f"/api/v1/namespaces/{NAME}/pods", {"Content-Type": "application/yaml"}
        answer = self.cluster.request("DELETE", f"{pods}/visitor-{self._visitors}")
        assert answer.status == 200, answer.text
        self._visitors += 1
        visitor = dedent(BOUND % {"name": f"visitor-{self._visitors}", "node": "n2"})
        answer = self.cluster.request("POST", pods, visitor, yaml)
        assert answer.status == 201, answer.text

    def stayers(self, pods: dict[str, Pod]) -> dict[str, Pod]:
        """Those that nobody wanted changed."""
        return {name: pod for name, pod in pods.items() if not name.startswith("visitor-")}

    def scale(self, replicas: int) -> None:
        self.kubectl("scale", "deployment/web", f"--replicas={replicas}")

    def spread(self) -> dict[str, Pod]:
        """A replica on each node again, after they were moved."""
        self.kubectl("rollout", "restart", "deployment/web")
        self.kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout_seconds=150)
        pods = self.settle()
        assert {pod.node for pod in self.web().values()} == {"n1", "n2", "n3"}
        return pods

    # --- desired = observed ---------------------------------------------------------------------------------------------

    def settle(self, *, seconds: float = 180) -> dict[str, Pod]:
        """Until nothing differs any more; the pods then. Raises AssertionError with what still differs."""
        found: list[str] = []

        self.lasted = ""

        def same() -> bool:
            found[:] = self.differences()
            if found:
                self.lasted = found[0]
            return not found

        try:
            until(same, seconds=seconds, pause_seconds=0.3)
        except AssertionError:
            raise AssertionError(f"after {seconds} s:\n  " + "\n  ".join(found)) from None
        return self.pods()

    def differences(self) -> list[str]:
        """Between what is wanted and what is; cheap questions first, and no further ones where these differ."""
        try:
            return self._of_the_api() or self._of_the_nodes() or self._left_behind() or self._of_the_network()
        except RuntimeFailure as failure:
            return [f"a node's containerd does not answer: {failure.message}"]

    def _of_the_api(self) -> list[str]:
        found = [f"{program.name} is not Ready" for program in self.nodes.programs if program.name not in self.nodes.ready()]
        pods = self.pods()
        replicas = int(self.field("deployment/web", ".spec.replicas"))
        if len(self.web()) != replicas:
            found.append(f"{replicas} replicas are wanted, there are {sorted(self.web())}")
        found += [f"{pod.name} on {pod.node} is not Ready" for pod in pods.values() if not pod.ready]
        found += [f"{pod.name} on {pod.node} is being deleted" for pod in pods.values() if pod.deleting]
        return found

    def _of_the_nodes(self) -> list[str]:
        """Each container that the API names runs where it says, once; nothing else of ours runs anywhere."""
        found = []
        claimed: Counter[tuple[str, str, str]] = Counter()
        for pod in self.pods().values():
            claimed[pod.node, pod.name, pod.container_id.removeprefix("containerd://")] += 1
        running: Counter[tuple[str, str, str]] = Counter()
        for program in self.nodes.programs:
            for each in running_containers(program.node):
                if each.namespace == NAME:
                    running[program.name, each.pod, each.id] += 1
        for node, name, identity in claimed - running:
            found.append(f"{name} does not run on {node} as {identity[:12]}, whatever the API says")
        for node, name, identity in running - claimed:
            found.append(f"{name} runs on {node} as {identity[:12]}, and the API does not know")
        return found

    def _left_behind(self) -> list[str]:
        """Directories, addresses, sandboxes, cgroups and mounts of each node are those of its pods, of whatever namespace."""
        answer = self.cluster.request("GET", "/api/v1/pods")
        assert answer.status == 200, answer.text
        found = []
        for program in self.nodes.programs:
            here = [pod for pod in answer.json()["items"] if pod["spec"].get("nodeName") == program.name]
            uids = {pod["metadata"]["uid"] for pod in here}
            kept = {path.name for path in (program.data_dir / "agent/pods").glob("*")} - uids
            found += [f"{program.name} keeps a directory of pod {uid}" for uid in sorted(kept)]
            addresses = {each["ip"] for pod in here for each in pod["status"].get("podIPs") or []}
            leases = {
                path.name for path in leases_directory(program.data_dir).rglob("*") if path.name.count(".") == 3
            } - addresses
            found += [f"{program.name} has not given back {address}" for address in sorted(leases)]
            found += left_on(program, uids)
        return found

    def _of_the_network(self) -> list[str]:
        """Each node reaches each pod, and the Service, which sends it to each of the pods in turn."""
        address = self.field("service/web", ".spec.clusterIP")
        found = []
        for program in self.nodes.programs:
            found += [
                f"{program.name} does not reach {pod.name} at {pod.address} on {pod.node}"
                for pod in self.pods().values()
                if pod.name not in self.page(program.name, pod.address, 8080)
            ]
            if "Hello from web-" not in self.page(program.name, address, 80):
                found.append(f"{program.name} does not reach the Service at {address}")
        return found

    def page(self, node: str, address: str, port: int, *, timeout_seconds: float = 2) -> str:
        """As the node gets it; what went wrong, when it gets none."""
        namespace = self.nodes.node(node).namespace
        try:
            return inside.fetch(namespace, address, port, _PAGE, timeout_seconds=timeout_seconds)
        except (OSError, http.client.HTTPException) as error:
            return f"({type(error).__name__})"

    def reaches(self, node: str, pod: Pod) -> bool:
        return pod.name in self.page(node, pod.address, 8080, timeout_seconds=1)

    def runs_on(self, node: str) -> set[str]:
        """Names of the pods that run there, whatever the API says."""
        return {each.pod for each in running_containers(self.nodes.node(node)) if each.namespace == NAME}

    def internal_address(self, node: str) -> str:
        addresses = self.cluster.request("GET", f"/api/v1/nodes/{node}").json()["status"]["addresses"]
        return next(str(each["address"]) for each in addresses if each["type"] == "InternalIP")


def _pod(obj: dict[str, Any]) -> Pod:
    status = obj.get("status") or {}
    (container,) = status.get("containerStatuses") or [{}]
    conditions = {each["type"]: each["status"] for each in status.get("conditions") or ()}
    return Pod(
        name=obj["metadata"]["name"],
        uid=obj["metadata"]["uid"],
        node=obj["spec"].get("nodeName") or "",
        address=status.get("podIP") or "",
        ready=conditions.get("Ready") == "True",
        deleting="deletionTimestamp" in obj["metadata"],
        container_id=container.get("containerID") or "",
        restarts=int(container.get("restartCount") or 0),
    )


def untouched(before: dict[str, Pod], after: dict[str, Pod]) -> None:
    """The same pods with the same containers; only whether they are Ready may have come and gone."""
    assert json.dumps({name: vars(pod) for name, pod in before.items()}, indent=1) == json.dumps(
        {name: vars(pod) for name, pod in after.items()}, indent=1
    )
