"""A real kubectl against a server of this process: over TLS, with the administrator's certificate."""

from __future__ import annotations

import os
import subprocess
from typing import Protocol

import trio

from edgekube.pki.certificates import SERVER_NAME
from tests.server.secured import Secured, admin


class Kubectl(Protocol):
    async def __call__(self, secured: Secured, *arguments: str, stdin: str = "", check: bool = True) -> str: ...


async def run_kubectl(secured: Secured, *arguments: str, stdin: str = "", check: bool = True) -> str:
    """What it printed, standard error behind standard output."""
    pair = secured.pair(admin())
    command = [
        "kubectl",
        f"--server=https://127.0.0.1:{secured.port}",
        f"--tls-server-name={SERVER_NAME}",
        f"--certificate-authority={secured.directory / 'ca.crt'}",
        f"--client-certificate={pair.certificate}",
        f"--client-key={pair.key}",
        f"--cache-dir={secured.directory / 'kubectl-cache'}",
        *arguments,
    ]
    environment = {**os.environ, "HOME": str(secured.directory), "KUBECONFIG": str(secured.directory / "none")}
    with trio.fail_after(60):
        done = await trio.run_process(
            command, stdin=stdin.encode(), capture_stdout=True, stderr=subprocess.STDOUT, check=False, env=environment
        )
    text: str = done.stdout.decode()
    assert not check or done.returncode == 0, text
    return text
