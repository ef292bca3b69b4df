"""The policies' table of the packet filter: what it shall hold, and the scripts that bring it there.

Enters: sets, elements, verdicts and chains as the planner wants them, one by one.
Leaves: nft scripts, each one transaction: the kernel takes all of it or none.
Holds: pure; a script changes what differs from the script before it and nothing else. An element that several want stays
until the last of them lets go. A script that failed to apply is followed by everything().

The way of a packet that begins a connection (others pass at once: what was allowed goes on):

    guard     -> a pod sends from its own address, or not at all (routes say whose link an address is on)
    egress    -> from an isolated pod: egress_pods names the chain of its policies; none allows: drop
    resolver  -> the same for what a pod asks this node's DNS; all else between a pod and its own node is always allowed
    ingress   -> to an isolated pod: ingress_pods, likewise; after egress, so that both ends have their say

Service addresses have become pods' addresses before, and senders are still themselves (masquerading comes last).
Next: network.nft runs the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from edgekube.network.policies.model import EGRESS, INGRESS
from edgekube.network.policies.rules import TYPES, WORDS

TABLE: Final = "inet edgekube_policy"

#: Elements of one command: nft's parser is linear, its error messages are not.
_BATCH_ELEMENTS: Final = 2000
#: The kernel keeps 128 bytes of a comment, the closing zero among them.
_COMMENT_CHARACTERS_MAX: Final = 120

_BASE: Final = """\
  chain guard {{
    type filter hook prerouting priority raw; policy accept;
    iifname "veth*" jump own_address
  }}
  chain own_address {{
    ip6 saddr {{ ::, fe80::/10 }} return
    fib saddr . iif oif missing drop
  }}
  chain egress {{
    type filter hook forward priority filter - 2; policy accept;
    ct state established,related accept
{egress}
  }}
  chain resolver {{
    type filter hook input priority filter - 2; policy accept;
    ct state established,related accept
{resolver}
  }}
  chain ingress {{
    type filter hook forward priority filter - 1; policy accept;
    ct state established,related accept
{ingress}
  }}
"""


def pods_map(direction: str, family: int) -> str:
    return f"{direction}_pods_{family}"


def itself_set(family: int) -> str:
    return f"itself_{family}"


def frame(families: Sequence[int], resolvers: Mapping[int, str]) -> str:
    """The script that makes the table anew, empty of policies; what was there before is gone in the same transaction.
    ``resolvers``: family -> the address at which this node answers for the cluster's DNS."""
    parts = [f"add table {TABLE}", f"delete table {TABLE}", f"table {TABLE} {{"]
    egress, ingress, resolver = [], [], []
    for family in families:
        word, type_ = WORDS[family], TYPES[family]
        parts += [f"  map {pods_map(way, family)} {{ type {type_} : verdict; }}" for way in (EGRESS, INGRESS)]
        parts.append(f"  set {itself_set(family)} {{ type {type_} . {type_}; }}")
        itself = f"    {word} saddr . {word} daddr @{itself_set(family)} accept"
        egress += [itself, f"    {word} saddr vmap @{pods_map(EGRESS, family)}"]
        ingress += [itself, f"    {word} daddr vmap @{pods_map(INGRESS, family)}"]
        if family in resolvers:
            resolver.append(f"    {word} daddr {resolvers[family]} {word} saddr vmap @{pods_map(EGRESS, family)}")
    base = _BASE.format(egress="\n".join(egress), ingress="\n".join(ingress), resolver="\n".join(resolver))
    return "\n".join([*parts, "", base + "}\n"])


class Chain(Struct, frozen=True):
    comment: str
    rules: tuple[str, ...]


class Script(Struct, frozen=True):
    text: str  # "": nothing to do
    #: Whose isolation the script changes.
    addresses: frozenset[str]


class Table:
    """The wanted state, and of whatever was touched since the last script, how it was then."""

    def __init__(self) -> None:
        self.sets: dict[str, tuple[str, str]] = {}  # name -> type, comment
        self.elements: dict[str, dict[str, int]] = {}  # set -> element -> how many want it
        self.verdicts: dict[str, dict[str, str]] = {}  # map -> key -> chain to go to
        self.chains: dict[str, Chain] = {}
        self._sets_before: dict[str, bool] = {}
        self._elements_before: dict[tuple[str, str], bool] = {}
        self._verdicts_before: dict[tuple[str, str], str | None] = {}
        self._chains_before: dict[str, Chain | None] = {}

    # --- what is wanted

    def add_set(self, name: str, type_: str, comment: str) -> None:
        self._sets_before.setdefault(name, name in self.sets)
        self.sets[name] = type_, comment
        self.elements[name] = {}

    def drop_set(self, name: str) -> None:
        self._sets_before.setdefault(name, True)
        if self._sets_before[name]:
            for element in self.elements[name]:
                self._elements_before.setdefault((name, element), True)
        del self.sets[name], self.elements[name]

    def add(self, name: str, element: str) -> None:
        counts = self.elements.setdefault(name, {})
        count = counts.get(element, 0)
        if not count:
            self._elements_before.setdefault((name, element), False)
        counts[element] = count + 1

    def discard(self, name: str, element: str) -> None:
        counts = self.elements[name]
        if counts[element] == 1:
            self._elements_before.setdefault((name, element), True)
            del counts[element]
        else:
            counts[element] -= 1

    def send(self, map_: str, key: str, chain: str | None) -> None:
        """Judge ``key`` by the chain; None: by nobody."""
        verdicts = self.verdicts.setdefault(map_, {})
        old = verdicts.get(key)
        if old == chain:
            return
        self._verdicts_before.setdefault((map_, key), old)
        if chain is None:
            del verdicts[key]
        else:
            verdicts[key] = chain

    def set_chain(self, name: str, chain: Chain | None) -> None:
        old = self.chains.get(name)
        if old == chain:
            return
        self._chains_before.setdefault(name, old)
        if chain is None:
            del self.chains[name]
        else:
            self.chains[name] = chain

    # --- what is waiting

    def unsettled(self) -> frozenset[str]:
        """The addresses whose isolation is not yet as wanted in any script."""
        return frozenset(key for (map_, key), old in self._verdicts_before.items() if self.verdicts.get(map_, {}).get(key) != old)

    def script(self) -> Script:
        """What has changed since the last script of either sort."""
        script = Script("".join(f"{line}\n" for line in self._lines()), self.unsettled())
        self._forget()
        return script

    def everything(self) -> Script:
        """All of it, into a table that is empty."""
        self._forget()
        self._sets_before = dict.fromkeys(self.sets, False)
        self._elements_before = {(name, e): False for name, elements in self.elements.items() for e in elements}
        self._verdicts_before = {(name, key): None for name, verdicts in self.verdicts.items() for key in verdicts}
        self._chains_before = dict.fromkeys(self.chains)
        return self.script()

    def _forget(self) -> None:
        self._sets_before = {}
        self._elements_before = {}
        self._verdicts_before = {}
        self._chains_before = {}

    def _lines(self) -> Iterator[str]:
        new_sets = sorted(name for name, was in self._sets_before.items() if not was and name in self.sets)
        dead_sets = sorted(name for name, was in self._sets_before.items() if was and name not in self.sets)
        for name in new_sets:
            type_, comment = self.sets[name]
            yield f'add set {TABLE} {name} {{ type {type_}; comment "{comment[:_COMMENT_CHARACTERS_MAX]}"; }}'

        gone: dict[str, list[str]] = {}
        come: dict[str, list[str]] = {}
        for (name, element), was in self._elements_before.items():
            held = self.elements.get(name)
            if held is not None and (element in held) != was:
                (gone if was else come).setdefault(name, []).append(element)
        yield from _commands("delete", gone)
        yield from _commands("add", come)

        changed = sorted(n for n, old in self._chains_before.items() if n in self.chains and self.chains[n] != old)
        for name in changed:
            if self._chains_before[name] is None:
                yield f'add chain {TABLE} {name} {{ comment "{self.chains[name].comment[:_COMMENT_CHARACTERS_MAX]}"; }}'
            else:
                yield f"flush chain {TABLE} {name}"
        for name in changed:
            for rule in self.chains[name].rules:
                yield f"add rule {TABLE} {name} {rule}"

        # A changed value is a deletion and an addition of one key, in this order, in one transaction.
        ends: dict[str, list[str]] = {}
        begins: dict[str, list[str]] = {}
        for (map_, key), old in self._verdicts_before.items():
            now = self.verdicts.get(map_, {}).get(key)
            if now == old:
                continue
            if old is not None:
                ends.setdefault(map_, []).append(key)
            if now is not None:
                begins.setdefault(map_, []).append(f"{key} : goto {now}")
        yield from _commands("delete", ends)
        yield from _commands("add", begins)

        dead = sorted(name for name, old in self._chains_before.items() if old is not None and name not in self.chains)
        for name in dead:
            yield f"flush chain {TABLE} {name}"
        for name in dead:
            yield f"delete chain {TABLE} {name}"
        for name in dead_sets:
            yield f"delete set {TABLE} {name}"


def _commands(verb: str, elements: Mapping[str, list[str]]) -> Iterator[str]:
    for name, members in sorted(elements.items()):
        members.sort()
        for start in range(0, len(members), _BATCH_ELEMENTS):
            yield f"{verb} element {TABLE} {name} {{ {', '.join(members[start : start + _BATCH_ELEMENTS])} }}"
