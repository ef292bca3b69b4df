"""A cluster of one lab node: ``edgekube server`` runs in it, kubectl talks to it.

Enters: a Node that is on.
Leaves: kubectl and API calls, made inside the node; the server's life as tests.lab.program has it.
"""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from tests.lab import inside
from tests.lab.node import Node
from tests.lab.program import Program
from tests.lab.shell import CommandFailed, run

API_PORT: Final = 6443
T = TypeVar("T")


def until(question: Callable[[], T], *, seconds: float = 90, pause_seconds: float = 0.1) -> T:
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


class Cluster(Program):
    noun = "server"

    def __init__(self, node: Node, *, arguments: Sequence[str] = (), data_dir: Path | None = None) -> None:
        super().__init__(node, arguments=arguments, data_dir=data_dir)
        self.kubeconfig = self.data_dir / "server/kubeconfig.yaml"

    # --- clients ------------------------------------------------------------------------------------------------------

    def kubectl_command(self, *arguments: str) -> list[str]:
        kubectl = shutil.which("kubectl")
        assert kubectl is not None, "kubectl is not installed"
        home = self.node.disk / "home"
        home.mkdir(exist_ok=True)
        environment = ["env", "-u", "KUBERNETES_SERVICE_HOST", f"HOME={home}", f"KUBECONFIG={self.kubeconfig}"]
        return self.node.inside([*environment, kubectl, *arguments])

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True, timeout_seconds: float = 150) -> str:
        """What kubectl printed. Raises CommandFailed with everything it said when it fails."""
        return run(self.kubectl_command(*arguments), stdin=stdin, check=check, timeout_seconds=timeout_seconds)

    def refused(self, *arguments: str, stdin: str | None = None, timeout_seconds: float = 150) -> str:
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

    def connect(self, port: int = API_PORT, address: str = "127.0.0.1", *, timeout_seconds: float = 60) -> socket.socket:
        """A TCP connection made inside the node."""
        return inside.connect(self.node.namespace, address, port, timeout_seconds=timeout_seconds)

    def tls(self, *, as_admin: bool = True, timeout_seconds: float = 60) -> ssl.SSLSocket:
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
        timeout_seconds: float = 60,
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

    def fetch(self, address: str, port: int, path: str = "/", *, from_lan: bool = False, timeout_seconds: float = 20) -> str:
        """The body of an HTTP page, asked for by the node itself or by a neighbour on the lab's switch. Raises OSError."""
        namespace = self.node.lan.namespace if from_lan else self.node.namespace
        return inside.fetch(namespace, address, port, path, timeout_seconds=timeout_seconds)
