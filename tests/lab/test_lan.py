"""A real switch, real frames: each fault does what it says, to those it names, and heals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab.booting import LETTERS, fresh_prefix
from tests.lab.cluster import until
from tests.lab.guest import Guest, guest
from tests.lab.lan import GATEWAY, Lan
from tests.lab.node import Node
from tests.lab.reaching import arrives, counted, multicast_arrives, transfer_seconds
from tests.lab.router import routed
from tests.lab.subnet import FAR_TWO_STACKS, LINK_LOCAL, TWO_STACKS, Subnet

Three = tuple[Guest, Guest, Guest]


def hears(target: Guest | Node, source: Guest | Node) -> bool:
    return arrives(source.namespace, target.namespace, target.address)


def met(*places: Guest | Node) -> None:
    """Each has heard from each, so that only faults are left to keep them apart."""
    for one in places:
        for other in places:
            if one is not other:
                until(lambda one=one, other=other: hears(one, other))  # type: ignore[misc]


def test_a_cable_pulled_and_plugged(lan: Lan, three: Three) -> None:
    a, b, c = three
    met(*three)
    with lan.cable_pulled("a"):
        assert "NO-CARRIER" in a.run(["ip", "-br", "link", "show", "eth0"])
        assert not hears(b, a)
        assert not hears(a, b)
        until(lambda: hears(c, b))
    met(*three)


def test_a_silent_partition_of_two(lan: Lan, three: Three) -> None:
    a, b, c = three
    met(*three)
    with lan.silence("a", "b"):
        assert "NO-CARRIER" not in a.run(["ip", "-br", "link", "show", "eth0"])
        assert not hears(b, a)
        assert not hears(a, b)
        until(lambda: hears(c, a) and hears(a, c) and hears(c, b))
    met(*three)


def test_silence_around_one_includes_the_gateway(lan: Lan, three: Three) -> None:
    a, b, c = three
    met(*three)
    until(lambda: arrives(a.namespace, lan.namespace, GATEWAY))
    with lan.silence("a"):
        assert not hears(b, a)
        assert not hears(a, b)
        assert not arrives(a.namespace, lan.namespace, GATEWAY)
        assert not arrives(lan.namespace, a.namespace, a.address)
        until(lambda: hears(c, b))
    met(*three)


def test_one_way(lan: Lan, three: Three) -> None:
    a, b, c = three
    met(*three)
    with lan.deaf("a", "b"):
        assert not hears(a, b)
        until(lambda: hears(b, a) and hears(a, c))
    with lan.deaf("a"):
        assert not hears(a, b)
        assert not hears(a, c)
        until(lambda: hears(b, a) and hears(c, a))
    met(*three)


def test_loss_is_about_what_was_asked_for(lan: Lan, three: Three) -> None:
    a, b, c = three
    met(*three)
    with lan.loss("a", 20):
        # 200 trials at 0.8: seven standard deviations either way.
        until(lambda: 120 <= counted(a.namespace, b.namespace, b.address, datagrams=200) < 200)
        until(lambda: 120 <= counted(b.namespace, a.namespace, a.address, datagrams=200) < 200)
        until(lambda: counted(b.namespace, c.namespace, c.address, datagrams=200) == 200)
    until(lambda: counted(a.namespace, b.namespace, b.address, datagrams=200) == 200)


def test_faults_add_up_and_heal_one_by_one(lan: Lan, three: Three) -> None:
    a, b, c = three
    met(*three)
    with lan.deaf("a", "b"):
        with lan.silence("a", "c"), lan.deaf("a", "b"):
            assert not hears(a, b) and not hears(a, c)
        until(lambda: hears(a, c))
        assert not hears(a, b)
    met(*three)


def test_a_slow_line(lan: Lan, three: Three) -> None:
    a, b, _ = three
    met(a, b)
    with lan.slow("a", kilobits_per_second=800):
        outward = transfer_seconds(a.namespace, b.namespace, b.address, size_bytes=60_000)
        inward = transfer_seconds(b.namespace, a.namespace, a.address, size_bytes=60_000)
    # 60 kB less the burst of 16 KiB at 100 kB/s.
    assert outward > 0.4 and inward > 0.4
    until(lambda: transfer_seconds(a.namespace, b.namespace, b.address, size_bytes=60_000) < min(outward, inward))


def test_multicast_is_flooded(lan: Lan, three: Three) -> None:
    a, b, c = three
    until(lambda: multicast_arrives(a.namespace, b.namespace))
    until(lambda: multicast_arrives(c.namespace, b.namespace))
    with lan.silence("c", "b"):
        assert not multicast_arrives(c.namespace, b.namespace)
        until(lambda: multicast_arrives(a.namespace, b.namespace))


def test_a_new_lease_takes_the_old_addresss_routes_along(lan: Lan, three: Three) -> None:
    _, b, _ = three
    with guest(lan, "mover", "192.0.2.50") as mover:
        met(mover, b)
        mover.run(["ip", "route", "add", "203.0.113.0/24", "via", b.address])
        lan.give_address(mover.namespace, "192.0.2.51")
        assert not arrives(b.namespace, mover.namespace, "192.0.2.50")
        until(lambda: arrives(b.namespace, mover.namespace, "192.0.2.51"))
        routes = {route["dst"] for route in json.loads(mover.run(["ip", "-j", "route"]))}
        assert routes == {"default", "192.0.2.0/24"}


def test_without_a_dhcp_server_neighbours_are_all_there_is() -> None:
    with (
        Lan(fresh_prefix(), subnet=LINK_LOCAL) as lan,
        guest(lan, "a", "169.254.7.1") as a,
        guest(lan, "b", "169.254.200.9") as b,
    ):
        assert "default" not in a.run(["ip", "route"])
        met(a, b)
        until(lambda: multicast_arrives(a.namespace, b.namespace))


@pytest.mark.parametrize("nat", [False, True], ids=["routed", "nat"])
def test_a_second_segment(nat: bool) -> None:
    prefix = fresh_prefix()
    with (
        Lan(prefix, subnet=TWO_STACKS) as near,
        Lan(prefix, name="far", subnet=FAR_TWO_STACKS) as far,
        routed(near, far, nat=nat),
        guest(near, "a", "192.0.2.1") as a,
        guest(far, "b", "198.51.100.1") as b,
    ):
        until(lambda: hears(a, b))
        if nat:
            assert not hears(b, a), "behind NAT one can call, and not be called"
        else:
            until(lambda: hears(b, a))
        assert not multicast_arrives(a.namespace, b.namespace)
        if not nat:
            until(lambda: arrives(a.namespace, b.namespace, "2001:db8:0:1::1"))
            with near.silence("a"):
                assert not hears(b, a)


def test_a_lab_that_is_up_keeps_its_prefix() -> None:
    with Lan(fresh_prefix()) as up:
        assert up.prefix not in {fresh_prefix() for _ in LETTERS}


def test_two_stacks() -> None:
    with Lan(fresh_prefix(), subnet=TWO_STACKS) as lan, guest(lan, "a", "192.0.2.1") as a, guest(lan, "b", "192.0.2.2") as b:
        met(a, b)
        until(lambda: arrives(a.namespace, b.namespace, "2001:db8::2"))
        with lan.silence("a", "b"):
            assert not arrives(a.namespace, b.namespace, "2001:db8::2")
        lan.give_address(b.namespace, "192.0.2.9")
        until(lambda: arrives(a.namespace, b.namespace, "2001:db8::9"))


def test_an_address_must_fit_the_plan() -> None:
    with pytest.raises(ValueError, match=r"198\.51\.100\.1 is not in 192\.0\.2\.0/24"):
        Subnet(TWO_STACKS.ipv4).members("198.51.100.1")


def test_a_node_off_and_on_again(lan: Lan, three: Three, tmp_path: Path) -> None:
    a, _, _ = three
    node = Node(lan, "node", "192.0.2.20", tmp_path)
    try:
        node.power_on()
        sleeper = node.start(["sleep", "1000"], tmp_path / "log")
        met(node, a)
        node.power_off()
        assert sleeper.wait(60) != 0
        node.power_on()
        assert node.run(["hostname"]).strip() == "node"
        met(node, a)
        node.change_address("192.0.2.21")
        met(node, a)
    finally:
        node.close()


def test_a_node_cannot_set_the_clock_that_all_share(lan: Lan, tmp_path: Path) -> None:
    node = Node(lan, "timeless", "192.0.2.30", tmp_path)
    try:
        node.power_on()
        # To what it is anyway: were it allowed, no harm would be done.
        said = node.run(["sh", "-c", 'date -s "@$(date +%s)" 2>&1'], check=False)
        assert "Operation not permitted" in said
        capabilities = int(node.run(["sed", "-n", "s/^CapBnd:[[:space:]]*//p", "/proc/1/status"]), 16)
        assert not capabilities & 1 << 25, "pid 1 could set it"
    finally:
        node.close()
