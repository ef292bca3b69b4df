"""The flags of Kubernetes' node suite, which tests one node beside its agent, and starts nothing of its own here.

Enters: a cluster of the lab, a directory that is the suite's.
Leaves: flags.
Holds: the suite speaks to the API by a token of an administrator's service account, and to containerd by its socket. What it asks
of a kernel is told to it in a file that asks nothing, for such checks are ``edgekube check``'s.
Source: test/e2e_node (e2e_node_suite_test.go).
Next: tests.conformance.
"""

from __future__ import annotations

from pathlib import Path

from tests.lab.clusters import MultiCluster

_ACCOUNT = ("default", "suite")


def node_flags(cluster: MultiCluster, where: Path) -> list[str]:
    namespace, name = _ACCOUNT
    server = cluster.server
    server.kubectl("create", "serviceaccount", name, "-n", namespace)
    account = f"--serviceaccount={namespace}:{name}"
    server.kubectl("create", "clusterrolebinding", name, "--clusterrole=cluster-admin", account)
    token = server.kubectl("create", "token", name, "-n", namespace, "--duration=10h").strip()
    demands = where / "system-spec.yaml"
    demands.write_text("os: Linux\n")
    return [
        f"--bearer-token={token}", f"--node-name={server.name}", "--start-services=false", "--prepull-images=false",
        "--dump-logs-on-failure=false", f"--system-spec-file={demands}",
        "--container-runtime-endpoint=unix:///run/edgekube/containerd/containerd.sock",
    ]  # fmt: skip
