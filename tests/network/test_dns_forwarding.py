"""What is not the cluster's: asked of others, remembered, and answered at once when there is nobody to ask."""

from __future__ import annotations

from pathlib import Path

import dnslib
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from edgekube import limits
from edgekube.api.kinds import SERVICE
from edgekube.network.dns import message
from edgekube.network.dns.cache import STALE_TTL_SECONDS, ReplyCache
from edgekube.network.dns.forwarder import Forwarder
from edgekube.network.dns.metrics import DnsMetrics
from edgekube.network.dns.metrics_server import serve_metrics
from edgekube.network.dns.server import Resolver, serve
from edgekube.network.dns.upstreams import (
    Choice,
    HostResolvers,
    MalformedUpstreams,
    Server,
    Upstreams,
    nameservers,
    parse_upstreams,
)
from edgekube.network.dns.zone import CNAME, NXDOMAIN, A, Zone
from edgekube.wire.client import http_client
from tests.network.cluster import Cluster, service
from tests.network.dns_client import ask, over_tcp, over_udp

SERVFAIL = dnslib.RCODE.SERVFAIL


class Upstream:
    """A resolver of the world on UDP and TCP: knows one name, counts what it is asked, may lose packets or refuse."""

    def __init__(self, address: str = "198.51.100.7") -> None:
        self.address = address
        self.asked: list[str] = []
        self.lose = 0  # so many of the next packets
        self.code = 0
        self.answers = 1
        self.ttl_seconds = 300
        self.hold = trio.Event()
        self.hold.set()
        self.came = trio.Event()
        self.server = Server("127.0.0.1", 0)
        self.listeners: list[trio.SocketListener] = []

    async def run(self, *, task_status: trio.TaskStatus[Server]) -> None:
        while True:
            self.listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            number = self.listeners[0].socket.getsockname()[1]
            socket = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
            try:
                await socket.bind(("127.0.0.1", number))
                break
            except OSError:  # somebody has the number for UDP: another one
                socket.close()
                await self.listeners[0].aclose()
        with socket:
            self.server = Server("127.0.0.1", number)
            async with trio.open_nursery() as nursery:
                await nursery.start(self._tcp)
                task_status.started(self.server)
                while True:
                    packet, peer = await socket.recvfrom(65535)
                    reply = await self._reply(packet)
                    if reply is None:
                        continue
                    forged = packet[:2] + b"\x81\x80" + packet[4:12] + b"\x03bad\x00\x00\x01\x00\x01"
                    await socket.sendto(forged, peer)
                    await socket.sendto(message.fit(reply, 512), peer)

    async def _tcp(self, *, task_status: trio.TaskStatus[None]) -> None:
        async def answer(stream: trio.SocketStream) -> None:
            size = int.from_bytes(await stream.receive_some(2), "big")
            reply = await self._reply(bytes(await stream.receive_some(size)))
            if reply is not None:
                await stream.send_all(len(reply).to_bytes(2, "big") + reply)

        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, answer, self.listeners)
            task_status.started()

    async def _reply(self, packet: bytes) -> bytes | None:
        query = dnslib.DNSRecord.parse(packet)
        name = str(query.q.qname).rstrip(".").lower()
        self.asked.append(name)
        self.came.set()
        await self.hold.wait()
        if self.lose:
            self.lose -= 1
            return None
        reply = query.reply()
        if self.code:
            reply.header.rcode = self.code
        elif name.endswith("example.org"):
            for _ in range(self.answers):
                reply.add_answer(dnslib.RR(name, ttl=self.ttl_seconds, rdata=dnslib.A(self.address)))
        else:
            reply.header.rcode = NXDOMAIN
        return bytes(reply.pack())


class World:
    """A resolver of ours, and those that it asks."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.upstreams: list[Upstream] = []
        self.metrics = DnsMetrics()
        cluster = Cluster()
        zone = Zone(cluster.view, "cluster.local", [])
        cluster.follow_with_zone(zone)
        cluster.put(SERVICE, service("out", "", type="ExternalName", externalName="Example.ORG."))
        self.forwarder = Forwarder(Choice(lambda: [each.server for each in self.upstreams]), self.metrics)
        self.resolver = Resolver(zone, self.forwarder, self.metrics)
        self.port = 0

    async def upstream(self, address: str = "198.51.100.7") -> Upstream:
        made = Upstream(address)
        await self._nursery.start(made.run)
        return made

    async def add(self, address: str = "198.51.100.7") -> Upstream:
        made = await self.upstream(address)
        self.upstreams.append(made)
        return made

    async def asked(self, name: str) -> str:
        """The address, or the code's name."""
        reply = await over_udp(self.port, ask(name))
        return str(reply.short()) if reply.rr else str(dnslib.RCODE[reply.header.rcode])


@pytest.fixture
async def world(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> World:
    # No question is repeated because this machine is busy: whoever wants that says so.
    monkeypatch.setattr(limits, "DNS_REPEAT_SECONDS", 600.0)
    monkeypatch.setattr(limits, "DNS_FORWARD_SECONDS", 600.0)
    world = World(nursery)
    world.port = await nursery.start(serve, world.resolver, "127.0.0.1", 0)
    return world


async def test_without_a_resolver_the_answer_is_servfail_at_once(world: World) -> None:
    assert await world.asked("example.org") == "SERVFAIL", "who is not there is not waited for"


async def test_other_names_are_forwarded_and_remembered(world: World) -> None:
    upstream = await world.add()
    for _ in range(3):
        assert await world.asked("example.org") == "198.51.100.7"
        assert await world.asked("none.example") == "NXDOMAIN"
    # A name that does not exist came without a lifetime: it is asked for again.
    assert upstream.asked.count("example.org") == 1


async def test_an_external_name_is_followed_into_the_world(world: World) -> None:
    await world.add()
    reply = await over_udp(world.port, ask("out.shop.svc.cluster.local"))
    assert [rr.rtype for rr in reply.rr] == [CNAME, A] and str(reply.rr[1].rdata) == "198.51.100.7"


async def test_a_lost_packet_costs_a_repetition(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DNS_REPEAT_SECONDS", 0.1)
    upstream = await world.add()
    upstream.lose = 2
    assert await world.asked("example.org") == "198.51.100.7"
    assert len(upstream.asked) >= 3, "each that was lost is asked again"


async def test_a_silent_server_is_replaced_by_the_next(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DNS_REPEAT_SECONDS", 0.1)
    silent, other = await world.add(), await world.add("203.0.113.9")
    silent.lose = 10_000
    assert await world.asked("example.org") == "203.0.113.9" and set(other.asked) == {"example.org"}


async def test_a_server_that_refuses_hands_over_at_once(world: World) -> None:
    refusing, _ = await world.add(), await world.add("203.0.113.9")
    refusing.code = dnslib.RCODE.REFUSED
    assert await world.asked("example.org") == "203.0.113.9", "before a question would be repeated"


async def test_nobody_listening_hands_over_at_once(world: World) -> None:
    gone = Upstream()
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as closed:
        await closed.bind(("127.0.0.1", 0))
        gone.server = Server("127.0.0.1", closed.getsockname()[1])
    world.upstreams.append(gone)
    await world.add("203.0.113.9")
    assert await world.asked("example.org") == "203.0.113.9", "before a question would be repeated"


async def test_silent_servers_are_waited_for_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DNS_FORWARD_SECONDS", 0.05)
    upstream = await world.add()
    upstream.lose = 1000
    assert await world.asked("a.example.org") == "SERVFAIL"
    await upstream.came.wait()  # on a busy machine it reads the question after we gave up
    asked = len(upstream.asked)
    for name in ("b.example.org", "c.example.org"):
        assert await world.asked(name) == "SERVFAIL"
    assert len(upstream.asked) == asked


async def test_while_silent_servers_are_tried_again_nobody_else_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DNS_FORWARD_SECONDS", 0.05)
    monkeypatch.setattr(limits, "DNS_SILENT_SECONDS", 0.0)
    upstream = await world.add()
    upstream.lose = 1000
    assert await world.asked("a.example.org") == "SERVFAIL"
    await upstream.came.wait()
    monkeypatch.setattr(limits, "DNS_FORWARD_SECONDS", 30.0)
    upstream.hold, upstream.came = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.asked, "b.example.org")
        await upstream.came.wait()
        assert await world.asked("c.example.org") == "SERVFAIL"
        upstream.lose = 0
        upstream.hold.set()
    assert await world.asked("c.example.org") == "198.51.100.7"


async def test_one_question_under_way_serves_everybody(world: World) -> None:
    upstream = await world.add()
    upstream.hold = trio.Event()
    answers: list[str] = []

    async def client() -> None:
        answers.append(await world.asked("example.org"))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(client)
        await upstream.came.wait()
        # The 19 others are taken from the socket before the held reply can be read: the loop is one task.
        await trio.testing.wait_all_tasks_blocked()
        upstream.hold.set()
    assert answers == ["198.51.100.7"] * 20 and upstream.asked.count("example.org") == 1


async def test_a_reply_too_long_for_udp_is_asked_for_over_tcp(world: World) -> None:
    upstream = await world.add()
    upstream.answers = 60
    assert (await over_udp(world.port, ask("example.org"))).header.tc == 1
    assert len((await over_tcp(world.port, ask("example.org"))).rr) == 60


async def test_what_was_true_lately_stands_in_when_nobody_answers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DNS_CACHE_SECONDS_MAX", 0.01)
    upstream = await world.add()
    assert await world.asked("example.org") == "198.51.100.7"
    monkeypatch.setattr(limits, "DNS_FORWARD_SECONDS", 0.05)
    upstream.lose = 1000
    with trio.fail_after(60):
        while upstream.asked.count("example.org") < 2:  # until it is out of date and asked for again
            reply = await over_udp(world.port, ask("example.org"))
    assert str(reply.short()) == "198.51.100.7" and reply.rr[0].ttl == STALE_TTL_SECONDS
    assert await world.asked("other.example.org") == "SERVFAIL"


async def test_stub_domains_have_servers_of_their_own(world: World) -> None:
    everybody, ours, lab = await world.add(), await world.upstream("10.9.0.1"), await world.upstream("10.9.0.2")
    world.forwarder.use(Upstreams({"corp.example.org": (ours.server,), "lab.corp.example.org": (lab.server,)}))
    assert await world.asked("www.corp.example.org") == "10.9.0.1" == await world.asked("corp.example.org")
    assert await world.asked("pi.lab.corp.example.org") == "10.9.0.2"
    assert await world.asked("notcorp.example.org") == "198.51.100.7"
    assert everybody.asked == ["notcorp.example.org"]
    world.forwarder.use(Upstreams(nameservers=(lab.server,)))
    assert await world.asked("www.corp.example.org") == "10.9.0.2", "what another server said is forgotten"


# --- what is remembered


def reply_with(*ttls: int, name: str = "example.org") -> tuple[bytes, bytes]:
    query = dnslib.DNSRecord.question(name)
    reply = query.reply()
    for number, ttl in enumerate(ttls):
        reply.add_answer(dnslib.RR(name, ttl=ttl, rdata=dnslib.A(f"192.0.2.{number}")))
    reply.add_ar(dnslib.EDNS0(udp_len=1232))
    return bytes(query.pack()), bytes(reply.pack())


def test_a_remembered_answer_grows_old() -> None:
    cache = ReplyCache()
    query, reply = reply_with(300, 20)
    cache.store(query, reply, 100.0)
    aged = cache.fresh(b"\x12\x34" + query[2:], 107.5)
    assert aged is not None and aged[:2] == b"\x12\x34"
    assert [rr.ttl for rr in dnslib.DNSRecord.parse(aged).rr] == [293, 13]
    assert dnslib.DNSRecord.parse(aged).ar[0].edns_len == 1232, "an EDNS record has no lifetime"
    assert cache.fresh(query, 120.0) is None, "the shortest lifetime counts"
    stale = cache.out_of_date(query, 121.0)
    assert stale is not None and {rr.ttl for rr in dnslib.DNSRecord.parse(stale).rr} == {STALE_TTL_SECONDS}
    assert cache.out_of_date(query, 101.0 + limits.DNS_STALE_SECONDS_MAX) is None


def test_what_must_not_be_kept_is_not() -> None:
    cache = ReplyCache()
    for code, ttls in ((dnslib.RCODE.SERVFAIL, (30,)), (0, (0,)), (0, ())):
        query, reply = reply_with(*ttls)
        cache.store(query, reply[:3] + bytes([reply[3] & 0xF0 | code]) + reply[4:], 0.0)
    assert len(cache) == 0


def test_the_cache_is_bounded() -> None:
    cache = ReplyCache()
    for number in range(limits.DNS_CACHE_ENTRIES_MAX + 5):
        cache.store(*reply_with(30, name=f"h{number}.example"), 0.0)
    assert len(cache) == limits.DNS_CACHE_ENTRIES_MAX


def test_the_cache_is_bounded_in_bytes() -> None:
    cache = ReplyCache()
    query, reply = reply_with(30)
    long = reply + bytes(60_000)  # what follows the records is kept as it came
    for number in range(limits.DNS_CACHE_ENTRIES_MAX):
        cache.store(query[:2] + number.to_bytes(2, "big") + query[4:], long, 0.0)
    assert cache.bytes <= limits.DNS_REMEMBERED_BYTES_MAX and len(cache) > 10
    cache.clear()
    assert cache.bytes == 0


@given(st.binary(max_size=120))
def test_no_reply_breaks_the_cache(packet: bytes) -> None:
    found = message.lifetimes(packet)
    assert found is None or all(12 <= offset <= len(packet) - 4 for offset, _ in found)


# --- which servers


def test_resolv_conf_gives_three_servers_and_never_ourselves(tmp_path: Path) -> None:
    servers = ["10.43.0.10", "1.1.1.1", "fe80::1%eth0", "3.3.3.3", "4.4.4.4"]
    text = "# nameserver 9.9.9.9\n" + "".join(f"nameserver {server}\n" for server in servers)
    assert nameservers(text, ["10.43.0.10"]) == ["1.1.1.1", "fe80::1%eth0", "3.3.3.3"]
    path = tmp_path / "resolv.conf"
    resolvers = HostResolvers(path, [])
    assert resolvers.servers() == ()
    path.write_text("nameserver 1.1.1.1\n")
    assert resolvers.servers() == (Server("1.1.1.1"),)


def test_the_configmap_names_servers() -> None:
    data = {
        "stubDomains": '{"Corp.Example.": ["192.0.2.1", "192.0.2.2:5353"], "v6.example": ["[2001:db8::1]:54", "2001:db8::2"]}',
        "upstreamNameservers": '["192.0.2.53"]',
        "Corefile": "not ours",
    }
    assert parse_upstreams(data) == Upstreams(
        {
            "corp.example": (Server("192.0.2.1"), Server("192.0.2.2", 5353)),
            "v6.example": (Server("2001:db8::1", 54), Server("2001:db8::2")),
        },
        (Server("192.0.2.53"),),
    )
    assert parse_upstreams({}) == Upstreams()


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"stubDomains": "corp.example"}, "stubDomains is not JSON"),
        ({"stubDomains": '["a"]'}, "stubDomains: give an object of lists of addresses"),
        ({"stubDomains": '{"-a": ["192.0.2.1"]}'}, "stubDomains: '-a' is not a domain name"),
        ({"stubDomains": '{"a.example": []}'}, "stubDomains: a.example: give one to 3 addresses"),
        ({"upstreamNameservers": '["ns.example"]'}, "upstreamNameservers: 'ns.example' is no address"),
        ({"upstreamNameservers": '["192.0.2.1:0"]'}, "upstreamNameservers: '192.0.2.1:0' is no address"),
        ({"upstreamNameservers": '["10.43.0.10"]'}, "10.43.0.10 is the cluster's own DNS"),
    ],
)
def test_a_setting_that_cannot_be_used_says_why(data: dict[str, str], complaint: str) -> None:
    with pytest.raises(MalformedUpstreams, match=complaint.replace("(", r"\(").replace("[", r"\[")):
        parse_upstreams(data, ["10.43.0.10"])


# --- figures


async def test_figures_are_served_as_prometheus_reads_them(world: World, nursery: trio.Nursery) -> None:
    await world.add()
    await world.asked("example.org")
    await world.asked("example.org")
    await world.asked("none.shop.svc.cluster.local")
    port = await nursery.start(serve_metrics, world.metrics, "127.0.0.1", 0)
    async with http_client("127.0.0.1", port) as client:
        status, headers, body = await client.fetch("GET", "/metrics", max_bytes=100_000)
        assert (await client.fetch("GET", "/", max_bytes=1000))[0] == 404
    lines = body.decode().splitlines()
    assert status == 200 and headers["content-type"] == "text/plain; version=0.0.4"
    for line in (
        'coredns_dns_requests_total{proto="udp",type="A"} 3',
        'coredns_dns_responses_total{rcode="NOERROR"} 2',
        'coredns_dns_responses_total{rcode="NXDOMAIN"} 1',
        "coredns_cache_hits_total 1",
        "coredns_forward_requests_total 1",
        "coredns_forward_request_duration_seconds_count 1",
    ):
        assert line in lines, body.decode()
