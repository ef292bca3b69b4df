"""The resolver's figures for Prometheus: GET /metrics on the cluster's DNS address, where CoreDNS has them.

Enters: DnsMetrics.
Leaves: text over plain HTTP. Holds: nothing but figures; no name that anybody asked for is in them.
Bound: those of wire.server.
Next: wire.server.
"""

from __future__ import annotations

from typing import Final

import trio

from edgekube.network.dns.metrics import DnsMetrics
from edgekube.wire.protocol import Request, Responder
from edgekube.wire.server import serve

#: CoreDNS' port for metrics; the kube-dns Service names it.
METRICS_PORT: Final = 9153
_TEXT: Final = {"content-type": "text/plain; version=0.0.4"}


async def serve_metrics(
    metrics: DnsMetrics, address: str, port: int = METRICS_PORT, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    """Until cancelled; started with the port. OSError when it is taken."""

    async def handle(request: Request, responder: Responder) -> None:
        if request.method == "GET" and request.path == "/metrics":
            await responder.send(200, _TEXT, metrics.text().encode())
        else:
            await responder.send(404, {"content-type": "text/plain"}, b"404 page not found\n")

    async with trio.open_nursery() as nursery:
        ports = await nursery.start(lambda task_status: serve(handle, port=port, host=address, tls=None, task_status=task_status))
        task_status.started(ports[0])
