"""The packet filter's table as text: a fixed frame, and what contributions put into its maps. One table an address family.

Enters: the family's ranges; contributions by owner, before and after.
Leaves: nft scripts, each one transaction: the kernel takes all of it or none.
Holds: pure. A spot belongs to the first owner that named it, and passes to the next when that one lets go; a chain goes in the
script that removes its last use; a change costs what it changes, whatever else the table holds.

The way of a new connection:

    guard              -> what is addressed to the loopback from elsewhere goes nowhere, though pods' links may carry its answers;
                          an address of the service range that this node holds itself (its DNS) is for its own pods and
                          itself: not for the LAN, and not for who gives a pod's address as his own
    prerouting, output -> limited: load-balancer addresses that only some may reach
                          outside: for who comes from neither a pod nor this node, Services with a Local policy: this node's
                                   endpoints, or drop
                          services: address.protocol.port -> pick_N (choose one of N) or sticky_X (ask who served this client)
                          node port, host port -> the same, for packets to an address of this node; host ports
                                                  on 127.0.0.1 as well
    forward            -> a pod's answer that tracking does not know would reach its client untranslated: drop
    input, forward, output -> unserved: what still goes to a service range, or to an address or port of a Service without
                              endpoints: refuse, do not let it time out
    postrouting        -> masquerade: a pod that reached itself, the node's own loopback, pods leaving the cluster, strangers
                          (who is neither a pod of this node nor the node itself) sent to another node, and the
                          node when it speaks to a Service's address that it holds itself

Next: network.kernel runs the text.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from typing import Final

from msgspec import Struct, field

from edgekube.network.ranges import FAMILIES, Ranges
from edgekube.network.service_rules import NOTHING, Contribution, Element, Spot

log = logging.getLogger("edgekube.network")

TABLES: Final = {"IPv4": "ip edgekube", "IPv6": "ip6 edgekube"}

#: ``reachable``: IPv6 has no way from ::1 to a pod, so a client that tries it first shall hear at once that nobody is there.
_WORDS: Final = {
    "IPv4": {"ip": "ip", "address": "ipv4_addr", "unreachable": "icmp", "loopback": "127.0.0.0/8", "reachable": ""},
    "IPv6": {"ip": "ip6", "address": "ipv6_addr", "unreachable": "icmpv6", "loopback": "::1", "reachable": "ip6 daddr != ::1 "},
}

_FRAME: Final = """
add table {table}
delete table {table}
table {table} {{
  map services {{ type {address} . inet_proto . inet_service : verdict; }}
  map endpoints {{ typeof {ip} daddr . meta l4proto . th dport . numgen random mod 65536 : {ip} daddr . th dport; }}
  map node_ports {{ type inet_proto . inet_service : verdict; }}
  map node_endpoints {{ typeof meta l4proto . th dport . numgen random mod 65536 : {ip} daddr . th dport; }}
  map outside_services {{ type {address} . inet_proto . inet_service : verdict; }}
  map outside_endpoints {{ typeof {ip} daddr . meta l4proto . th dport . numgen random mod 65536 : {ip} daddr . th dport; }}
  map outside_node_ports {{ type inet_proto . inet_service : verdict; }}
  map outside_node_endpoints {{ typeof meta l4proto . th dport . numgen random mod 65536 : {ip} daddr . th dport; }}
  map host_ports {{ type inet_proto . inet_service : {address} . inet_service; }}
  map host_ports_at {{ type {address} . inet_proto . inet_service : {address} . inet_service; }}
  set limited {{ type {address} . inet_proto . inet_service; }}
  set allowed {{ type {address} . inet_proto . inet_service . {address}; flags interval; }}
  set refused {{ type {address} . inet_proto . inet_service; }}
  set refused_ports {{ type inet_proto . inet_service; }}
  set hairpin {{ type {address} . {address}; }}
  set abroad {{ type {address} . inet_proto . inet_service; }}
  set external {{ type {address}; }}
  set further_services {{ type {address}; flags interval; }}

{pick_chains}
  chain service {{
    {ip} daddr . meta l4proto . th dport @limited jump limits
    {ip} saddr != {pods} fib saddr type != local jump outside
    {ip} daddr . meta l4proto . th dport vmap @services
    fib daddr type local jump local_port
  }}
  chain limits {{
    {ip} daddr . meta l4proto . th dport . {ip} saddr @allowed return
    drop
  }}
  chain outside {{
    {ip} daddr . meta l4proto . th dport vmap @outside_services
    fib daddr type local meta l4proto . th dport vmap @outside_node_ports
  }}
  chain local_port {{
    {ip} daddr != {loopback} meta l4proto . th dport vmap @node_ports
    {reachable}dnat {ip} to {ip} daddr . meta l4proto . th dport map @host_ports_at
    {reachable}dnat {ip} to meta l4proto . th dport map @host_ports
  }}
  chain guard {{
    type filter hook prerouting priority raw; policy accept;
    iifname != "lo" {ip} daddr {loopback} drop
    iifname != "lo" {ip} daddr {services} fib daddr type local jump own_services
  }}
  chain own_services {{
    {ip} saddr != {pods_here} drop
    fib saddr . iif oif missing drop
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    jump service
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    jump service
  }}

  chain unserved {{
    ct status dnat return
    {ip} daddr {services} fib daddr type != local goto refuse
    {ip} daddr @further_services fib daddr type != local goto refuse
    ct state new {ip} daddr . meta l4proto . th dport @refused goto refuse
    ct state new fib daddr type local {ip} daddr != {loopback} meta l4proto . th dport @refused_ports goto refuse
  }}
  chain refuse {{
    meta l4proto tcp reject with tcp reset
    reject with {unreachable} type port-unreachable
  }}
  chain input {{
    type filter hook input priority filter; policy accept;
    jump unserved
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    {ip} saddr {pods} ct state invalid drop
    jump unserved
  }}
  chain filter_output {{
    type filter hook output priority filter; policy accept;
    jump unserved
  }}

  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ct status dnat {ip} saddr . {ip} daddr @hairpin masquerade
    ct status dnat {ip} saddr {loopback} oifname != "lo" masquerade
    {ip} saddr {pods_here} {ip} daddr != {pods} oifname != "lo" masquerade
    ct status dnat {ip} saddr != {pods_here} {ip} daddr != {pods_here} oifname != "lo" jump strangers
  }}
  chain strangers {{
    fib saddr type local {ip} saddr != @external return
    {ip} daddr {pods} masquerade
    {ip} daddr . meta l4proto . th dport @abroad masquerade
  }}
}}
"""

#: Elements of one ``add element`` command: nft's parser is linear, its error messages are not.
_BATCH_ELEMENTS: Final = 2000
_PICKS: Final = (
    ("pick", "{ip} daddr . ", "endpoints"),
    ("node_pick", "", "node_endpoints"),
    ("outside_pick", "{ip} daddr . ", "outside_endpoints"),
    ("outside_node_pick", "", "outside_node_endpoints"),
)


def frame(ranges: Ranges, *, targets_max: int) -> str:
    """The script that makes the table anew, empty of services; what was there before is gone in the same transaction.

    The chains that choose among 1 to ``targets_max`` targets stand in the frame, because nft 1.0.6 can add a rule with
    such a map only in the transaction that makes the map (it cannot read the type of ``th dport`` back).
    """
    words = _WORDS[ranges.family]
    return _FRAME.format(
        table=TABLES[ranges.family],
        pods_here=ranges.pods_here,
        pods=ranges.pods,
        services=ranges.services,
        pick_chains="\n".join(_pick_chains(words["ip"], targets_max)),
        **words,
    )


def removal(families: Iterable[str]) -> str:
    """The script that removes the tables of families that are no longer served."""
    return "".join(f"add table {TABLES[family]}\ndelete table {TABLES[family]}\n" for family in families)


def others(served: Iterable[Ranges]) -> list[str]:
    return [family for family in FAMILIES if family not in {ranges.family for ranges in served}]


def _pick_chains(ip: str, targets_max: int) -> Iterator[str]:
    for count in range(1, targets_max + 1):
        for chain, address, container in _PICKS:
            choice = f"{address.format(ip=ip)}meta l4proto . th dport . numgen random mod {count} map"
            yield f"  chain {chain}_{count} {{\n    dnat {ip} to {choice} @{container}\n  }}"


class _Holding(Struct):
    """One owner's contribution, and those of its spots that it got."""

    wanted: Contribution = NOTHING
    spots: frozenset[Spot] = frozenset()

    def elements(self) -> Iterator[Element]:
        for spot in self.spots:
            yield from self.wanted.spots[spot]


class _Difference(Struct):
    before: dict[Hashable, _Holding] = field(default_factory=dict)
    #: Of shared elements: those whose first owner came, and whose last owner went.
    shared: Counter[Element] = field(default_factory=Counter)


class Ruleset:
    """What one table holds now, and the scripts that change it. A script that failed to apply needs ``restart()``."""

    def __init__(self, family: str = "IPv4") -> None:
        self._table = TABLES[family]
        self._address = _WORDS[family]["address"]
        self.restart()

    def restart(self) -> None:
        """The table was made anew: it holds nothing."""
        self._held: dict[Hashable, _Holding] = {}
        self._taken: dict[Spot, Hashable] = {}
        #: Owners that came second, in the order in which they came.
        self._waiting: dict[Spot, dict[Hashable, None]] = {}
        self._shared: Counter[Element] = Counter()

    def owners(self) -> list[Hashable]:
        return list(self._held)

    def client_sets(self) -> set[str]:
        return {name for held in self._held.values() for name in held.wanted.client_sets}

    def forget(self, owner: Hashable) -> None:
        """The kernel did not take what this owner wanted."""
        self._replace(owner, NOTHING, _Difference())

    def change(self, changes: Iterable[tuple[Hashable, Contribution]]) -> str:
        """One script that replaces the contributions of these owners; "" when nothing differs."""
        difference = _Difference()
        for owner, wanted in changes:
            for waiter in self._replace(owner, wanted, difference):
                self._replace(waiter, self._held[waiter].wanted, difference)
        return "\n".join(self._script(difference))

    def _replace(self, owner: Hashable, wanted: Contribution, difference: _Difference) -> list[Hashable]:
        """The owners that may now have a spot which this one let go."""
        old = self._held.get(owner, _Holding())
        lost = old.spots - wanted.spots.keys()
        next_ones: dict[Hashable, None] = {}
        for spot in lost:
            del self._taken[spot]
            next_ones |= self._waiting.get(spot, {})
        for spot in old.wanted.spots.keys() - wanted.spots.keys() - lost:
            self._leave_queue(spot, owner)
        got = frozenset(spot for spot in wanted.spots if self._take(spot, owner))
        new = _Holding(wanted, got)
        if new == old:
            return list(next_ones)
        difference.before.setdefault(owner, old)
        for element in wanted.shared - old.wanted.shared:
            self._shared[element] += 1
            difference.shared[element] += self._shared[element] == 1
        for element in old.wanted.shared - wanted.shared:
            self._shared[element] -= 1
            if not self._shared[element]:
                del self._shared[element]
                difference.shared[element] -= 1
        if wanted == NOTHING:
            self._held.pop(owner, None)
        else:
            self._held[owner] = new
        return list(next_ones)

    def _take(self, spot: Spot, owner: Hashable) -> bool:
        holder = self._taken.setdefault(spot, owner)
        if holder == owner:
            self._leave_queue(spot, owner)
            return True
        queue = self._waiting.setdefault(spot, {})
        if owner not in queue:
            queue[owner] = None
            log.warning("taken already what=%s key=%r by=%s waiting=%s", spot.kind, spot.key, holder, owner)
        return False

    def _leave_queue(self, spot: Spot, owner: Hashable) -> None:
        queue = self._waiting.get(spot)
        if queue is not None:
            queue.pop(owner, None)
            if not queue:
                del self._waiting[spot]

    def _script(self, difference: _Difference) -> Iterator[str]:
        table = self._table
        before = list(difference.before.values())
        after = [self._held.get(owner, _Holding()) for owner in difference.before]
        old_elements = {element for held in before for element in held.elements()}
        new_elements = {element for held in after for element in held.elements()}
        gone, come = old_elements - new_elements, new_elements - old_elements
        gone |= {element for element, count in difference.shared.items() if count < 0}
        come |= {element for element, count in difference.shared.items() if count > 0}
        old_chains = {name: rules for held in before for name, rules in held.wanted.chains.items()}
        new_chains = {name: rules for held in after for name, rules in held.wanted.chains.items()}
        old_sets = {name for held in before for name in held.wanted.client_sets}
        new_sets = {name for held in after for name in held.wanted.client_sets}

        for name in sorted(new_sets - old_sets):
            yield f"add set {table} {name} {{ type {self._address}; flags dynamic, timeout; size 65535; }}"
        # Targets' chains before the chains that go to them ("sticky" sorts before "to", hence the reverse).
        changed = [name for name in new_chains if old_chains.get(name) != new_chains[name]]
        for name in sorted(changed, reverse=True):
            yield f"add chain {table} {name}"
            if name in old_chains:
                yield f"flush chain {table} {name}"
            for rule in new_chains[name]:
                yield f"add rule {table} {name} {rule}"
        # A changed value is a deletion and an addition of one key, in this order, in one transaction.
        yield from _element_commands(table, "delete", gone)
        yield from _element_commands(table, "add", come)
        dead = sorted(old_chains.keys() - new_chains.keys())
        for name in dead:
            yield f"flush chain {table} {name}"
        for name in dead:
            yield f"delete chain {table} {name}"
        for name in sorted(old_sets - new_sets):
            yield f"delete set {table} {name}"


def _element_commands(table: str, verb: str, elements: set[Element]) -> Iterator[str]:
    by_container: dict[str, list[Element]] = {}
    for element in elements:
        by_container.setdefault(element.container, []).append(element)
    for container, members in sorted(by_container.items()):
        members.sort()
        for start in range(0, len(members), _BATCH_ELEMENTS):
            batch = members[start : start + _BATCH_ELEMENTS]
            texts = [f"{e.key} : {e.value}" if e.value else e.key for e in batch]
            yield f"{verb} element {table} {container} {{ {', '.join(texts)} }}"
