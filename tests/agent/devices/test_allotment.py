"""Device plugins over real gRPC: they register, offer, allocate, fall ill, go away and come back, also across restarts."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import trio
from trio.testing import MockClock

from edgekube.agent.devices.allotment import NodeDevices
from edgekube.agent.devices.cdi import refusal
from edgekube.agent.devices.ledger import Offer
from edgekube.agent.devices.model import DeviceProblem, Given
from edgekube.agent.devices.run import run_devices
from edgekube.api.objects import Object
from edgekube.containerd.model import Device, Mount
from edgekube.limits import DEVICE_PLUGIN_GRACE_SECONDS
from tests.agent.devices.plugin import VendorPlugin, given

LAMP = "vendor.example/lamp"


def container(name: str = "main", lamps: int = 1) -> Object:
    return {"name": name, "resources": {"limits": {LAMP: str(lamps), "cpu": "1"}}}


def pod_of(uid: str, *containers: Object) -> Object:
    return {"metadata": {"uid": uid, "name": uid}, "spec": {"containers": list(containers) or [container()]}}


class Bench:
    def __init__(self, base: Path) -> None:
        self.base = base
        self.sockets = base / "device-plugins"
        self.active: set[str] | None = None
        self.news = trio.Event()
        self.devices: NodeDevices

    def changed(self) -> None:
        self.news.set()

    async def until(self, holds: Callable[[], bool], seconds: float = 90) -> None:
        with trio.fail_after(seconds):
            while not holds():
                self.news = trio.Event()
                if holds():
                    return
                await self.news.wait()

    async def until_free(self, count: int) -> None:
        await self.until(lambda: self.devices.ledger.allocatable().get(LAMP) == count)

    @asynccontextmanager
    async def node(self) -> AsyncIterator[NodeDevices]:
        self.devices = NodeDevices(self.base / "devices.json", lambda: self.active, self.changed)
        async with trio.open_nursery() as nursery:
            await nursery.start(run_devices, self.devices, self.sockets, ())
            yield self.devices
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def plugin(self, *, register: bool = True, **devices: bool) -> AsyncIterator[VendorPlugin]:
        made = VendorPlugin(self.sockets)
        made.start()
        try:
            made.offer(**devices)
            if register:
                await trio.to_thread.run_sync(made.register)
                await self.until_free(sum(devices.values()))
            yield made
        finally:
            await trio.to_thread.run_sync(made.stop)


@pytest.fixture
def bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="ek-dev-") as base:
        yield Bench(Path(base))


async def test_a_plugin_offers_and_a_container_gets(bench: Bench) -> None:
    async with bench.node() as node, bench.plugin(a=True, b=True, c=False) as plugin:
        assert node.shown({}) == ({LAMP: "3"}, {LAMP: "2"})
        plugin.answer = given({"/etc/lamp": "/etc/hostname"}, {"/dev/lamp": "/dev/null"}, {"lamp": "on"}, ("v/c=1",), LAMP="a")
        pod = pod_of("u1")
        await node.admit(pod)
        got = await node.give(pod, pod["spec"]["containers"][0])
        assert got == Given(
            {"LAMP": "a"},
            (Mount("/etc/lamp", "/etc/hostname", readonly=True),),
            (Device("/dev/lamp", "/dev/null", "r"),),
            {"lamp": "on"},
            ("v/c=1",),
        )
        assert plugin.calls == [("Allocate", ("a",))]
        # A container that starts again has what it has; nobody is asked.
        assert await node.give(pod, pod["spec"]["containers"][0]) == got
        assert plugin.calls == [("Allocate", ("a",))]
        with pytest.raises(DeviceProblem) as problem:
            await node.admit(pod_of("u2", container(lamps=2)))
        assert str(problem.value) == (
            f"Allocate failed due to requested number of devices unavailable for {LAMP}. Requested: 2, Available: 1, "
            "which is unexpected"
        )
        assert node.ledger.amounts_held() == {LAMP: 1}
        # Once the API says that the pod is over, its device is free.
        bench.active = {"u2"}
        await node.admit(pod_of("u2", container(lamps=2)))
        assert node.ledger.amounts_held() == {LAMP: 2}


async def test_what_nobody_offers_is_nobodys_business(bench: Bench) -> None:
    async with bench.node() as node:
        pod = pod_of("u1")
        await node.admit(pod)
        assert await node.give(pod, pod["spec"]["containers"][0]) == Given()


async def test_preferences_and_calls_before_a_start(bench: Bench) -> None:
    async with bench.node() as node:
        plugin = VendorPlugin(bench.sockets)
        plugin.options.pre_start_required = plugin.options.get_preferred_allocation_available = True
        plugin.prefers = ["c", "b"]
        plugin.start()
        plugin.offer(a=True, b=True, c=True)
        await trio.to_thread.run_sync(plugin.register)
        await bench.until_free(3)
        pod = pod_of("u1", container(lamps=2))
        await node.admit(pod)
        await node.give(pod, pod["spec"]["containers"][0])
        assert plugin.calls == [
            ("GetPreferredAllocation", ("a", "b", "c")),
            ("Allocate", ("b", "c")),
            ("PreStartContainer", ("b", "c")),
        ]
        await trio.to_thread.run_sync(plugin.stop)


async def test_a_refusal_of_the_plugin_refuses_the_pod(bench: Bench) -> None:
    async with bench.node() as node, bench.plugin(a=True) as plugin:
        plugin.fails = "the lamp is broken"
        with pytest.raises(DeviceProblem) as problem:
            await node.admit(pod_of("u1"))
        words = "rpc error: code = Unknown desc = the lamp is broken"
        assert str(problem.value) == f"Allocate failed due to {words}, which is unexpected"
        assert node.ledger.amounts_held() == {}
        plugin.fails = ""
        await node.admit(pod_of("u1"))


async def test_devices_fall_ill_and_plugins_go(bench: Bench) -> None:
    async with bench.node() as node:
        async with bench.plugin(a=True, b=True) as plugin:
            pod = pod_of("u1")
            await node.admit(pod)

            def told() -> Object:
                status: Object = {"containerStatuses": [{"name": "main"}, {"name": "other"}]}
                node.into_status(pod, status)
                return status

            def lamps(health: str) -> Object:
                held = [{"name": LAMP, "resources": [{"resourceID": "a", "health": health}]}]
                return {"containerStatuses": [{"name": "main", "allocatedResourcesStatus": held}, {"name": "other"}]}

            assert told() == lamps("Healthy")
            plugin.offer(a=False, b=True)
            await bench.until_free(1)
            assert told() == lamps("Unhealthy")
            assert node.shown({}) == ({LAMP: "2"}, {LAMP: "1"})
            with pytest.raises(DeviceProblem, match="no longer healthy"):
                await node.give(pod, pod["spec"]["containers"][0])
            plugin.offer(a=True, b=True, c=True)
            await bench.until_free(3)
        await bench.until_free(0)
        assert node.shown({}) == ({LAMP: "3"}, {LAMP: "0"})
        # What pods hold stays theirs in the eyes of admission.
        assert node.amounts({LAMP: "0"}) == {LAMP: "1"}
        with pytest.raises(DeviceProblem, match="no healthy devices present"):
            await node.admit(pod_of("u2"))
        # It is back before its time is over, on the same socket.
        async with bench.plugin(a=True, b=True, c=True):
            await node.admit(pod_of("u2"))


async def test_a_restart_of_the_node_gives_no_device_twice(bench: Bench) -> None:
    pod = pod_of("u1")
    async with bench.node() as node, bench.plugin(a=True, b=True):
        await node.admit(pod)
        before = node.ledger.holding("u1", "main", LAMP)
    async with bench.node() as node:
        # No device is offered until the plugin has registered again; the pod waits, and is not refused.
        assert node.shown({}) == ({LAMP: "0"}, {LAMP: "0"})
        await node.admit(pod)
        with pytest.raises(DeviceProblem, match="has not registered yet"):
            await node.give(pod, pod["spec"]["containers"][0])
        async with bench.plugin(a=True, b=True) as plugin:
            await node.admit(pod)
            assert (await node.give(pod, pod["spec"]["containers"][0])).env == {"LAMPS": "a"}
            await node.admit(pod_of("u2"))
            assert plugin.calls == [("Allocate", ("b",))]
            assert node.ledger.holding("u1", "main", LAMP) == before


async def test_sockets_of_an_earlier_life_are_removed(bench: Bench) -> None:
    async with bench.node():
        pass
    old = VendorPlugin(bench.sockets)
    old.start()
    (bench.sockets / "notes").write_text("not a socket")
    async with bench.node():
        assert sorted(path.name for path in bench.sockets.iterdir()) == ["kubelet.sock", "notes"]
    await trio.to_thread.run_sync(old.stop)


@pytest.mark.parametrize(
    ("resource", "endpoint", "version", "words"),
    [
        (
            LAMP,
            "lamp.sock",
            "v1alpha",
            'requested API version "v1alpha" is not supported by kubelet. Supported version is ["v1beta1"]',
        ),
        ("lamp", "lamp.sock", "v1beta1", 'the ResourceName "lamp" is invalid'),
        ("kubernetes.io/lamp", "lamp.sock", "v1beta1", 'the ResourceName "kubernetes.io/lamp" is invalid'),
        (LAMP, "../lamp.sock", "v1beta1", 'the endpoint "../lamp.sock" is not the name of a socket in this directory'),
    ],
)
async def test_who_does_not_keep_the_contract_is_refused(
    bench: Bench, resource: str, endpoint: str, version: str, words: str
) -> None:
    async with bench.node() as node:
        plugin = VendorPlugin(bench.sockets, resource)
        plugin.endpoint = endpoint

        def register() -> str:
            with pytest.raises(grpc.RpcError) as error:
                plugin.register(version)
            assert error.value.code() is grpc.StatusCode.UNKNOWN
            return str(error.value.details())

        assert await trio.to_thread.run_sync(register) == words
        assert node.ledger.offers == {}


class Steady:
    """A source that is there."""

    pre_start_required = preference_available = changes = False

    async def allocate(self, ids: Any) -> Given:
        return Given()

    async def preferred(self, available: Any, included: Any, size: int) -> frozenset[str]:
        return frozenset()

    async def pre_start(self, ids: Any) -> None:
        return


async def test_a_plugin_that_stays_away_loses_its_place(tmp_path: Path, autojump_clock: MockClock) -> None:
    send, receive = trio.open_memory_channel[Any](10)
    before = {"capacity": {LAMP: "2", "cpu": "4"}}
    node = NodeDevices(tmp_path / "devices.json", changed=lambda: send.send_nowait((trio.current_time(), *node.shown(before))))
    source = Steady()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.run)
        await node.offered(LAMP, source, Offer(frozenset({"a", "b"})))
        assert (await receive.receive())[1:] == ({LAMP: "2"}, {LAMP: "2"})
        node.gone(LAMP, source)
        left_at, *amounts = await receive.receive()
        assert amounts == [{LAMP: "2"}, {LAMP: "0"}]
        given_up_at, *amounts = await receive.receive()
        assert amounts == [{LAMP: None}, {}]
        assert given_up_at - left_at >= DEVICE_PLUGIN_GRACE_SECONDS
        await node.offered(LAMP, source, Offer(frozenset({"a"})))
        assert (await receive.receive())[1:] == ({LAMP: "1"}, {LAMP: "1"})
        nursery.cancel_scope.cancel()


async def test_resources_that_people_wrote_are_allocatable(tmp_path: Path) -> None:
    node = NodeDevices(tmp_path / "devices.json")
    before = {"capacity": {"people.example/dongle": "3", "cpu": "4"}, "allocatable": {"people.example/old": "1", "cpu": "4"}}
    assert node.shown(before) == ({}, {"people.example/dongle": "3", "people.example/old": None})


def test_names_of_cdi_need_a_containerd_that_knows_them() -> None:
    named = Given(cdi_devices=("vendor.example/lamp=a",))
    assert refusal("containerd://1.6.20", named) == (
        "CDI devices vendor.example/lamp=a need containerd 1.7 or newer, this node has 1.6"
    )
    assert refusal("containerd://1.6.20", Given()) == refusal("containerd://2.0.1", named) == refusal("cri-o://1.30", named) == ""


async def test_a_disk_that_takes_nothing_ends_no_node(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    node = NodeDevices(tmp_path / "file" / "devices.json")
    await node.offered(LAMP, Steady(), Offer(frozenset({"a"})))
    assert node.shown({}) == ({LAMP: "1"}, {LAMP: "1"})
