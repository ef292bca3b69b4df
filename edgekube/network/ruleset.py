"""The packet filter's table as text: a fixed frame, and what contributions put into its maps.

Enters: the cluster's ranges; contributions by owner, before and after.
Leaves: nft scripts, each one transaction: the kernel takes all of it or none.
Holds: pure. A key of a map belongs to the first owner that named it; a chain goes in the script that removes its last use.

The way of a new connection:

    guard              -> what is addressed to the loopback from elsewhere goes nowhere, though pods' links may carry such answers
    prerouting, output -> services: address.protocol.port -> pick_N (choose one of N) or sticky_X (ask who served this client)
                                    node port, host port  -> the same, for packets to an address of this node; host ports
                                                             on 127.0.0.1 as well
    forward, output    -> unserved: what still goes to the service range has no endpoint: refuse, do not let it time out
    postrouting        -> masquerade: a pod that reached itself, the node's own loopback, pods leaving the cluster, outside
                          clients sent to another node

Next: network.nft runs the text.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import replace
from typing import Final

from edgekube.network.service_rules import NOTHING, Contribution, Element

log = logging.getLogger("edgekube.network")

TABLE: Final = "ip edgekube"

_FRAME: Final = """
add table {table}
delete table {table}
table {table} {{
  map services {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  map endpoints {{ typeof ip daddr . meta l4proto . th dport . numgen random mod 65536 : ip daddr . th dport; }}
  map node_ports {{ type inet_proto . inet_service : verdict; }}
  map node_endpoints {{ typeof meta l4proto . th dport . numgen random mod 65536 : ip daddr . th dport; }}
  map host_ports {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
  map host_ports_at {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}
  set hairpin {{ type ipv4_addr . ipv4_addr; }}

{pick_chains}
  chain service {{
    ip daddr . meta l4proto . th dport vmap @services
    fib daddr type local jump local_port
  }}
  chain local_port {{
    ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @node_ports
    dnat ip to ip daddr . meta l4proto . th dport map @host_ports_at
    dnat ip to meta l4proto . th dport map @host_ports
  }}
  chain guard {{
    type filter hook prerouting priority raw; policy accept;
    iifname != "lo" ip daddr 127.0.0.0/8 drop
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
    ip daddr != {service_cidr} return
    ct status dnat return
    fib daddr type local return
    meta l4proto tcp reject with tcp reset
    reject with icmp type port-unreachable
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    jump unserved
  }}
  chain filter_output {{
    type filter hook output priority filter; policy accept;
    jump unserved
  }}

  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ct status dnat ip saddr . ip daddr @hairpin masquerade
    ct status dnat ip saddr 127.0.0.0/8 oifname != "lo" masquerade
    ip saddr {pod_cidr} ip daddr != {cluster_cidr} oifname != "lo" masquerade
    ct status dnat ip saddr != {cluster_cidr} ip daddr {cluster_cidr} ip daddr != {pod_cidr} fib saddr type != local masquerade
  }}
}}
"""

#: Elements of one ``add element`` command: nft's parser is linear, its error messages are not.
_BATCH_ELEMENTS: Final = 2000


def frame(*, pod_cidr: str, cluster_cidr: str, service_cidr: str, targets_max: int) -> str:
    """The script that makes the table anew, empty of services; what was there before is gone in the same transaction.

    The chains that choose among 1 to ``targets_max`` targets stand in the frame, because nft 1.0.6 can add a rule with
    such a map only in the transaction that makes the map (it cannot read the type of ``th dport`` back).
    """
    return _FRAME.format(
        table=TABLE,
        pod_cidr=pod_cidr,
        cluster_cidr=cluster_cidr,
        service_cidr=service_cidr,
        pick_chains="\n".join(_pick_chains(targets_max)),
    )


def _pick_chains(targets_max: int) -> Iterator[str]:
    for count in range(1, targets_max + 1):
        choice = f"meta l4proto . th dport . numgen random mod {count} map"
        yield f"  chain pick_{count} {{\n    dnat ip to ip daddr . {choice} @endpoints\n  }}"
        yield f"  chain node_pick_{count} {{\n    dnat ip to {choice} @node_endpoints\n  }}"


class Ruleset:
    """What the table holds now, and the scripts that change it. A script that failed to apply needs ``restart()``."""

    def __init__(self) -> None:
        self._contributions: dict[Hashable, Contribution] = {}
        self._taken: dict[tuple[str, str], Hashable] = {}  # (container, key) -> owner

    def owners(self) -> list[Hashable]:
        return list(self._contributions)

    def restart(self) -> None:
        """The table was made anew: it holds nothing."""
        self.__init__()  # type: ignore[misc]

    def change(self, changes: Iterable[tuple[Hashable, Contribution]]) -> str:
        """One script that replaces the contributions of these owners; "" when nothing differs."""
        before: list[Contribution] = []
        after: list[Contribution] = []
        for owner, wanted in changes:
            old = self._contributions.get(owner, NOTHING)
            new = self._admit(owner, wanted, old)
            if new == old:
                continue
            before.append(old)
            after.append(new)
            if new == NOTHING:
                self._contributions.pop(owner, None)
            else:
                self._contributions[owner] = new
        return "\n".join(self._script(before, after))

    def _admit(self, owner: Hashable, wanted: Contribution, old: Contribution) -> Contribution:
        """Leave out elements whose key another owner holds; remember the rest as this owner's."""
        for element in old.elements - wanted.elements:
            self._taken.pop((element.container, element.key), None)
        refused = set()
        for element in wanted.elements:
            holder = self._taken.setdefault((element.container, element.key), owner)
            if holder != owner and element.container != "hairpin":
                refused.add(element)
                log.warning("port taken container=%s key=%s by=%s refused=%s", element.container, element.key, holder, owner)
        if not refused:
            return wanted
        return replace(wanted, elements=wanted.elements - refused)

    def _script(self, before: list[Contribution], after: list[Contribution]) -> Iterator[str]:
        old_elements = _elements(before)
        new_elements = _elements(after)
        hairpins = _kept_hairpins(self._contributions.values()) if any(e.container == "hairpin" for e in old_elements) else set()
        gone = {e for e in old_elements - new_elements if e not in hairpins}
        come = new_elements - old_elements
        old_chains = {name: rules for c in before for name, rules in c.chains.items()}
        new_chains = {name: rules for c in after for name, rules in c.chains.items()}
        old_sets = {name: seconds for c in before for name, seconds in c.client_sets.items()}
        new_sets = {name: seconds for c in after for name, seconds in c.client_sets.items()}

        for name in sorted(new_sets.keys() - old_sets.keys()):
            yield f"add set {TABLE} {name} {{ type ipv4_addr; flags dynamic, timeout; size 65535; }}"
        # Targets' chains before the chains that go to them ("sticky" sorts before "to", hence the reverse).
        changed = [name for name in new_chains if old_chains.get(name) != new_chains[name]]
        for name in sorted(changed, reverse=True):
            yield f"add chain {TABLE} {name}"
            if name in old_chains:
                yield f"flush chain {TABLE} {name}"
            for rule in new_chains[name]:
                yield f"add rule {TABLE} {name} {rule}"
        # A changed value is a deletion and an addition of one key, in this order, in one transaction.
        yield from _element_commands("delete", gone)
        yield from _element_commands("add", come)
        dead = sorted(old_chains.keys() - new_chains.keys())
        for name in dead:
            yield f"flush chain {TABLE} {name}"
        for name in dead:
            yield f"delete chain {TABLE} {name}"
        for name in sorted(old_sets.keys() - new_sets.keys()):
            yield f"delete set {TABLE} {name}"


def _elements(contributions: Iterable[Contribution]) -> set[Element]:
    return {element for contribution in contributions for element in contribution.elements}


def _kept_hairpins(contributions: Iterable[Contribution]) -> set[Element]:
    """Hairpin pairs may be named by several services: they go with the last."""
    return {element for element in _elements(contributions) if element.container == "hairpin"}


def _element_commands(verb: str, elements: set[Element]) -> Iterator[str]:
    by_container: dict[str, list[Element]] = {}
    for element in elements:
        by_container.setdefault(element.container, []).append(element)
    for container, members in sorted(by_container.items()):
        members.sort()
        for start in range(0, len(members), _BATCH_ELEMENTS):
            batch = members[start : start + _BATCH_ELEMENTS]
            texts = [f"{e.key} : {e.value}" if e.value else e.key for e in batch]
            yield f"{verb} element {TABLE} {container} {{ {', '.join(texts)} }}"
