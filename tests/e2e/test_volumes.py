"""Every kind of volume, and that changes of what they show arrive."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.namespace import Namespace
from tests.lab.cluster import until


def test_every_kind_of_volume(ns: Namespace, tmp_path: Path) -> None:
    (tmp_path / "from-host").write_text("hello from the host")
    ns.kubectl("create", "configmap", "settings", "--from-literal=one=1", "--from-literal=two=2")
    ns.kubectl("create", "secret", "generic", "keys", "--from-literal=key=s3cret")
    ns.apply(f"""
        apiVersion: v1
        kind: Pod
        metadata: {{name: p, labels: {{app: p}}}}
        spec:
          terminationGracePeriodSeconds: 0
          volumes:
            - {{name: empty, emptyDir: {{}}}}
            - {{name: memory, emptyDir: {{medium: Memory, sizeLimit: 1Mi}}}}
            - {{name: config, configMap: {{name: settings, items: [{{key: one, path: deep/uno, mode: 256}}]}}}}
            - {{name: secret, secret: {{secretName: keys, defaultMode: 384}}}}
            - {{name: absent, secret: {{secretName: none, optional: true}}}}
            - {{name: host, hostPath: {{path: {tmp_path}, type: Directory}}}}
            - {{name: made, hostPath: {{path: {tmp_path}/made, type: DirectoryOrCreate}}}}
            - name: facts
              downwardAPI:
                items:
                  - {{path: labels, fieldRef: {{fieldPath: metadata.labels}}}}
                  - {{path: limit, resourceFieldRef: {{containerName: main, resource: limits.memory, divisor: 1Mi}}}}
            - name: all
              projected:
                sources:
                  - configMap: {{name: settings}}
                  - secret: {{name: keys}}
                  - downwardAPI: {{items: [{{path: name, fieldRef: {{fieldPath: metadata.name}}}}]}}
                  - serviceAccountToken: {{path: token, audience: somebody, expirationSeconds: 600}}
          containers:
            - name: main
              image: busybox:1.36
              command: [sleep, '1000']
              resources: {{limits: {{memory: 64Mi}}}}
              volumeMounts:
                - {{name: empty, mountPath: /empty}}
                - {{name: memory, mountPath: /memory}}
                - {{name: config, mountPath: /config}}
                - {{name: config, mountPath: /one, subPath: deep/uno}}
                - {{name: secret, mountPath: /secret, readOnly: true}}
                - {{name: absent, mountPath: /absent}}
                - {{name: host, mountPath: /host, readOnly: true}}
                - {{name: made, mountPath: /made}}
                - {{name: facts, mountPath: /facts}}
                - {{name: all, mountPath: /all}}
            - name: other
              image: busybox:1.36
              command: [sleep, '1000']
              volumeMounts: [{{name: empty, mountPath: /shared}}]
    """)
    ns.ready("pod/p")

    def sh(script: str) -> str:
        return ns.exec("p", "sh", "-c", script, container="main")

    sh("echo shared > /empty/file")
    assert ns.exec("p", "cat", "/shared/file", container="other") == "shared\n"
    assert sh("df -k /memory | tail -1").split()[:2] == ["tmpfs", "1024"]
    assert sh("cat /config/deep/uno; stat -Lc %a /config/deep/uno; ls /config; cat /one") == "1400\ndeep\n1"
    assert sh("cat /secret/key; stat -Lc %a /secret/key; df -k /secret | tail -1 | cut -d' ' -f1") == "s3cret600\ntmpfs\n"
    assert sh("ls /absent") == ""
    assert sh("cat /host/from-host; touch /host/x 2>&1 || true") == "hello from the hosttouch: /host/x: Read-only file system\n"
    sh("echo made > /made/file")
    assert (tmp_path / "made/file").read_text() == "made\n"
    assert sh("cat /facts/labels; echo; cat /facts/limit") == 'app="p"\n64'
    assert sh("cat /all/one /all/key /all/name") == "1s3cretp"
    assert len(sh("cat /all/token").split(".")) == 3

    # Changes arrive; what is mounted by subPath stays, as documented.
    ns.kubectl("patch", "configmap", "settings", "-p", '{"data":{"one":"11","three":"3"}}')
    ns.kubectl("patch", "secret", "keys", "-p", '{"stringData":{"key":"new"}}')
    ns.kubectl("label", "pod", "p", "color=blue")
    until(lambda: sh("cat /config/deep/uno /secret/key /all/one /all/key") == "11new11new")
    until(lambda: 'color="blue"' in sh("cat /facts/labels"))
    assert sh("cat /all/three /one") == "31"

    # A volume that cannot be had holds the pod back until it can.
    ns.kubectl("run", "waits", "--image=busybox:1.36", "--restart=Never", "--overrides", json.dumps({
        "spec": {
            "volumes": [{"name": "v", "configMap": {"name": "late"}}],
            "containers": [{"name": "main", "image": "busybox:1.36", "command": ["cat", "/v/a"],
                            "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        }
    }))  # fmt: skip
    assert 'configmap "late" not found' in ns.wait_for_event("waits", "FailedMount")
    ns.kubectl("create", "configmap", "late", "--from-literal=a=at last")
    ns.wait("jsonpath={.status.phase}=Succeeded", "pod/waits")
    assert ns.kubectl("logs", "waits") == "at last"


def test_nothing_is_left_of_a_deleted_pods_volumes(ns: Namespace) -> None:
    ns.apply("""
        apiVersion: v1
        kind: Pod
        metadata: {name: p}
        spec:
          terminationGracePeriodSeconds: 0
          volumes: [{name: v, emptyDir: {medium: Memory}}, {name: w, emptyDir: {}}]
          containers:
            - name: main
              image: busybox:1.36
              command: [sleep, '1000']
              volumeMounts: [{name: v, mountPath: /v}, {name: w, mountPath: /w, subPath: below}]
    """)
    ns.ready("pod/p")
    uid = ns.field("pod/p", ".metadata.uid")
    mounts = ns.cluster.node.run(["cat", "/proc/mounts"])
    assert uid in mounts
    ns.kubectl("delete", "pod", "p")
    until(lambda: uid not in ns.cluster.node.run(["cat", "/proc/mounts"]))
    until(lambda: not list((ns.cluster.node.data_dir / "agent").rglob(f"*{uid}*")))
