"""What upstream's conformance suite asks of a node and its proxy, where first answers were wrong."""

from __future__ import annotations

import json

from tests.e2e.namespace import BUSYBOX, Namespace
from tests.lab.cluster import until

SERVING = 'mkdir /w; echo "$PAGE" > /w/index.html; exec httpd -f -p 8080 -h /w'


def server(name: str, page: str, port: str = "containerPort: 8080") -> str:
    return f"""
        apiVersion: v1
        kind: Pod
        metadata: {{name: {name}}}
        spec:
          terminationGracePeriodSeconds: 0
          containers:
          - name: main
            image: {BUSYBOX}
            command: [sh, -c, {json.dumps(SERVING)}]
            env: [{{name: PAGE, value: {json.dumps(page)}}}]
            ports: [{{{port}}}]
            readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1, timeoutSeconds: 20}}
        """


def test_a_subpath_waits_for_the_annotation_that_it_is_made_of(ns: Namespace) -> None:
    ns.apply(f"""
        apiVersion: v1
        kind: Pod
        metadata: {{name: p, annotations: {{other: x}}}}
        spec:
          terminationGracePeriodSeconds: 0
          containers:
          - name: main
            image: {BUSYBOX}
            command: [sleep, "1000"]
            env: [{{name: PART, valueFrom: {{fieldRef: {{fieldPath: "metadata.annotations['part']"}}}}}}]
            volumeMounts:
            - {{name: work, mountPath: /part, subPathExpr: $(PART)}}
            - {{name: work, mountPath: /all}}
          volumes: [{{name: work, emptyDir: {{}}}}]
        """)
    state = ".status.containerStatuses[0].state.waiting"
    ns.wait(f"jsonpath={{{state}.reason}}=CreateContainerConfigError", "pod/p")
    assert "missing value for PART" in ns.field("pod/p", f"{state}.message")
    ns.kubectl("annotate", "pod", "p", "part=mine")
    ns.ready("pod/p")
    assert ns.exec("p", "ls", "/all") == "mine\n"


def test_host_ports_of_one_number_on_several_addresses(ns: Namespace) -> None:
    node = ns.kubectl("get", "nodes", "-o", "jsonpath={.items[0].status.addresses[0].address}")
    for name, address in (("loop", "127.0.0.1"), ("wide", node)):
        ns.apply(server(name, name, f"containerPort: 8080, hostPort: 54323, hostIP: {address}"))
    ns.kubectl("run", "host", f"--image={BUSYBOX}", "--restart=Never", '--overrides={"spec": {"hostNetwork": true}}',
               "--", "sleep", "1000")  # fmt: skip
    ns.ready("pod/loop", "pod/wide", "pod/host")
    for address, page in (("127.0.0.1", "loop\n"), (node, "wide\n")):
        ask = ["exec", "host", "--", "timeout", "20", "wget", "-q", "-O-", f"http://{address}:54323/"]
        until(lambda ask=ask, page=page: ns.kubectl(*ask, check=False) == page)  # type: ignore[misc]


def test_a_page_through_the_proxy_leads_back_through_it(ns: Namespace) -> None:
    ns.apply(server("p", '<a href="/rewriteme">test</a>'))
    ns.ready("pod/p")
    root = f"/api/v1/namespaces/{ns.name}/pods/p:8080/proxy"
    expected = f'<a href="{root}/rewriteme">test</a>\n'
    assert ns.kubectl("get", "--raw", f"{root}/") == expected
    assert ns.kubectl("get", "--raw", root) == expected, "after a redirect"


def test_a_runtime_that_the_node_lacks_is_not_replaced_by_another(ns: Namespace) -> None:
    ns.apply(f"""
        apiVersion: node.k8s.io/v1
        kind: RuntimeClass
        metadata: {{name: sealed-{ns.name}}}
        handler: sealed
        """)
    ns.kubectl("run", "p", f"--image={BUSYBOX}", f'--overrides={{"spec": {{"runtimeClassName": "sealed-{ns.name}"}}}}')
    assert 'no runtime for "sealed" is configured' in ns.wait_for_event("p", "FailedCreatePodSandBox")
    assert ns.field("pod/p", ".status.phase") == "Pending"
    ns.kubectl("delete", "runtimeclass", f"sealed-{ns.name}")


def test_a_resize_reaches_the_kernel_without_a_restart(ns: Namespace) -> None:
    def resources(cpu: str, memory: str) -> dict[str, dict[str, str]]:
        return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}}

    containers = [{"name": "p", "image": BUSYBOX, "command": ["sleep", "1000"], "resources": resources("100m", "40Mi")}]
    ns.kubectl("run", "p", f"--image={BUSYBOX}", f"--overrides={json.dumps({'spec': {'containers': containers}})}")
    ns.ready("pod/p")
    quota = "cat /sys/fs/cgroup/cpu.max 2>/dev/null || cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us"
    assert ns.sh("p", quota).split()[0] == "10000"
    for cpu, memory, expected in (("200m", "60Mi", "20000"), ("50m", "50Mi", "5000")):
        change = {"spec": {"containers": [{"name": "p", "resources": resources(cpu, memory)}]}}
        ns.kubectl("patch", "pod", "p", "--subresource=resize", "-p", json.dumps(change))
        ns.wait(f"jsonpath={{.status.containerStatuses[0].resources.limits.cpu}}={cpu}", "pod/p")
        assert ns.sh("p", quota).split()[0] == expected
    [status] = ns.get("pod/p")["status"]["containerStatuses"]
    assert (status["restartCount"], status["allocatedResources"]) == (0, resources("50m", "50Mi")["requests"])
