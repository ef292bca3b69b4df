"""Which address is the node's, and what the kernel is told."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgekube.network.addresses import (
    SYSCTLS,
    NoAddress,
    accept_router_advice,
    choose,
    choose_ipv6,
    forget_loopback_routing,
    host_commands,
    host_commands_ipv6,
    removal_commands,
    write_sysctls,
)
from edgekube.network.cni import FILE_NAME, conflist, write
from tests.lab.booting import fresh_prefix
from tests.lab.shell import run

DEFAULT = {"dst": "default", "gateway": "192.0.2.254", "dev": "eth0"}


def link(name: str, *addresses: str, scope: str = "global") -> dict[str, Any]:
    return {"ifname": name, "addr_info": [{"family": "inet", "local": a, "scope": scope} for a in addresses]}


def test_the_default_route_decides() -> None:
    links = [link("lo", "127.0.0.1", scope="host"), link("wlan0", "198.51.100.4"), link("eth0", "192.0.2.7", "192.0.2.8")]
    assert choose([DEFAULT], links) == "192.0.2.7"
    assert choose([{**DEFAULT, "prefsrc": "192.0.2.8"}], links) == "192.0.2.8"
    assert choose([{**DEFAULT, "metric": 600}, {**DEFAULT, "dev": "wlan0", "metric": 100}], links) == "198.51.100.4"


def test_without_a_default_route_the_first_global_address_serves_but_no_pods_end() -> None:
    links = [link("lo", "10.43.0.10"), link("veth0", "10.42.0.1"), link("docker0", "172.17.0.1"), link("eth0", "192.0.2.7")]
    assert choose([], links) == "192.0.2.7"


def test_a_good_address_is_kept_while_it_is_one() -> None:
    both = [link("eth0", "192.0.2.7", "192.0.2.9"), link("wlan0", "198.51.100.4")]
    wireless = {"dst": "default", "dev": "wlan0", "metric": 600}
    assert choose([DEFAULT, wireless], both, now="192.0.2.9") == "192.0.2.9", "a new lease beside the old one"
    assert choose([DEFAULT, wireless], both, now="198.51.100.4") == "198.51.100.4", "a cable beside the wireless network"
    assert choose([wireless], both, now="192.0.2.9") == "198.51.100.4", "there is no way out of the old one"
    assert choose([DEFAULT], both[:1], now="198.51.100.4") == "192.0.2.7", "the old one is gone"
    unplugged = [{**both[0], "flags": ["UP", "NO-CARRIER"]}, both[1]]
    assert choose([DEFAULT, wireless], unplugged, now="198.51.100.4") == "198.51.100.4"
    assert choose([], unplugged, now="192.0.2.7") == "198.51.100.4", "a link without a cable is the last choice"


def test_a_link_local_address_is_the_last_resort() -> None:
    local = link("eth0", "169.254.7.8", scope="link")
    assert choose([], [local]) == "169.254.7.8"
    assert choose([], [local, link("wlan0", "198.51.100.4")], now="169.254.7.8") == "198.51.100.4"
    assert choose([], [local, link("eth1", "169.254.9.9", scope="link")], now="169.254.9.9") == "169.254.9.9"


def test_an_ipv6_address_that_lasts_is_taken_beside_the_ipv4_one() -> None:
    def info(address: str, **more: Any) -> dict[str, Any]:
        return {"family": "inet6", "local": address, "scope": "link" if address.startswith("fe80") else "global", **more}

    eth0, wlan0 = link("eth0", "192.0.2.7"), link("wlan0", "198.51.100.4")
    wlan0["addr_info"] += [info("2001:db8:1::4")]
    assert choose_ipv6([eth0], beside="192.0.2.7") == ""
    eth0["addr_info"] += [info("fe80::1"), info("2001:db8::77", temporary=True), info("2001:db8::66", deprecated=True)]
    assert choose_ipv6([eth0], beside="192.0.2.7") == "", "link-local and passing ones are none"
    assert choose_ipv6([eth0, wlan0], beside="192.0.2.7") == "2001:db8:1::4", "better than none"
    eth0["addr_info"] += [info("2001:db8::7"), info("2001:db8::8")]
    assert choose_ipv6([wlan0, eth0], beside="192.0.2.7") == "2001:db8::7"
    assert choose_ipv6([wlan0, eth0], beside="192.0.2.7", now="2001:db8::8") == "2001:db8::8"
    assert choose_ipv6([wlan0, eth0], beside="192.0.2.7", avoid=["2001:db8::/64"]) == "2001:db8:1::4"


def test_the_clusters_own_ranges_are_never_the_nodes_address() -> None:
    with pytest.raises(NoAddress, match="plug in a cable"):
        choose([DEFAULT], [link("eth0", "10.42.0.1")], avoid=["10.42.0.0/16"])


def test_the_network_configuration_is_what_the_plugins_document(tmp_path: Path) -> None:
    text = conflist(pod_cidrs=["10.42.0.0/24"], mtu=1450, leases_dir=tmp_path)
    (plugin,) = json.loads(text)["plugins"]
    assert plugin["type"] == "ptp" and plugin["mtu"] == 1450 and plugin["ipMasq"] is False
    assert plugin["ipam"]["ranges"] == [[{"subnet": "10.42.0.0/24"}]]
    assert plugin["ipam"]["routes"] == [{"dst": "0.0.0.0/0"}]
    both = json.loads(conflist(pod_cidrs=["10.42.0.0/24", "fd42::/64"], mtu=1500, leases_dir=tmp_path))["plugins"][0]["ipam"]
    assert both["ranges"] == [[{"subnet": "10.42.0.0/24"}], [{"subnet": "fd42::/64"}]]
    assert both["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    assert write(tmp_path / "net.d", text) and not write(tmp_path / "net.d", text)
    assert [path.name for path in (tmp_path / "net.d").iterdir()] == [FILE_NAME]


def test_settings_that_the_kernel_refuses_are_named(tmp_path: Path) -> None:
    (tmp_path / "net/ipv4").mkdir(parents=True)
    (tmp_path / "net/ipv4/ip_forward").write_text("0\n")
    assert write_sysctls(tmp_path) == [name for name in SYSCTLS if name != "net/ipv4/ip_forward"]
    assert (tmp_path / "net/ipv4/ip_forward").read_text() == "1"


def test_an_uninstall_takes_loopback_routing_back(tmp_path: Path) -> None:
    setting = tmp_path / "net/ipv4/conf/default/route_localnet"
    setting.parent.mkdir(parents=True)
    setting.write_text("1")
    forget_loopback_routing(tmp_path)
    assert setting.read_text() == "0"


@pytest.mark.root
def test_the_kernel_takes_what_two_stacks_need_and_gives_it_back(tmp_path: Path) -> None:
    name = fresh_prefix()
    run(["ip", "netns", "add", name])
    try:
        batch = ["ip", "-n", name, "-batch", "-"]
        run(["ip", "-n", name, "link", "set", "lo", "up"])
        run(["ip", "-n", name, "link", "add", "eth0", "type", "bridge"])
        run(["ip", "-n", name, "link", "set", "eth0", "up"])
        run(["ip", "-n", name, "address", "add", "192.0.2.7/24", "dev", "eth0"])
        made = host_commands(node_ip="192.0.2.7", pod_cidr="10.42.3.0/24", service_cidr="10.43.0.0/16", cluster_dns="10.43.0.10")
        made += host_commands_ipv6(
            source="fd42::1", pod_cidr="fd42::/64", service_cidr="fd43::/112", cluster_dns="fd43::a", device="eth0"
        )
        for _ in range(2):
            run(batch, stdin="\n".join(made) + "\n")
        held = run(["ip", "-n", name, "-o", "address", "show", "dev", "lo"])
        assert all(f" {address}/" in held for address in ("10.42.3.1", "10.43.0.10", "fd42::1", "fd43::a"))
        assert "10.43.0.0/16 dev lo" in run(["ip", "-n", name, "route"])
        assert "fd43::/112 dev eth0 proto 143 src fd42::1" in run(["ip", "-n", name, "-6", "route"])
        removed = removal_commands(
            pod_cidrs=["10.42.3.0/24", "fd42::/64"],
            service_cidrs=["10.43.0.0/16", "fd43::/112"],
            cluster_dns=["10.43.0.10", "fd43::a"],
        )
        run(batch, stdin="\n".join(removed) + "\n")
        held = run(["ip", "-n", name, "-o", "address", "show", "dev", "lo"])
        assert "10.4" not in held and "fd4" not in held
        assert "10.43" not in run(["ip", "-n", name, "route"]) and "fd43" not in run(["ip", "-n", name, "-6", "route"])
    finally:
        run(["ip", "netns", "delete", name])


def test_routers_are_heard_on_uplinks_although_the_node_forwards(tmp_path: Path) -> None:
    for link, value in (("eth0", "1"), ("wlan0", "0"), ("eth1", "2")):
        (tmp_path / "net/ipv6/conf" / link).mkdir(parents=True)
        (tmp_path / "net/ipv6/conf" / link / "accept_ra").write_text(value + "\n")
    accept_router_advice(["eth0", "wlan0", "eth1", "gone0"], tmp_path)
    now = {link: (tmp_path / "net/ipv6/conf" / link / "accept_ra").read_text().strip() for link in ("eth0", "wlan0", "eth1")}
    assert now == {"eth0": "2", "wlan0": "0", "eth1": "2"}, "who had it switched off keeps it so"
