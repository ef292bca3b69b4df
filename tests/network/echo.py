"""A pod's program: says its name and who asked, over TCP and UDP on one port. argv: name, address, port."""

import socketserver
import sys
import threading

NAME, ADDRESS, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])


class Tcp(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(f"{NAME} {self.client_address[0]}".encode())


class Udp(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request[1].sendto(f"{NAME} {self.client_address[0]}".encode(), self.client_address)


class TcpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 64


with TcpServer((ADDRESS, PORT), Tcp) as tcp, socketserver.UDPServer((ADDRESS, PORT), Udp) as udp:
    threading.Thread(target=tcp.serve_forever, daemon=True).start()
    print("up", flush=True)
    udp.serve_forever()
