"""Which address is the node's, and what the kernel is told."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgekube.network.addresses import SYSCTLS, NoAddress, choose, forget_loopback_routing, write_sysctls
from edgekube.network.cni import FILE_NAME, conflist, write

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


def test_the_clusters_own_ranges_are_never_the_nodes_address() -> None:
    with pytest.raises(NoAddress, match="plug in a cable"):
        choose([DEFAULT], [link("eth0", "10.42.0.1")], avoid=["10.42.0.0/16"])


def test_the_network_configuration_is_what_the_plugins_document(tmp_path: Path) -> None:
    text = conflist(pod_cidr="10.42.0.0/24", mtu=1450, leases_dir=tmp_path)
    (plugin,) = json.loads(text)["plugins"]
    assert plugin["type"] == "ptp" and plugin["mtu"] == 1450 and plugin["ipMasq"] is False
    assert plugin["ipam"]["ranges"] == [[{"subnet": "10.42.0.0/24"}]]
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
