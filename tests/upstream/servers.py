"""Kubernetes' own API server and ours, side by side on loopback, in a network namespace of their own.

Enters: a directory with etcd and kube-apiserver (tests.conformance.building makes the first, tests.upstream.building both).
Leaves: two Servers that answer.
Holds: what was started is ended with the ``with``; nothing leaves the namespace.
Next: tests.upstream.asking.
"""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import yaml

from tests.bench.api_client import context_of
from tests.lab.booting import fresh_prefix
from tests.lab.shell import run

ROOT: Final = Path(__file__).resolve().parents[2]
_TOKEN: Final = "upstream-admin"
UPSTREAM_PORT: Final = 16443
OUR_PORT: Final = 26443
#: What changes objects behind a question's back, and runs on one side only.
_PARTS: Final = ("controllers", "scheduler", "local-path", "manifests", "mdns", "metrics", "loadbalancer", "dns")
#: Where nobody has to wait for more than a start.
_START_SECONDS: Final = 120


@dataclass(frozen=True)
class Server:
    """``headers``: by which it knows that an administrator asks."""

    name: str
    host: str
    port: int
    context: ssl.SSLContext
    headers: dict[str, str]
    kubeconfig: Path
    #: Its processes: etcd counts as upstream's.
    pids: tuple[int, ...] = ()


@contextmanager
def namespace() -> Iterator[str]:
    """A network namespace with nothing but loopback and one address that leads nowhere."""
    name = f"{fresh_prefix()}-up"
    run(["ip", "netns", "add", name])
    try:
        run(["ip", "-n", name, "link", "set", "lo", "up"])
        run(["ip", "-n", name, "link", "add", "eth0", "type", "bridge"])
        run(["ip", "-n", name, "address", "add", "192.0.2.1/24", "dev", "eth0"])
        run(["ip", "-n", name, "link", "set", "eth0", "up"])
        run(["ip", "-n", name, "route", "add", "default", "via", "192.0.2.254"])
        yield name
    finally:
        run(["ip", "netns", "delete", name], check=False)


def again_inside(module: str) -> NoReturn:
    """Run the module once more, with the same arguments and ``--inside``, in a namespace of its own; end as it ends."""
    with namespace() as name:
        enter = ["nsenter", f"--net=/run/netns/{name}"]
        command = [*enter, sys.executable, "-m", module, *sys.argv[1:], "--inside"]
        sys.exit(subprocess.run(command, check=False).returncode)


@contextmanager
def both(directory: Path) -> Iterator[tuple[Server, Server]]:
    """Upstream's and ours, in the namespace that the caller is in."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgekube-upstream-", ignore_cleanup_errors=True)))
        theirs = stack.enter_context(upstream(directory, place / "theirs"))
        ours = stack.enter_context(edgekube(place / "ours"))
        yield theirs, ours


@contextmanager
def _running(command: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT, env={**os.environ, **environment})
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


@contextmanager
def upstream(directory: Path, place: Path, *, trusting: Server | None = None) -> Iterator[Server]:
    """``trusting``: a server of ours, by whose certificates this one is known, and knows its clients."""
    place.mkdir(parents=True)
    key = place / "service-account.key"
    run(["openssl", "genrsa", "-out", str(key), "2048"])
    tokens = place / "tokens.csv"
    tokens.write_text(f"{_TOKEN},admin,admin,system:masters\n")
    etcd = [
        str(directory / "etcd"),
        "--data-dir",
        str(place / "etcd"),
        "--listen-client-urls",
        "http://127.0.0.1:12379",
        "--advertise-client-urls",
        "http://127.0.0.1:12379",
        "--listen-peer-urls",
        "http://127.0.0.1:12380",
        "--log-level=error",
    ]
    apiserver = [
        str(directory / "kube-apiserver"),
        "--etcd-servers=http://127.0.0.1:12379",
        f"--secure-port={UPSTREAM_PORT}",
        "--bind-address=127.0.0.1",
        "--advertise-address=192.0.2.1",
        f"--cert-dir={place / 'certificates'}",
        f"--token-auth-file={tokens}",
        "--authorization-mode=Node,RBAC",
        "--service-cluster-ip-range=10.43.0.0/16",
        f"--service-account-signing-key-file={key}",
        f"--service-account-key-file={key}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--allow-privileged",
        "--enable-aggregator-routing",
    ]
    if trusting is not None:
        pki = trusting.kubeconfig.parent / "pki"
        apiserver += [f"--client-ca-file={pki / 'ca.crt'}", f"--tls-cert-file={pki / 'server.crt'}"]
        apiserver += [f"--tls-private-key-file={pki / 'server.key'}"]
    with _running(etcd, place / "etcd.log") as store, _running(apiserver, place / "apiserver.log") as process:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        kubeconfig = place / "kubeconfig.yaml"
        kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "up",
                    "clusters": [
                        {
                            "name": "up",
                            "cluster": {"server": f"https://127.0.0.1:{UPSTREAM_PORT}", "insecure-skip-tls-verify": True},
                        }
                    ],
                    "users": [{"name": "admin", "user": {"token": _TOKEN}}],
                    "contexts": [{"name": "up", "context": {"cluster": "up", "user": "admin"}}],
                }
            )
        )
        if trusting is not None:
            kubeconfig.write_text(trusting.kubeconfig.read_text().replace(f":{OUR_PORT}", f":{UPSTREAM_PORT}"))
        headers = {"Authorization": f"Bearer {_TOKEN}"}
        pids = (process.pid, store.pid)
        server = Server("upstream", "127.0.0.1", UPSTREAM_PORT, context, headers, kubeconfig, pids)
        _until_ready(server, process, place / "apiserver.log")
        yield server


@contextmanager
def edgekube(place: Path, *, whole: bool = False) -> Iterator[Server]:
    """``whole``: with its control loops."""
    place.mkdir(parents=True)
    kubeconfig = place / "data/server/kubeconfig.yaml"
    command = [
        sys.executable,
        "-m",
        "edgekube",
        "server",
        "--no-agent",
        "--data-dir",
        str(place / "data"),
        "--run-dir",
        str(place / "run"),
        "--https-port",
        str(OUR_PORT),
        "--node-ip",
        "192.0.2.1",
        "--node-name",
        "n1",
        *(f"--disable={part}" for part in ([] if whole else _PARTS)),
    ]
    with _running(command, place / "edgekube.log", PYTHONPATH=str(ROOT)) as process:
        deadline = time.monotonic() + _START_SECONDS
        while not kubeconfig.exists():
            _alive(process, place / "edgekube.log", deadline)
        context, host, port = context_of(yaml.safe_load(kubeconfig.read_text()))
        server = Server("edgekube", host, port, context, {}, kubeconfig, (process.pid,))
        _until_ready(server, process, place / "edgekube.log")
        yield server


def _until_ready(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    from tests.upstream.asking import Client

    deadline = time.monotonic() + _START_SECONDS
    while True:
        _alive(process, log, deadline)
        with contextlib.suppress(OSError):
            client = Client(server)
            if client.ask("GET", "/readyz").status == 200 and client.ask("GET", "/api/v1/namespaces/default").status == 200:
                return


def _alive(process: subprocess.Popen[bytes], log: Path, deadline: float) -> None:
    if process.poll() is not None or time.monotonic() > deadline:
        raise RuntimeError(f"it did not start: {json.dumps(process.args)}\n{log.read_text()[-4000:]}")
    time.sleep(0.2)
