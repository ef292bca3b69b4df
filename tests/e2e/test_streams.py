"""Into a running container and out of it: logs, exec, attach, cp, port-forward, debug."""

from __future__ import annotations

import contextlib
import hashlib
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.namespace import Namespace, Running, end
from tests.lab import inside
from tests.lab.cluster import until

PODS = """
    apiVersion: v1
    kind: Pod
    metadata: {name: box, labels: {app: box}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: main
          image: busybox:1.36
          command: [sh, -c, 'echo started; while read line; do echo "heard $line"; done']
          stdin: true
          tty: true
        - name: side
          image: busybox:1.36
          command: [sh, -c, 'i=0; while sleep 0.3; do i=$((i+1)); echo tick $i; echo tock $i >&2; done']
        - name: page
          image: edgekube.local/demo:1
    ---
    apiVersion: v1
    kind: Pod
    metadata: {name: crashed, labels: {app: box}}
    spec:
      restartPolicy: OnFailure
      terminationGracePeriodSeconds: 0
      volumes: [{name: v, emptyDir: {}}]
      containers:
        - name: main
          image: busybox:1.36
          command: [sh, -c, 'cat /proc/sys/kernel/random/uuid; test -e /v/was && exec sleep 10000; touch /v/was; exit 1']
          volumeMounts: [{name: v, mountPath: /v}]
"""


@pytest.fixture(scope="module")
def box(shared: Namespace) -> Iterator[Namespace]:
    """A namespace with a pod of three containers; the tests of this module share it."""
    shared.apply(PODS)
    shared.ready("pod/box")
    yield shared


# --- logs -------------------------------------------------------------------------------------------------------------


def test_logs_tail_since_timestamps_and_limits(box: Namespace) -> None:
    until(lambda: "tick 3" in box.kubectl("logs", "box", "-c", "side"))
    everything = box.kubectl("logs", "box", "-c", "side").splitlines()
    # Of each stream in order; which stream comes first is nobody's promise.
    assert [line for line in everything if line.startswith("tick")][:3] == ["tick 1", "tick 2", "tick 3"]
    assert [line for line in everything if line.startswith("tock")][:2] == ["tock 1", "tock 2"]
    assert len(box.kubectl("logs", "box", "-c", "side", "--tail=2").splitlines()) == 2
    assert box.kubectl("logs", "box", "-c", "side", "--limit-bytes=6") in ("tick 1", "tock 1")
    stamped = box.kubectl("logs", "box", "-c", "side", "--timestamps", "--tail=1")
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z t[io]ck \d+\n$", stamped)
    time_of_last = stamped.split()[0]
    later = box.kubectl("logs", "box", "-c", "side", f"--since-time={time_of_last}").splitlines()
    assert "tick 1" not in later
    assert "tick 1" in box.kubectl("logs", "box", "-c", "side", "--since=1h").splitlines()


def test_logs_follow(box: Namespace) -> None:
    with box.running("logs", "-f", "box", "-c", "side", "--tail=1") as log:
        first = re.search(r"t[io]ck (\d+)", log.expect("\n"))
        assert first is not None
        log.expect(f"tick {int(first[1]) + 3}\n")


def test_logs_of_all_containers_by_label(box: Namespace) -> None:
    shown = box.kubectl("logs", "-l", "app=box", "--all-containers", "--prefix", "--tail=-1")
    assert "[pod/box/side] tick 1" in shown
    assert "[pod/box/page] serving on port 8080" in shown
    assert "[pod/box/main] started" in shown


def test_logs_of_the_run_before(box: Namespace) -> None:
    again = "{.status.containerStatuses[0].restartCount}{.status.containerStatuses[0].state.running.startedAt}"
    until(lambda: re.match("1.", box.field("pod/crashed", again[1:-1])))  # and that one stays
    before, now = box.kubectl("logs", "crashed", "--previous"), box.kubectl("logs", "crashed")
    assert len(before) == len(now) == 37
    assert before != now


def test_logs_that_cannot_be_had(box: Namespace) -> None:
    assert 'pods "nobody" not found' in box.refused("logs", "nobody")
    assert "container nobody is not valid for pod box" in box.refused("logs", "box", "-c", "nobody")
    assert 'previous terminated container "main" in pod "box" not found' in box.refused("logs", "box", "-c", "main", "-p")


# --- exec -------------------------------------------------------------------------------------------------------------


def test_exec_gives_output_errors_and_the_exit_code(box: Namespace) -> None:
    assert box.exec("box", "echo", "hello", container="side") == "hello\n"
    long = 20_000 * "a"
    assert box.exec("box", "echo", long, container="side") == f"{long}\n"
    refused = box.refused("exec", "box", "-c", "side", "--", "sh", "-c", "echo oh >&2; exit 7")
    assert "oh\n" in refused
    assert "command terminated with exit code 7" in refused
    assert "not found" in box.refused("exec", "box", "-c", "side", "--", "no-such-command")


def test_exec_with_stdin_to_its_end(box: Namespace) -> None:
    text = "line\n" * 50_000
    assert box.exec("box", "md5sum", stdin=text, container="side").split()[0] == hashlib.md5(text.encode()).hexdigest()
    assert box.exec("box", "cat", stdin=text, container="side") == text


def test_exec_on_a_terminal(box: Namespace) -> None:
    with box.terminal("exec", "-it", "box", "-c", "side", "--", "sh") as terminal:
        terminal.expect("# ")
        terminal.resize(33, 111)
        terminal.type("tty; echo hello | tr a-z A-Z\r")
        assert "/dev/pts/" in terminal.expect("HELLO")

        def size() -> bool:
            terminal.type("stty size; echo e''nd\r")
            return "33 111" in terminal.expect("end\r\n")

        until(size)
        terminal.type("sh -c \"echo g''o; exec sleep 1000\"\r")
        terminal.expect("go\r\n")
        terminal.type("\x03")
        terminal.expect("# ")
        terminal.type("exit 3\r")
        assert "command terminated with exit code 3" in terminal.rest()
        assert terminal.process.wait(10) == 3


def test_exec_in_the_default_container(box: Namespace) -> None:
    assert box.kubectl("exec", "box", "--", "cat", "/proc/1/comm").strip() == "sh"
    box.kubectl("annotate", "pod", "box", "kubectl.kubernetes.io/default-container=page")
    assert "serve" in box.kubectl("exec", "box", "--", "cat", "/proc/1/cmdline")
    box.kubectl("annotate", "pod", "box", "kubectl.kubernetes.io/default-container-")


def test_a_killed_kubectl_leaves_no_connection_behind(box: Namespace) -> None:
    descriptors = Path(f"/proc/{box.cluster.pid}/fd")
    before = len(list(descriptors.iterdir()))
    for _ in range(3):
        with box.running("exec", "box", "-c", "side", "--", "yes") as flood:
            flood.expect("y\ny\n")
        with box.running("logs", "-f", "box", "-c", "side") as log:
            log.expect("tick")
    # Two more or less: other clients, and the pool of connections to the agent.
    until(lambda: len(list(descriptors.iterdir())) <= before + 2)


# --- attach -----------------------------------------------------------------------------------------------------------


def test_attach_to_a_terminal(box: Namespace) -> None:
    with box.terminal("attach", "-it", "box", "-c", "main") as terminal:
        time_limit = time.monotonic() + 60
        while "heard" not in terminal.seen and time.monotonic() < time_limit:
            terminal.type("one\r")
            try:
                terminal.expect("heard one", seconds=1)
                break
            except AssertionError:
                continue
        terminal.type("two\r")
        terminal.expect("heard two")
    assert box.field("pod/box", ".status.containerStatuses[?(@.name=='main')].restartCount") == "0"
    until(lambda: "heard two" in box.kubectl("logs", "box", "-c", "main"))  # a terminal has it before the file


def test_run_interactively_and_remove(box: Namespace) -> None:
    said = box.kubectl(
        "run", "once", "--rm", "-i", "--image=busybox:1.36", "--restart=Never", "--", "tr", "a-z", "A-Z", stdin="quiet words\n"
    )
    assert "QUIET WORDS" in said
    assert 'pod "once" deleted' in said
    until(lambda: box.kubectl("get", "pod", "once", "--ignore-not-found") == "")


# --- cp ---------------------------------------------------------------------------------------------------------------


def test_cp_there_and_back(box: Namespace, tmp_path: Path) -> None:
    (tmp_path / "tree/deep").mkdir(parents=True)
    (tmp_path / "tree/deep/file").write_bytes(bytes(range(256)) * 8192)
    box.kubectl("cp", str(tmp_path / "tree"), "box:/tmp/tree", "-c", "side")
    assert box.exec("box", "stat", "-c", "%s", "/tmp/tree/deep/file", container="side").strip() == str(256 * 8192)
    box.kubectl("cp", "box:/tmp/tree", str(tmp_path / "back"), "-c", "side")
    assert (tmp_path / "back/deep/file").read_bytes() == (tmp_path / "tree/deep/file").read_bytes()


# --- port-forward -----------------------------------------------------------------------------------------------------


def _forwarded_port(forward: Running) -> int:
    found = re.search(r"127\.0\.0\.1:(\d+) ->", forward.expect("\n"))
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("target", ["pod/box", "service/box"])
def test_port_forward(box: Namespace, target: str) -> None:
    if target.startswith("service"):
        box.kubectl("expose", "pod", "box", "--port=80", "--target-port=8080")
    with box.running("port-forward", target, ":8080" if target.startswith("pod") else ":80") as forward:
        port = _forwarded_port(forward)
        for _ in range(3):
            assert "Hello from box" in box.cluster.fetch("127.0.0.1", port)
        sockets = [inside.connect(box.cluster.node.namespace, "127.0.0.1", port) for _ in range(4)]
        for one in sockets:
            one.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert all(_read_all(one).endswith(b"ok\n") for one in sockets)
        end(forward.process, signal.SIGINT)


def _read_all(one: socket.socket) -> bytes:
    with one:
        data = b""
        while piece := one.recv(65536):
            data += piece
        return data


def test_port_forward_to_a_closed_port_says_so(box: Namespace) -> None:
    with box.running("port-forward", "pod/box", ":9") as forward:
        port = _forwarded_port(forward)
        one = inside.connect(box.cluster.node.namespace, "127.0.0.1", port)
        with contextlib.suppress(ConnectionError):  # kubectl may hang up before it has read this
            one.sendall(b"anybody?")
            assert _read_all(one) == b""
        forward.expect("error forwarding port 9 to pod")


# --- debug ------------------------------------------------------------------------------------------------------------


def test_debug_with_a_copy_of_the_pod(box: Namespace) -> None:
    box.kubectl("debug", "box", "--copy-to=copy", "--image=busybox:1.36", "--container=tools", "--", "sleep", "1000")
    until(lambda: box.field("pod/copy", ".status.containerStatuses[?(@.name=='tools')].started") == "true")
    assert box.exec("copy", "echo", "here", container="tools") == "here\n"
    box.kubectl("delete", "pod", "copy", "--wait=false", "--grace-period=0", "--force")


def test_debug_with_an_ephemeral_container(box: Namespace) -> None:
    box.kubectl("debug", "box", "--image=busybox:1.36", "--container=tools", "--target=page", "--", "sleep", "1000")
    until(lambda: box.field("pod/box", ".status.ephemeralContainerStatuses[?(@.name=='tools')].state.running") != "")
    assert "serve" in box.exec("box", "ps", container="tools"), "the processes of the target are in sight"
    assert "Ephemeral Containers:" in box.kubectl("describe", "pod", "box")


def test_debug_of_the_node(box: Namespace) -> None:
    """A pod beside the node's own processes, with its files in sight."""
    node = box.field("pod/box", ".spec.nodeName")
    script = "hostname; ls /host; ps"
    created = box.kubectl("debug", f"node/{node}", "--image=busybox:1.36", "--profile=sysadmin", "--", "sh", "-c", script)
    found = re.search(r"node-debugger-\S+", created)
    assert found, created
    pod = found[0].rstrip(".")
    until(lambda: box.field(f"pod/{pod}", ".status.phase") == "Succeeded")
    seen = box.kubectl("logs", pod).split()
    assert {"etc", "proc", "usr", "var"} <= set(seen)
    assert "containerd" in " ".join(seen), "processes of the node"
    assert box.field(f"pod/{pod}", ".spec.hostNetwork") == "true"
    box.kubectl("delete", "pod", pod, "--wait=false")
