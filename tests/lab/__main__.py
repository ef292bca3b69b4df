"""``python -m tests.lab up``: a cluster to try things on, and a shell in its node.

Enters: --disk, or a scratch directory. Leaves: nothing but the disk that was named. Next: tests.lab.booting.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path

import click

from tests.lab.booting import one_cluster


@click.group()
def lab() -> None:
    """Real nodes on one machine."""


@lab.command()
@click.option("--disk", type=click.Path(path_type=Path), help="The node's disk; kept, and used again.")
def up(disk: Path | None) -> None:
    """Boot a node with edgekube server in it and open a shell there."""
    with contextlib.ExitStack() as stack:
        if disk is None:
            disk = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgekube-lab-", ignore_cleanup_errors=True)))
        cluster = stack.enter_context(one_cluster(disk.resolve()))
        print(f"Ready: {cluster.node.name} {cluster.node.address}, disk {cluster.node.disk}. exit powers it off.")
        home = cluster.node.disk / "home"
        home.mkdir(exist_ok=True)
        variables = [
            f"KUBECONFIG={cluster.kubeconfig}",
            f"HOME={home}",
            f"DISK={cluster.node.disk}",
            f"PS1={cluster.node.name}# ",
        ]
        shell = "bash" if os.path.exists("/bin/bash") else "sh"
        norc = ["--norc"] if shell == "bash" else []
        with contextlib.suppress(KeyboardInterrupt):
            subprocess.run(cluster.node.inside(["env", *variables, shell, *norc]), check=False)


lab()
