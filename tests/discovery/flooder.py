"""A program that sends forged announcements as fast as it can: ``python -m tests.discovery.flooder ADDRESS SECONDS``.

Each packet has a score of machines of clusters that nobody ever heard of.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
import sys
import time

_TYPE = b"\x09_edgekube\x04_tcp\x05local\x00"
_MACHINES = 20


def packet(numbers: itertools.count[int]) -> bytes:
    """An mDNS response with PTR, SRV, TXT and A of each machine, its names compressed to the first one (offset 12)."""
    records = []
    offset = 12
    for number in itertools.islice(numbers, _MACHINES):
        label = b"bogus-%d" % number
        cluster = f"{number:08x}-0000-4000-8000-{number:012x}"
        texts = [f"id={cluster}", f"name=c{number}", f"node=n{number}", f"ca={number:064x}", "role=server", "v=1"]
        text = b"".join(bytes([len(t)]) + t.encode() for t in texts)
        name = _TYPE if offset == 12 else struct.pack(">H", 0xC000 | 12)
        rdata = bytes([len(label)]) + label + struct.pack(">H", 0xC000 | 12)
        record = name + struct.pack(">HHIH", 12, 1, 4500, len(rdata)) + rdata
        own = offset + len(name) + 10  # where the instance's full name stands
        record += struct.pack(">HHHIHHHHH", 0xC000 | own, 33, 0x8001, 120, 8, 0, 0, 6443, 0xC000 | own)
        record += struct.pack(">HHHIH", 0xC000 | own, 16, 0x8001, 4500, len(text)) + text
        record += struct.pack(">HHHIH", 0xC000 | own, 1, 0x8001, 120, 4) + socket.inet_aton("203.0.113.9")
        records.append(record)
        offset += len(record)
    return struct.pack(">HHHHHH", 0, 0x8400, 0, 4 * len(records), 0, 0) + b"".join(records)


def main() -> None:
    address, seconds = sys.argv[1], float(sys.argv[2])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((address, 0))
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        numbers = itertools.count(os.getpid() * 1_000_000 % 2**31)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            sender.sendto(packet(numbers), ("224.0.0.251", 5353))


if __name__ == "__main__":
    main()
