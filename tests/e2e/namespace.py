"""kubectl bound to one namespace of the cluster under test."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import dedent
from typing import Any, Final

from tests.lab.cluster import Cluster, until
from tests.lab.node import children

BUSYBOX: Final = "busybox:1.36"


def document(manifest: str) -> str:
    """YAML as kubectl takes it: text that begins with a brace would pass for JSON."""
    return "---\n" + dedent(manifest)


class Namespace:
    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name

    # --- kubectl ------------------------------------------------------------------------------------------------------

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True, timeout_seconds: float = 150) -> str:
        return self.cluster.kubectl("-n", self.name, *arguments, stdin=stdin, check=check, timeout_seconds=timeout_seconds)

    def refused(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl complained about; it must fail."""
        return self.cluster.refused("-n", self.name, *arguments, stdin=stdin)

    def apply(self, manifest: str, *arguments: str) -> str:
        return self.kubectl("apply", "-f", "-", *arguments, stdin=document(manifest))

    def create(self, manifest: str, *arguments: str) -> str:
        return self.kubectl("create", "-f", "-", *arguments, stdin=document(manifest))

    def refused_to(self, verb: str, manifest: str, *arguments: str) -> str:
        """What kubectl complained about when it was to apply, create or replace the manifest."""
        return self.refused(verb, "-f", "-", *arguments, stdin=document(manifest))

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def field(self, what: str, path: str) -> str:
        """One field of one object: ``field("pod/web", ".status.phase")``."""
        return self.kubectl("get", what, "-o", f"jsonpath={{{path}}}")

    def wait(self, condition: str, *what: str, seconds: int = 90) -> str:
        """kubectl wait --for=CONDITION."""
        return self.kubectl("wait", f"--for={condition}", f"--timeout={seconds}s", *what, timeout_seconds=seconds + 60)

    def ready(self, *what: str, seconds: int = 90) -> str:
        return self.wait("condition=Ready", *what, seconds=seconds)

    def exec(self, pod: str, *command: str, stdin: str | None = None, container: str = "") -> str:
        chosen = ["-c", container] if container else []
        interactive = ["-i"] if stdin is not None else []
        return self.kubectl("exec", *interactive, pod, *chosen, "--", *command, stdin=stdin)

    def sh(self, pod: str, script: str) -> str:
        return self.exec(pod, "sh", "-c", script)

    def wget(self, pod: str, url: str) -> str:
        """A page as a container of the pod gets it. (wget's own -T crashes in Debian's busybox.)"""
        return self.exec(pod, "timeout", "20", "wget", "-q", "-O-", url)

    def events_of(self, name: str) -> list[tuple[str, str]]:
        """(reason, message) of what happened to the object of this name, oldest first."""
        events = self.get("events", f"--field-selector=involvedObject.name={name}")["items"]
        return [(event["reason"], event["message"]) for event in events]

    def wait_for_event(self, name: str, reason: str, *, seconds: float = 90) -> str:
        """The message of the first event with this reason."""
        return until(lambda: next((message for found, message in self.events_of(name) if found == reason), ""), seconds=seconds)

    def wait_for_service_account(self) -> None:
        """Pods need it; the controller makes it moments after the namespace."""
        self.kubectl("wait", "--for=create", "serviceaccount/default", "configmap/kube-root-ca.crt", "--timeout=90s")

    @contextmanager
    def running(self, *arguments: str) -> Iterator[Running]:
        """kubectl in the background, for what does not end by itself: get -w, logs -f, port-forward."""
        process = subprocess.Popen(
            self.cluster.kubectl_command("-n", self.name, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            yield Running(process)
        finally:
            end(process)
            assert process.stdout is not None
            process.stdout.close()

    @contextmanager
    def terminal(self, *arguments: str) -> Iterator[Terminal]:
        """kubectl on a terminal of its own, as a person has it."""
        outer, inner = pty.openpty()
        command = ["setsid", "--ctty", *self.cluster.kubectl_command("-n", self.name, *arguments)]
        process = subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner)
        os.close(inner)
        try:
            yield Terminal(process, outer)
        finally:
            end(process)
            os.close(outer)


@contextmanager
def fresh_namespace(cluster: Cluster, test: str) -> Iterator[Namespace]:
    """A namespace of the cluster, named after the test and gone after it."""
    name = re.sub(r"[^a-z0-9]+", "-", test.removeprefix("test_").lower()).strip("-")[:40].strip("-")
    namespace = Namespace(cluster, name)
    cluster.kubectl("create", "namespace", name)
    namespace.wait_for_service_account()
    try:
        yield namespace
    finally:
        cluster.kubectl("delete", "pods", "--all", "-n", name, "--grace-period=0", "--force", "--wait=false", check=False)
        cluster.kubectl("delete", "namespace", name, "--wait=false", check=False)


def end(process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGKILL) -> None:
    """Signal what runs in the node and wait: nsenter, its parent out here, ends the way it ended."""
    with contextlib.suppress(OSError):  # it has ended already
        for child in children(process):
            os.kill(child, number)
    process.wait(60)


class Running:
    """Output of a background kubectl, read as it comes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        assert process.stdout is not None
        self._descriptor = process.stdout.fileno()
        self.seen = ""

    def expect(self, text: str, *, seconds: float = 60) -> str:
        """Everything up to and with ``text``; what follows stays for the next call."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            left = deadline - time.monotonic()
            readable = select.select([self._descriptor], [], [], max(0.0, left))[0]
            data = self._read() if readable else b""
            if not data:
                raise AssertionError(f"expected {text!r}, got {self.seen!r}" + ("" if readable else f" within {seconds} s"))
            self.seen += data.decode(errors="replace")
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def _read(self) -> bytes:
        try:
            return os.read(self._descriptor, 65536)
        except OSError:  # EIO: the other end of a terminal was closed
            return b""

    def rest(self, *, seconds: float = 60) -> str:
        """What it says until it ends by itself."""
        deadline = time.monotonic() + seconds
        while select.select([self._descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
            data = self._read()
            if not data:
                self.process.wait(seconds)
                return self.seen
            self.seen += data.decode(errors="replace")
        raise AssertionError(f"has not ended within {seconds} s: {self.seen!r}")


class Terminal(Running):
    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        import fcntl
        import struct
        import termios

        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
