"""The machine's shutdown waits for its pods: messages as bytes, groups by priority, and a logind of our own on a real bus."""

from __future__ import annotations

import array
import functools
import os
import shutil
import socket
import struct
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from edgekube.agent.node_state import NodeState
from edgekube.agent.shutdown import dbus
from edgekube.agent.shutdown.dbus import Bus, BusError, Message, decode, encode
from edgekube.agent.shutdown.groups import grace_of, groups_of, rules_of, total_seconds
from edgekube.agent.shutdown.logind import ShutdownWatch
from edgekube.api.objects import Object
from edgekube.node_rules import NodeRules

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


def pod(name: str, priority: int = 0, grace_seconds: int = 30) -> Object:
    return {
        "metadata": {"name": name, "uid": name},
        "spec": {"priority": priority, "terminationGracePeriodSeconds": grace_seconds, "containers": []},
    }


def shown(rules: NodeRules, *pods: Object) -> list[tuple[float, list[str]]]:
    return [(group.grace_seconds, [found["metadata"]["name"] for found in group.pods]) for group in groups_of(pods, rules)]


def test_critical_pods_end_last() -> None:
    pods = [pod("web"), pod("dns", 2_000_000_000), pod("batch", -5), pod("important", 1000)]
    assert shown(NodeRules(), *pods) == [(20.0, ["web", "batch", "important"]), (10.0, ["dns"])]
    assert total_seconds(NodeRules()) == 30.0
    by_priority = NodeRules(shutdown_grace_by_priority=((100, 5.0), (0, 7.0)))
    assert shown(by_priority, *pods) == [(7.0, ["web", "batch"]), (5.0, ["dns", "important"])]
    assert rules_of(NodeRules(shutdown_grace_seconds=0.0, shutdown_grace_critical_seconds=0.0)) == []
    group = groups_of([pod("web")], NodeRules())[0]
    assert [grace_of(pod("a", grace_seconds=seconds), group) for seconds in (5, 300)] == [5, 20]


@given(TEXT, TEXT, st.lists(TEXT, max_size=3), st.integers(0, 1 << 31))
def test_a_message_comes_out_as_it_went_in(path: str, member: str, texts: list[str], serial: int) -> None:
    signature, body = dbus.strings(*texts)
    sent = Message(dbus.CALL, f"/{path}", "a.b", f"M{member}", "c.d", "", serial, signature, body)
    read = decode(encode(sent, serial + 1))
    assert (read.path, read.member, read.destination, read.body, read.serial) == (
        f"/{path}",
        sent.member,
        "c.d",
        body,
        serial + 1,
    )
    if texts:
        assert dbus.read_string(read.body) == texts[0]


@given(st.binary(min_size=16, max_size=200))
def test_nonsense_is_refused(raw: bytes) -> None:
    try:
        decode(raw)
    except BusError:
        return
    assert raw[:1] == b"l"


def test_a_body_that_is_too_short_is_refused() -> None:
    for read, body in (
        (dbus.read_string, b"\1\0"),
        (dbus.read_boolean, b""),
        (dbus.read_variant_number, b"\x01t\0" + b"\0" * 8),
    ):
        with pytest.raises(BusError, match=f"a body of {len(body)} bytes"):
            read(body)


def test_what_is_too_large_or_of_another_order_is_refused() -> None:
    with pytest.raises(BusError, match="a message of"):
        dbus.sizes(struct.pack("<cBBBIII", b"l", 1, 0, 1, 1 << 30, 1, 0))
    with pytest.raises(BusError, match="big-endian"):
        dbus.sizes(struct.pack(">cBBBIII", b"B", 1, 0, 1, 0, 1, 0))


async def test_descriptors_come_with_the_message_that_names_them() -> None:
    """Two messages in one read: the first must not take what came with the second."""
    ours, theirs = trio.socket.socketpair()
    bus, (read, write) = dbus.Bus(ours), os.pipe()
    signal = encode(Message(dbus.SIGNAL, "/a", "b.c", "D"), 1)
    lock = encode(Message(dbus.CALL, "/a", "b.c", "E", descriptors=[write]), 2)
    with theirs:
        await theirs.sendmsg([signal + lock], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [write]))])
        assert (await bus.receive()).descriptors == []
        message = await bus.receive()
        assert os.fstat(message.descriptors[0]).st_ino == os.fstat(write).st_ino
        message.close()
        assert message.descriptors == []
        await theirs.send(lock)
        with pytest.raises(BusError, match="without its descriptors"):
            await bus.receive()
    bus.close()
    os.close(read)
    os.close(write)


# --- on a bus


@contextmanager
def a_bus(directory: str) -> Iterator[str]:
    binary, path = shutil.which("dbus-daemon"), f"{directory}/bus"
    assert binary is not None, "apt-get install dbus-daemon"
    Path(path).unlink(missing_ok=True)
    (Path(directory) / "bus.conf").write_text(
        '<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" '
        '"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd"><busconfig><type>session</type>'
        f"<listen>unix:path={path}</listen><auth>EXTERNAL</auth><policy context='default'>"
        "<allow send_destination='*' eavesdrop='true'/><allow eavesdrop='true'/><allow own='*'/></policy></busconfig>"
    )
    process = subprocess.Popen(
        [binary, f"--config-file={directory}/bus.conf", "--nofork", "--print-address"], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"unix:")
        yield path
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


@pytest.fixture
def bus_path() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="ekbus-", dir="/tmp") as directory, a_bus(directory) as path:
        yield path


class Login:
    """What systemd-logind answers, with a lock that can be seen to be held."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.bound_us = 5_000_000
        self.locks: list[int] = []
        self.asked: list[str] = []
        self.before_a_lock: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint

    async def run(self) -> None:
        while True:
            message = await self.bus.receive()
            if message.kind != dbus.CALL:
                continue
            self.asked.append(message.member)
            reply = Message(dbus.REPLY, destination=message.sender, reply_to=message.serial)
            if message.member == "Inhibit":
                await self.before_a_lock()
                ours, theirs = os.pipe()
                self.locks.append(ours)
                reply.signature, reply.body, reply.descriptors = "h", struct.pack("<I", 0), [theirs]
                await self.bus.send(reply)
                os.close(theirs)
                continue
            reply.signature, reply.body = "v", b"\x01t\0" + b"\0" * 5 + struct.pack("<Q", self.bound_us)
            await self.bus.send(reply)

    async def hello(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.run)
            await self.bus.call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello")
            nursery.cancel_scope.cancel()

    async def prepare(self, going: bool) -> None:
        signal = Message(
            dbus.SIGNAL,
            "/org/freedesktop/login1",
            "org.freedesktop.login1.Manager",
            "PrepareForShutdown",
            signature="b",
            body=struct.pack("<I", int(going)),
        )
        await self.bus.send(signal)

    async def released(self) -> None:
        """The last lock was given back: its pipe has no writer any more."""
        with trio.fail_after(60):
            os.set_blocking(self.locks[-1], False)
            await trio.lowlevel.wait_readable(self.locks[-1])
            assert os.read(self.locks[-1], 1) == b""


@asynccontextmanager
async def a_login(path: str) -> AsyncIterator[Login]:
    async with dbus.connect(path) as bus, trio.open_nursery() as nursery:
        login = Login(bus)
        nursery.start_soon(login.run)
        await bus.call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello")
        # RequestName(su): a text and a number.
        signature, body = dbus.strings("org.freedesktop.login1")
        body += b"\0" * (-len(body) % 4) + struct.pack("<I", 0)
        await bus.send(
            Message(
                dbus.CALL,
                "/org/freedesktop/DBus",
                "org.freedesktop.DBus",
                "RequestName",
                "org.freedesktop.DBus",
                signature=f"{signature}u",
                body=body,
            )
        )
        yield login
        nursery.cancel_scope.cancel()
        for lock in login.locks:
            os.close(lock)


@dataclass
class Worker:
    """Of a pod that ends when it is told to, after a moment."""

    object: Object
    log: list[str]
    ended: trio.Event = field(default_factory=trio.Event)

    @property
    def uid(self) -> str:
        return str(self.object["metadata"]["uid"])

    def pod(self) -> Object:
        return self.object

    def holds_resources(self) -> bool:
        return not self.ended.is_set()

    def end(self, reason: str, message: str, *, condition: Any, grace_seconds: int) -> None:
        self.log.append(f"{self.uid} {reason} {grace_seconds} {condition['reason']}")
        self.object["status"] = {"phase": "Failed"}
        self.ended.set()


async def test_the_machine_waits_for_its_pods(bus_path: str, tmp_path: Path) -> None:
    told: list[str] = []
    state, drop_in = NodeState(), tmp_path / "logind.conf.d" / "99-edgekube.conf"
    state.listen(lambda: told.append(f"shutting down: {state.shutting_down}"))
    workers: list[Any] = [Worker(pod("dns", 2_000_000_000), told), Worker(pod("web", grace_seconds=300), told)]
    async with a_login(bus_path) as login, trio.open_nursery() as nursery:
        watch = ShutdownWatch(state, NodeRules(), lambda: workers, bus=bus_path, drop_in=drop_in)
        nursery.start_soon(watch.run)
        with trio.fail_after(60):
            await watch.held.wait()
        assert drop_in.read_text() == "[Login]\nInhibitDelayMaxSec=30\n"
        async with dbus.connect(bus_path) as bus:
            somebody = Login(bus)
            await somebody.hello()
            for number in range(200):  # more than anybody waits for; logind's own word is still heard
                await somebody.prepare(number % 2 == 0)
        await login.prepare(True)
        await login.released()
        assert login.asked.count("Inhibit") == 1, "somebody else called nothing off"
        assert told == [
            "shutting down: True",
            "web Terminated 20 TerminationByKubelet",
            "dns Terminated 10 TerminationByKubelet",
        ]
        await login.prepare(False)  # somebody called it off
        with trio.fail_after(60):
            await watch.held.wait()
        assert told[-1] == "shutting down: False"
        assert login.asked.count("Inhibit") == 2
        nursery.cancel_scope.cancel()
    assert not watch.held.is_set()


async def test_a_bus_without_logind_and_no_bus_at_all(bus_path: str, tmp_path: Path) -> None:
    for path in (bus_path, str(tmp_path / "none")):
        watch = ShutdownWatch(NodeState(), NodeRules(), list, bus=path, drop_in=tmp_path / "x")
        with trio.fail_after(60):
            await watch.run()
    never = NodeRules(shutdown_grace_seconds=0.0, shutdown_grace_critical_seconds=0.0)
    with trio.fail_after(60):
        await ShutdownWatch(NodeState(), never, list, bus=bus_path, drop_in=tmp_path / "x").run()


async def test_a_bus_that_starts_anew_gives_loginds_old_name_to_somebody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekube.agent.shutdown.logind.LOGIND_RETRY_SECONDS", 0.01)
    state = NodeState()
    with tempfile.TemporaryDirectory(prefix="ekbus-", dir="/tmp") as directory:
        async with trio.open_nursery() as nursery:
            with a_bus(directory) as path:
                async with a_login(path):
                    watch = ShutdownWatch(state, NodeRules(), list, bus=path, drop_in=tmp_path / "99-edgekube.conf")
                    nursery.start_soon(watch.run)
                    with trio.fail_after(60):
                        await watch.held.wait()
            Path(directory, "new").mkdir()
            with a_bus(f"{directory}/new") as new:
                async with dbus.connect(new) as bus:
                    somebody = Login(bus)  # the first on this bus, as logind was on the other
                    await somebody.hello()
                    async with a_login(new) as login:
                        login.before_a_lock = functools.partial(somebody.prepare, True)
                        Path(new).rename(path)  # who goes on trying meets both of them
                        with trio.fail_after(60):
                            await watch.held.wait()
                        assert login.asked.count("Inhibit") == 1 and not state.shutting_down
            nursery.cancel_scope.cancel()
