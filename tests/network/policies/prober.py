"""A pod's program: answers on the ports it is given (tcp:80 udp:53@10.43.0.10 …), and tries others when told to on its input.

A line of input is JSON, [seconds, [[protocol, address, port], …]]; the line of output has the numbers of those that answered.
"""

import contextlib
import json
import selectors
import socket
import sys
import threading
import time


def serve(protocol: str, port: int, address: str) -> None:
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    server = socket.socket(socket.AF_INET6, kind)
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((f"::ffff:{address}" if address else "::", port))
    if protocol == "tcp":
        server.listen(256)
    threading.Thread(target=answer, args=(protocol, server), daemon=True).start()


def answer(protocol: str, server: socket.socket) -> None:
    while True:
        # An answer that the kernel refuses to send, or a caller that is gone already, is not the end of the program.
        with contextlib.suppress(OSError):
            if protocol == "udp":
                data, sender = server.recvfrom(100)
                server.sendto(data, sender)
            else:
                server.accept()[0].close()


def attempt(seconds: float, targets: list[tuple[str, str, int]]) -> list[int]:
    waiting = selectors.DefaultSelector()
    sockets: list[socket.socket] = []
    reached: list[int] = []
    for number, (protocol, address, port) in enumerate(targets):
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        client = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        client.setblocking(False)
        client.connect_ex((address, port))
        if protocol == "udp":
            client.send(b"?")
        waiting.register(client, selectors.EVENT_READ if protocol == "udp" else selectors.EVENT_WRITE, number)
        sockets.append(client)
    deadline = time.monotonic() + seconds
    while waiting.get_map() and (left := deadline - time.monotonic()) > 0:
        for key, _ in waiting.select(left):
            if sockets[key.data].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                reached.append(key.data)
            waiting.unregister(key.fileobj)
    for client in sockets:
        client.close()
    return reached


for listener in sys.argv[1:]:
    name, _, place = listener.partition(":")
    number, _, where = place.partition("@")
    serve(name, int(number), where)
print("up", flush=True)
for line in sys.stdin:
    print(json.dumps(attempt(*json.loads(line))), flush=True)
