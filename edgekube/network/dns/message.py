"""DNS packets: questions read, replies written (RFC 1035, RFC 6891).

Enters: packets; Replies of the zone.
Leaves: Question values, or MalformedPacket; packets no larger than the asker can take.
Holds: pure; a packet that is not one question is refused, never guessed at.
Next: network.dns.server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

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
_OPT: Final = 41
_ADDITIONS_MAX: Final = 2
#: The TC bit, in the header's third byte (RFC 1035, section 4.1.1).
_TRUNCATED: Final = 0x02


class MalformedPacket(Exception):
    """Not a query. ``reply`` answers it, or is empty when it deserves no answer."""

    def __init__(self, reply: bytes) -> None:
        super().__init__("malformed DNS packet")
        self.reply = reply


class Question(Struct, frozen=True):
    name: str  # lower case, no final dot
    type: int
    udp_bytes_max: int
    record: dnslib.DNSRecord


def parse(packet: bytes) -> Question:
    """The one question of a query. Raises MalformedPacket."""
    import dnslib

    if len(packet) < _HEADER_BYTES or packet[2] & 0x80:
        raise MalformedPacket(b"")  # too short, or a response: answering would start a loop
    if not _is_plain(packet):
        raise MalformedPacket(error_packet(packet, FORMERR))
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


def _is_plain(packet: bytes) -> bool:
    """Of a question's size and shape: one question, no answers, an OPT record and perhaps a signature. To read thousands of
    records would take the node's time."""
    questions, answers, authorities, additions = (int.from_bytes(packet[at : at + 2], "big") for at in (4, 6, 8, 10))
    plain = questions == 1 and not answers and authorities <= 1 and additions <= _ADDITIONS_MAX
    return plain and len(packet) <= limits.DNS_QUESTION_BYTES_MAX


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
    """The packet, or its header and question with the truncation flag: the asker comes again over TCP. Without the question
    resolvers would take it for an answer to somebody else's (glibc's res_queriesmatch)."""
    if len(packet) <= bytes_max:
        return packet
    end = _after_name(packet, _HEADER_BYTES) + 4
    return packet[:2] + bytes([packet[2] | _TRUNCATED]) + packet[3:6] + bytes(6) + packet[_HEADER_BYTES:end]


def rotated(reply: Reply, turn: int) -> Reply:
    """The same answers beginning elsewhere: clients that take the first one are spread over all."""
    if not turn:
        return reply
    turn %= len(reply.answers)
    return Reply(reply.code, reply.answers[turn:] + reply.answers[:turn], reply.additional)


def failure(question: Question, code: int) -> bytes:
    packet = question.record.reply(ra=1, aa=0)
    packet.header.rcode = code
    return bytes(packet.pack())


def lifetimes(packet: bytes) -> list[tuple[int, int]] | None:
    """(offset, seconds) of each record's TTL, EDNS options apart. None for what must not be kept: failures, cut replies, replies
    without records, and what cannot be read."""
    if len(packet) < _HEADER_BYTES or packet[3] & 0x0F not in (0, NXDOMAIN) or packet[2] & _TRUNCATED:
        return None
    questions, *records = (int.from_bytes(packet[at : at + 2], "big") for at in (4, 6, 8, 10))
    found = []
    at = _HEADER_BYTES
    try:
        for _ in range(questions):
            at = _after_name(packet, at) + 4
        for _ in range(sum(records)):
            at = _after_name(packet, at)
            if len(packet) < at + 10:
                return None
            if int.from_bytes(packet[at : at + 2], "big") != _OPT:
                found.append((at + 4, int.from_bytes(packet[at + 4 : at + 8], "big")))
            at += 10 + int.from_bytes(packet[at + 8 : at + 10], "big")
    except IndexError:
        return None
    return found if found and at <= len(packet) else None


def _after_name(packet: bytes, at: int) -> int:
    """Where a name ends: at its root label, or at the pointer that stands for the rest. IndexError beyond the packet."""
    while (length := packet[at]) != 0:
        if length >= 0xC0:
            return at + 2
        at += length + 1
    return at + 1


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
