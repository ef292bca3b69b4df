"""Who may do what: tokens in pods and by hand, roles, kubectl auth."""

from __future__ import annotations

import json

from tests.e2e.namespace import Namespace
from tests.lab.cluster import Cluster

#: What a program in a pod does: its token, its CA, the API's address from the environment.
ASK = """
    {apiVersion: v1, kind: ServiceAccount, metadata: {name: robot}}
    ---
    apiVersion: v1
    kind: Pod
    metadata: {name: robot}
    spec:
      serviceAccountName: robot
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: 'busybox:1.36', command: [sleep, '1000']}]
    ---
    apiVersion: rbac.authorization.k8s.io/v1
    kind: Role
    metadata: {name: reads}
    rules: [{apiGroups: [''], resources: [configmaps], verbs: [get, list]}]
    ---
    apiVersion: rbac.authorization.k8s.io/v1
    kind: RoleBinding
    metadata: {name: robot-reads}
    roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reads}
    subjects: [{kind: ServiceAccount, name: robot}]
"""


def test_a_pod_uses_the_api_with_its_token(ns: Namespace) -> None:
    ns.apply(ASK)
    ns.ready("pod/robot")
    base = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert ns.exec("robot", "cat", f"{base}/namespace") == ns.name
    assert "BEGIN CERTIFICATE" in ns.exec("robot", "cat", f"{base}/ca.crt")
    token = ns.exec("robot", "cat", f"{base}/token")
    host, port = ns.sh("robot", "echo $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT").split()
    # The TCP connection is made by the pod (busybox has no TLS with verification): the API answers at its Service's address.
    assert ns.sh("robot", f"nc -w 30 {host} {port} </dev/null && echo open") == "open\n"

    def ask(path: str, method: str = "GET") -> int:
        return ns.cluster.request(method, path, headers={"Authorization": f"Bearer {token}"}, as_admin=False).status

    assert ask(f"/api/v1/namespaces/{ns.name}/configmaps") == 200
    assert ask(f"/api/v1/namespaces/{ns.name}/secrets") == 403
    assert ask("/api/v1/namespaces/default/configmaps") == 403
    assert ask("/api") == 200
    whoami = ns.cluster.kubectl("auth", "whoami", "-o", "json", *with_token(ns.cluster, token))
    info = json.loads(whoami)["status"]["userInfo"]
    assert info["username"] == f"system:serviceaccount:{ns.name}:robot"
    assert info["extra"]["authentication.kubernetes.io/pod-name"] == ["robot"]

    # With its pod gone, the token is worth nothing.
    ns.kubectl("delete", "pod", "robot")
    assert ask(f"/api/v1/namespaces/{ns.name}/configmaps") == 401


def with_token(cluster: Cluster, token: str) -> list[str]:
    """kubectl's flags to be whoever the token says, and nobody else."""
    authority = cluster.node.data_dir / "server/pki/ca.crt"
    return [
        "--kubeconfig=/dev/null",
        "--server=https://127.0.0.1:6443",
        f"--certificate-authority={authority}",
        f"--token={token}",
    ]


def test_roles_are_checked_and_kubectl_can_ask(ns: Namespace) -> None:
    ns.apply(ASK)
    robot = with_token(ns.cluster, ns.kubectl("create", "token", "robot").strip())
    assert ns.kubectl("auth", "can-i", "list", "configmaps", *robot) == "yes\n"
    assert ns.kubectl("auth", "can-i", "delete", "pods", *robot, check=False) == "no\n"
    assert ns.kubectl("auth", "can-i", "*", "*") == "yes\n"
    assert "configmaps" in ns.kubectl("auth", "can-i", "--list", *robot)
    refused = ns.refused("delete", "configmap", "kube-root-ca.crt", *robot)
    cannot = f'cannot delete resource "configmaps" in API group "" in the namespace "{ns.name}"'
    assert f'configmaps "kube-root-ca.crt" is forbidden: User "system:serviceaccount:{ns.name}:robot" {cannot}' in refused
    ns.kubectl("create", "rolebinding", "edits", "--clusterrole=edit", f"--serviceaccount={ns.name}:robot")
    assert ns.kubectl("create", "configmap", "mine", *robot) == "configmap/mine created\n"
    assert "forbidden" in ns.refused("create", "role", "more", "--verb=*", "--resource=*", *robot)


def test_tokens_by_hand(ns: Namespace) -> None:
    ns.kubectl("create", "serviceaccount", "hand")
    token = ns.kubectl("create", "token", "hand", "--duration=10m").strip()
    headers = {"Authorization": f"Bearer {token}"}
    assert ns.cluster.request("GET", "/version", headers=headers, as_admin=False).status == 200
    assert ns.cluster.request("GET", "/api/v1/nodes", headers=headers, as_admin=False).status == 403
    assert ns.cluster.request("GET", "/api", headers={"Authorization": f"Bearer {token}x"}, as_admin=False).status == 401
    ns.kubectl("delete", "serviceaccount", "hand")
    assert ns.cluster.request("GET", "/api", headers=headers, as_admin=False).status == 401


def test_nobody_gets_nothing_but_health_and_version(cluster: Cluster) -> None:
    for path in ("/livez", "/readyz", "/healthz", "/version"):
        assert cluster.request("GET", path, as_admin=False).status == 200
    for path in ("/api", "/api/v1/pods", "/metrics", "/openapi/v3"):
        assert cluster.request("GET", path, as_admin=False).status == 401


def test_private_files_are_private(cluster: Cluster) -> None:
    server = cluster.node.data_dir / "server"
    for path in [server / "kubeconfig.yaml", *server.glob("pki/*.key")]:
        assert path.stat().st_mode & 0o077 == 0, path
    assert server.stat().st_mode & 0o077 == 0
