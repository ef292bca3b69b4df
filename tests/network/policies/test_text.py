"""The table as a person reads it: golden files, which nft takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgekube.api.pod_address import PodAddress
from edgekube.network.policies.model import policy_of
from edgekube.network.policies.planner import Planner
from tests.lab.shell import run

GOLDEN = Path(__file__).parent / "golden"
Object = dict[str, Any]


def pod(namespace: str, name: str, node: str, ips: list[str], revision: int = 1, **labels: str) -> PodAddress:
    obj = {
        "kind": "PodAddress",
        "metadata": {"name": name, "namespace": namespace, "uid": name, "labels": labels, "resourceVersion": str(revision)},
        "nodeName": node,
        "phase": "Running",
        "podIPs": ips,
        "ports": [{"name": "sql", "containerPort": 5432}] if labels["app"] == "db" else [],
    }
    return msgspec.convert(obj, PodAddress)


def policy(name: str, **spec: Any) -> Object:
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": spec}


DB: Object = {"matchLabels": {"app": "db"}}
POLICIES = [
    policy("closed", podSelector={}, policyTypes=["Ingress", "Egress"]),
    policy("db", podSelector=DB, ingress=[
        {"from": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": "sql"}]},
        {"from": [{"namespaceSelector": {"matchLabels": {"team": "ops"}}, "podSelector": {"matchLabels": {"app": "backup"}}},
                  {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.1/32"]}}],
         "ports": [{"port": 5432}, {"port": 9000, "endPort": 9100}, {"protocol": "UDP", "port": 161}]},
    ]),
    policy("names", podSelector={}, policyTypes=["Egress"], egress=[
        {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
                 "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}],
         "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]},
    ]),
]  # fmt: skip


def planner(families: tuple[int, ...], resolvers: list[str]) -> Planner:
    made = Planner("n1", families=families, resolvers=resolvers)
    made.put_namespace("shop", {"kubernetes.io/metadata.name": "shop"})
    made.put_namespace("ops", {"team": "ops"})
    made.put_namespace("kube-system", {"kubernetes.io/metadata.name": "kube-system"})
    made.put_pod(pod("shop", "db-0", "n1", ["10.42.1.2", "fd42:1::2"], app="db"))
    made.put_pod(pod("shop", "web-0", "n2", ["10.42.2.2", "fd42:2::2"], app="web"))
    made.put_pod(pod("ops", "backup", "n2", ["10.42.2.3", "fd42:2::3"], app="backup"))
    for each in POLICIES:
        made.put_policy(policy_of(each))
    return made


@pytest.mark.parametrize(
    ("golden", "families", "resolvers"),
    [("one-family.nft", (4,), ["10.43.0.10"]), ("two-families.nft", (4, 6), ["10.43.0.10", "fd43::a"])],
)
def test_from_nothing(golden: str, families: tuple[int, ...], resolvers: list[str]) -> None:
    assert planner(families, resolvers).everything().text == (GOLDEN / golden).read_text()


def test_a_pod_comes_another_is_relabelled_a_policy_goes() -> None:
    made = planner((4,), ["10.43.0.10"])
    made.everything()
    made.put_pod(pod("shop", "web-1", "n3", ["10.42.3.7"], 2, app="web"))
    scripts = [made.script().text]
    made.put_pod(pod("ops", "backup", "n2", ["10.42.2.3"], 3, app="other"))
    scripts.append(made.script().text)
    made.remove_policy("shop", "closed")
    scripts.append(made.script().text)
    assert "---\n".join(scripts) == (GOLDEN / "changes.nft").read_text()


@pytest.mark.root
@pytest.mark.parametrize("golden", ["one-family.nft", "two-families.nft"])
def test_nft_takes_it(golden: str) -> None:
    assert "policy_" in run(["unshare", "--net", "sh", "-c", "nft -f - && nft list ruleset"], stdin=(GOLDEN / golden).read_text())
