"""The kernel tells of addresses and links: in a namespace of the test's own."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from edgekube.network.address_changes import address_changes, concerns_the_node, interfaces_of
from tests.lab.booting import fresh_prefix
from tests.lab.inside import call_in
from tests.lab.shell import run


def link_message(name: str, kind: int = 16) -> bytes:
    attribute = struct.pack("=HH", 4 + len(name) + 1, 3) + name.encode() + b"\0"
    attribute += b"\0" * (-len(attribute) % 4)
    body = struct.pack("=BxHiII", 0, 1, 7, 0, 0) + attribute
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def test_messages_name_their_interface() -> None:
    messages = link_message("eth0") + link_message("vethab12", 17) + link_message("wlan0")
    assert list(interfaces_of(messages)) == ["eth0", "vethab12", "wlan0"]


def test_the_links_of_pods_concern_nobody() -> None:
    assert not concerns_the_node(link_message("veth1") + link_message("veth2", 17))
    assert concerns_the_node(link_message("veth1") + link_message("eth0"))


@given(st.binary(max_size=400) | st.binary(max_size=60).map(lambda tail: link_message("eth0")[:-3] + tail))
def test_any_bytes_are_read_to_their_end(messages: bytes) -> None:
    assert all(isinstance(name, str) for name in interfaces_of(messages))


@pytest.fixture
def namespace() -> Iterator[str]:
    name = fresh_prefix()
    run(["ip", "netns", "add", name])
    try:
        run(["ip", "-n", name, "link", "add", "eth0", "type", "bridge"])
        yield name
    finally:
        run(["ip", "netns", "delete", name])


async def _next(changes: AsyncIterator[None]) -> None:
    with trio.fail_after(60):
        await anext(changes)


@pytest.mark.root
def test_a_new_address_and_a_pulled_cable_are_told_of_once_a_burst(namespace: str) -> None:
    def ip(*words: str) -> None:
        run(["ip", "-n", namespace, *words])

    async def watch() -> list[str]:
        told = []
        async with address_changes(settle_seconds=0.1) as changes:
            ip("address", "add", "192.0.2.7/24", "dev", "eth0")
            ip("address", "add", "2001:db8::7/64", "dev", "eth0", "nodad")
            ip("link", "set", "eth0", "up")
            await _next(changes)
            told.append("addresses")
            ip("address", "delete", "192.0.2.7/24", "dev", "eth0")
            await _next(changes)
            told.append("address gone")
            # A pod comes and goes: no news. Then the link itself.
            ip("link", "add", "vethpod", "type", "veth", "peer", "name", "vethpeer")
            ip("address", "add", "fe80::5/64", "dev", "vethpod", "nodad")
            ip("link", "set", "vethpod", "up")
            ip("link", "delete", "vethpod")
            with trio.move_on_after(0.5) as silence:
                await _next(changes)
            assert silence.cancelled_caught
        async with address_changes(settle_seconds=0.1) as changes:
            ip("link", "set", "eth0", "down")
            await _next(changes)
            told.append("down")
        return told

    assert call_in(namespace, lambda: trio.run(watch)) == ["addresses", "address gone", "down"]


@pytest.mark.root
def test_routes_of_the_protocol_that_was_asked_for_are_told_of(namespace: str) -> None:
    def ip(*words: str) -> None:
        run(["ip", "-n", namespace, *words])

    async def watch() -> None:
        async with address_changes(settle_seconds=0.1, route_protocol=142) as changes:
            for family, network in (("-4", "198.51.100.0/24"), ("-6", "2001:db8:1::/64")):
                ip(family, "route", "add", "unreachable", network, "proto", "142")
                await _next(changes)
                ip(family, "route", "delete", "unreachable", network)
                await _next(changes)
            ip("route", "add", "unreachable", "203.0.113.0/24", "proto", "99")
            with trio.move_on_after(0.5) as silence:
                await _next(changes)
            assert silence.cancelled_caught

    call_in(namespace, lambda: trio.run(watch))


@pytest.mark.root
def test_only_the_kernel_is_believed(namespace: str) -> None:
    async def watch() -> bool:
        async with address_changes(settle_seconds=0.1) as changes:
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as liar:
                liar.bind((0, 0))
                for port in range(os.getpid(), os.getpid() + 2):  # the kernel numbers the first socket of a process by its pid
                    try:
                        liar.sendto(link_message("eth0"), (port, 0))
                    except OSError:
                        continue
            with trio.move_on_after(0.5) as silence:
                await _next(changes)
            return silence.cancelled_caught

    assert call_in(namespace, lambda: trio.run(watch))
