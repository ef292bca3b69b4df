"""The cluster's DNS: names by the specification, packets by the RFCs, a forwarder that knows when it is alone."""

from __future__ import annotations

from pathlib import Path

import dnslib
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube import limits
from edgekube.api.kinds import ENDPOINTSLICE, SERVICE
from edgekube.network.dns.forwarder import Forwarder, Resolvers, nameservers
from edgekube.network.dns.message import MalformedPacket, parse
from edgekube.network.dns.server import Resolver, serve
from edgekube.network.dns.zone import AAAA, CNAME, NXDOMAIN, PTR, SRV, TXT, A, Answer, Zone
from tests.network.cluster import Cluster, endpoint, piece, port, service


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


def test_resolv_conf_gives_three_servers_and_never_ourselves(tmp_path: Path) -> None:
    servers = ["10.43.0.10", "1.1.1.1", "fe80::1%eth0", "3.3.3.3", "4.4.4.4"]
    text = "# nameserver 9.9.9.9\n" + "".join(f"nameserver {server}\n" for server in servers)
    assert nameservers(text, ["10.43.0.10"]) == ["1.1.1.1", "fe80::1", "3.3.3.3"]
    path = tmp_path / "resolv.conf"
    resolvers = Resolvers(path, [])
    assert resolvers.addresses() == []
    path.write_text("nameserver 1.1.1.1\n")
    assert resolvers.addresses() == ["1.1.1.1"]


def ask(name: str, qtype: str = "A", edns: int = 0) -> bytes:
    query = dnslib.DNSRecord.question(name, qtype)
    if edns:
        query.add_ar(dnslib.EDNS0(udp_len=edns))
    return bytes(query.pack())


async def over_udp(number: int, packet: bytes) -> dnslib.DNSRecord:
    with trio.fail_after(10), trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as socket:
        await socket.connect(("127.0.0.1", number))
        await socket.send(packet)
        return dnslib.DNSRecord.parse(await socket.recv(65535))


async def over_tcp(number: int, packet: bytes) -> dnslib.DNSRecord:
    with trio.fail_after(10):
        async with await trio.open_tcp_stream("127.0.0.1", number) as stream:
            framed = len(packet).to_bytes(2, "big") + packet
            await stream.send_all(framed[:3])
            await stream.send_all(framed[3:])
            received = b""
            while len(received) < 2 or len(received) < 2 + int.from_bytes(received[:2], "big"):
                received += await stream.receive_some(65537)
            return dnslib.DNSRecord.parse(received[2:])


async def started(zone: Zone, nursery: trio.Nursery, upstream: int | None = None) -> int:
    servers = [] if upstream is None else ["127.0.0.1"]
    forwarder = Forwarder(lambda: servers, port=upstream or 53)
    number: int = await nursery.start(serve, Resolver(zone, forwarder), "127.0.0.1", 0)
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
    whole = await over_tcp(number, ask("db.shop.svc.cluster.local"))
    assert whole.header.tc == 0 and len(whole.rr) == 99
    medium = await over_udp(number, ask("db.shop.svc.cluster.local", edns=4096))
    assert medium.header.tc == 1, "1600 bytes are more than any datagram of ours"


async def test_without_a_resolver_the_answer_is_servfail_at_once(zone: Zone, nursery: trio.Nursery) -> None:
    began = trio.current_time()
    reply = await over_udp(await started(zone, nursery), ask("example.org"))
    assert reply.header.rcode == dnslib.RCODE.SERVFAIL and trio.current_time() - began < limits.DNS_FORWARD_SECONDS


class Upstream:
    """A resolver of the world: knows one name, counts what it is asked, may be silent."""

    def __init__(self) -> None:
        self.asked = 0
        self.silent = False

    async def run(self, *, task_status: trio.TaskStatus[int]) -> None:
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as socket:
            await socket.bind(("127.0.0.1", 0))
            task_status.started(socket.getsockname()[1])
            while True:
                packet, peer = await socket.recvfrom(65535)
                self.asked += 1
                query = dnslib.DNSRecord.parse(packet)
                reply = query.reply()
                if str(query.q.qname).rstrip(".").lower() == "example.org":
                    reply.add_answer(dnslib.RR("example.org", ttl=300, rdata=dnslib.A("198.51.100.7")))
                else:
                    reply.header.rcode = NXDOMAIN
                if not self.silent:
                    await socket.sendto(
                        packet[:2] + b"\x81\x80" + packet[4:12] + b"\x03bad\x00\x00\x01\x00\x01", peer
                    )  # a forgery
                    await socket.sendto(reply.pack(), peer)


async def test_other_names_are_forwarded_and_remembered(zone: Zone, nursery: trio.Nursery) -> None:
    upstream = Upstream()
    number = await started(zone, nursery, await nursery.start(upstream.run))
    for _ in range(3):
        assert str((await over_udp(number, ask("example.org"))).short()) == "198.51.100.7"
    assert upstream.asked == 1


async def test_an_external_name_is_followed_into_the_world(zone: Zone, nursery: trio.Nursery) -> None:
    upstream = Upstream()
    number = await started(zone, nursery, await nursery.start(upstream.run))
    reply = await over_udp(number, ask("out.shop.svc.cluster.local"))
    assert [rr.rtype for rr in reply.rr] == [CNAME, A] and str(reply.rr[1].rdata) == "198.51.100.7"


async def test_a_silent_resolver_is_waited_for_once(zone: Zone, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DNS_FORWARD_SECONDS", 0.05)
    upstream = Upstream()
    upstream.silent = True
    number = await started(zone, nursery, await nursery.start(upstream.run))
    for name in ("a.example", "b.example", "c.example"):
        assert (await over_udp(number, ask(name))).header.rcode == dnslib.RCODE.SERVFAIL
    assert upstream.asked == 1


async def test_a_broken_packet_does_not_disturb_the_next(zone: Zone, nursery: trio.Nursery) -> None:
    number = await started(zone, nursery)
    reply = await over_udp(number, ask("web.shop.svc.cluster.local")[:20])
    assert reply.header.rcode == dnslib.RCODE.FORMERR
    assert str((await over_udp(number, ask("web.shop.svc.cluster.local"))).short()) == "10.43.0.9"
