"""A client: asks an address several times and prints each answer or the name of the error.

argv: tcp|udp, address, port, count, source port (0: any), source address ("": any).
"""

import socket
import sys

PROTOCOL, ADDRESS, PORT, COUNT = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
SOURCE_PORT = int(sys.argv[5]) if len(sys.argv) > 5 else 0
SOURCE_ADDRESS = sys.argv[6] if len(sys.argv) > 6 else ""

for _ in range(COUNT):
    kind = socket.SOCK_STREAM if PROTOCOL == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET6 if ":" in ADDRESS else socket.AF_INET, kind) as client:
        client.settimeout(float(sys.argv[7]) if len(sys.argv) > 7 else 3)
        if SOURCE_PORT or SOURCE_ADDRESS:
            client.bind((SOURCE_ADDRESS, SOURCE_PORT))
        try:
            client.connect((ADDRESS, PORT))
            if PROTOCOL == "udp":
                client.send(b"?")
            print(client.recv(100).decode())
        except OSError as error:
            # Only errors without a class of their own are told apart by their text.
            print(f"OSError: {error.strerror}" if type(error) is OSError else type(error).__name__)
