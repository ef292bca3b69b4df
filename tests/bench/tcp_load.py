"""One TCP connection: how much gets through, how long one byte takes there and back, how long it takes to connect.

    tcp_load.py serve PORT                      echoes single bytes, swallows streams; ends with its standard input
    tcp_load.py ask ADDRESS PORT SECONDS        prints JSON

Nothing but the standard library: it is started inside network namespaces, many times.
"""

import json
import socket
import sys
import threading
import time

_PIECE = bytes(256 * 1024)
_ROUNDS = 3000
_CONNECTIONS = 500


def serve(port: int) -> None:
    listener = socket.create_server(("", port))
    print("up", flush=True)
    threading.Thread(target=_accept, args=(listener,), daemon=True).start()
    sys.stdin.read()


def _accept(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wanted = connection.recv(1)
            if wanted == b"p":
                while data := connection.recv(1):
                    connection.sendall(data)
            else:
                buffer = bytearray(1 << 20)
                total = 0
                while count := connection.recv_into(buffer):
                    total += count
                connection.sendall(str(total).encode())


def ask(address: str, port: int, seconds: float) -> dict[str, float]:
    with socket.create_connection((address, port), timeout=10) as line:
        line.sendall(b"s")
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            line.sendall(_PIECE)
        line.shutdown(socket.SHUT_WR)
        arrived = int(line.recv(32))
        took = time.perf_counter() - began
    rounds = []
    with socket.create_connection((address, port), timeout=10) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.sendall(b"p")
        for _ in range(_ROUNDS):
            began = time.perf_counter()
            line.sendall(b"?")
            line.recv(1)
            rounds.append(time.perf_counter() - began)
    rounds.sort()
    connects = sorted(_connect(address, port) for _ in range(_CONNECTIONS))
    return {
        "gbit_per_second": round(arrived * 8 / took / 1e9, 2),
        "round_trip_us_p50": round(rounds[len(rounds) // 2] * 1e6, 1),
        "round_trip_us_p99": round(rounds[len(rounds) * 99 // 100] * 1e6, 1),
        "connect_us_p50": round(connects[len(connects) // 2] * 1e6, 1),
    }


def _connect(address: str, port: int) -> float:
    began = time.perf_counter()
    with socket.create_connection((address, port), timeout=10) as line:
        took = time.perf_counter() - began
        line.shutdown(socket.SHUT_WR)
        while line.recv(32):
            pass
    return took


def main() -> None:
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        print(json.dumps(ask(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))))


if __name__ == "__main__":
    main()
