"""A node that can call and cannot be called: what runs on it is reached all the same, and again after every fault."""

from __future__ import annotations

import hashlib
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgekube import limits
from tests.e2e.namespace import Namespace, end, fresh_namespace
from tests.lab import inside
from tests.lab.cluster import until
from tests.lab.clusters import MultiCluster, many_nodes
from tests.lab.lan import Lan
from tests.lab.router import routed
from tests.lab.shell import CommandFailed
from tests.lab.subnet import FAR

POD = """
    apiVersion: v1
    kind: Pod
    metadata: {name: box, labels: {app: box}}
    spec:
      nodeName: n2
      terminationGracePeriodSeconds: 0
      containers:
        - name: page
          image: edgekube.local/demo:1
          readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, timeoutSeconds: 20}
        - name: side
          image: busybox:1.36
          command: [sh, -c, 'echo started; i=0; while sleep 0.3; do i=$((i+1)); echo tick $i; done']
"""


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MultiCluster]:
    """The server on one network; n2 on another, behind a router that hides it."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: these tests look at the cluster through it")
    with (
        many_nodes(tmp_path_factory.mktemp("nodes"), 1) as cluster,
        Lan(cluster.lan.prefix, name="far", subnet=FAR) as far,
        routed(cluster.lan, far, nat=True),
    ):
        agent = cluster.new_agent(far, "n2", "198.51.100.1")
        agent.launch()
        cluster.wait_until_ready()
        yield cluster
        unexpected = cluster.unexpected()
        agent.node.close()
        cluster.agents.remove(agent)
    assert not unexpected, unexpected


@pytest.fixture(scope="module")
def box(apart: MultiCluster) -> Iterator[Namespace]:
    """A namespace with a pod on the hidden node; the tests of this module share it."""
    with fresh_namespace(apart.server, "hidden") as namespace:
        namespace.apply(POD)
        namespace.ready("pod/box")
        namespace.kubectl("expose", "pod", "box", "--port=80", "--target-port=8080")
        yield namespace


def said(box: Namespace) -> str:
    """One word through an exec, "" while the node cannot be reached."""
    try:
        return box.kubectl("exec", "box", "-c", "side", "--", "echo", "here", timeout_seconds=60)
    except (CommandFailed, subprocess.TimeoutExpired):
        return ""


def test_the_server_has_no_way_to_dial_the_node(apart: MultiCluster, box: Namespace) -> None:
    for address, port in (("198.51.100.1", 10250), (box.field("pod/box", ".status.podIP"), 8080)):
        with pytest.raises(OSError):
            inside.connect(apart.server.node.namespace, address, port, timeout_seconds=1)


def test_logs_exec_cp_and_port_forward(box: Namespace, tmp_path: Path) -> None:
    assert box.kubectl("logs", "box", "-c", "side").startswith("started\n")
    with box.running("logs", "-f", "box", "-c", "side", "--tail=1") as log:
        first = re.search(r"tick (\d+)", log.expect("\n"))
        log.expect(f"tick {int(first[1]) + 2}\n" if first else "tick 2\n")
    assert "command terminated with exit code 7" in box.refused("exec", "box", "-c", "side", "--", "sh", "-c", "exit 7")
    text = "line\n" * 50_000
    assert box.exec("box", "md5sum", stdin=text, container="side").split()[0] == hashlib.md5(text.encode()).hexdigest()
    (tmp_path / "file").write_bytes(bytes(range(256)) * 8192)
    box.kubectl("cp", str(tmp_path / "file"), "box:/tmp/file", "-c", "side")
    box.kubectl("cp", "box:/tmp/file", str(tmp_path / "back"), "-c", "side")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "file").read_bytes()
    with box.running("port-forward", "pod/box", ":8080") as forward:
        found = re.search(r"127\.0\.0\.1:(\d+) ->", forward.expect("\n"))
        assert found is not None
        assert "Hello from box" in box.cluster.fetch("127.0.0.1", int(found[1]), "/cgi-bin/index.cgi")
        end(forward.process, signal.SIGINT)


def test_proxy_to_the_pod_its_service_and_its_node(apart: MultiCluster, box: Namespace) -> None:
    def page(path: str) -> str:
        return apart.server.kubectl("get", "--raw", path)

    pods = f"/api/v1/namespaces/{box.name}"
    assert "Hello from box" in page(f"{pods}/pods/box:8080/proxy/cgi-bin/index.cgi")
    until(lambda: box.get("endpointslices", "-l", "kubernetes.io/service-name=box")["items"][0]["endpoints"])
    assert "Hello from box" in page(f"{pods}/services/box/proxy/cgi-bin/index.cgi")
    metrics = page("/api/v1/nodes/n2/proxy/metrics/resource")
    assert f'container_memory_working_set_bytes{{container="page",namespace="{box.name}",pod="box"}}' in metrics
    assert '"podRef"' in page("/api/v1/nodes/n2/proxy/stats/summary")
    assert "connection refused" in box.cluster.refused("get", "--raw", f"{pods}/pods/box:9/proxy/").lower()


def test_twenty_at_once(box: Namespace) -> None:
    """More than lie ready: each that is taken is replaced."""
    with ExitStack() as stack:
        follow = ("logs", "-f", "box", "-c", "side", "--tail=1")
        for log in [stack.enter_context(box.running(*follow)) for _ in range(20)]:
            log.expect("tick")
        assert said(box) == "here\n"


def test_a_silent_partition_heals(apart: MultiCluster, box: Namespace) -> None:
    """Neither side hears that the other is gone: both notice, and afterwards all is as before."""
    far = apart.program("n2").node.lan
    with far.silence("n2"):
        until(lambda: said(box) == "", seconds=limits.WIRE_CLOSE_WATCH_SECONDS * 2 + 60)
    until(lambda: said(box) == "here\n")


def test_one_frame_in_five_lost(apart: MultiCluster, box: Namespace) -> None:
    with apart.program("n2").node.lan.loss("n2", 20):
        until(lambda: said(box) == "here\n")


def test_a_server_that_was_started_again_is_found(apart: MultiCluster, box: Namespace) -> None:
    apart.server.stop(signal.SIGKILL)
    apart.server.start()
    until(lambda: said(box) == "here\n")


def test_an_agent_that_was_started_again_is_found(apart: MultiCluster, box: Namespace) -> None:
    apart.program("n2").stop(signal.SIGKILL)
    apart.program("n2").launch()
    until(lambda: said(box) == "here\n")


def test_a_node_that_is_revoked_is_cut_off_at_once(apart: MultiCluster, box: Namespace) -> None:
    """The last test: it ends with the node's exec session, its connections here and its say."""
    with box.running("exec", "box", "-c", "side", "--", "sh", "-c", "echo began; sleep 1000") as session:
        session.expect("began")
        apart.server.edgekube("node", "revoke", "n2", "--data-dir", str(apart.server.data_dir))
        session.rest()
    assert said(box) == ""
    until(lambda: "was revoked" in apart.program("n2").log_tail(200))
    until(lambda: "refused code=401" in apart.server.log_tail(500))
