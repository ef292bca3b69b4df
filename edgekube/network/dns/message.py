"""DNS packets: questions read, replies written (RFC 1035, RFC 6891).

Enters: packets; Replies of the zone.
Leaves: Question values, or MalformedPacket; packets no larger than the asker can take.
Holds: pure; a packet that is not one question is refused, never guessed at.
Next: network.dns.server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edgekube import limits
from edgekube.network.dns.zone import AAAA, CNAME, NXDOMAIN, PTR, SRV, TTL_SECONDS, TXT, A, Answer, Reply

if TYPE_CHECKING:
    import dnslib

FORMERR: Final = 1
SERVFAIL: Final = 2
NOTIMP: Final = 4
REFUSED: Final = 5

_UDP_BYTES_WITHOUT_EDNS: Final = 512
_HEADER_BYTES: Final = 12


class MalformedPacket(Exception):
    """Not a query. ``reply`` answers it, or is empty when it deserves no answer."""

    def __init__(self, reply: bytes) -> None:
        super().__init__("malformed DNS packet")
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Question:
    name: str  # lower case, no final dot
    type: int
    udp_bytes_max: int
    record: dnslib.DNSRecord


def parse(packet: bytes) -> Question:
    """The one question of a query. Raises MalformedPacket."""
    import dnslib

    if len(packet) < _HEADER_BYTES or packet[2] & 0x80:
        raise MalformedPacket(b"")  # too short, or a response: answering would start a loop
    try:
        record = dnslib.DNSRecord.parse(packet)
        if len(record.questions) != 1:
            raise ValueError("exactly one question is answered")
        name = str(record.q.qname).rstrip(".").lower()
    except (dnslib.DNSError, ValueError, UnicodeError, IndexError) as error:
        raise MalformedPacket(error_packet(packet, FORMERR)) from error
    if record.header.opcode != 0:
        raise MalformedPacket(error_packet(packet, NOTIMP))
    size = _UDP_BYTES_WITHOUT_EDNS
    for extra in record.ar:
        if extra.rtype == dnslib.QTYPE.OPT:
            size = min(max(int(extra.edns_len), _UDP_BYTES_WITHOUT_EDNS), limits.DNS_UDP_BYTES_MAX)
    return Question(name, int(record.q.qtype), size, record)


def error_packet(query: bytes, code: int) -> bytes:
    """A reply with nothing but a code: the query's id and flags, no question."""
    flags = 0x8080 | (query[2] & 0x79) << 8 | code
    return query[:2] + flags.to_bytes(2, "big") + bytes(8)


def compose(question: Question, reply: Reply, domain: str) -> bytes:
    """The reply as a packet, of any length; ``fit`` cuts it for UDP."""
    import dnslib

    packet = question.record.reply(ra=1, aa=1)
    packet.header.rcode = reply.code
    for answer in reply.answers:
        packet.add_answer(_record(answer))
    if reply.code == NXDOMAIN or not reply.answers:
        packet.add_auth(_authority(domain))
    for answer in reply.additional:
        packet.add_ar(_record(answer))
    if any(extra.rtype == dnslib.QTYPE.OPT for extra in question.record.ar):
        packet.add_ar(dnslib.EDNS0(udp_len=limits.DNS_UDP_BYTES_MAX))
    return bytes(packet.pack())


def fit(packet: bytes, bytes_max: int) -> bytes:
    """The packet, or its header and question with the truncation flag: the asker comes again over TCP."""
    if len(packet) <= bytes_max:
        return packet
    import dnslib

    short = dnslib.DNSRecord.parse(packet).truncate()
    return bytes(short.pack())


def failure(question: Question, code: int) -> bytes:
    packet = question.record.reply(ra=1, aa=0)
    packet.header.rcode = code
    return bytes(packet.pack())


def seconds_to_live(packet: bytes) -> int:
    """The smallest TTL in a reply, bounded by limits.DNS_CACHE_SECONDS_MAX; 0 for what must not be kept."""
    import dnslib

    try:
        record = dnslib.DNSRecord.parse(packet)
    except (dnslib.DNSError, ValueError, IndexError):
        return 0
    if record.header.rcode not in (0, NXDOMAIN) or record.header.tc:
        return 0
    ttls = [rr.ttl for rr in [*record.rr, *record.auth]]
    return min([*ttls, limits.DNS_CACHE_SECONDS_MAX]) if ttls else 0


def merge(question: Question, first: Answer, target_packet: bytes) -> bytes:
    """The CNAME and what the forwarder said about its target, as one reply."""
    import dnslib

    packet = question.record.reply(ra=1, aa=0)
    packet.add_answer(_record(first))
    try:
        found = dnslib.DNSRecord.parse(target_packet)
    except (dnslib.DNSError, ValueError, IndexError):
        found = None
    if found is not None:
        packet.header.rcode = found.header.rcode
        for rr in found.rr:
            packet.add_answer(rr)
    return bytes(packet.pack())


def query_for(question: Question, name: str) -> bytes:
    """A query of the same type for another name (following a CNAME)."""
    import dnslib

    return bytes(
        dnslib.DNSRecord(dnslib.DNSHeader(id=question.record.header.id, rd=1), q=dnslib.DNSQuestion(name, question.type)).pack()
    )


def _record(answer: Answer) -> Any:
    import dnslib

    data: Any = answer.data
    if answer.type == SRV:
        priority, weight, port, target = data
        rdata: Any = dnslib.SRV(priority, weight, port, target)
    else:
        make = {A: dnslib.A, AAAA: dnslib.AAAA, CNAME: dnslib.CNAME, PTR: dnslib.PTR, TXT: dnslib.TXT}[answer.type]
        rdata = make(data)
    return dnslib.RR(answer.name, answer.type, ttl=TTL_SECONDS, rdata=rdata)


def _authority(domain: str) -> Any:
    import dnslib

    soa = dnslib.SOA(f"ns.dns.{domain}", f"hostmaster.{domain}", (1, 7200, 1800, 86400, TTL_SECONDS))
    return dnslib.RR(domain, dnslib.QTYPE.SOA, ttl=TTL_SECONDS, rdata=soa)
