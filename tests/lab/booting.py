"""One node with a cluster on it, from nothing and back to nothing.

Enters: a directory that is the node's disk.
Leaves: a Cluster that is up, for the length of a ``with``.
Holds: namespaces, processes and cgroups are gone afterwards, also after an exception or Ctrl-C; the disk stays.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.lab.cluster import Cluster
from tests.lab.lan import Lan
from tests.lab.node import Node

LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"

_count: Final = itertools.count()


def fresh_prefix() -> str:
    """Unlike that of any other lab on this machine: this process, and which of its labs.

    A lab that is still up, or that a killed run left behind under the same pid, keeps its prefix.
    """
    taken = {name.partition("-")[0] for name in os.listdir("/run/netns")} if os.path.isdir("/run/netns") else set()
    prefixes = (f"{LETTERS[next(_count) % len(LETTERS)]}{os.getpid()}" for _ in LETTERS)
    free = next((prefix for prefix in prefixes if prefix not in taken), None)
    if free is None:
        raise RuntimeError(f"{len(LETTERS)} labs of this process are up, or were left behind: see `ip netns`")
    return free


@contextmanager
def one_node(disk: Path) -> Iterator[Node]:
    """A node that is on, and nothing in it."""
    disk.mkdir(parents=True, exist_ok=True)
    with Lan(fresh_prefix()) as lan:
        node = Node(lan, "n1", "192.0.2.1", disk)
        try:
            node.power_on()
            yield node
        finally:
            node.close()


@contextmanager
def one_cluster(disk: Path, *, arguments: Sequence[str] = ()) -> Iterator[Cluster]:
    """A Ready node with the images of tests.lab.images."""
    with one_node(disk) as node:
        cluster = Cluster(node, arguments=arguments)
        cluster.put_images()
        cluster.start()
        yield cluster
