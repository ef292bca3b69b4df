"""The table as text: a golden file for people, and whatever sequence of changes leads to what a start from nothing would make.

``python -m tests.network.test_ruleset`` writes the golden files anew, for a diff to be read.
"""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api.objects import Object
from edgekube.network.endpoints import Place, service_ports
from edgekube.network.ranges import Ranges, ranges_of
from edgekube.network.ruleset import TABLES, Ruleset, frame, others, removal
from edgekube.network.service_rules import NOTHING, Contribution, Spot, of_pod, of_ranges, of_service
from tests.network.cluster import endpoint, piece, port, service
from tests.network.rig import Rig

GOLDEN = Path(__file__).parent / "golden"
(FOUR, SIX) = ranges_of(["10.42.0.0/24", "fd00:42::/64"], "10.42.0.0/16,fd00:42::/48", "10.43.0.0/16,fd00:43::/108")
HERE = Place("n1", "z1")


def contribution(svc: Object, *slices: Object, ranges: Ranges = FOUR) -> Contribution:
    return of_service(service_ports(svc, slices, HERE, ranges.family), ranges)


def samples(ranges: Ranges) -> list[tuple[str, Contribution]]:
    near, far = ("10.42.0.2", "10.42.1.2") if ranges is FOUR else ("fd00:42::2", "fd00:42:0:1::2")
    address, outside = ("10.43.0.{}", "198.51.100.{}") if ranges is FOUR else ("fd00:43::{}", "2001:db8:5::{}")
    ends = [endpoint(near, nodeName="n1"), endpoint(far, nodeName="n2")]
    web = service("web", address.format(1), port(80, "http"), port(53, "dns", "UDP"))
    local = service(
        "local",
        address.format(2),
        port(80, nodePort=30080),
        type="LoadBalancer",
        externalTrafficPolicy="Local",
        loadBalancerSourceRanges=["203.0.113.0/24", "2001:db8:7::/48"],
    )
    local["status"] = {"loadBalancer": {"ingress": [{"ip": outside.format(2)}]}}
    away = service("away", address.format(3), port(80, nodePort=30081), type="NodePort", externalTrafficPolicy="Local")
    sticky = service("sticky", address.format(4), port(80), sessionAffinity="ClientIP")
    empty = service("empty", address.format(5), port(80, nodePort=30082), type="NodePort", externalIPs=[outside.format(5)])
    pod = {
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"containers": [{"name": "c", "ports": [{"hostPort": 9090, "containerPort": 8080, "protocol": "SCTP"}]}]},
        "status": {"podIP": near, "podIPs": [{"ip": near}]},
    }
    return [
        ("web", contribution(web, piece("web", ends, port(8080, "http"), port(5353, "dns", "UDP")), ranges=ranges)),
        ("local", contribution(local, piece("local", ends, port(8080)), ranges=ranges)),
        ("away", contribution(away, piece("away", ends[1:], port(8080)), ranges=ranges)),
        ("sticky", contribution(sticky, piece("sticky", ends, port(8080)), ranges=ranges)),
        ("empty", contribution(empty, ranges=ranges)),
        ("pod", of_pod(pod, ranges)),
    ]


def golden(ranges: Ranges) -> str:
    return frame(ranges, targets_max=2) + Ruleset(ranges.family).change(samples(ranges)) + "\n"


@pytest.mark.parametrize("ranges", [FOUR, SIX], ids=["IPv4", "IPv6"])
def test_the_table_reads_as_ever(ranges: Ranges) -> None:
    assert golden(ranges) == (GOLDEN / f"services-{ranges.family}.nft").read_text()


def test_taking_everything_back_leaves_nothing_in_the_table() -> None:
    rules, table = Ruleset(), Table()
    table.run(rules.change(samples(FOUR)))
    table.run(rules.change([(owner, NOTHING) for owner, _ in samples(FOUR)]))
    assert table == Table() and rules.owners() == []


def test_an_external_address_leads_nobody_away_from_pods_and_other_services() -> None:
    svc = service("web", "10.43.0.9", port(53, "d", "UDP"), externalIPs=["10.43.0.10", "10.42.1.2", "198.51.100.1"])
    made = contribution(svc, piece("web", [endpoint("10.42.0.2")], port(8080, "d", "UDP")))
    assert {spot.key for spot in made.spots} == {"10.43.0.9 . udp . 53", "198.51.100.1 . udp . 53"}


def test_families_that_are_not_served_have_no_table() -> None:
    assert others([FOUR]) == ["IPv6"] and others([FOUR, SIX]) == []
    assert removal(["IPv6"]) == "add table ip6 edgekube\ndelete table ip6 edgekube\n"


# --- any sequence of changes ------------------------------------------------------------------------------------------


class Table:
    """What a script does to a table, with the complaints that nft would have."""

    def __init__(self) -> None:
        self.elements: dict[tuple[str, str], str] = {}
        self.chains: dict[str, list[str]] = {}
        self.sets: set[str] = set()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and vars(self) == vars(other)

    def run(self, script: str) -> None:
        for line in script.splitlines():
            verb, what, family, name, rest = line.split(" ", 4)
            assert f"{family} {name}" == TABLES["IPv4"]
            getattr(self, f"{verb}_{what}")(*rest.split(" ", 1))
        for rules in self.chains.values():
            assert set(re.findall(r"goto (\w+)", " ".join(rules))) <= self.chains.keys()
            assert set(re.findall(r"@(clients_\w+)", " ".join(rules))) <= self.sets
        for value in self.elements.values():
            assert not value.startswith("goto sticky") or value.removeprefix("goto ") in self.chains

    def _each(self, listed: str) -> list[tuple[str, str]]:
        pairs = [text.partition(" : ")[::2] for text in listed.removeprefix("{ ").removesuffix(" }").split(", ")]
        return [(key, value) for key, value in pairs]

    def add_element(self, container: str, listed: str) -> None:
        for key, value in self._each(listed):
            assert (container, key) not in self.elements
            self.elements[container, key] = value

    def delete_element(self, container: str, listed: str) -> None:
        for key, value in self._each(listed):
            assert self.elements.pop((container, key)) == value

    def add_set(self, name: str, _: str) -> None:
        self.sets.add(name)

    def delete_set(self, name: str) -> None:
        assert not any(f"@{name} " in rule for rules in self.chains.values() for rule in rules)
        self.sets.remove(name)

    def add_chain(self, name: str) -> None:
        self.chains.setdefault(name, [])

    def flush_chain(self, name: str) -> None:
        self.chains[name].clear()

    def add_rule(self, name: str, rule: str) -> None:
        self.chains[name].append(rule)

    def delete_chain(self, name: str) -> None:
        assert not self.chains.pop(name)
        assert f"goto {name}" not in self.elements.values()


ADDRESSES = ("10.42.0.2", "10.42.0.3", "10.42.1.2", "192.0.2.9")


@st.composite
def changes(draw: st.DrawFn) -> tuple[str, Contribution]:
    number = draw(st.integers(0, 3))
    if draw(st.integers(0, 5)) == 0:
        return f"s{number}", NOTHING
    spec: dict[str, Any] = {
        "type": draw(st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer"])),
        "internalTrafficPolicy": draw(st.sampled_from(["Cluster", "Local"])),
        "externalTrafficPolicy": draw(st.sampled_from(["Cluster", "Local"])),
        "sessionAffinity": draw(st.sampled_from(["None", "None", "ClientIP"])),
    }
    if spec["type"] == "LoadBalancer":
        spec["loadBalancerSourceRanges"] = draw(st.lists(st.sampled_from(["192.0.2.0/24", "192.0.2.7/32"]), max_size=2))
    ports = draw(st.lists(st.sampled_from([(80, "TCP"), (80, "UDP"), (81, "TCP")]), min_size=1, max_size=3, unique=True))
    ports_of = [port(n, f"p{n}{p.lower()}", p, nodePort=30000 + 10 * number + i) for i, (n, p) in enumerate(ports)]
    if spec["type"] == "ClusterIP":
        ports_of = [{k: v for k, v in each.items() if k != "nodePort"} for each in ports_of]
    svc = service(f"s{number}", f"10.43.0.{number}", *ports_of, **spec)
    svc["status"] = {"loadBalancer": {"ingress": [{"ip": f"198.51.100.{number}"}]}}
    ends = [
        endpoint(address, nodeName=draw(st.sampled_from(["n1", "n2"])))
        | {"conditions": draw(st.sampled_from([{"ready": True}, {"ready": False, "serving": True, "terminating": True}]))}
        for address in draw(st.lists(st.sampled_from(ADDRESSES), max_size=4, unique=True))
    ]
    return f"s{number}", contribution(
        svc, piece(f"s{number}", ends, *[port(8080, each["name"], each["protocol"]) for each in ports_of])
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(changes(), min_size=1, max_size=3), max_size=12))
def test_any_sequence_of_changes_ends_where_a_start_from_nothing_does(batches: list[list[tuple[str, Contribution]]]) -> None:
    rules, table, last = Ruleset(), Table(), dict[str, Contribution]()
    for batch in batches:
        table.run(rules.change(batch))
        last |= dict(batch)
    fresh = Table()
    fresh.run(Ruleset().change(last.items()))
    assert table == fresh
    assert rules.change(last.items()) == "", "nothing left to do"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.frozensets(st.integers(0, 3))), max_size=20))
def test_a_spot_that_several_want_is_always_one_owners(steps: list[tuple[str, frozenset[int]]]) -> None:
    rules, table, wishes = Ruleset(), Table(), dict[str, frozenset[int]]()
    for owner, spots in steps:
        svc_ports = [port(80)]
        wanted = [
            contribution(
                service(
                    owner, f"10.43.0.{ord(owner)}", *svc_ports, externalIPs=[f"198.51.100.{number}" for number in sorted(spots)]
                ),
                piece(owner, [endpoint(f"10.42.0.{ord(owner)}")], port(8080)),
            )
        ]
        table.run(rules.change([(owner, wanted[0])]))
        wishes[owner] = spots
    held = {
        key: value for (container, key), value in table.elements.items() if container == "endpoints" and key.startswith("198")
    }
    everything = frozenset[int]().union(*wishes.values())
    assert {Spot("service", key.rsplit(" . ", 1)[0]).key for key in held} == {f"198.51.100.{n} . tcp . 80" for n in everything}
    for number in everything:
        owner = chr(int(held[f"198.51.100.{number} . tcp . 80 . 0"].split(" . ")[0].rsplit(".", 1)[1]))
        assert number in wishes[owner]


@pytest.mark.root
def test_the_kernel_agrees_on_a_long_walk(rig: Rig) -> None:
    """Changes one by one through the real nft, against the same table made in one go."""
    chance = random.Random(11)
    rules, last = Ruleset(), dict[str, Contribution]()
    nft = [*rig.enter("far"), "nft", "-f", "-"]

    def apply(script: str) -> None:
        subprocess.run(nft, input=script, text=True, check=True)

    def listing() -> list[str]:
        text = rig.inside("far", ["nft", "list", "table", "ip", "edgekube"])
        # Elements and objects come in the order in which they were made.
        return sorted(re.split(r"[\n,]\s*|elements = \{ | \}", text))

    def walk(number: int) -> tuple[str, Contribution]:
        kind = chance.choice(["None", "ClientIP"])
        svc = service(f"s{number}", f"10.43.0.{number}", port(80, nodePort=30000 + number), type="NodePort", sessionAffinity=kind)
        svc["spec"]["externalTrafficPolicy"] = chance.choice(["Local", "Cluster"])
        ends = [endpoint(a, nodeName=chance.choice(["n1", "n2"])) for a in chance.sample(ADDRESSES, chance.randint(0, 4))]
        return f"s{number}", contribution(svc, piece(f"s{number}", ends, port(8080)))

    apply(frame(FOUR, targets_max=4))
    for _ in range(40):
        change = walk(chance.randint(1, 4)) if chance.random() < 0.85 else (f"s{chance.randint(1, 4)}", NOTHING)
        last[change[0]] = change[1]
        apply(rules.change([change]))
    walked = listing()
    apply(frame(FOUR, targets_max=4) + Ruleset().change(last.items()))
    assert walked == listing()
    apply("delete table ip edgekube")


def test_further_ranges_are_named_once_and_none_that_holds_pods() -> None:
    cidrs = ["10.44.0.0/24", "10.44.1.0/24", "10.44.0.0/23", "10.43.0.0/16", "10.0.0.0/8", "fd00:44::/108", "nonsense"]
    assert {element.key for element in of_ranges(cidrs, FOUR).shared} == {"10.44.0.0/23"}
    assert {element.key for element in of_ranges(cidrs, SIX).shared} == {"fd00:44::/108"}


if __name__ == "__main__":
    for each in (FOUR, SIX):
        (GOLDEN / f"services-{each.family}.nft").write_text(golden(each))
