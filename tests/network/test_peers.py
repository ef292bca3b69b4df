"""Which way each node's pods are reached: examples, and what must hold for any cluster and any state of the kernel."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edgekube.network import forwarding, node_rules
from edgekube.network.forwarding import DEVICE, NO_CHANGE, Change, Forward, Neighbour, Route, State, Tunnel, difference
from edgekube.network.peers import Member, member, plan, tunnel_mac

CLUSTER = (ip_network("10.42.0.0/16"),)
BOTH = (*CLUSTER, ip_network("fd42::/48"))


def link(name: str, *addresses: str, mtu: int = 1500, flags: tuple[str, ...] = ("UP", "LOWER_UP")) -> dict[str, Any]:
    info = [{"local": a.split("/")[0], "prefixlen": int(a.split("/")[1]), "scope": "global"} for a in addresses]
    return {"ifname": name, "mtu": mtu, "flags": flags, "addr_info": info}


def node(number: int, *addresses: str, both: bool = False, created: str = "") -> Member:
    cidrs = [f"10.42.{number}.0/24", *([f"fd42:0:0:{number:x}::/64"] if both else [])]
    return Member(f"n{number}", tuple(map(ip_address, addresses)), tuple(map(ip_network, cidrs)), created)


OWN = node(1, "192.0.2.1")
ETH0 = link("eth0", "192.0.2.1/24")


def way(state: State, destination: str) -> Route | None:
    return next((route for route in state.routes if route.destination == destination), None)


def test_a_node_object_is_read_for_what_routes_need() -> None:
    addresses = [
        {"type": "InternalIP", "address": "192.0.2.2"},
        {"type": "InternalIP", "address": "not one"},
        {"type": "Hostname", "address": "pi"},
    ]
    obj = {
        "metadata": {"name": "pi", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"podCIDR": "10.42.2.0/24", "podCIDRs": ["10.42.2.0/24", "fd42:0:0:2::/64"]},
        "status": {"addresses": addresses},
    }
    cidrs = (ip_network("10.42.2.0/24"), ip_network("fd42:0:0:2::/64"))
    assert member(obj) == Member("pi", (ip_address("192.0.2.2"),), cidrs, "2026-01-01T00:00:00Z")
    assert member({"metadata": {"name": "new"}}) == Member("new", (), ())


def test_the_lines_that_people_see_in_ip_monitor() -> None:
    nodes = [OWN, node(2, "192.0.2.2"), node(3, "198.51.100.3")]
    change = difference(State(), plan(OWN, nodes, [ETH0], CLUSTER))
    assert forwarding.device_lines(change) == [
        "link add edgekube-vx address 56:4c:a3:41:e6:44 mtu 1450 "
        "type vxlan id 4242 local 192.0.2.1 dstport 8472 nolearning noudpcsum",
        "link set edgekube-vx addrgenmode none",
        "link set edgekube-vx up",
        "address replace 10.42.1.0/32 dev edgekube-vx",
    ]
    assert forwarding.bridge_lines(change) == [
        f"fdb replace {tunnel_mac('n2')} dev edgekube-vx dst 192.0.2.2 self permanent",
        f"fdb replace {tunnel_mac('n3')} dev edgekube-vx dst 198.51.100.3 self permanent",
    ]
    assert forwarding.route_lines(change) == [
        f"neighbour replace 10.42.2.0 lladdr {tunnel_mac('n2')} dev edgekube-vx nud permanent",
        f"neighbour replace 10.42.3.0 lladdr {tunnel_mac('n3')} dev edgekube-vx nud permanent",
        "route replace unreachable 10.42.0.0/16 proto 142",
        "route replace 10.42.2.0/24 via 192.0.2.2 dev eth0 proto 142",
        "route replace 10.42.3.0/24 via 10.42.3.0 dev edgekube-vx onlink proto 142",
    ]


def test_alone_there_is_no_tunnel() -> None:
    assert plan(OWN, [OWN], [ETH0], CLUSTER) == State(routes=frozenset({Route("10.42.0.0/16")}))


def test_a_node_without_an_address_waits_for_one() -> None:
    adrift = replace(OWN, addresses=())
    state = plan(adrift, [node(2, "192.0.2.2")], [link("eth0")], CLUSTER)
    assert state.tunnel is None and way(state, "10.42.2.0/24") is None


def test_of_two_links_on_one_segment_the_one_with_a_cable_and_the_nodes_address_is_taken() -> None:
    wlan0 = link("wlan0", "192.0.2.9/24")
    unplugged = link("eth0", "192.0.2.1/24", flags=("UP", "NO-CARRIER"))
    (near,) = [node(2, "192.0.2.2")]
    assert way(plan(OWN, [near], [wlan0, ETH0], CLUSTER), "10.42.2.0/24") == Route("10.42.2.0/24", "192.0.2.2", "eth0")
    assert way(plan(OWN, [near], [wlan0, unplugged], CLUSTER), "10.42.2.0/24") == Route("10.42.2.0/24", "192.0.2.2", "wlan0")


def test_links_of_pods_and_of_other_runtimes_are_no_segments() -> None:
    links = [ETH0, link("docker0", "172.17.0.1/16"), link("vethabc", "172.17.0.9/16"), link("eth1", "172.17.0.7/16", flags=())]
    state = plan(OWN, [node(2, "172.17.0.2")], links, CLUSTER)
    assert way(state, "10.42.2.0/24") == Route("10.42.2.0/24", "10.42.2.0", DEVICE, onlink=True)


def test_the_tunnel_is_as_wide_as_the_link_below_it_allows() -> None:
    state = plan(OWN, [node(2, "198.51.100.2")], [link("eth0", "192.0.2.1/24", mtu=9000)], CLUSTER)
    assert state.tunnel is not None and state.tunnel.mtu == 8950


def test_pods_of_both_families_go_their_own_ways() -> None:
    own = node(1, "192.0.2.1", "2001:db8::1", both=True)
    eth0 = link("eth0", "192.0.2.1/24", "2001:db8::1/64")
    near, v4_only = node(2, "192.0.2.2", "2001:db8::2", both=True), node(3, "192.0.2.3", both=True)
    state = plan(own, [own, near, v4_only], [eth0], BOTH)
    assert way(state, "fd42:0:0:2::/64") == Route("fd42:0:0:2::/64", "2001:db8::2", "eth0")
    # The segment has no IPv6 address of that node, but packets of both families fit into the tunnel.
    assert way(state, "10.42.3.0/24") == Route("10.42.3.0/24", "192.0.2.3", "eth0")
    assert way(state, "fd42:0:0:3::/64") == Route("fd42:0:0:3::/64", "fd42:0:0:3::", DEVICE, onlink=True)
    assert state.tunnel is not None and state.tunnel.addresses == {"10.42.1.0/32", "fd42:0:0:1::/128"}


def test_a_node_cannot_take_what_is_not_its_own() -> None:
    honest = node(2, "192.0.2.2", created="2026-01-01T00:00:00Z")
    late = "2026-02-02T00:00:00Z"
    liar = (ip_address("192.0.2.1"), ip_address("127.0.0.1"), ip_address("10.42.2.5"))
    thieves = [
        Member("t1", (ip_address("192.0.2.66"),), (ip_network("10.42.2.0/24"),), late),
        Member("t2", (ip_address("192.0.2.66"),), (ip_network("10.42.0.0/16"),), late),
        Member("t3", (ip_address("192.0.2.66"),), (ip_network("10.42.1.128/25"),), late),
        Member("t4", (ip_address("192.0.2.66"),), (ip_network("203.0.113.0/24"),), late),
        Member("t5", liar, (ip_network("10.42.5.0/24"),), late),
    ]
    assert plan(OWN, [*thieves, honest], [ETH0], CLUSTER) == plan(OWN, [honest], [ETH0], CLUSTER)


def test_a_node_without_a_cable_is_reached_by_nobody() -> None:
    adrift, services = node(2, "10.43.0.10"), [ip_network("10.43.0.0/16")]
    assert plan(OWN, [adrift], [ETH0], CLUSTER, services) == plan(OWN, [], [ETH0], CLUSTER)


def test_ends_of_the_tunnel_are_told_apart_and_are_no_ones_hardware() -> None:
    macs = {tunnel_mac(f"node-{number}") for number in range(2000)}
    assert len(macs) == 2000 and all(int(mac[:2], 16) & 0b11 == 0b10 for mac in macs)


def test_the_rules_name_who_may_use_the_tunnel() -> None:
    text = node_rules.table([ip_address("192.0.2.3"), ip_address("192.0.2.2"), ip_address("2001:db8::2")], BOTH)
    assert text == (Path(__file__).parent / "golden" / "nodes.nft").read_text()
    assert "elements" not in node_rules.table([], CLUSTER), "nft takes no empty list"


# What must hold for any cluster: whatever the kernel has, the change leads to what is wanted.

HOSTS = st.sampled_from(["192.0.2.1", "192.0.2.2", "192.0.2.3", "198.51.100.2", "198.51.100.7", "2001:db8::2", "2001:db8::7"])
NODES = st.builds(
    lambda number, hosts, both: node(number, *hosts, both=both),
    st.integers(2, 7),
    st.lists(HOSTS, max_size=2, unique=True),
    st.booleans(),
)
LINKS = st.lists(
    st.builds(
        link,
        st.sampled_from(["eth0", "eth1", "wlan0"]),
        st.sampled_from(["192.0.2.1/24", "198.51.100.1/24", "2001:db8::1/64"]),
        mtu=st.sampled_from([1500, 9000]),
    ),
    max_size=3,
    unique_by=lambda printed: str(printed["ifname"]),
)
OWNS = st.builds(
    lambda host, both: node(1, *host, both=both), st.sampled_from([(), ("192.0.2.1",), ("198.51.100.1",)]), st.booleans()
)
PLANS = st.builds(
    lambda own, nodes, links: plan(own, nodes, links, BOTH), OWNS, st.lists(NODES, max_size=5, unique_by=lambda n: n.name), LINKS
)
MACS = st.sampled_from([tunnel_mac("n1"), tunnel_mac("n2"), tunnel_mac("n9"), "02:00:00:00:00:09"])
TUNNELS = st.builds(Tunnel, MACS, HOSTS, st.sampled_from([1450, 1280]), st.frozensets(st.just("10.42.9.0/32")))
LEFT = st.builds(
    State,
    st.frozensets(st.builds(Route, st.sampled_from(["10.42.2.0/24", "10.42.9.0/24"]), HOSTS, st.just("eth9")), max_size=1),
    st.none() | TUNNELS,
    st.frozensets(st.builds(Forward, MACS, HOSTS), max_size=1),
    st.frozensets(st.builds(Neighbour, st.sampled_from(["10.42.2.0", "10.42.9.0"]), MACS), max_size=1),
)


def apply(state: State, change: Change) -> State:
    """A kernel in miniature: tables with one entry a key, and a device that takes what hangs on it along."""
    routes = {route.destination: route for route in state.routes}
    forwards = {forward.mac: forward for forward in state.forwards}
    neighbours = {neighbour.address: neighbour for neighbour in state.neighbours}
    tunnel = state.tunnel
    if change.remove_tunnel:
        tunnel = None
        forwards, neighbours = {}, {}
        routes = {key: route for key, route in routes.items() if route.device != DEVICE}
    if change.make_tunnel:
        assert tunnel is None, "the kernel takes one device of a name"
        tunnel = replace(change.make_tunnel, addresses=frozenset())
    if change.alter_tunnel:
        assert tunnel is not None
        tunnel = replace(change.alter_tunnel, addresses=tunnel.addresses)
    if change.put_addresses or change.remove_addresses:
        assert tunnel is not None
        tunnel = replace(tunnel, addresses=(tunnel.addresses | set(change.put_addresses)) - set(change.remove_addresses))
    if change.put_forwards or change.put_neighbours:
        assert tunnel is not None, "nothing can be said of a device that is not there"
    forwards |= {forward.mac: forward for forward in change.put_forwards}
    neighbours |= {neighbour.address: neighbour for neighbour in change.put_neighbours}
    for route in change.put_routes:
        assert route.device != DEVICE or tunnel is not None
        routes[route.destination] = route
    for gone in change.remove_routes:
        assert routes.pop(gone.destination) == gone
    for forward in change.remove_forwards:
        assert forwards.pop(forward.mac) == forward
    for neighbour in change.remove_neighbours:
        assert neighbours.pop(neighbour.address) == neighbour
    return State(frozenset(routes.values()), tunnel, frozenset(forwards.values()), frozenset(neighbours.values()))


def consistent(state: State) -> State:
    """What a kernel can hold: nothing of a device that is not there."""
    if state.tunnel is not None:
        return state
    return State(frozenset(route for route in state.routes if route.device != DEVICE))


@given(LEFT | PLANS, PLANS)
def test_any_state_of_the_kernel_becomes_the_wanted_one(left: State, wanted: State) -> None:
    left = consistent(left)
    assert apply(left, difference(left, wanted)) == wanted
    assert difference(wanted, wanted) == NO_CHANGE


@given(PLANS, PLANS)
def test_what_is_there_and_wanted_is_not_touched(one: State, other: State) -> None:
    """A healthy connection to a peer that nothing happened to notices nothing."""
    change = difference(one, other)
    if one.tunnel is not None and other.tunnel is not None:
        assert not change.remove_tunnel, "a change of address is no reason to take the tunnel away"
        assert not set(change.put_forwards) & one.forwards and not set(change.put_neighbours) & one.neighbours
    assert not {r for r in change.put_routes if r.device != DEVICE} & one.routes
    assert not set(change.remove_routes) & other.routes


@given(OWNS, st.lists(NODES, max_size=5, unique_by=lambda n: n.name), LINKS, st.randoms())
def test_the_order_of_nodes_and_links_does_not_matter(own: Member, nodes: list[Member], links: list[Any], random: Any) -> None:
    shuffled, turned = list(nodes), list(links)
    random.shuffle(shuffled)
    random.shuffle(turned)
    assert plan(own, nodes, links, BOTH) == plan(own, shuffled, turned, BOTH)


@given(PLANS)
def test_every_route_can_work(state: State) -> None:
    """A way through the tunnel has a neighbour and a node behind it."""
    ends = {neighbour.address: neighbour.mac for neighbour in state.neighbours}
    behind = {forward.mac for forward in state.forwards}
    for route in state.routes:
        if route.device == DEVICE:
            assert state.tunnel is not None and ends[route.via] in behind
