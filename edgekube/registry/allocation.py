"""Cluster addresses and node ports of services: which are taken, and by whom.

Enters: the stored services and ServiceCIDRs, at start and when a ServiceCIDR changes; then services about to be written or just
deleted.
Leaves: services with addresses and ports filled in, as a Claim that is kept or given back.
Holds: an address or port belongs to one service; a claim that is not kept leaves nothing behind. All of it happens in the
event loop between two awaits, so two requests never get the same address.
Next: registry.strategies.services.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses, ip_address, ip_network
from typing import Final

from edgekube.api.errors import Cause
from edgekube.api.objects import Object, uid_of

#: The uid of the service that holds an address or a port.
Owner = str
NO_ADDRESS: Final = ("", "None")


class Refused(Exception):
    """The address or port cannot be had."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.message)
        self.cause = cause


class Claim:
    """What one write takes and gives up. ``settle`` when it is over."""

    def __init__(self, allocator: ServiceAllocator, owner: Owner) -> None:
        self._allocator = allocator
        self._owner = owner
        self._addresses: list[str] = []
        self._ports: list[int] = []
        self._addresses_released: list[str] = []
        self._ports_released: list[int] = []

    @property
    def families(self) -> list[str]:
        """The cluster's, its own first: IPv4, IPv6."""
        return self._allocator.families

    def address(self, family: str, requested: str, shown: list[str]) -> str:
        """The requested address, or a free one for "". ``shown``: spec.clusterIPs, for the message. Raises Refused."""
        taken = self._allocator.take_address(family, requested, self._owner, shown)
        self._addresses.append(taken)
        return taken

    def node_port(self, requested: int, field: str) -> int:
        """The requested port, or a free one for 0. A service may use one port for two protocols. Raises Refused."""
        if requested and requested in self._ports:
            return requested
        taken = self._allocator.take_port(requested, self._owner, field)
        self._ports.append(taken)
        return taken

    def release_address(self, address: str) -> None:
        self._addresses_released.append(address)

    def release_port(self, port: int) -> None:
        self._ports_released.append(port)

    def settle(self, *, kept: bool) -> None:
        """``kept``: it was written, and not as a dry run."""
        if kept:
            self.keep()
        else:
            self.give_back()

    def keep(self) -> None:
        for address in self._addresses_released:
            self._allocator.free_address(address, self._owner)
        for port in self._ports_released:
            self._allocator.free_port(port, self._owner)

    def give_back(self) -> None:
        for address in self._addresses:
            self._allocator.free_address(address, self._owner)
        for port in self._ports:
            self._allocator.free_port(port, self._owner)


class AddressRange:
    """One family's addresses, and who has them."""

    def __init__(self, network: IPv4Network | IPv6Network, draw: random.Random) -> None:
        self.network = network
        self.family = f"IPv{network.version}"
        self._draw = draw
        self._base = int(network.network_address)
        # Without the network's own address, and without IPv4's broadcast address.
        self._usable = network.num_addresses - (2 if network.version == 4 else 1)
        self._reserved = min(max(16, network.num_addresses // 16), 256) if self._usable > 16 else 0
        self._owners: dict[int, Owner] = {}
        #: How many of the lower part are held, so that a free address is found without looking at all of them.
        self._low_held = 0

    def take(self, requested: str, owner: Owner, shown: list[str]) -> str:
        """Raises Refused."""
        offset = self._checked(requested, shown) if requested else self._free()
        self.set(offset, owner)
        return str(self.network[offset])

    def has_room(self) -> bool:
        return len(self._owners) < self._usable

    def inherit(self, other: AddressRange) -> None:
        for offset, owner in other._owners.items():
            self.adopt(other.network[offset], owner)

    def adopt(self, address: IPv4Address | IPv6Address, owner: Owner) -> None:
        offset = int(address) - self._base
        if address in self.network and offset not in self._owners:
            self.set(offset, owner)

    def set(self, offset: int, owner: Owner) -> None:
        self._owners[offset] = owner
        self._low_held += offset <= self._reserved

    def free(self, address: IPv4Address | IPv6Address, owner: Owner) -> None:
        offset = int(address) - self._base
        if self._owners.get(offset) == owner:
            del self._owners[offset]
            self._low_held -= offset <= self._reserved

    def _checked(self, requested: str, shown: list[str]) -> int:
        field = "spec.clusterIPs"
        try:
            address = ip_address(requested)
        except ValueError:
            raise Refused(_invalid(field, shown, "must be a valid IP address")) from None
        offset = int(address) - self._base
        if address not in self.network or not 0 < offset <= self._usable:
            why = f"failed to allocate IP {requested}: the provided network does not match the current range"
            raise Refused(_invalid(field, shown, why))
        if offset in self._owners:
            why = f"failed to allocate IP {requested}: provided IP is already allocated"
            raise Refused(_invalid(field, shown, why))
        return offset

    def _free(self) -> int:
        """From the upper part of the range first: the lower one is for addresses that people choose
        (kubernetes.io, "Service ClusterIP allocation")."""
        high_held = len(self._owners) - self._low_held
        parts = ((self._reserved + 1, self._usable - self._reserved, high_held), (1, self._reserved, self._low_held))
        for first, count, held in parts:
            if count > held:
                # From a random start, the next one that is free; one is.
                start = self._draw.randrange(count)
                candidates = (first + offset % count for offset in range(start, start + count))
                return next(offset for offset in candidates if offset not in self._owners)
        raise Refused(Cause("InternalError", "failed to allocate a serviceIP: range is full", "spec.clusterIPs"))


class ServiceAllocator:
    def __init__(self, service_cidr: str, node_ports: tuple[int, int], draw: random.Random) -> None:
        """``service_cidr``: one range, or one of each family separated by a comma, the cluster's own family first.
        ``node_ports`` is inclusive on both ends."""
        ranges = [AddressRange(ip_network(cidr.strip()), draw) for cidr in service_cidr.split(",")]
        #: Of each family: the cluster's own, then those of further ServiceCIDRs.
        self._ranges = {range_.family: [range_] for range_ in ranges}
        self._first_port, self._last_port = node_ports
        self._draw = draw
        self._ports: dict[int, Owner] = {}

    @property
    def families(self) -> list[str]:
        return list(self._ranges)

    def offer(self, cidrs: Iterable[str], services: Iterable[Object]) -> None:
        """Give addresses of these ranges besides the cluster's own, and of no other; what overlaps that one adds nothing.
        ``services``: all that are stored, for what they have of a range that is new here."""
        wanted = [ip_network(cidr, strict=False) for cidr in cidrs]
        for family, (own, *former) in self._ranges.items():
            further = [each for each in wanted if f"IPv{each.version}" == family and not each.overlaps(own.network)]
            ranges = [AddressRange(network, self._draw) for network in collapse_addresses(further)]  # type: ignore[type-var]
            for range_ in ranges:
                for each in former:
                    range_.inherit(each)  # what was just taken for a service that is not stored yet
            self._ranges[family] = [own, *ranges]
        for service in services:
            self.adopt(service)

    def claim(self, service_uid: str) -> Claim:
        return Claim(self, service_uid)

    def adopt(self, service: Object) -> None:
        """A stored service keeps what it has; for the first of two holders, should the store ever say so."""
        owner = uid_of(service)
        for address in addresses_of(service):
            if range_ := self._range_of(address):
                range_.adopt(ip_address(address), owner)
        for port in node_ports_of(service):
            self._ports.setdefault(port, owner)

    def forget(self, service: Object) -> None:
        """A deleted service gives everything back."""
        owner = uid_of(service)
        for address in addresses_of(service):
            self.free_address(address, owner)
        for port in node_ports_of(service):
            self.free_port(port, owner)

    def take_address(self, family: str, requested: str, owner: Owner, shown: list[str]) -> str:
        own = self._ranges[family][0]
        if requested:
            return (self._range_of(requested) or own).take(requested, owner, shown)
        for range_ in self._ranges[family]:
            if range_.has_room():
                return range_.take("", owner, shown)
        return own.take("", owner, shown)

    def free_address(self, address: str, owner: Owner) -> None:
        if range_ := self._range_of(address):
            range_.free(ip_address(address), owner)

    def _range_of(self, address: str) -> AddressRange | None:
        """None for what no range has: another family, a ServiceCIDR that was removed, no address at all."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return None
        ranges = self._ranges.get(f"IPv{parsed.version}", [])
        return next((range_ for range_ in ranges if parsed in range_.network), None)

    def take_port(self, requested: int, owner: Owner, field: str) -> int:
        if requested:
            if not self._first_port <= requested <= self._last_port:
                range_ = f"{self._first_port}-{self._last_port}"
                raise Refused(_invalid(field, requested, f"provided port is not in the valid range. The range of valid ports is {range_}"))  # noqa: E501  # fmt: skip
            if requested in self._ports:
                raise Refused(_invalid(field, requested, "provided port is already allocated"))
            self._ports[requested] = owner
            return requested
        size = self._last_port - self._first_port + 1
        if len(self._ports) >= size:
            raise Refused(Cause("InternalError", "failed to allocate a nodePort: range is full", field))
        start = self._draw.randrange(size)
        candidates = (self._first_port + offset % size for offset in range(start, start + size))
        port = next(port for port in candidates if port not in self._ports)
        self._ports[port] = owner
        return port

    def free_port(self, port: int, owner: Owner) -> None:
        if self._ports.get(port) == owner:
            del self._ports[port]


def _invalid(field: str, value: object, why: str) -> Cause:
    shown = str(value).replace("'", '"') if isinstance(value, list) else str(value)
    return Cause("FieldValueInvalid", f"Invalid value: {shown}: {why}", field)


def addresses_of(service: Object) -> list[str]:
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return []
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP") or ""]
    return [address for address in addresses if address not in NO_ADDRESS]


def node_ports_of(service: Object) -> list[int]:
    spec = service.get("spec") or {}
    ports = [int(port["nodePort"]) for port in spec.get("ports") or [] if port.get("nodePort")]
    if spec.get("healthCheckNodePort"):
        ports.append(int(spec["healthCheckNodePort"]))
    return list(dict.fromkeys(ports))
