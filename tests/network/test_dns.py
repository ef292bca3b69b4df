"""The cluster's DNS: names by the specification, packets by the RFCs, a forwarder that knows when it is alone."""

from __future__ import annotations

import dnslib
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube import limits
from edgekube.api.kinds import ENDPOINTSLICE, SERVICE
from edgekube.network.dns.forwarder import Forwarder
from edgekube.network.dns.message import MalformedPacket, parse
from edgekube.network.dns.server import Resolver, serve
from edgekube.network.dns.upstreams import Choice
from edgekube.network.dns.zone import AAAA, NXDOMAIN, PTR, SRV, TXT, A, Answer, Zone
from tests.network.cluster import Cluster, endpoint, piece, port, service
from tests.network.dns_client import ask, over_tcp, over_udp


@pytest.fixture
async def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
async def zone(cluster: Cluster) -> Zone:
    zone = Zone(cluster.view, "cluster.local", ["10.42.0.0/16", "10.43.0.0/16"])
    cluster.follow_with_zone(zone)
    cluster.put(SERVICE, service("web", "10.43.0.9", port(80, "http"), port(53, "dns", "UDP")))
    cluster.put(SERVICE, service("db", "None", port(5432, "sql")))
    slices = [endpoint("10.42.0.2", hostname="db-0"), endpoint("10.42.0.3")]
    cluster.put(ENDPOINTSLICE, piece("db", slices, port(5432, "sql")))
    cluster.put(SERVICE, service("out", "", type="ExternalName", externalName="Example.ORG."))
    return zone


def told(zone: Zone, name: str, type_: int) -> object:
    """Data of the answers; the reply's code when there are none; None for names that are not ours."""
    reply = zone.lookup(name, type_)
    if reply is None:
        return None
    return [answer.data for answer in reply.answers] or reply.code


@pytest.mark.parametrize(
    ("name", "type_", "expected"),
    [
        ("web.shop.svc.cluster.local", A, ["10.43.0.9"]),
        ("web.shop.svc.cluster.local", AAAA, 0),
        ("_http._tcp.web.shop.svc.cluster.local", SRV, [(0, 100, 80, "web.shop.svc.cluster.local")]),
        ("_dns._udp.web.shop.svc.cluster.local", SRV, [(0, 100, 53, "web.shop.svc.cluster.local")]),
        ("_http._udp.web.shop.svc.cluster.local", SRV, NXDOMAIN),
        ("_tcp.web.shop.svc.cluster.local", SRV, 0),
        ("9.0.43.10.in-addr.arpa", PTR, ["web.shop.svc.cluster.local"]),
        ("db.shop.svc.cluster.local", A, ["10.42.0.2", "10.42.0.3"]),
        ("db-0.db.shop.svc.cluster.local", A, ["10.42.0.2"]),
        ("10-42-0-3.db.shop.svc.cluster.local", A, ["10.42.0.3"]),
        ("db-9.db.shop.svc.cluster.local", A, NXDOMAIN),
        (
            "_sql._tcp.db.shop.svc.cluster.local",
            SRV,
            [(0, 100, 5432, "db-0.db.shop.svc.cluster.local"), (0, 100, 5432, "10-42-0-3.db.shop.svc.cluster.local")],
        ),
        ("2.0.42.10.in-addr.arpa", PTR, ["db-0.db.shop.svc.cluster.local"]),
        ("8.0.43.10.in-addr.arpa", PTR, NXDOMAIN),
        ("1.1.168.192.in-addr.arpa", PTR, None),
        ("00.0.42.10.in-addr.arpa", PTR, None),
        ("\u0663.0.42.10.in-addr.arpa", PTR, None),
        (f"{'0.' * 31}2.ip6.arpa", PTR, None),
        ("out.shop.svc.cluster.local", A, ["example.org"]),
        ("10-42-0-2.shop.pod.cluster.local", A, ["10.42.0.2"]),
        ("10-42-0-2.nowhere.pod.cluster.local", A, NXDOMAIN),
        ("ten.shop.pod.cluster.local", A, NXDOMAIN),
        ("dns-version.cluster.local", TXT, ["1.1.0"]),
        ("shop.svc.cluster.local", A, 0),
        ("svc.cluster.local", A, 0),
        ("nowhere.svc.cluster.local", A, NXDOMAIN),
        ("none.shop.svc.cluster.local", A, NXDOMAIN),
        ("web.shop.svc.cluster.local.shop.svc.cluster.local", A, NXDOMAIN),
        ("example.org", A, None),
    ],
)
async def test_the_zone_says(zone: Zone, name: str, type_: int, expected: object) -> None:
    assert told(zone, name, type_) == expected


async def test_srv_answers_bring_the_addresses_of_their_targets(zone: Zone) -> None:
    reply = zone.lookup("_sql._tcp.db.shop.svc.cluster.local", SRV)
    assert reply is not None and Answer("db-0.db.shop.svc.cluster.local", A, "10.42.0.2") in reply.additional


async def test_what_goes_is_gone(zone: Zone, cluster: Cluster) -> None:
    cluster.remove(SERVICE, "shop", "web")
    assert told(zone, "web.shop.svc.cluster.local", A) == NXDOMAIN and told(zone, "9.0.43.10.in-addr.arpa", PTR) == NXDOMAIN
    cluster.put(ENDPOINTSLICE, piece("db", [], port(5432, "sql")))
    assert told(zone, "db.shop.svc.cluster.local", A) == 0 and told(zone, "2.0.42.10.in-addr.arpa", PTR) == NXDOMAIN


async def test_an_endpoint_that_is_not_ready_has_no_name(zone: Zone, cluster: Cluster) -> None:
    waiting = {"addresses": ["10.42.0.7"], "hostname": "db-1", "conditions": {"ready": False}}
    cluster.put(ENDPOINTSLICE, piece("db", [endpoint("10.42.0.2", hostname="db-0"), waiting], port(5432, "sql")))
    assert told(zone, "db.shop.svc.cluster.local", A) == ["10.42.0.2"]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_no_packet_breaks_the_resolver(packet: bytes) -> None:
    try:
        parse(packet)
    except MalformedPacket as error:
        assert error.reply == b"" or error.reply[:2] == packet[:2]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text("abc-_0123456789", min_size=1, max_size=12), max_size=7),
    st.sampled_from([A, AAAA, SRV, PTR, TXT, 255, 0, 65535]),
)
async def test_no_name_breaks_the_zone(labels: list[str], type_: int) -> None:
    zone = Zone(Cluster().view, "cluster.local", ["10.42.0.0/16"])
    for suffix in ([], ["svc", "cluster", "local"], ["pod", "cluster", "local"], ["in-addr", "arpa"], ["ip6", "arpa"]):
        zone.lookup(".".join([*labels, *suffix]), type_)


def _resolver(zone: Zone) -> Resolver:
    return Resolver(zone, Forwarder(Choice(lambda: ())))


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(ask("web.shop.svc.cluster.local") + bytes(60_000), id="more than a question"),
        pytest.param(ask("web.shop.svc.cluster.local")[:6] + b"\xff\xff" + ask("web.shop.svc.cluster.local")[8:], id="answers"),
        pytest.param(
            ask("web.shop.svc.cluster.local")[:10] + b"\x00\x09" + ask("web.shop.svc.cluster.local")[12:], id="additions"
        ),
        pytest.param(ask("web.shop.svc.cluster.local")[:4] + b"\x00\x02" + ask("web.shop.svc.cluster.local")[6:], id="questions"),
    ],
)
async def test_what_is_no_plain_question_is_not_looked_into(zone: Zone, packet: bytes) -> None:
    """A pod must not make the node read, or remember, a hundred times what a resolver sends."""
    answer = _resolver(zone).answer_now(packet, "udp")
    assert isinstance(answer, bytes) and answer[3] & 0x0F == 1, "FORMERR"


async def test_answers_that_are_remembered_are_bounded_in_bytes(
    zone: Zone, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However a pod spells one long answer's name, and however often."""
    monkeypatch.setattr(limits, "DNS_REMEMBERED_BYTES_MAX", 1 << 16)
    cluster.put(SERVICE, service("big", "None", port(80, "http")))
    cluster.put(ENDPOINTSLICE, piece("big", [endpoint(f"10.42.{i // 50}.{i % 50 + 2}") for i in range(100)], port(80, "http")))
    resolver = _resolver(zone)
    name = "big.shop.svc.cluster.local"
    for number in range(1 << 6):
        spelled = "".join(letter.upper() if number >> at & 1 else letter for at, letter in enumerate(name))
        for _ in range(2):
            answer = resolver.answer_now(ask(spelled), "tcp")
            assert isinstance(answer, bytes) and len(answer) > 1_000
    assert resolver.remembered_bytes <= limits.DNS_REMEMBERED_BYTES_MAX
    again = resolver.answer_now(ask("web.shop.svc.cluster.local"), "udp")
    assert isinstance(again, bytes) and again[3] & 0x0F == 0


async def started(zone: Zone, nursery: trio.Nursery) -> int:
    number: int = await nursery.start(serve, Resolver(zone, Forwarder(Choice(lambda: ()))), "127.0.0.1", 0)
    return number


async def test_questions_are_answered_over_udp_and_tcp(zone: Zone, nursery: trio.Nursery) -> None:
    number = await started(zone, nursery)
    for transport in (over_udp, over_tcp):
        packet = ask("Web.Shop.SVC.cluster.local.")
        reply = await transport(number, packet)
        assert str(reply.short()) == "10.43.0.9" and reply.header.id == dnslib.DNSRecord.parse(packet).header.id
        assert str(reply.q.qname) == "Web.Shop.SVC.cluster.local.", "the question comes back as it was spelled (RFC 5452)"


async def test_a_missing_name_has_the_zones_soa(zone: Zone, nursery: trio.Nursery) -> None:
    reply = await over_udp(await started(zone, nursery), ask("none.shop.svc.cluster.local"))
    assert reply.header.rcode == NXDOMAIN and reply.auth[0].rtype == dnslib.QTYPE.SOA


async def test_a_change_shows_in_the_next_answer(zone: Zone, cluster: Cluster, nursery: trio.Nursery) -> None:
    number = await started(zone, nursery)
    packet = ask("web.shop.svc.cluster.local")
    assert str((await over_udp(number, packet)).short()) == "10.43.0.9"
    cluster.put(SERVICE, service("web", "10.43.0.99", port(80)))
    assert str((await over_udp(number, packet)).short()) == "10.43.0.99"


async def test_a_large_reply_is_cut_for_udp_and_whole_over_tcp(zone: Zone, cluster: Cluster, nursery: trio.Nursery) -> None:
    many = [endpoint(f"10.42.1.{n}", hostname=f"host-{n}") for n in range(1, 100)]
    cluster.put(ENDPOINTSLICE, piece("db", many, port(5432, "sql")))
    number = await started(zone, nursery)
    small = await over_udp(number, ask("db.shop.svc.cluster.local"))
    assert small.header.tc == 1 and len(small.pack()) <= 512
    assert str(small.q.qname) == "db.shop.svc.cluster.local." and not small.rr, "an answer without its question is ignored"
    whole = await over_tcp(number, ask("db.shop.svc.cluster.local"))
    assert whole.header.tc == 0 and len(whole.rr) == 99
    medium = await over_udp(number, ask("db.shop.svc.cluster.local", edns=4096))
    assert medium.header.tc == 1, "1600 bytes are more than any datagram of ours"


async def test_addresses_take_turns_at_being_first(zone: Zone, cluster: Cluster, nursery: trio.Nursery) -> None:
    """Many clients take the first address of an answer and no other."""
    cluster.put(ENDPOINTSLICE, piece("db", [endpoint(f"10.42.1.{n}") for n in range(3)], port(5432, "sql")))
    number = await started(zone, nursery)
    replies = [await over_udp(number, ask("db.shop.svc.cluster.local")) for _ in range(7)]
    assert {str(reply.rr[0].rdata) for reply in replies} == {"10.42.1.0", "10.42.1.1", "10.42.1.2"}
    assert all(len(reply.rr) == 3 for reply in replies)


async def test_a_broken_packet_does_not_disturb_the_next(zone: Zone, nursery: trio.Nursery) -> None:
    number = await started(zone, nursery)
    reply = await over_udp(number, ask("web.shop.svc.cluster.local")[:20])
    assert reply.header.rcode == dnslib.RCODE.FORMERR
    assert str((await over_udp(number, ask("web.shop.svc.cluster.local"))).short()) == "10.43.0.9"
