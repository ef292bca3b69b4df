"""Which tracked flows are leftovers, from conntrack's own lines."""

from __future__ import annotations

from edgekube.network.conntrack import changed_doors, deletions
from edgekube.network.endpoints import Target

ONE, TWO = Target("10.42.0.2", 5353), Target("10.42.1.3", 5353)
DOOR = ("10.43.0.53", 53)
LED = "udp 17 29 src=10.42.0.9 dst=10.43.0.53 sport=4000 dport=53 src=10.42.0.2 dst=10.42.0.9 sport=5353 dport=4000 mark=0 use=1"
UNANSWERED = LED.replace("dport=53 src", "dport=53 [UNREPLIED] src").replace("sport=4000", "sport=4001", 1)
UNTRANSLATED = "udp 17 9 src=10.42.0.9 dst=10.43.0.53 sport=4002 dport=53 src=10.43.0.53 dst=10.42.0.9 sport=53 dport=4002 mark=0"
OTHERS = "udp 17 9 src=10.42.0.9 dst=192.0.2.53 sport=4003 dport=53 src=192.0.2.53 dst=10.42.0.9 sport=53 dport=4003 mark=0 use=1"


def deletion(answers: str, port: int, address: str = "10.43.0.53") -> str:
    return f"-D -f ipv4 -p udp -d {address} --orig-port-dst 53 -r {answers} --reply-port-src {port}"


def test_flows_to_targets_that_are_gone_or_that_nobody_translated_are_leftovers() -> None:
    lines = [LED, UNANSWERED, UNTRANSLATED, OTHERS, "conntrack v1.4.7 (conntrack-tools): 4 flow entries have been shown."]
    assert deletions(lines, {DOOR: frozenset({TWO})}, "IPv4") == [deletion(*ONE), deletion("10.43.0.53", 53)]
    assert deletions(lines, {DOOR: frozenset({ONE})}, "IPv4") == [deletion("10.43.0.53", 53)]


def test_a_port_of_the_node_has_any_address() -> None:
    assert deletions([LED, OTHERS], {("", 53): frozenset({ONE})}, "IPv4") == [deletion("192.0.2.53", 53, "192.0.2.53")]


def test_only_doors_that_opened_or_lost_a_target_are_looked_behind() -> None:
    both, one = {DOOR: frozenset({ONE, TWO})}, {DOOR: frozenset({ONE})}
    assert changed_doors({}, one) == one
    assert changed_doors(one, both) == {}, "one more target leaves nothing over"
    assert changed_doors(both, one) == one
    assert changed_doors(one, {}) == {DOOR: frozenset()}


def test_the_leftovers_of_one_target_are_one_command_however_many() -> None:
    lines = [LED.replace("sport=4000", f"sport={port}", 1).replace("dport=4000", f"dport={port}") for port in range(1024, 5000)]
    assert deletions(lines, {DOOR: frozenset()}, "IPv4") == [deletion(*ONE)]
