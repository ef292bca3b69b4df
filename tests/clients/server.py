"""An edgekube server without a node, on loopback, for clients as people have them.

Enters: a directory. Leaves: a Server with a kubeconfig, for the length of a ``with``.
Holds: nothing but the kubeconfig is told to a client; the server's processes are gone afterwards.
Next: tests.clients.conftest.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from tests.ports import free_port

ROOT: Final = Path(__file__).resolve().parents[2]
_START_SECONDS: Final = 120.0
T = TypeVar("T")


@dataclass
class Server:
    directory: Path
    process: subprocess.Popen[bytes]

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "data/server/kubeconfig.yaml"

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def environment(self, **more: str) -> dict[str, str]:
        """What a client is started with: a home of its own, the kubeconfig, and no trace of another cluster."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "HELM"))}
        home = self.directory / "home"
        home.mkdir(exist_ok=True)
        return {**kept, "HOME": str(home), "KUBECONFIG": str(self.kubeconfig), **more}

    def run(
        self,
        *command: str | Path,
        stdin: str | None = None,
        check: bool = True,
        seconds: float = 240,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """What a client program printed; with check False what it complained about as well."""
        done = subprocess.run(
            [str(part) for part in command],
            input=stdin, capture_output=True, text=True, timeout=seconds, check=False,
            env=self.environment(**(environment or {})),
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"$ {' '.join(map(str, command))}\nended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        kubectl = shutil.which("kubectl")
        assert kubectl is not None, "kubectl is not installed"
        return self.run(kubectl, *arguments, stdin=stdin, check=check)


def until(question: Callable[[], T], *, seconds: float = 120) -> T:
    """The first truthy answer, for what no watch of the client under test tells."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"still {answer!r} after {seconds} s"
        time.sleep(0.1)


@contextmanager
def running_server(directory: Path, *arguments: str) -> Iterator[Server]:
    command = [
        sys.executable, "-m", "edgekube", "server", "--no-agent", "--disable", "mdns", "--disable", "clock",
        "--data-dir", str(directory / "data"), "--run-dir", str(directory / "run"), "--node-name", "clients",
        "--https-port", str(free_port()), "--agent-port", str(free_port()),
        # Documentation's range: an API at a loopback address could not be told to pods. Clients come by 127.0.0.1.
        "--node-ip", "192.0.2.1", *arguments,
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with (directory / "log").open("wb") as log, _notified(directory / "notify") as ready:
        environment["NOTIFY_SOCKET"] = str(directory / "notify")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        server = Server(directory, process)
        try:
            ready(process)
            yield server
        finally:
            process.terminate()
            process.wait(90)
    assert "Traceback" not in server.log, server.log[-6000:]


@contextmanager
def _notified(path: Path) -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
    """What waits for the process to say READY=1."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(0.2)

        def wait(process: subprocess.Popen[bytes]) -> None:
            deadline = time.monotonic() + _START_SECONDS
            while True:
                try:
                    if b"READY=1" in listener.recv(4096):
                        return
                except TimeoutError:
                    said = (path.parent / "log").read_text()
                    assert process.poll() is None, f"the server ended with {process.returncode}\n{said}"
                    assert time.monotonic() < deadline, f"the server is not ready\n{said}"

        yield wait
