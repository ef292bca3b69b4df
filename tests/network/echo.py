"""A pod's program: says its name and who asked, over TCP and UDP on one port. argv: name, address, port.

On "::" it serves both families, and shows an IPv4 client as such.
"""

import socket
import socketserver
import sys
import threading

NAME, ADDRESS, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])
FAMILY = socket.AF_INET6 if ":" in ADDRESS else socket.AF_INET


def answer(client: str) -> bytes:
    return f"{NAME} {client.removeprefix('::ffff:')}".encode()


class Tcp(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(answer(self.client_address[0]))


class Udp(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request[1].sendto(answer(self.client_address[0]), self.client_address)


class TcpServer(socketserver.ThreadingTCPServer):
    address_family = FAMILY
    allow_reuse_address = True
    request_queue_size = 64


class UdpServer(socketserver.UDPServer):
    address_family = FAMILY


with TcpServer((ADDRESS, PORT), Tcp) as tcp, UdpServer((ADDRESS, PORT), Udp) as udp:
    threading.Thread(target=tcp.serve_forever, daemon=True).start()
    print("up", flush=True)
    udp.serve_forever()
