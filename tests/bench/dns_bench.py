"""Questions a second, and how long one takes: the node's resolver against a UDP echo loop of the same shape.

    python -m tests.bench.dns_bench [--seconds 5] [--services 1000]

Prints JSON. ``cached``: questions that were asked before; ``first``: each name once; ``echo``: the floor, a trio task that sends
every datagram back. 32 questions are kept under way by one client process.
"""

from __future__ import annotations

import json
import select
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator

import click
import trio

from edgekube.api.kinds import SERVICE
from edgekube.network.dns.forwarder import Forwarder
from edgekube.network.dns.server import Resolver, serve
from edgekube.network.dns.upstreams import Choice
from edgekube.network.dns.zone import Zone
from tests.network.cluster import Cluster, port, service
from tests.network.dns_client import ask

_UNDER_WAY = 32


async def _resolver(services: int) -> None:
    cluster = Cluster()
    zone = Zone(cluster.view, "cluster.local", ["10.42.0.0/16", "10.43.0.0/16"])
    cluster.follow_with_zone(zone)
    for number in range(services):
        cluster.put(SERVICE, service(f"web-{number}", f"10.43.{number // 250}.{number % 250 + 1}", port(80, "http")))
    async with trio.open_nursery() as nursery:
        print(await nursery.start(serve, Resolver(zone, Forwarder(Choice(lambda: ()))), "127.0.0.1", 0), flush=True)


async def _echo() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setblocking(False)
        udp.bind(("127.0.0.1", 0))
        print(udp.getsockname()[1], flush=True)
        while True:
            await trio.lowlevel.wait_readable(udp)
            for _ in range(64):
                try:
                    packet, peer = udp.recvfrom(65535)
                    udp.sendto(packet, peer)
                except BlockingIOError:
                    break


def _ask(number: int, questions: Iterator[bytes], seconds: float) -> dict[str, float]:
    """Keep questions under way until time or questions are over; lost ones are not asked again."""
    sent: dict[int, float] = {}
    took: list[float] = []
    id_ = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", number))
        client.setblocking(False)
        began = time.perf_counter()
        more = True
        while (more and time.perf_counter() - began < seconds) or (sent and select.select([client], [], [], 0.2)[0]):
            while more and len(sent) < _UNDER_WAY and time.perf_counter() - began < seconds:
                question = next(questions, None)
                if question is None:
                    more = False
                    break
                id_ = (id_ + 1) & 0xFFFF
                sent[id_] = time.perf_counter()
                client.send(id_.to_bytes(2, "big") + question[2:])
            if not select.select([client], [], [], 0.2)[0]:
                sent.clear()
                continue
            try:
                while True:
                    reply = client.recv(65535)
                    asked = sent.pop(int.from_bytes(reply[:2], "big"), None)
                    if asked is not None:
                        took.append(time.perf_counter() - asked)
            except BlockingIOError:
                pass
        lasted = time.perf_counter() - began
    centiles = statistics.quantiles(took, n=100)
    return {
        "questions": len(took),
        "per_second": round(len(took) / lasted),
        "p50_ms": round(centiles[49] * 1000, 3),
        "p99_ms": round(centiles[98] * 1000, 3),
    }


def _repeated(packets: list[bytes]) -> Iterator[bytes]:
    while True:
        yield from packets


def _measured(arguments: list[str], rounds: Iterable[tuple[str, Iterator[bytes]]], seconds: float) -> dict[str, dict[str, float]]:
    command = [sys.executable, "-m", "tests.bench.dns_bench", *arguments]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        number = int(server.stdout.readline())
        return {name: _ask(number, questions, seconds) for name, questions in rounds}
    finally:
        server.kill()
        server.wait()


@click.command()
@click.option("--seconds", default=5.0)
@click.option("--services", default=1000)
@click.option("--serve", "what", type=click.Choice(["resolver", "echo"]), help="Be the server; for the bench itself.")
def main(seconds: float, services: int, what: str | None) -> None:
    if what is not None:
        trio.run(*((_resolver, services) if what == "resolver" else (_echo,)))
        return
    packets = [ask(f"web-{number}.shop.svc.cluster.local") for number in range(services)]
    result = _measured(["--serve", "echo"], [("echo", _repeated(packets))], seconds)
    rounds = [("first", iter(packets)), ("cached", _repeated(packets))]
    result |= _measured(["--serve", "resolver", "--services", str(services)], rounds, seconds)
    print(json.dumps({"under_way": _UNDER_WAY, "services": services, **result}, indent=2))


if __name__ == "__main__":
    main()
