"""Objects as kubectl reads, writes and deletes them: selectors, patches, dry runs, finalizers, garbage."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.namespace import Namespace, document
from tests.lab.cluster import Cluster, until
from tests.lab.shell import run

# --- reading ----------------------------------------------------------------------------------------------------------


def test_selectors_sorting_and_output_forms(ns: Namespace) -> None:
    for name, tier, size in (("a", "front", "3"), ("b", "front", "1"), ("c", "back", "2")):
        ns.kubectl("create", "configmap", name, f"--from-literal=size={size}")
        ns.kubectl("label", "configmap", name, f"tier={tier}")

    def names(*arguments: str) -> list[str]:
        return ns.kubectl("get", "configmaps", "-o", "name", *arguments).replace("configmap/", "").split()

    assert names("-l", "tier=front") == ["a", "b"]
    assert names("-l", "tier in (front, back),tier!=back") == ["a", "b"]
    assert names("-l", "!tier") == ["kube-root-ca.crt"]
    assert names("--field-selector", "metadata.name=c") == ["c"]
    assert names("-l", "tier", "--sort-by", ".data.size") == ["b", "c", "a"]
    assert '"data.size" is not a known field selector' in ns.refused("get", "configmaps", "--field-selector", "data.size=1")
    assert "unable to parse" in ns.refused("get", "configmaps", "-l", "a=(b")
    wide = ns.kubectl("get", "configmap", "a", "-o", "wide", "-L", "tier").splitlines()
    assert wide[0].split() == ["NAME", "DATA", "AGE", "TIER"]
    assert wide[1].split()[:2] == ["a", "1"]
    assert ns.kubectl("get", "configmaps", "-l", "tier", "-o", "custom-columns=N:.metadata.name,S:.data.size").split() == [
        "N", "S", "a", "3", "b", "1", "c", "2",
    ]  # fmt: skip
    assert ns.kubectl("get", "configmap", "a", "-o", "go-template={{.data.size}}") == "3"
    assert 'size: "3"' in ns.kubectl("get", "configmap", "a", "-o", "yaml")
    assert ns.kubectl("get", "configmaps", "--chunk-size=1", "-o", "name").count("configmap/") == 4


def test_what_the_server_says_of_itself(cluster: Cluster) -> None:
    resources = cluster.kubectl("api-resources", "--verbs=list", "-o", "name").split()
    for resource in (
        "pods", "deployments.apps", "jobs.batch", "endpointslices.discovery.k8s.io", "networkpolicies.networking.k8s.io",
        "customresourcedefinitions.apiextensions.k8s.io", "leases.coordination.k8s.io", "poddisruptionbudgets.policy",
    ):  # fmt: skip
        assert resource in resources
    rows = cluster.kubectl("api-resources", "--no-headers").splitlines()
    assert next(row for row in rows if row.split()[0] == "pods").split() == ["pods", "po", "v1", "true", "Pod"]
    versions = cluster.kubectl("api-versions").split()
    assert {"v1", "apps/v1", "batch/v1", "rbac.authorization.k8s.io/v1"} <= set(versions)
    assert re.search(r"Server Version: v1\.36\.\d+\+edgekube", cluster.kubectl("version"))
    assert cluster.kubectl("get", "--raw", "/readyz") == "ok"
    assert "[+]" in cluster.kubectl("get", "--raw", "/livez?verbose")
    assert "is running at" in cluster.kubectl("cluster-info")
    every = [name for name in resources if "." not in name or name.endswith((".apps", ".batch", ".k8s.io", ".policy"))]
    assert "service/kubernetes" in cluster.kubectl("get", ",".join(every), "-A"), "every kind can be listed"


def test_watching(ns: Namespace) -> None:
    with ns.running("get", "configmaps", "-w", "-o", "name", "-l", "seen=yes") as watch:
        for step in range(3):
            ns.kubectl("create", "configmap", f"c{step}")
            ns.kubectl("label", "configmap", f"c{step}", "seen=yes")
            watch.expect(f"configmap/c{step}\n")
    with ns.running("get", "configmaps", "--watch-only", "--output-watch-events") as watch:
        name = "late"

        def seen() -> bool:
            nonlocal name
            name += "r"
            ns.kubectl("create", "configmap", name)
            ns.kubectl("delete", "configmap", name)
            try:
                watch.expect("DELETED", seconds=1)
                return True
            except AssertionError:
                return False

        until(seen)


# --- writing ----------------------------------------------------------------------------------------------------------


def test_patches_of_every_type(ns: Namespace) -> None:
    ns.apply("""
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: d}
        spec:
          replicas: 0
          selector: {matchLabels: {app: d}}
          template:
            metadata: {labels: {app: d}}
            spec: {containers: [{name: one, image: 'i:1'}, {name: two, image: 'i:2'}]}
    """)

    def images() -> str:
        return ns.kubectl("get", "deployment", "d", "-o", "jsonpath={.spec.template.spec.containers[*].image}")

    one = {"spec": {"template": {"spec": {"containers": [{"name": "two", "image": "i:22"}]}}}}
    ns.kubectl("patch", "deployment", "d", "-p", json.dumps(one))
    assert images() == "i:1 i:22"
    ns.kubectl("patch", "deployment", "d", "--type=merge", "-p", json.dumps(one))
    assert images() == "i:22"
    operations = [{"op": "test", "path": "/spec/replicas", "value": 0}, {"op": "add", "path": "/spec/paused", "value": True}]
    ns.kubectl("patch", "deployment", "d", "--type=json", "-p", json.dumps(operations))
    assert ns.field("deployment/d", ".spec.paused") == "true"
    operations[0]["value"] = 5
    refused = ns.refused("patch", "deployment", "d", "--type=json", "-p", json.dumps(operations))
    assert "the server rejected our request due to an error in our request" in refused
    assert "Invalid value" in ns.refused("patch", "deployment", "d", "-p", '{"spec":{"replicas":-1}}')
    assert ns.field("deployment/d", ".metadata.generation") == "4"


def test_apply_again_keeps_what_others_wrote(ns: Namespace) -> None:
    ns.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: '1', b: '2'}}")
    ns.kubectl("annotate", "configmap", "c", "mine=yes")
    ns.kubectl("patch", "configmap", "c", "-p", '{"data":{"x":"9"}}')
    assert (
        ns.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: '1', b: '3'}}") == "configmap/c configured\n"
    )
    assert ns.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {b: '3'}}") == "configmap/c configured\n"
    assert ns.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {b: '3'}}") == "configmap/c unchanged\n"
    found = ns.get("configmap", "c")
    assert found["data"] == {"b": "3", "x": "9"}
    assert found["metadata"]["annotations"]["mine"] == "yes"


def test_diff_shows_what_apply_would_change(ns: Namespace) -> None:
    manifest = "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: '%s'}}"
    ns.apply(manifest % 1)
    assert ns.kubectl("diff", "-f", "-", stdin=document(manifest % 1)) == ""
    command = ns.cluster.kubectl_command("-n", ns.name, "diff", "-f", "-")
    shown = subprocess.run(command, input=document(manifest % 2), capture_output=True, text=True, check=False)
    assert shown.returncode == 1, shown.stderr
    assert '-  a: "1"' in shown.stdout
    assert '+  a: "2"' in shown.stdout
    assert ns.field("configmap/c", ".data.a") == "1"


def test_server_dry_run_stores_nothing(ns: Namespace) -> None:
    assert "created (server dry run)" in ns.kubectl("create", "configmap", "c", "--dry-run=server")
    assert "NotFound" in ns.refused("get", "configmap", "c")
    ns.kubectl("create", "configmap", "c")
    assert "deleted (server dry run)" in ns.kubectl("delete", "configmap", "c", "--dry-run=server")
    assert ns.get("configmap", "c")
    empty = "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: []}}"
    assert "Required value" in ns.refused_to("create", empty, "--dry-run=server")


def test_generated_names(ns: Namespace) -> None:
    manifest = "{apiVersion: v1, kind: ConfigMap, metadata: {generateName: made-}}"
    names = [ns.create(manifest, "-o", "jsonpath={.metadata.name}") for _ in range(3)]
    assert len(set(names)) == 3
    assert all(re.fullmatch(r"made-[a-z0-9]{5}", name) for name in names)


def test_what_is_refused_and_how(ns: Namespace) -> None:
    assert 'unknown field "spec.contaners"' in ns.refused_to(
        "apply", "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {contaners: []}}"
    )
    said = ns.refused_to("create", "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: many}}")
    assert "cannot unmarshal" in said
    assert "a lowercase RFC 1123" in ns.refused("create", "configmap", "No_Capitals")
    ns.kubectl("create", "configmap", "c")
    assert "already exists" in ns.refused("create", "configmap", "c")
    stale = ns.get("configmap", "c")
    ns.kubectl("label", "configmap", "c", "a=b")
    stale["data"] = {"x": "y"}
    assert "the object has been modified" in ns.refused("replace", "-f", "-", stdin=json.dumps(stale))
    assert 'namespaces "nowhere" not found' in ns.cluster.refused("create", "configmap", "c", "-n", "nowhere")
    pod = "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, image: x}, {name: a, image: x}]}}"
    assert 'spec.containers[1].name: Duplicate value: "a"' in ns.refused_to("create", pod)


def test_edit_replace_label_annotate(ns: Namespace, tmp_path: Path) -> None:
    ns.kubectl("create", "configmap", "c", "--from-literal=a=1")
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i \'s/a: "1"/a: "2"/\' $1\n')
    editor.chmod(0o755)
    command = ns.cluster.kubectl_command("-n", ns.name, "edit", "configmap", "c")
    command.insert(command.index("env") + 3, f"KUBE_EDITOR={editor}")  # behind: env -u NAME
    run(command)
    assert ns.field("configmap/c", ".data.a") == "2"
    ns.kubectl("label", "configmap", "c", "x=1")
    assert "already has a value" in ns.refused("label", "configmap", "c", "x=2")
    ns.kubectl("label", "configmap", "c", "x=2", "--overwrite")
    ns.kubectl("label", "configmap", "c", "x-")
    assert ns.field("configmap/c", ".metadata.labels") == ""


def test_kustomize_and_prune(ns: Namespace, tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text(
        "namePrefix: k-\nlabels: [{pairs: {set: all}}]\n"
        "configMapGenerator: [{name: made, literals: [a=1], options: {disableNameSuffixHash: true}}]\nresources: [one.yaml]\n"
    )
    (tmp_path / "one.yaml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: one}, data: {a: '1'}}")
    ns.kubectl("apply", "-k", str(tmp_path))
    assert ns.kubectl("get", "configmaps", "-l", "set=all", "-o", "name").split() == ["configmap/k-made", "configmap/k-one"]
    (tmp_path / "kustomization.yaml").write_text("namePrefix: k-\nlabels: [{pairs: {set: all}}]\nresources: [one.yaml]\n")
    said = ns.kubectl("apply", "-k", str(tmp_path), "--prune", "-l", "set=all", "--prune-allowlist=core/v1/ConfigMap")
    assert "configmap/k-made pruned" in said
    assert ns.kubectl("get", "configmaps", "-l", "set=all", "-o", "name").split() == ["configmap/k-one"]


# --- deleting ---------------------------------------------------------------------------------------------------------


def test_finalizers_hold_an_object(ns: Namespace) -> None:
    ns.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: c, finalizers: [example.com/wait]}}")
    ns.kubectl("delete", "configmap", "c", "--wait=false")
    assert ns.field("configmap/c", ".metadata.deletionTimestamp")
    ns.kubectl("patch", "configmap", "c", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    ns.wait("delete", "configmap/c")


OWNED = """
    apiVersion: apps/v1
    kind: ReplicaSet
    metadata: {name: r}
    spec:
      replicas: 2
      selector: {matchLabels: {app: r}}
      template:
        metadata: {labels: {app: r}}
        spec:
          terminationGracePeriodSeconds: 0
          containers: [{name: main, image: 'busybox:1.36', command: [sleep, '1000']}]
"""


@pytest.mark.parametrize("how", ["foreground", "background", "orphan"])
def test_cascading_deletion(ns: Namespace, how: str) -> None:
    ns.apply(OWNED)
    ns.wait("jsonpath={.status.readyReplicas}=2", "replicaset/r")
    ns.kubectl("delete", "replicaset", "r", f"--cascade={how}")
    ns.wait("delete", "replicaset/r")
    pods = ns.get("pods")["items"]
    if how == "foreground":
        assert pods == []
    elif how == "background":
        until(lambda: not ns.get("pods")["items"])
    else:
        assert len(pods) == 2
        assert all("ownerReferences" not in pod["metadata"] for pod in pods)
        ns.apply(OWNED)
        ns.wait("jsonpath={.status.readyReplicas}=2", "replicaset/r")
        assert {pod["metadata"]["name"] for pod in ns.get("pods")["items"]} == {pod["metadata"]["name"] for pod in pods}, (
            "adopted"
        )


def test_a_namespace_takes_everything_with_it(ns: Namespace) -> None:
    ns.apply(OWNED)
    ns.kubectl("create", "configmap", "c")
    ns.kubectl("create", "secret", "generic", "s")
    ns.kubectl("create", "service", "clusterip", "x", "--tcp=80")
    ns.wait("jsonpath={.status.readyReplicas}=2", "replicaset/r")
    ns.kubectl("delete", "namespace", ns.name, "--timeout=90s")
    assert "not found" in ns.cluster.refused("get", "namespace", ns.name)
    assert ns.cluster.get("pods,configmaps,secrets,services", "-n", ns.name)["items"] == []
    ns.kubectl("create", "namespace", ns.name)
    assert "forbidden" in ns.cluster.refused("delete", "namespace", "default").lower()


def test_deleting_many_at_once(ns: Namespace) -> None:
    for index in range(5):
        ns.kubectl("create", "configmap", f"c{index}")
    ns.kubectl("label", "configmap", "c1", "c2", "odd=maybe")
    ns.kubectl("delete", "configmaps", "-l", "odd=maybe")
    assert len(ns.get("configmaps")["items"]) == 4
    ns.kubectl("delete", "configmaps", "--all")
    until(lambda: ns.kubectl("get", "configmaps", "-o", "name").split() == ["configmap/kube-root-ca.crt"])
