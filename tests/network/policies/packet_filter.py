"""A kernel for the policies' scripts: takes the few commands that they are made of, and says what would become of a packet.

It is stricter than it needs to be: what nft would refuse (an element twice, a chain in use) fails here as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

TABLE = "inet edgekube_policy"


@dataclass(frozen=True)
class Packet:
    """The first one of a connection. ``port`` is the destination's; protocols without ports have none."""

    source: str
    destination: str
    protocol: str = "tcp"
    port: int = 0

    @property
    def family(self) -> int:
        return ip_address(self.source).version


@dataclass
class Kernel:
    sets: dict[str, set[str]] = field(default_factory=dict)
    maps: dict[str, dict[str, str]] = field(default_factory=dict)
    chains: dict[str, list[str]] = field(default_factory=dict)
    hooks: dict[str, tuple[str, int]] = field(default_factory=dict)  # chain -> hook, priority

    def apply(self, script: str) -> None:
        lines = iter(script.splitlines())
        for line in lines:
            if line == f"table {TABLE} {{":
                self._frame(lines)
            elif line:
                self._command(line)
        for name, rules in self.chains.items():
            for rule in rules:
                for verb, target in re.findall(r"\b(jump|goto) (\w+)", rule):
                    assert target in self.chains, f"{name}: {verb} {target}"
                for used in re.findall(r"@(\w+)", rule):
                    assert used in self.sets or used in self.maps, f"{name}: @{used}"
        for name, verdicts in self.maps.items():
            for verdict in verdicts.values():
                assert verdict.removeprefix("goto ") in self.chains, f"{name}: {verdict}"

    def _frame(self, lines: object) -> None:
        chain = ""
        for line in lines:  # type: ignore[attr-defined]
            text = line.strip()
            if line == "}":
                return
            if match := re.fullmatch(r"map (\w+) \{ type \w+ : verdict; \}", text):
                self.maps[match[1]] = {}
            elif match := re.fullmatch(r"set (\w+) \{ type [\w. ]+; \}", text):
                self.sets[match[1]] = set()
            elif match := re.fullmatch(r"chain (\w+) \{", text):
                chain = match[1]
                self.chains[chain] = []
            elif match := re.fullmatch(r"type filter hook (\w+) priority (\w+)(?: ([-+]) (\d+))?; policy accept;", text):
                priority = {"filter": 0, "raw": -300}[match[2]] + int((match[3] or "+") + (match[4] or "0"))
                self.hooks[chain] = match[1], priority
            elif text and text != "}":
                self.chains[chain].append(text)

    def _command(self, line: str) -> None:
        if line in (f"add table {TABLE}", f"delete table {TABLE}"):
            self.__init__()  # type: ignore[misc]
        elif match := re.fullmatch(rf'add set {TABLE} (\w+) {{ type [\w. ]+; comment "[^"]{{0,127}}"; }}', line):
            assert match[1] not in self.sets
            self.sets[match[1]] = set()
        elif match := re.fullmatch(rf"delete set {TABLE} (\w+)", line):
            del self.sets[match[1]]
        elif match := re.fullmatch(rf"(add|delete) element {TABLE} (\w+) {{ (.*) }}", line):
            for element in match[3].split(", "):
                self._element(match[1], match[2], element)
        elif match := re.fullmatch(rf'add chain {TABLE} (\w+) {{ comment "[^"]{{0,127}}"; }}', line):
            assert match[1] not in self.chains
            self.chains[match[1]] = []
        elif match := re.fullmatch(rf"flush chain {TABLE} (\w+)", line):
            self.chains[match[1]].clear()
        elif match := re.fullmatch(rf"delete chain {TABLE} (\w+)", line):
            assert not self.chains.pop(match[1])
        elif match := re.fullmatch(rf"add rule {TABLE} (\w+) (.*)", line):
            self.chains[match[1]].append(match[2])
        else:
            raise AssertionError(f"not a command of ours: {line}")

    def _element(self, verb: str, name: str, element: str) -> None:
        if name in self.maps:
            key, _, verdict = element.partition(" : ")
            if verb == "add":
                assert key not in self.maps[name] and verdict, element
                self.maps[name][key] = verdict
            else:
                del self.maps[name][key]
        elif verb == "add":
            assert element not in self.sets[name], element
            self.sets[name].add(element)
        else:
            self.sets[name].remove(element)

    # --- packets

    def passes(self, hook: str, packet: Packet) -> bool:
        chains = sorted((priority, name) for name, (where, priority) in self.hooks.items() if where == hook)
        return all(self._chain(name, packet) != "drop" for _, name in chains)

    def _chain(self, name: str, packet: Packet) -> str:
        """accept, drop, or "" at the chain's end."""
        for rule in self.chains[name]:
            verdict = self._rule(rule, packet)
            if verdict in ("accept", "drop"):
                return verdict
            if verdict.startswith("jump "):
                inner = self._chain(verdict.removeprefix("jump "), packet)
                if inner:
                    return inner
            elif verdict.startswith("goto "):
                return self._chain(verdict.removeprefix("goto "), packet)
        return ""

    def _rule(self, rule: str, packet: Packet) -> str:
        """The verdict when everything before it holds, else ""."""
        rest = rule
        while rest:
            if re.fullmatch(r"accept|drop|(?:jump|goto) \w+", rest):
                return rest
            if rest.startswith("ct state established,related "):
                return ""  # these packets begin connections
            if match := re.match(r"((?:ip6? [sd]addr|meta l4proto|th dport)(?: \. (?:ip6? [sd]addr|meta l4proto|th dport))*)"
                                 r" (!= )?(vmap )?(@\w+|\{ [^}]* \}|[\w.:]+)(?: |$)", rest):  # fmt: skip
                key = [self._field(name, packet) for name in match[1].split(" . ")]
                if None in key:
                    return ""
                text = " . ".join(map(str, key))
                if match[3]:
                    return self.maps[match[4][1:]].get(text, "")
                if self._within(text, match[4]) == bool(match[2]):
                    return ""
                rest = rest[match.end() :]
            elif match := re.match(r"(tcp|udp|sctp) dport \{ ([^}]*) \} ", rest):
                ranges = [part.partition("-")[::2] for part in match[2].split(", ")]
                if packet.protocol != match[1] or not any(int(a) <= packet.port <= int(b or a) for a, b in ranges):
                    return ""
                rest = rest[match.end() :]
            elif match := re.match(r"meta nfproto ipv([46]) ", rest):
                if packet.family != int(match[1]):
                    return ""
                rest = rest[match.end() :]
            else:
                raise AssertionError(f"not a rule of ours: {rest}")
        return ""

    def _field(self, name: str, packet: Packet) -> object:
        if name == "meta l4proto":
            return packet.protocol
        if name == "th dport":
            return packet.port
        word, which = name.split()
        if {"ip": 4, "ip6": 6}[word] != packet.family:
            return None
        return packet.source if which == "saddr" else packet.destination

    def _within(self, text: str, what: str) -> bool:
        if what.startswith("@"):
            return text in self.sets[what[1:]]
        members = what.strip("{} ").split(", ")
        if re.fullmatch(r"[a-z]+", text):
            return text in members
        networks = [ip_network(member) for member in members]
        assert not any(a.overlaps(b) for i, a in enumerate(networks) for b in networks[:i]), f"nft refuses {what}"
        return any(ip_address(text) in network for network in networks)
