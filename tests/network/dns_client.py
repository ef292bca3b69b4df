"""Questions to a resolver, as packets over real sockets on loopback."""

from __future__ import annotations

import dnslib
import trio


def ask(name: str, qtype: str = "A", edns: int = 0) -> bytes:
    query = dnslib.DNSRecord.question(name, qtype)
    if edns:
        query.add_ar(dnslib.EDNS0(udp_len=edns))
    return bytes(query.pack())


async def over_udp(number: int, packet: bytes) -> dnslib.DNSRecord:
    with trio.fail_after(60), trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as socket:
        await socket.connect(("127.0.0.1", number))
        await socket.send(packet)
        return dnslib.DNSRecord.parse(await socket.recv(65535))


async def over_tcp(number: int, packet: bytes) -> dnslib.DNSRecord:
    with trio.fail_after(60):
        async with await trio.open_tcp_stream("127.0.0.1", number) as stream:
            framed = len(packet).to_bytes(2, "big") + packet
            await stream.send_all(framed[:3])
            await stream.send_all(framed[3:])
            received = b""
            while len(received) < 2 or len(received) < 2 + int.from_bytes(received[:2], "big"):
                received += await stream.receive_some(65537)
            return dnslib.DNSRecord.parse(received[2:])
