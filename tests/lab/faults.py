"""What can be wrong with a switch, as rules of its packet filter.

Enters: who does not hear whom, and how often. Leaves: nft text in the family ``bridge``, where frames are forwarded by port.
Holds: pure. The sender notices nothing: the link is up, frames just do not arrive.
Next: tests.lab.lan.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TABLE: Final = "faults"

#: Frames between two ports, and those that the switch itself gets and sends: what is routed goes through these.
EMPTY_TABLE: Final = f"""
table bridge {TABLE}
delete table bridge {TABLE}
table bridge {TABLE} {{
    chain forward {{
        type filter hook forward priority 0; policy accept;
    }}
    chain input {{
        type filter hook input priority 0; policy accept;
    }}
    chain output {{
        type filter hook output priority 0; policy accept;
    }}
}}
"""


@dataclass(frozen=True)
class Drop:
    """Frames from ``source`` to ``target`` get lost, ``percent`` of them. None: whoever is on the switch, and beyond it."""

    source: str | None
    target: str | None
    percent: int = 100

    def rules(self) -> list[str]:
        """ "CHAIN RULE" lines."""
        if self.source is None and self.target is None:
            raise ValueError("name one end at least")
        arriving = f'iifname "{port(self.source)}" ' if self.source else ""
        leaving = f'oifname "{port(self.target)}" ' if self.target else ""
        verdict = "drop" if self.percent == 100 else f"numgen random mod 100 < {self.percent} drop"
        rules = [f"forward {arriving}{leaving}{verdict}"]
        if not self.target:
            rules.append(f"input {arriving}{verdict}")
        if not self.source:
            rules.append(f"output {leaving}{verdict}")
        return rules


def table(drops: list[Drop]) -> str:
    """The whole table, replaced in one transaction."""
    rules = [f"add rule bridge {TABLE} {rule}" for drop in drops for rule in drop.rules()]
    return EMPTY_TABLE + "\n".join(rules) + "\n"


def port(name: str) -> str:
    """The switch's port that ``name`` is plugged into."""
    return f"p-{name}"
