"""A cluster of one lab node: ``edgekube server`` runs in it, kubectl talks to it.

Enters: a Node that is on.
Leaves: a Ready node; commands, API calls and signals from outside; the server's log.
Holds: readiness is what the server tells its service manager (sd_notify), not what the database remembers.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from tests.lab import inside
from tests.lab.images import make_busybox_archive, make_demo_archive
from tests.lab.node import Node, children
from tests.lab.shell import CommandFailed, run

START_SECONDS: Final = 60.0
API_PORT: Final = 6443
T = TypeVar("T")


def until(question: Callable[[], T], *, seconds: float = 30, pause_seconds: float = 0.1) -> T:
    """The first truthy answer. For what no watch tells of; raises AssertionError with the last answer."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"still {answer!r} after {seconds} s")
        time.sleep(pause_seconds)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Cluster:
    def __init__(self, node: Node, *, arguments: Sequence[str] = (), data_dir: Path | None = None) -> None:
        self.node = node
        self.data_dir = data_dir or node.data_dir
        self.arguments = list(arguments)
        self.log = node.disk / "edgekube.log"
        self.kubeconfig = self.data_dir / "server/kubeconfig.yaml"
        self._process: subprocess.Popen[bytes] | None = None

    # --- the server's life --------------------------------------------------------------------------------------------

    def command(self) -> list[str]:
        """How the server is started, inside the node."""
        settings = ["--data-dir", str(self.data_dir), "--cgroup-parent", self.node.cgroup]
        return [sys.executable, "-m", "edgekube", "server", *settings, *self.arguments]

    def put_images(self) -> None:
        """busybox:1.36 and the demo page, where the agent imports them from."""
        images = self.data_dir / "agent/images"
        images.mkdir(parents=True, exist_ok=True)
        make_busybox_archive(images / "busybox.tar")
        make_demo_archive(images / "demo.tar")

    def launch(self, *environment: str) -> None:
        """Start the server and wait for nothing."""
        self._process = self.node.start(["env", *environment, *self.command()], self.log)

    def start(self, *, seconds: float = START_SECONDS) -> float:
        """Start the server; seconds until it said READY=1."""
        path = self.node.disk / "notify"
        path.unlink(missing_ok=True)
        began = time.monotonic()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(path))
            notify.settimeout(0.1)
            self.launch(f"NOTIFY_SOCKET={path}")
            assert self._process is not None
            while True:
                try:
                    if b"READY=1" in notify.recv(4096):
                        return time.monotonic() - began
                except TimeoutError:
                    if self._process.poll() is not None:
                        raise AssertionError(f"the server ended with {self._process.returncode}\n{self.log_tail()}") from None
                    if time.monotonic() - began > seconds:
                        raise AssertionError(f"not ready after {seconds} s\n{self.log_tail()}") from None

    @property
    def pid(self) -> int:
        """The server's process, as the host numbers it."""
        assert self._process is not None
        assert self._process.poll() is None, f"the server ended with {self._process.returncode}\n{self.log_tail()}"
        # nsenter forks to enter the pid namespace: the server is its only child.
        return children(self._process)[0]

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def processes(self, name: str) -> list[int]:
        """The node's processes of this name, as the host numbers them."""
        found = []
        waiting = [self.node.pid]
        while waiting:
            pid = waiting.pop()
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                    found.append(pid)
                for thread in Path(f"/proc/{pid}/task").iterdir():
                    waiting += [int(child) for child in (thread / "children").read_text().split()]
        return found

    def stop(self, number: signal.Signals = signal.SIGTERM, *, seconds: float = 30) -> int:
        """Send the signal and wait for the end; the exit code (negative: killed by that signal)."""
        assert self._process is not None
        os.kill(self.pid, number)
        return self._process.wait(seconds)

    def power_off(self) -> None:
        self.node.power_off()
        if self._process is not None:
            self._process.wait(30)

    def log_tail(self, lines: int = 60) -> str:
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    # --- clients ------------------------------------------------------------------------------------------------------

    def kubectl_command(self, *arguments: str) -> list[str]:
        kubectl = shutil.which("kubectl")
        assert kubectl is not None, "kubectl is not installed"
        home = self.node.disk / "home"
        home.mkdir(exist_ok=True)
        environment = ["env", "-u", "KUBERNETES_SERVICE_HOST", f"HOME={home}", f"KUBECONFIG={self.kubeconfig}"]
        return self.node.inside([*environment, kubectl, *arguments])

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True, timeout_seconds: float = 60) -> str:
        """What kubectl printed. Raises CommandFailed with everything it said when it fails."""
        return run(self.kubectl_command(*arguments), stdin=stdin, check=check, timeout_seconds=timeout_seconds)

    def refused(self, *arguments: str, stdin: str | None = None, timeout_seconds: float = 60) -> str:
        """What kubectl complained about; it must fail."""
        command = self.kubectl_command(*arguments)
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout_seconds, check=False)
        if done.returncode == 0:
            raise CommandFailed(
                f"$ kubectl {' '.join(arguments)}\nshould have been refused, but said\n{done.stdout}{done.stderr}"
            )
        return done.stderr

    def get(self, *arguments: str) -> Any:
        """kubectl get -o json, decoded."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def connect(self, port: int = API_PORT, address: str = "127.0.0.1", *, timeout_seconds: float = 10) -> socket.socket:
        """A TCP connection made inside the node."""
        return inside.connect(self.node.namespace, address, port, timeout_seconds=timeout_seconds)

    def tls(self, *, as_admin: bool = True, timeout_seconds: float = 10) -> ssl.SSLSocket:
        """A TLS connection to the API server, with the admin's certificate or without any."""
        # As the node sees its files: a mount of its own may lie below.
        pki = Path(f"/proc/{self.node.pid}/root{self.data_dir}/server/pki")
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        if as_admin:
            context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        return context.wrap_socket(self.connect(timeout_seconds=timeout_seconds), server_hostname="127.0.0.1")

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: dict[str, str] | None = None,
        *,
        as_admin: bool = True,
        timeout_seconds: float = 10,
    ) -> Answer:
        """One HTTP request with no kubectl between. Raises OSError."""
        connection = http.client.HTTPConnection("127.0.0.1")
        connection.sock = self.tls(as_admin=as_admin, timeout_seconds=timeout_seconds)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        finally:
            connection.close()

    def fetch(self, address: str, port: int, path: str = "/", *, from_lan: bool = False, timeout_seconds: float = 5) -> str:
        """The body of an HTTP page, asked for by the node itself or by a neighbour on the lab's switch. Raises OSError."""
        namespace = self.node.lan.namespace if from_lan else self.node.namespace
        connection = http.client.HTTPConnection(address, port)
        connection.sock = inside.connect(namespace, address, port, timeout_seconds=timeout_seconds)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()
