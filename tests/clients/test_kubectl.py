"""kubectl, the installed one and the API's own version, through its subcommands; a Node is made by hand, and nothing runs.

What needs a container (exec, logs, cp, attach, port-forward) is in tests/e2e.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.building import go
from tests.clients.server import Server, until


@dataclass(frozen=True)
class Kubectl:
    program: str | Path
    server: Server
    namespace: str

    def __call__(self, *arguments: str, stdin: str | None = None, check: bool = True, **environment: str) -> str:
        return self.server.run(self.program, "-n", self.namespace, *arguments, stdin=stdin, check=check, environment=environment)

    def get(self, *what: str) -> Any:
        return json.loads(self("get", *what, "-o", "json"))

    def refused(self, *arguments: str, stdin: str | None = None) -> str:
        said = self(*arguments, stdin=stdin, check=False)
        assert re.search("(?i)error|unable|not", said), said
        return said


#: More of them, by their paths: tests/clients/run-slow builds one of each minor version.
_GIVEN = os.environ.get("EDGEKUBE_TEST_KUBECTLS", "").split()


@pytest.fixture(scope="module", params=_GIVEN or ["installed", "1.36"], ids=lambda given: Path(given).name)
def program(request: pytest.FixtureRequest) -> str | Path:
    if request.param in _GIVEN:
        return Path(request.param)
    if request.param != "installed":
        return go("./kubectl")
    installed = shutil.which("kubectl")
    if installed is None:
        pytest.skip("kubectl is not installed")
    return installed


@pytest.fixture
def kubectl(program: str | Path, server: Server, namespace: str) -> Iterator[Kubectl]:
    kubectl = Kubectl(program, server, namespace.replace("installed", "old"))
    kubectl("create", "namespace", kubectl.namespace)
    yield kubectl
    kubectl("delete", "namespace", kubectl.namespace, "--wait=false")


def test_what_there_is(kubectl: Kubectl) -> None:
    resources = kubectl("api-resources", "--sort-by=name", "-o", "wide")
    assert re.search(r"^deployments +deploy +apps/v1 +true +Deployment +create,delete,deletecollection,get,list", resources, re.M)
    assert "deployments.apps" in kubectl("api-resources", "--namespaced", "--verbs=list,watch", "-o", "name", "--api-group=apps")
    assert {"v1", "apps/v1", "rbac.authorization.k8s.io/v1"} <= set(kubectl("api-versions").split())
    told = kubectl("explain", "deployment.spec.strategy", "--recursive")
    assert "KIND:       Deployment" in told and "maxSurge" in told and "VERSION:    v1" in told
    assert "IntOrString" in kubectl("explain", "deploy.spec.strategy.rollingUpdate.maxSurge")
    version = json.loads(kubectl("version", "-o", "json"))["serverVersion"]
    assert (version["major"], version["minor"]) == ("1", "36")
    assert "is running at https://127.0.0.1" in kubectl("cluster-info")
    assert kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.groups}") == '["system:masters","system:authenticated"]'
    assert kubectl("get", "--raw", "/readyz") == "ok"
    assert "metrics not available yet" in kubectl.refused("top", "nodes"), "there is no node here"
    assert "the server doesn't have a resource type" in kubectl.refused("get", "unicorns")


def test_making_and_changing(kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl("create", "deployment", "web", "--image=busybox:1.36", "--replicas=2", "--port=80")
    kubectl("expose", "deployment", "web", "--port=80", "--name=web")
    kubectl("create", "configmap", "facts", "--from-literal=a=1", f"--from-file={__file__}")
    kubectl("create", "secret", "generic", "word", "--from-literal=pass=x")
    kubectl("create", "quota", "small", "--hard=pods=10")
    kubectl("create", "pdb", "web", "--selector=app=web", "--min-available=1")
    kubectl("create", "ingress", "web", "--rule=pi.local/=web:80")
    assert kubectl.get("service/web")["spec"]["selector"] == {"app": "web"}
    assert kubectl("get", "secret/word", "-o", "go-template={{.data.pass | base64decode}}") == "x"
    wide = kubectl("get", "deploy,svc,cm", "-o", "wide", "--show-labels")
    assert "deployment.apps/web" in wide and "SELECTOR" in wide and "configmap/facts" in wide
    assert kubectl("get", "cm", "facts", "-o", "custom-columns=N:.metadata.name,A:.data.a").split() == ["N", "A", "facts", "1"]
    assert "web" in kubectl("get", "deploy", "--sort-by=.metadata.creationTimestamp", "-l", "app in (web)", "--chunk-size=1")
    assert "NewReplicaSet:" in kubectl("describe", "deployment", "web") and "pass:  1 bytes" in kubectl(
        "describe", "secret", "word"
    )
    assert "pods" in kubectl("describe", "quota", "small")

    kubectl("label", "cm", "facts", "tier=one")
    kubectl("label", "cm", "-l", "tier=one", "tier=two", "--overwrite")
    kubectl("annotate", "cm", "facts", "note=yes", "--resource-version", kubectl.get("cm/facts")["metadata"]["resourceVersion"])
    kubectl("patch", "cm", "facts", "-p", '{"data":{"b":"2"}}')
    kubectl("patch", "cm", "facts", "--type=json", "-p", '[{"op":"remove","path":"/data/a"}]')
    kubectl("patch", "deploy", "web", "--subresource=scale", "--type=merge", "-p", '{"spec":{"replicas":3}}')
    facts = kubectl.get("cm/facts")
    assert facts["metadata"]["labels"] == {"tier": "two"} and facts["data"]["b"] == "2" and "a" not in facts["data"]
    kubectl("edit", "cm", "facts", KUBE_EDITOR="sed -i s/two/three/")
    assert kubectl.get("cm/facts")["metadata"]["labels"] == {"tier": "three"}
    stale = json.dumps({**facts, "data": {"c": "3"}})
    assert "the object has been modified" in kubectl.refused("replace", "-f", "-", stdin=stale)
    facts["metadata"].pop("resourceVersion")
    kubectl("replace", "-f", "-", stdin=json.dumps(facts))

    kubectl("scale", "deploy/web", "--current-replicas=3", "--replicas=1")
    kubectl("autoscale", "deploy/web", "--max=4")
    kubectl("set", "image", "deploy/web", "busybox=busybox:1.37")
    kubectl("set", "env", "deploy/web", "--from=configmap/facts", "--keys=b")
    kubectl("set", "resources", "deploy/web", "--limits=cpu=1", "--requests=cpu=1")
    kubectl("create", "serviceaccount", "robot")
    kubectl("set", "serviceaccount", "deploy/web", "robot")
    spec = kubectl.get("deploy/web")["spec"]
    container = spec["template"]["spec"]["containers"][0]
    assert spec["replicas"] == 1 and container["image"] == "busybox:1.37" and container["env"][0]["name"] == "B"
    assert container["resources"] == {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}
    assert spec["template"]["spec"]["serviceAccountName"] == "robot"
    for verb in ("pause", "resume", "restart"):
        assert verb[:5] in kubectl("rollout", verb, "deploy/web")
    kubectl("wait", "--for=jsonpath={.status.observedGeneration}", "deploy/web", "--timeout=90s")
    assert "REVISION" in kubectl("rollout", "history", "deploy/web")
    assert "image:" not in kubectl("rollout", "history", "deploy/web") and "rolled back" in kubectl(
        "rollout", "undo", "deploy/web"
    )
    assert 'deployment "web" scaled' not in kubectl("delete", "all", "--all") and not kubectl("get", "deploy", "-o", "name")


def test_applying(kubectl: Kubectl, tmp_path: Path) -> None:
    manifest = tmp_path / "facts.yaml"

    def write(**data: str) -> str:
        manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "facts"}, "data": data}))
        return str(manifest)

    assert "created" in kubectl("apply", "-f", write(a="1", b="1"))
    assert "unchanged" in kubectl("apply", "-f", str(manifest))
    kubectl("patch", "cm", "facts", "-p", '{"data":{"mine":"x"}}')
    difference = kubectl("diff", "-f", write(a="2"), check=False)
    assert '+  a: "2"' in difference and '-  b: "1"' in difference and "mine" in difference
    assert "configured" in kubectl("apply", "-f", str(manifest)) and kubectl.get("cm/facts")["data"] == {"a": "2", "mine": "x"}
    assert '"a":"2"' in kubectl("apply", "view-last-applied", "cm/facts", "-o", "json").replace(" ", "")
    kubectl("apply", "set-last-applied", "-f", write(a="2", mine="x"))
    assert (
        "server dry run" in kubectl("apply", "--dry-run=server", "-f", write(a="9"))
        and kubectl.get("cm/facts")["data"]["a"] == "2"
    )
    manifest.write_text(manifest.read_text().replace('"data"', '"dada"'))
    assert 'unknown field "dada"' in kubectl.refused("apply", "-f", str(manifest))

    # What is no longer in the files of a set goes.
    for name in ("kept", "gone"):
        (tmp_path / f"{name}.json").write_text(manifest.read_text().replace('"dada"', '"data"').replace('"facts"', f'"{name}"'))
    prune = ("apply", "--prune", "--applyset=configmap/set", "-f")
    kubectl(*prune, f"{tmp_path}/kept.json", "-f", f"{tmp_path}/gone.json", KUBECTL_APPLYSET="true")
    assert "gone pruned" in kubectl(*prune, f"{tmp_path}/kept.json", KUBECTL_APPLYSET="true")
    assert "applyset.kubernetes.io/part-of=" in kubectl("label", "--list", "cm/kept")
    assert "replaced" in kubectl("replace", "--force", "-f", f"{tmp_path}/kept.json")

    # At the server: who owns what, and who takes it.
    assert "serverside-applied" in kubectl("apply", "--server-side", "-f", write(c="1"), "--field-manager=one")
    conflict = kubectl.refused("apply", "--server-side", "-f", write(c="2"), "--field-manager=two")
    assert 'conflict with "one": .data.c' in conflict and "--force-conflicts" in conflict
    kubectl("apply", "--server-side", "-f", str(manifest), "--field-manager=two", "--force-conflicts")
    owners = kubectl("get", "cm/facts", "-o", "json", "--show-managed-fields")
    assert {"kubectl-client-side-apply", "two"} <= {entry["manager"] for entry in json.loads(owners)["metadata"]["managedFields"]}
    (tmp_path / "kustomization.yaml").write_text("resources: [facts.yaml]\nnamePrefix: pre-\n")
    kubectl("apply", "-k", str(tmp_path))
    assert "configmap/pre-facts" in kubectl("get", "cm", "-o", "name")
    kubectl("delete", "-k", str(tmp_path))


def test_access(kubectl: Kubectl) -> None:
    kubectl("create", "serviceaccount", "robot")
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=configmaps")
    kubectl("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={kubectl.namespace}:robot")
    robot = f"--as=system:serviceaccount:{kubectl.namespace}:robot"
    kubectl("wait", "--for=create", "rolebinding/reader", "--timeout=90s")
    assert kubectl("auth", "can-i", "list", "configmaps", robot) == "yes\n"
    assert kubectl("auth", "can-i", "delete", "configmaps", robot, check=False) == "no\n"
    assert re.search(r"configmaps +\[\] +\[\] +\[get list\]", kubectl("auth", "can-i", "--list", robot))
    refused = kubectl.refused("get", "secrets", robot)
    assert "Error from server (Forbidden): secrets is forbidden: User" in refused and "cannot list resource" in refused
    token = kubectl("create", "token", "robot", "--duration=15m").strip()
    assert token.count(".") == 2
    rules = {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "reader", "namespace": kubectl.namespace},
        **rules,
    }
    assert "reconciled" in kubectl("auth", "reconcile", "-f", "-", stdin=json.dumps(role))
    assert len(kubectl.get("role/reader")["rules"]) == 2

    request = _signing_request()
    kubectl("create", "-f", "-", stdin=json.dumps(request))
    try:
        assert "Pending" in kubectl("get", "csr", request["metadata"]["name"])
        kubectl("certificate", "approve", request["metadata"]["name"])
        kubectl("wait", "--for=jsonpath={.status.certificate}", f"csr/{request['metadata']['name']}", "--timeout=90s")
        assert "Approved,Issued" in kubectl("get", "csr", request["metadata"]["name"])
    finally:
        kubectl("delete", "csr", request["metadata"]["name"])


def _signing_request() -> dict[str, Any]:
    import base64
    import secrets

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "visitor")])
    made = (
        x509.CertificateSigningRequestBuilder().subject_name(name).sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )
    spec = {
        "request": base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode(),
        "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth"],
    }
    metadata = {"name": f"visitor-{secrets.token_hex(3)}"}
    return {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": metadata, "spec": spec}


def test_a_node_by_hand(kubectl: Kubectl) -> None:
    name = kubectl.namespace
    kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}))
    try:
        kubectl("cordon", name)
        assert "SchedulingDisabled" in kubectl("get", "node", name)
        kubectl("uncordon", name)
        kubectl("taint", "node", name, "wet=yes:NoSchedule")
        assert {"key": "wet", "value": "yes", "effect": "NoSchedule"} in kubectl.get(f"node/{name}")["spec"]["taints"]
        kubectl("run", "box", "--image=busybox:1.36", f"--overrides={json.dumps({'spec': {'nodeName': name}})}")
        assert kubectl("get", "pods", f"--field-selector=spec.nodeName={name}", "-o", "name") == "pod/box\n"
        kubectl("debug", "box", "--image=busybox:1.36", "--container=look", "--attach=false", "--quiet")
        assert kubectl.get("pod/box")["spec"]["ephemeralContainers"][0]["name"] == "look"
        assert f"node/{name} drained" in kubectl(
            "drain", name, "--force", "--ignore-daemonsets", "--disable-eviction", "--grace-period=0"
        )
        assert "pod/box" not in kubectl("get", "pods", "-o", "name")
    finally:
        kubectl("delete", "node", name)


def test_watching_and_waiting(kubectl: Kubectl, server: Server, tmp_path: Path) -> None:
    kubectl("create", "configmap", "seen")
    shown = '{.type} {.object.data.a}{"\\n"}'
    command = [str(kubectl.program), "-n", kubectl.namespace, "get", "cm", "seen", "--watch", "--output-watch-events"]
    log = tmp_path / "watched"
    with log.open("wb") as output:
        watching = subprocess.Popen([*command, "-o", f"jsonpath={shown}"], stdout=output, env=server.environment())
    try:
        until(lambda: log.read_text().startswith("ADDED"))
        kubectl("patch", "cm", "seen", "-p", '{"data":{"a":"2"}}')
        kubectl("wait", "--for=jsonpath={.data.a}=2", "cm/seen", "--timeout=90s")
        kubectl("delete", "cm", "seen", "--wait")
        until(lambda: "DELETED" in log.read_text())
        assert [line.split() for line in log.read_text().splitlines()] == [["ADDED"], ["MODIFIED", "2"], ["DELETED", "2"]]
    finally:
        watching.kill()
        watching.wait(90)
    assert "timed out waiting" in kubectl.refused("wait", "--for=create", "cm/never", "--timeout=1s")
