"""Faults at random for as long as one likes, and after each the same question as in the tests: is desired = observed?

Enters: a World, a seed, how long. Leaves: a line for each fault; AssertionError with the seed at the first difference that stays.
Holds: the same seed draws the same faults in the same order. Not part of the test run: ``python -m tests.lab soak``.
Next: tests.faults_nodes.world.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgekube import limits
from tests.faults_nodes.world import World
from tests.lab.clusters import many_nodes
from tests.lab.program import Program

#: Beyond the grace, too: then pods are moved.
FAULT_SECONDS_MAX: Final = 40.0
SETTLE_SECONDS: Final = 180.0


@dataclass(frozen=True)
class Drawn:
    """``words``: as tests.lab.console has them, or what is killed."""

    words: tuple[str, ...]
    seconds: float
    replicas: int


def draw(chance: random.Random, nodes: list[str], *, longest_seconds: float = FAULT_SECONDS_MAX, kills: bool = False) -> Drawn:
    """The next fault; with ``kills`` only of those that end something. Pure but for the state of ``chance``."""
    node = chance.choice(nodes)
    other = chance.choice([name for name in nodes if name != node])
    ends = [("off", node), *((what, node) for what in ("kill", "stop", "containerd", "shim", "container"))]
    words = chance.choice(
        ends
        if kills
        else [
            *ends,
            ("pull", node),
            ("silence", node),
            ("silence", node, other),
            ("deaf", node),
            ("deaf", node, other),
            ("loss", node, str(chance.randint(5, 40))),
            ("slow", node, str(chance.choice([128, 512, 2048]))),
            ("move", node),
        ]
    )
    return Drawn(words, round(chance.uniform(0.5, max(0.5, longest_seconds)), 1), chance.randint(1, 6))


def soak(
    world: World,
    *,
    minutes: float,
    seed: int,
    longest_seconds: float = FAULT_SECONDS_MAX,
    kills: bool = False,
    say: Callable[[str], None] = print,
) -> int:
    """How many faults were healed."""
    chance = random.Random(seed)
    nodes = [program.name for program in world.nodes.programs]
    homes = {name: world.nodes.node(name).address for name in nodes}
    ends = time.monotonic() + minutes * 60
    count = 0
    while time.monotonic() < ends:
        drawn = draw(chance, nodes, longest_seconds=longest_seconds, kills=kills)
        with fault(world, drawn.words, homes):
            # Where the server can be told, it is told something.
            if drawn.words[1] != nodes[0] or drawn.words[0] in ("loss", "slow", "containerd", "shim", "container"):
                world.change_visitors()
                world.scale(drawn.replicas)
            time.sleep(drawn.seconds)
        began = time.monotonic()
        try:
            world.settle(seconds=SETTLE_SECONDS)
            unexpected = world.nodes.unexpected()
            assert not unexpected, unexpected
        except AssertionError as error:
            tails = world.nodes.log_tails()
            raise AssertionError(f"seed {seed}, fault {count}: {' '.join(drawn.words)}: {error}\n{tails}") from None
        count += 1
        took = f"{drawn.seconds:5} s, settled after {time.monotonic() - began:5.1f} s"
        say(f"{count:4}  {' '.join(drawn.words):20} {took}{f' ({world.lasted})' if world.lasted else ''}")
    return count


@contextmanager
def fault(world: World, words: tuple[str, ...], homes: dict[str, str]) -> Iterator[None]:
    """It is there for the length of the ``with``."""
    kind, name, *more = words
    lan, program = world.nodes.lan, world.nodes.program(name)
    other = more[0] if more else None
    if kind == "pull":
        with lan.cable_pulled(name):
            yield
    elif kind == "silence":
        with lan.silence(name, other):
            yield
    elif kind == "deaf":
        with lan.deaf(name, other):
            yield
    elif kind == "loss":
        with lan.loss(name, int(more[0])):
            yield
    elif kind == "slow":
        with lan.slow(name, kilobits_per_second=int(more[0])):
            yield
    elif kind == "move":
        program.node.change_address(f"192.0.2.{150 + list(homes).index(name)}")
        yield
        program.node.change_address(homes[name])
    elif kind == "off":
        program.power_off()
        yield
        program.node.power_on()
        _start(program)
    elif kind in ("kill", "stop"):
        program.stop(signal.SIGKILL if kind == "kill" else signal.SIGTERM)
        yield
        _start(program)
    else:
        for pid in _victims(program, kind):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        yield


def _victims(program: Program, kind: str) -> list[int]:
    """Of shims and containers' processes one: the others show that they are not touched."""
    if kind == "containerd":
        return program.processes("containerd")
    if kind == "shim":
        return program.processes("containerd-shim")[:1]
    return program.processes("busybox")[:1] + program.processes("httpd")[:1]


def _start(program: Program) -> None:
    """The server is waited for, because it is asked next; agents come when they come."""
    if program.noun == "server":
        program.start(seconds=SETTLE_SECONDS)
    else:
        program.launch()


def run(disk: Path, *, nodes: int, minutes: float, seed: int, longest_seconds: float, kills: bool) -> int:
    """From nothing to nothing."""
    grace = ["--node-monitor-grace-seconds", str(limits.NODE_MONITOR_GRACE_SECONDS_MIN)]
    with many_nodes(disk, nodes, server_arguments=grace) as cluster:
        return soak(World(cluster), minutes=minutes, seed=seed, longest_seconds=longest_seconds, kills=kills)
