"""What a small request costs in the HTTP shell, beside a raw echo over the same TLS.

    python -m tests.bench.wire_bench [--seconds 2]

Prints JSON: for each of floor (blocking TLS echo, no HTTP), http1 and http2, with 1 and 8 connections: requests per second, p50
in microseconds and the server process's CPU per request in microseconds. Clients run in a process of their own, so on two cores
the requests per second with 8 clients measure both sides; the CPU figure is the server's alone.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import trio

from edgekube.wire.protocol import Request, Responder
from edgekube.wire.server import Server, open_listeners
from edgekube.wire.tls import ServerTls, client_context
from tests.wire.certificates import Authority

BODY = b"x" * 512
REQUEST = (
    b"GET /api/v1/namespaces/default/configmaps/a HTTP/1.1\r\n"
    b"host: bench\r\naccept: application/json\r\nuser-agent: bench\r\n\r\n"
)


async def answer(request: Request, responder: Responder) -> None:
    await responder.send(200, {"content-type": "application/json", "audit-id": "0"}, BODY)


def serve_http(directory: Path) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            server = Server(answer, tls=ServerTls(directory / "bench.crt", directory / "bench.key", directory / "bench-CA.crt"))
            ports = await nursery.start(server.serve, open_listeners(0, "127.0.0.1"))
            print(ports[0], flush=True)
            while command := await trio.to_thread.run_sync(sys.stdin.readline):
                if command.strip() == "cpu":
                    print(time.process_time(), flush=True)
            nursery.cancel_scope.cancel()

    trio.run(main)


def serve_echo(directory: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "bench.crt", directory / "bench.key")
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)

    def echo(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(sock, server_side=True) as tls:
            while tls.recv(65536):
                tls.sendall(BODY)

    def accept() -> None:
        while True:
            threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    for command in sys.stdin:
        if command.strip() == "cpu":
            print(time.process_time(), flush=True)


def _connect(directory: Path, port: int, alpn: str) -> ssl.SSLSocket:
    context = client_context(directory / "bench-CA.crt")
    context.set_alpn_protocols([alpn])
    raw = socket.create_connection(("127.0.0.1", port))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(raw, server_hostname="bench")


def _http1_client(directory: Path, port: int, until: float, times: list[float]) -> None:
    with _connect(directory, port, "http/1.1") as sock:
        while (begin := time.perf_counter()) < until:
            sock.sendall(REQUEST)
            got = sock.recv(65536)
            while not got.endswith(BODY):
                got += sock.recv(65536)
            times.append(time.perf_counter() - begin)


def _http2_client(directory: Path, port: int, until: float, times: list[float]) -> None:
    import h2.config
    import h2.connection
    import h2.events

    headers = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "bench"),
        (":path", "/api/v1/namespaces/default/configmaps/a"),
        ("accept", "application/json"),
        ("user-agent", "bench"),
    ]
    with _connect(directory, port, "h2") as sock:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        connection.initiate_connection()
        connection.increment_flow_control_window(2**30)
        while (begin := time.perf_counter()) < until:
            connection.send_headers(connection.get_next_available_stream_id(), headers, end_stream=True)
            sock.sendall(connection.data_to_send())
            ended = False
            while not ended:
                events = connection.receive_data(sock.recv(65536))
                ended = any(isinstance(event, h2.events.StreamEnded) for event in events)
            times.append(time.perf_counter() - begin)


CLIENTS = {"floor": _http1_client, "http1": _http1_client, "http2": _http2_client}


def run_clients(directory: Path, what: str, port: int, connections: int, seconds: float) -> None:
    times: list[float] = []
    until = time.perf_counter() + seconds
    threads = [threading.Thread(target=CLIENTS[what], args=(directory, port, until, times)) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"count": len(times), "p50_us": round(statistics.median(times) * 1e6)}))


def measure(directory: Path, what: str, connections: int, seconds: float) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.wire_bench", "--directory", str(directory)]
    role = "echo" if what == "floor" else "http"
    with subprocess.Popen([*command, "--role", role], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None and server.stdout is not None
        port = server.stdout.readline().strip()

        def cpu_seconds() -> float:
            assert server.stdin is not None and server.stdout is not None
            print("cpu", file=server.stdin, flush=True)
            return float(server.stdout.readline())

        before = cpu_seconds()
        client = [*command, "--role", what, "--port", port, "--connections", str(connections), "--seconds", str(seconds)]
        told = json.loads(subprocess.run(client, stdout=subprocess.PIPE, text=True, check=True).stdout)
        spent = cpu_seconds() - before
        server.stdin.close()
        server.wait(10)
    return {
        "requests_per_second": round(told["count"] / seconds),
        "p50_us": told["p50_us"],
        "server_cpu_us_per_request": round(spent / told["count"] * 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--role", default="")
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--connections", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.role == "http":
        serve_http(arguments.directory)
    elif arguments.role == "echo":
        serve_echo(arguments.directory)
    elif arguments.role:
        run_clients(arguments.directory, arguments.role, arguments.port, arguments.connections, arguments.seconds)
    else:
        with tempfile.TemporaryDirectory() as directory:
            Authority(Path(directory), "bench CA").issue("bench")
            result = {
                what: {f"{n}_connections": measure(Path(directory), what, n, arguments.seconds) for n in (1, 8)}
                for what in CLIENTS
            }
        print(json.dumps({"cores": os.cpu_count(), "python": sys.version.split()[0], **result}, indent=2))


if __name__ == "__main__":
    main()
