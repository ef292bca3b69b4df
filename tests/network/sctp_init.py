"""Send the first packet of an SCTP association over a raw socket, or wait for one and say where it came from and went.

argv: send ADDRESS PORT | wait
"""

import socket
import struct
import sys


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


with socket.socket(socket.AF_INET, socket.SOCK_RAW, 132) as raw:
    if sys.argv[1] == "send":
        chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 7, 65536, 1, 1, 1)
        header = struct.pack("!HHII", 5000, int(sys.argv[3]), 0, 0)
        header = struct.pack("!HHI", 5000, int(sys.argv[3]), 0) + struct.pack("<I", crc32c(header + chunk))
        raw.sendto(header + chunk, (sys.argv[2], 0))
    else:
        raw.settimeout(30)
        print("up", flush=True)
        packet = raw.recv(2000)
        size = (packet[0] & 15) * 4
        print(
            socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20]), struct.unpack("!H", packet[size + 2 : size + 4])[0]
        )
