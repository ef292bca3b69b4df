"""What a node's kernel knows about the other nodes' pods: routes, the tunnel and who is at its other ends.

Enters: a wanted State; what ``ip -j`` and ``bridge -j`` print.
Leaves: the State that is there, the Change between two, and that as lines for ``ip -batch`` and ``bridge -batch``.
Holds: pure. A present State with the Change applied is the wanted one, whatever was present.
Next: network.routes runs the lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any, Final, TypeAlias

from msgspec import Struct

#: Our mark on routes (rtm_protocol): no routing daemon of /etc/iproute2/rt_protos uses it.
PROTOCOL: Final = 142
DEVICE: Final = "edgekube-vx"
VNI: Final = 4242
#: flannel's port rather than IANA's 4789: it is the one that firewalls of small clusters already have open.
PORT: Final = 8472

#: One object of ``ip -j``.
Printed: TypeAlias = Mapping[str, Any]


class Route(Struct, frozen=True, order=True):
    """Without ``via`` and ``device``: what goes there is refused."""

    destination: str
    via: str = ""
    device: str = ""
    #: The gateway is at the other end of the device, whatever addresses the device has.
    onlink: bool = False


class Tunnel(Struct, frozen=True):
    mac: str
    #: The address in whose name packets are sent to other nodes.
    local: str
    mtu: int
    addresses: frozenset[str]


class Forward(Struct, frozen=True, order=True):
    """Frames for this MAC go to the node of this address."""

    mac: str
    node: str


class Neighbour(Struct, frozen=True, order=True):
    address: str
    mac: str


class State(Struct, frozen=True):
    routes: frozenset[Route] = frozenset()
    tunnel: Tunnel | None = None
    forwards: frozenset[Forward] = frozenset()
    neighbours: frozenset[Neighbour] = frozenset()


class Change(Struct, frozen=True):
    """``put`` replaces what has the same key (destination, MAC, address); the tunnel comes first and goes last."""

    #: The device has another form than what is wanted, or is not wanted: with it go its addresses and what was said of it.
    remove_tunnel: bool = False
    make_tunnel: Tunnel | None = None
    alter_tunnel: Tunnel | None = None
    put_addresses: tuple[str, ...] = ()
    remove_addresses: tuple[str, ...] = ()
    put_forwards: tuple[Forward, ...] = ()
    remove_forwards: tuple[Forward, ...] = ()
    put_neighbours: tuple[Neighbour, ...] = ()
    remove_neighbours: tuple[Neighbour, ...] = ()
    put_routes: tuple[Route, ...] = ()
    remove_routes: tuple[Route, ...] = ()


NO_CHANGE: Final = Change()


def difference(present: State, wanted: State) -> Change:
    old, new = present.tunnel, wanted.tunnel
    remade = new is not None and (old is None or old.mac != new.mac)
    if old is None or new is None or remade:
        # Whatever hung on the device went with it, or never was.
        kept = State(routes=frozenset(r for r in present.routes if r.device != DEVICE))
        held: frozenset[str] = frozenset()
    else:
        kept, held = present, old.addresses
    addresses = frozenset() if new is None else new.addresses
    forwards = {forward.mac for forward in wanted.forwards}
    neighbours = {neighbour.address for neighbour in wanted.neighbours}
    routes = {route.destination for route in wanted.routes}
    return Change(
        remove_tunnel=old is not None and (new is None or remade),
        make_tunnel=new if remade else None,
        alter_tunnel=new if new and old and not remade and (old.local, old.mtu) != (new.local, new.mtu) else None,
        put_addresses=tuple(sorted(addresses - held)),
        remove_addresses=tuple(sorted(held - addresses)),
        put_forwards=tuple(sorted(wanted.forwards - kept.forwards)),
        remove_forwards=tuple(sorted(f for f in kept.forwards if f.mac not in forwards)),
        put_neighbours=tuple(sorted(wanted.neighbours - kept.neighbours)),
        remove_neighbours=tuple(sorted(n for n in kept.neighbours if n.address not in neighbours)),
        put_routes=tuple(sorted(wanted.routes - kept.routes)),
        remove_routes=tuple(sorted(r for r in kept.routes if r.destination not in routes)),
    )


def device_lines(change: Change) -> list[str]:
    """``ip -batch``, first: the device has to be there before anything can be said about it."""
    lines = []
    if change.remove_tunnel:
        lines.append(f"link delete {DEVICE}")
    if tunnel := change.make_tunnel:
        # RFC 7348 asks for no outer checksum: what is inside has its own, and summing twice halves what gets through.
        kind = f"type vxlan id {VNI} local {tunnel.local} dstport {PORT} nolearning noudpcsum"
        lines.append(f"link add {DEVICE} address {tunnel.mac} mtu {tunnel.mtu} {kind}")
        lines.append(f"link set {DEVICE} addrgenmode none")
        lines.append(f"link set {DEVICE} up")
    if tunnel := change.alter_tunnel:
        lines.append(f"link set {DEVICE} type vxlan id {VNI} local {tunnel.local}")
        lines.append(f"link set {DEVICE} mtu {tunnel.mtu} up")
    lines += [f"address replace {address} dev {DEVICE}{' nodad' if ':' in address else ''}" for address in change.put_addresses]
    lines += [f"address delete {address} dev {DEVICE}" for address in change.remove_addresses]
    return lines


def bridge_lines(change: Change) -> list[str]:
    """``bridge -batch``, second."""
    lines = [f"fdb replace {f.mac} dev {DEVICE} dst {f.node} self permanent" for f in change.put_forwards]
    # An address that is replaced was replaced above; what is left here is a MAC that nobody has any more.
    lines += [f"fdb delete {f.mac} dev {DEVICE} dst {f.node} self" for f in change.remove_forwards]
    return lines


def route_lines(change: Change) -> list[str]:
    """``ip -batch``, last."""
    lines = [f"neighbour replace {n.address} lladdr {n.mac} dev {DEVICE} nud permanent" for n in change.put_neighbours]
    lines += [f"route replace {_spelled(route)} proto {PROTOCOL}" for route in change.put_routes]
    lines += [f"route delete {_spelled(route)} proto {PROTOCOL}" for route in change.remove_routes]
    lines += [f"neighbour delete {n.address} dev {DEVICE}" for n in change.remove_neighbours]
    return lines


def _spelled(route: Route) -> str:
    if not route.device:
        return f"unreachable {route.destination}"
    return f"{route.destination} via {route.via} dev {route.device}{' onlink' if route.onlink else ''}"


def read(
    links: Iterable[Printed], routes: Iterable[Printed], forwards: Iterable[Printed], neighbours: Iterable[Printed]
) -> State:
    """From what ``ip -j -d address``, ``ip -j route`` of both families, ``bridge -j fdb`` and ``ip -j neighbour`` show."""
    return State(
        routes=frozenset(_route(route) for route in routes),
        tunnel=_tunnel([link for link in links if link.get("ifname") == DEVICE]),
        forwards=frozenset(Forward(str(f["mac"]), str(f["dst"])) for f in forwards if "dst" in f and "mac" in f),
        neighbours=frozenset(
            Neighbour(str(ip_address(n["dst"])), str(n["lladdr"]))
            for n in neighbours
            if "lladdr" in n and "PERMANENT" in n.get("state", ())
        ),
    )


def _route(printed: Printed) -> Route:
    destination = printed["dst"]
    destination = str(ip_network(destination)) if destination != "default" else destination
    if printed.get("type") == "unreachable":
        return Route(destination)
    gateway = printed.get("gateway")
    via = str(ip_address(gateway)) if gateway else ""
    return Route(destination, via, str(printed.get("dev", "")), onlink="onlink" in printed.get("flags", ()))


def _tunnel(found: Sequence[Printed]) -> Tunnel | None:
    if not found:
        return None
    (link,) = found
    info = link.get("linkinfo") or {}
    data = info.get("info_data") or {}
    right = info.get("info_kind") == "vxlan" and data.get("id") == VNI and data.get("port") == PORT and not data.get("learning")
    return Tunnel(
        # A device of this name that is no tunnel of ours, or is down (which took its routes), matches no wanted one.
        mac=str(link.get("address", "")) if right and "UP" in link.get("flags", ()) else "",
        local=str(data.get("local", "")),
        mtu=int(link.get("mtu", 0)),
        addresses=frozenset(
            str(ip_interface(f"{a['local']}/{a['prefixlen']}")) for a in link.get("addr_info", ()) if a.get("scope") == "global"
        ),
    )
