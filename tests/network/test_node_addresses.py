"""A node's addresses follow the kernel: a namespace of the test's own, in which leases come and cables go."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekube.network.node_addresses import NodeAddresses
from tests.lab.booting import fresh_prefix
from tests.lab.shell import run

HERE = Path(__file__).parent


class Board:
    """A network namespace with two sockets for cables."""

    def __init__(self) -> None:
        self.name = fresh_prefix()
        self._followers: list[subprocess.Popen[str]] = []
        run(["ip", "netns", "add", self.name])
        self.ip("link set lo up")
        for link in ("eth0", "wlan0"):
            self.ip(f"link add {link} type veth peer name to-{link}")
            self.ip(f"link set to-{link} up")
            self.ip(f"link set {link} up")

    def ip(self, words: str) -> None:
        run(["ip", "-n", self.name, *words.split()])

    def follow(self, fixed: str = "", families: str = "single", *, missed_seconds: float = 0.2) -> Iterator[str]:
        """The addresses now, and again after each change."""
        inside = ["nsenter", f"--net=/run/netns/{self.name}", sys.executable]
        script = [*inside, str(HERE / "follow_addresses.py"), fixed, families, str(missed_seconds)]
        environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
        follower = subprocess.Popen(script, stdout=subprocess.PIPE, text=True, env=environment)
        self._followers.append(follower)
        assert follower.stdout is not None
        return map(str.strip, follower.stdout)

    def close(self) -> None:
        for follower in self._followers:
            follower.kill()
            follower.wait()
        run(["ip", "netns", "delete", self.name])


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board()
    try:
        yield made
    finally:
        made.close()


@pytest.mark.root
def test_a_board_out_of_the_box_gets_one_address_after_the_other(board: Board) -> None:
    told = board.follow()
    assert next(told) == "10.43.0.10", "no cable: a node to itself"
    board.ip("address add 169.254.7.8/16 dev eth0 scope link")
    assert next(told) == "169.254.7.8", "a switch without DHCP"
    board.ip("address add 192.0.2.7/24 dev eth0")
    assert next(told) == "192.0.2.7", "a lease"
    board.ip("address add 203.0.113.9/24 dev eth0")
    board.ip("address delete 192.0.2.7/24 dev eth0")
    assert next(told) == "203.0.113.9", "the next lease"
    board.ip("address flush dev eth0")
    assert next(told) == "10.43.0.10", "the cable is gone"


@pytest.mark.root
def test_an_address_that_is_back_soon_was_never_gone(board: Board) -> None:
    board.ip("address add 192.0.2.7/24 dev eth0")
    told = board.follow(missed_seconds=30)
    assert next(told) == "192.0.2.7"
    board.ip("address delete 192.0.2.7/24 dev eth0")
    board.ip("address add 192.0.2.7/24 dev eth0")
    board.ip("address delete 192.0.2.7/24 dev eth0")
    board.ip("address add 198.51.100.4/24 dev wlan0")
    assert next(told) == "198.51.100.4", "and nothing was told in between"


@pytest.mark.root
def test_both_families_are_followed_in_a_dual_stack_cluster(board: Board) -> None:
    board.ip("address add 192.0.2.7/24 dev eth0")
    told, single = board.follow(families="dual"), board.follow()
    assert next(told) == next(single) == "192.0.2.7"
    board.ip("address add 2001:db8::7/64 dev eth0 nodad")
    assert next(told) == "192.0.2.7 2001:db8::7"
    board.ip("address add 203.0.113.9/24 dev eth0")
    board.ip("address delete 192.0.2.7/24 dev eth0")
    assert next(told) == "203.0.113.9 2001:db8::7"
    assert next(single) == "203.0.113.9"


def test_what_the_operator_fixed_stays() -> None:
    addresses = NodeAddresses(fixed=["203.0.113.5"])
    addresses.look()
    assert addresses.current == ("203.0.113.5",)


async def test_nobody_misses_a_change() -> None:
    addresses = NodeAddresses(fixed=["192.0.2.1"])
    addresses.become(("192.0.2.2",))
    assert await addresses.wait_for_other_than(("192.0.2.1",)) == ("192.0.2.2",)
