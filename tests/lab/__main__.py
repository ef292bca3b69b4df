"""``python -m tests.lab up``: a cluster to try things on, and a shell in its first node.

Enters: --nodes, --disk or a scratch directory. Leaves: nothing but the disk that was named.
Next: tests.lab.clusters, tests.lab.console.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from tests.lab.clusters import MultiCluster, many_nodes
from tests.lab.console import WORDS, Console, listening, tell
from tests.lab.node import Node
from tests.lab.subnet import HOME, LINK_LOCAL, TWO_STACKS

_NETWORKS = {"home": HOME, "two-stacks": TWO_STACKS, "link-local": LINK_LOCAL}


@click.group()
def lab() -> None:
    """Real nodes on one machine."""


@lab.command()
@click.option("--nodes", type=click.IntRange(1, 50), default=1, help="How many; the first has the server, the others join it.")
@click.option("--network", type=click.Choice(sorted(_NETWORKS)), default="home", help="The addresses that there are.")
@click.option("--disk", type=click.Path(path_type=Path), help="Where the nodes' disks are; kept, and used again.")
def up(nodes: int, network: str, disk: Path | None) -> None:
    """Boot nodes with edgekube in them and open a shell in the first."""
    with contextlib.ExitStack() as stack:
        if disk is None:
            disk = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgekube-lab-", ignore_cleanup_errors=True)))
        cluster = stack.enter_context(many_nodes(disk.resolve(), nodes, subnet=_NETWORKS[network]))
        stack.enter_context(listening(Console(cluster), cluster.lan.prefix))
        print(_welcome(cluster))
        with contextlib.suppress(KeyboardInterrupt):
            subprocess.run([*cluster.server.node.inside(["env", *_variables(cluster)]), *_shell()], check=False)


@lab.command()
@click.option("--nodes", type=click.IntRange(2, 50), default=3, help="How many.")
@click.option("--minutes", type=float, default=30, help="How long.")
@click.option("--seed", type=int, help="Draw the same faults again (default: others each time).")
@click.option("--longest", type=float, default=40, show_default=True, help="Seconds that a fault lasts at most.")
@click.option("--kills", is_flag=True, help="Only what ends something: edgekube, containerd, a shim, a container, the machine.")
def soak(nodes: int, minutes: float, seed: int | None, longest: float, kills: bool) -> None:
    """Faults at random, one after another; after each, desired must become observed, and nothing is left behind."""
    from tests.faults_nodes.soak import run

    chosen = int(time.time()) if seed is None else seed
    print(f"seed {chosen}")
    with tempfile.TemporaryDirectory(prefix="edgekube-lab-", ignore_cleanup_errors=True) as directory:
        healed = run(Path(directory), nodes=nodes, minutes=minutes, seed=chosen, longest_seconds=longest, kills=kills)
        print(f"{healed} faults, each healed")


@lab.command()
@click.argument("node")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def enter(node: str, command: tuple[str, ...]) -> None:
    """A shell, or COMMAND, in NODE of the lab that is up."""
    inside = shlex.split(_tell(f"enter {shlex.quote(node)}"))
    if inside[0] != "setpriv":
        raise click.ClickException(" ".join(inside))
    sys.exit(subprocess.run([*inside, *(command or ["env", f"PS1={node}# ", *_shell()])], check=False).returncode)


@lab.command(name="tell", context_settings={"ignore_unknown_options": True}, epilog="\b\n" + WORDS)
@click.argument("words", nargs=-1)
def tell_it(words: tuple[str, ...]) -> None:
    """Pull cables, silence nodes, move them: WORDS to the lab that is up."""
    print(_tell(shlex.join(words)))


def _tell(line: str) -> str:
    try:
        return tell(line)
    except LookupError as error:
        raise click.ClickException(str(error)) from None


def _welcome(cluster: MultiCluster) -> str:
    lines = [f"Ready after {cluster.up_seconds:.1f} s, on {cluster.server.node.disk.parent}:"]
    lines += [f"  {program.name} {program.node.address} ({program.noun})" for program in cluster.programs]
    lines.append("From another terminal: python -m tests.lab enter NODE, and python -m tests.lab tell WORDS to make faults:")
    lines += [f"  {line}" for line in WORDS.splitlines()]
    lines.append("exit powers them all off.")
    return "\n".join(lines)


def _variables(cluster: MultiCluster) -> list[str]:
    node: Node = cluster.server.node
    home = node.disk / "home"
    home.mkdir(exist_ok=True)
    return [f"KUBECONFIG={cluster.server.kubeconfig}", f"HOME={home}", f"DISK={node.disk}", f"PS1={node.name}# "]


def _shell() -> list[str]:
    return ["bash", "--norc"] if os.path.exists("/bin/bash") else ["sh"]


lab()
