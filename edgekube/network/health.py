"""Health check node ports: tell a load balancer whether this node has endpoints of a Service whose traffic stays local.

Enters: HealthCheck values by owner, whether the proxy's rules are true to the API.
Leaves: HTTP answers, 200 with endpoints and 503 without, in kube-proxy's form.
Holds: a port that another program has is tried again; a check that changes does not close its port.
Bound: limits.HEALTH_CONNECTIONS_MAX a port, HEALTH_CONNECTIONS_PER_PEER_MAX an address: strangers on the LAN may ask.
Source: k8s.io/kubernetes pkg/proxy/healthcheck (service_health.go).
Next: whoever asks.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable
from functools import partial

import orjson
import trio
from msgspec import Struct

from edgekube import limits
from edgekube.network.endpoints import HealthCheck
from edgekube.wire.protocol import Request, Responder
from edgekube.wire.server import Server, open_listeners

log = logging.getLogger("edgekube.network")


class _Open(Struct):
    check: HealthCheck
    scope: trio.CancelScope


class HealthPorts:
    def __init__(self) -> None:
        self.proxy_healthy = False
        self._wanted: dict[Hashable, HealthCheck] = {}
        self._changed = trio.Event()

    def set(self, owner: Hashable, check: HealthCheck | None) -> None:
        if check == self._wanted.get(owner):
            return
        if check is None:
            del self._wanted[owner]
        else:
            self._wanted[owner] = check
        self._changed.set()

    async def run(self) -> None:
        serving: dict[int, _Open] = {}
        async with trio.open_nursery() as nursery:
            while True:
                self._changed = trio.Event()
                wanted = {check.port: check for check in self._wanted.values()}
                for port in serving.keys() - wanted.keys():
                    serving.pop(port).scope.cancel()
                for port, check in wanted.items():
                    if port in serving:
                        serving[port].check = check
                    else:
                        serving[port] = _Open(check, trio.CancelScope())
                        nursery.start_soon(self._serve, serving[port])
                await self._changed.wait()

    async def _serve(self, it: _Open) -> None:
        with it.scope:
            while True:
                server = Server(
                    partial(self._answer, it),
                    tls=None,
                    connections_max=limits.HEALTH_CONNECTIONS_MAX,
                    connections_per_peer_max=limits.HEALTH_CONNECTIONS_PER_PEER_MAX,
                )
                try:
                    await server.serve(open_listeners(it.check.port))
                except OSError as error:
                    log.error("health check node port %d of %s/%s cannot be opened: %s", *it.check[:3], error)
                await trio.sleep(limits.HEALTH_RETRY_SECONDS)

    async def _answer(self, it: _Open, request: Request, responder: Responder) -> None:
        check = it.check
        body = {
            "service": {"namespace": check.namespace, "name": check.name},
            "localEndpoints": check.local_endpoints,
            "serviceProxyHealthy": self.proxy_healthy,
        }
        headers = {
            "content-type": "application/json",
            "x-content-type-options": "nosniff",
            "x-load-balancing-endpoint-weight": str(check.local_endpoints),
        }
        healthy = self.proxy_healthy and check.local_endpoints > 0
        await responder.send(200 if healthy else 503, headers, orjson.dumps(body, option=orjson.OPT_INDENT_2) + b"\n")
