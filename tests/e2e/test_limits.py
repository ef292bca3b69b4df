"""What a namespace holds its pods to, and whom one may be, as kubectl meets it on a node that runs pods."""

from __future__ import annotations

import json

from tests.e2e.namespace import BUSYBOX, Namespace
from tests.lab.cluster import until


def test_a_quota_follows_the_life_of_pods(ns: Namespace) -> None:
    ns.kubectl("create", "quota", "q", "--hard=pods=1,requests.cpu=200m,count/configmaps=3")

    def used() -> dict[str, str]:
        found: dict[str, str] = json.loads(ns.field("quota/q", ".status.used") or "{}")
        return found

    until(lambda: used() == {"pods": "0", "requests.cpu": "0", "count/configmaps": "1"})
    assert "failed quota: q: must specify requests.cpu for: a" in ns.refused("run", "a", f"--image={BUSYBOX}")
    ns.apply(
        """
        apiVersion: v1
        kind: LimitRange
        metadata: {name: l}
        spec: {limits: [{type: Container, defaultRequest: {cpu: 150m}, max: {cpu: "1"}, default: {cpu: "1"}}]}
        """
    )
    ns.kubectl("run", "a", f"--image={BUSYBOX}", "--restart=Never", "--command", "--", "sleep", "3600")
    assert ns.field("pod/a", ".spec.containers[0].resources.requests.cpu") == "150m"
    assert "requested: pods=1,requests.cpu=150m, used: pods=1,requests.cpu=150m, limited: pods=1,requests.cpu=200m" in ns.refused(
        "run", "b", f"--image={BUSYBOX}"
    )
    free = {"pods": "0", "requests.cpu": "0", "count/configmaps": "1"}
    ns.kubectl("delete", "pod", "a", "--grace-period=1")
    until(lambda: used() == free)
    ns.kubectl("run", "ends", f"--image={BUSYBOX}", "--restart=Never", "--command", "--", "true")
    ns.wait("jsonpath={.status.phase}=Succeeded", "pod/ends")
    until(lambda: used() == free)
    for name in ("one", "two"):
        ns.kubectl("create", "configmap", name)
    assert "exceeded quota: q, requested: count/configmaps=1" in ns.refused("create", "configmap", "three")
    ns.kubectl("delete", "configmap", "one")
    until(lambda: used()["count/configmaps"] == "2")
    ns.kubectl("create", "configmap", "three")


def test_a_namespace_that_wants_restricted_pods(ns: Namespace) -> None:
    ns.cluster.kubectl("label", "namespace", ns.name, "pod-security.kubernetes.io/enforce=restricted")
    refused = ns.refused("run", "a", f"--image={BUSYBOX}")
    assert 'violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "a" must set' in refused
    ns.apply(
        f"""
        apiVersion: v1
        kind: Pod
        metadata: {{name: good}}
        spec:
          securityContext: {{runAsNonRoot: true, runAsUser: 1000, seccompProfile: {{type: RuntimeDefault}}}}
          containers:
          - name: c
            image: {BUSYBOX}
            command: [sleep, "3600"]
            securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
        """
    )
    ns.ready("pod/good")
    assert ns.sh("good", "id -u").strip() == "1000"


def test_as_somebody_else(ns: Namespace) -> None:
    user = f"ann-{ns.name}"
    assert "cannot list resource" in ns.refused("get", "pods", "--as", user)
    ns.kubectl("create", "rolebinding", "ann", "--clusterrole=view", f"--user={user}")
    until(lambda: ns.kubectl("auth", "can-i", "list", "pods", "--as", user, check=False).strip() == "yes")
    ns.kubectl("get", "pods", "--as", user)
    assert "pods" in ns.kubectl("auth", "can-i", "--list", "--as", user)
    assert ns.kubectl("auth", "can-i", "get", "secrets", "--as", user, check=False).strip() == "no"
    me = json.loads(ns.kubectl("auth", "whoami", "-o", "json", "--as", user, "--as-group", "ops"))
    assert me["status"]["userInfo"]["groups"] == ["ops", "system:authenticated"]
    ns.apply(
        """
        apiVersion: v1
        kind: Secret
        metadata: {name: token, annotations: {kubernetes.io/service-account.name: default}}
        type: kubernetes.io/service-account-token
        """
    )
    assert until(lambda: ns.field("secret/token", ".data.token"))
