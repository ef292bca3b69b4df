"""Which tracked UDP flows are leftovers: UDP has no connection that would fail by itself when its target goes.

Enters: lines of ``conntrack -L``; the doors at which UDP comes in, each with the targets that may answer it.
Leaves: conntrack's commands that delete the others: one for all flows that share door and target, because each command makes the
kernel tell its whole list, and there may be thousands of flows.
Holds: pure. A flow that was let through untranslated before its Service had endpoints is a leftover too.
Next: network.kernel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from edgekube.network.endpoints import Target
from edgekube.network.service_rules import Door

_PAIR = re.compile(r"(src|dst|sport|dport)=(\S+)")


def changed_doors(old: Mapping[Door, frozenset[Target]], new: Mapping[Door, frozenset[Target]]) -> dict[Door, frozenset[Target]]:
    """Doors that lost a target, or opened: only there can flows be left over. What they lead to now."""
    found = {door: new.get(door, frozenset()) for door, targets in old.items() if not targets <= new.get(door, frozenset())}
    return found | {door: targets for door, targets in new.items() if targets and not old.get(door)}


def deletions(lines: Iterable[str], doors: Mapping[Door, frozenset[Target]], family: str) -> list[str]:
    found: dict[str, None] = {}
    for line in lines:
        pairs = _PAIR.findall(line)
        if len(pairs) != 8:
            continue
        address, port = pairs[1][1], pairs[3][1]
        answers, answers_from = pairs[4][1], pairs[6][1]
        targets = doors.get((address, int(port)))
        if targets is None:
            targets = doors.get(("", int(port)))
        if targets is None or Target(answers, int(answers_from)) in targets:
            continue
        where, whom = f"-d {address} --orig-port-dst {port}", f"-r {answers} --reply-port-src {answers_from}"
        found[f"-D -f {family.lower()} -p udp {where} {whom}"] = None
    return list(found)
