"""Nodes come and go: with a server that is away, with a token that is bad, removed, brought back, and stolen."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.lab.agents import Agent
from tests.lab.cluster import until
from tests.lab.clusters import MultiCluster
from tests.lab.node import ROOT
from tests.lab.program import Program

PODS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      affinity:
        podAntiAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
          - {weight: 100, podAffinityTerm: {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: web}}}}
      containers:
      - {name: main, image: "busybox:1.36", command: [sleep, "3600"]}
"""


def admin(cluster: MultiCluster, *words: str) -> str:
    return cluster.server.edgekube(*words, "--data-dir", str(cluster.server.data_dir))


def refusal(program: Program, command: list[str]) -> str:
    """What a command that must fail complained of."""
    done = subprocess.run(
        program.node.inside(["env", f"PYTHONPATH={ROOT}", *command]), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr


def refused_to_admin(cluster: MultiCluster, *words: str) -> str:
    command = [sys.executable, "-m", "edgekube", *words, "--data-dir", str(cluster.server.data_dir)]
    return refusal(cluster.server, command)


def agent_of(cluster: MultiCluster, name: str) -> Agent:
    return next(agent for agent in cluster.agents if agent.name == name)


def conditions(cluster: MultiCluster) -> dict[str, str]:
    nodes = cluster.server.get("nodes")["items"]
    return {
        node["metadata"]["name"]: next(each["status"] for each in node["status"]["conditions"] if each["type"] == "Ready")
        for node in nodes
        if node.get("status", {}).get("conditions")
    }


def pods_on(cluster: MultiCluster, name: str) -> list[Any]:
    pods: list[Any] = cluster.server.get("pods", "--field-selector", f"spec.nodeName={name}")["items"]
    return pods


def requests_of(cluster: MultiCluster, name: str) -> int:
    return len(cluster.server.get("csr", "-l", f"edgekube.io/node={name}")["items"])


def test_the_key_was_made_on_the_node_and_stays_there(cluster3: MultiCluster) -> None:
    keys = set()
    for agent in cluster3.agents:
        pki = agent.data_dir / "agent/pki"
        assert stat.S_IMODE((pki / "node.key").stat().st_mode) == 0o600
        assert stat.S_IMODE(pki.stat().st_mode) == 0o700
        keys.add((pki / "node.key").read_text())
    assert len(keys) == len(cluster3.agents)
    for path in cluster3.server.data_dir.rglob("*"):
        if path.is_file() and path.stat().st_size < 1 << 20:
            assert not any(key.splitlines()[1].encode() in path.read_bytes() for key in keys), path
    assert not (cluster3.agents[0].data_dir / "server").exists()


def test_without_a_server_an_agent_starts_and_a_new_machine_waits(cluster3: MultiCluster) -> None:
    """The one is the same node afterwards, the other says what it waits for, and joins."""
    known, new = agent_of(cluster3, "n2"), cluster3.new_agent(cluster3.lan, "n4", "192.0.2.4")
    uid = cluster3.server.get("node", "n2")["metadata"]["uid"]
    before = requests_of(cluster3, "n2")
    cluster3.server.stop()
    known.stop()
    known.launch()
    new.launch()
    until(lambda: "the API server does not answer" in known.log_tail(400))
    until(lambda: "waiting for a server to join, trying again in" in new.log_tail())
    cluster3.server.start()
    until(lambda: {conditions(cluster3).get(name) for name in ("n2", "n4")} == {"True"})
    assert cluster3.server.get("node", "n2")["metadata"]["uid"] == uid
    assert requests_of(cluster3, "n2") == before, "it had its certificate and asked for none"
    assert "joined cluster" in new.log_tail(400)


def test_a_removed_node_is_gone_at_once_and_comes_back_with_a_new_token(cluster3: MultiCluster) -> None:
    until(lambda: not cluster3.server.get("node", "n4")["spec"].get("taints"))  # it is Ready before pods may go there
    cluster3.server.kubectl("apply", "-f", "-", stdin=PODS)
    cluster3.server.kubectl("rollout", "status", "deployment/web", "--timeout=120s")
    agent = agent_of(cluster3, "n4")
    uid = cluster3.server.get("node", "n4")["metadata"]["uid"]
    assert pods_on(cluster3, "n4")
    token_id = admin(cluster3, "node", "list").split("token:")[1].split()[0]
    admin(cluster3, "token", "delete", token_id)
    assert "node n4 removed" in admin(cluster3, "node", "remove", "n4")
    assert "n4" not in conditions(cluster3) and not pods_on(cluster3, "n4")
    until(lambda: "this node is refused by its cluster" in agent.log_tail(400))
    until(lambda: "not back in the cluster" in agent.log_tail(400))
    assert "n4" not in conditions(cluster3), "a token that was deleted brings nobody back"

    token = admin(cluster3, "token", "create", "--description", "n4 again").split()[0]
    (agent.node.disk / "token").write_text(token)
    until(lambda: conditions(cluster3).get("n4") == "True", seconds=90)
    assert cluster3.server.get("node", "n4")["metadata"]["uid"] != uid
    cluster3.server.kubectl("rollout", "status", "deployment/web", "--timeout=120s")


def test_a_machine_with_a_taken_name_gets_another_one(cluster3: MultiCluster) -> None:
    token = admin(cluster3, "token", "create").split()[0]
    agent = cluster3.new_agent(cluster3.lan, "n5", "192.0.2.5", arguments=["--hardware-serial", "10000000cafe"])
    (agent.node.disk / "token").write_text(token)
    agent.node.run(["hostname", "n3"])
    agent.launch()
    until(lambda: "the node name n3 is taken by another machine, joining as n3-" in agent.log_tail())
    until(lambda: sum(name.startswith("n3-") for name, ready in conditions(cluster3).items() if ready == "True") == 1)
    agent.stop()
    chosen = [*agent.command(), "--node-name", "n3"]
    (agent.data_dir / "agent/cluster.json").unlink()
    refused = refusal(agent, chosen)
    assert "refused this node" in refused and "belongs to another machine" in refused
    name = next(name for name in conditions(cluster3) if name.startswith("n3-"))
    admin(cluster3, "node", "remove", name)


def test_a_stolen_node_is_out_and_its_pods_run_elsewhere(cluster3: MultiCluster) -> None:
    agent = agent_of(cluster3, "n4")
    certificate = Path(f"/proc/{agent.node.pid}/root{agent.data_dir}/agent/pki/client.crt")
    assert certificate.exists()
    assert "node n4 revoked" in admin(cluster3, "node", "revoke", "n4")
    assert "n4" not in conditions(cluster3) and not pods_on(cluster3, "n4")
    until(lambda: "was revoked at" in agent.log_tail(400))
    assert "revoked" in admin(cluster3, "node", "list")
    cluster3.server.kubectl("rollout", "status", "deployment/web", "--timeout=120s")

    def homes() -> list[str]:
        return [pod["spec"].get("nodeName", "") for pod in cluster3.server.get("pods", "-l", "app=web")["items"]]

    until(lambda: len(homes()) == 4 and set(homes()) <= {"n1", "n2", "n3"})
    token = admin(cluster3, "token", "create").split()[0]
    (agent.node.disk / "token").write_text(token)
    until(lambda: agent.log_tail(400).count("refused this node") >= 1)
    assert "n4" not in conditions(cluster3)
    assert "there is no node n9" in refused_to_admin(cluster3, "node", "revoke", "n9")
    assert "a server's own node" in refused_to_admin(cluster3, "node", "remove", "n1")
    agent.stop()
