"""A pod's program, TCP and UDP of both families. argv: name, address, port.

TCP: says its name and who asked, then sends back whatever it is sent; UDP: sends it back.
"""

import socket
import sys
import threading

NAME, ADDRESS, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])


def answer(connection: socket.socket, client: str) -> None:
    with connection:
        connection.sendall(f"{NAME} {client.removeprefix('::ffff:')}\n".encode())
        while data := connection.recv(65536):
            connection.sendall(data)


def return_datagrams(bound: socket.socket) -> None:
    while True:
        data, sender = bound.recvfrom(65536)
        try:
            bound.sendto(data, sender)
        except OSError:
            continue


with (
    socket.create_server((ADDRESS, PORT), family=socket.AF_INET6, dualstack_ipv6=True) as server,
    socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as datagrams,
):
    datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    datagrams.bind((ADDRESS, PORT))
    threading.Thread(target=return_datagrams, args=(datagrams,), daemon=True).start()
    print("up", flush=True)
    while True:
        made, peer = server.accept()
        threading.Thread(target=answer, args=(made, peer[0]), daemon=True).start()
