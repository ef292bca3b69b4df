"""Health check node ports: real sockets, asked as a load balancer asks."""

from __future__ import annotations

import http.client
import json
from typing import Any

import trio

from edgekube import limits
from edgekube.network.endpoints import HealthCheck
from edgekube.network.health import HealthPorts
from tests.ports import free_port


async def ask(port: int) -> tuple[int, dict[str, str], Any]:
    def blocking() -> tuple[int, dict[str, str], Any]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, json.loads(answer.read())
        finally:
            connection.close()

    return await trio.to_thread.run_sync(blocking)


async def opened(port: int) -> None:
    with trio.fail_after(60):
        while True:
            try:
                await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
                return
            except OSError:
                await trio.sleep(0.01)


async def closed(port: int) -> None:
    with trio.fail_after(60):
        while True:
            try:
                await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
            except OSError:
                return
            await trio.sleep(0.01)


async def test_a_balancer_learns_whether_this_node_has_endpoints() -> None:
    ports, number = HealthPorts(), free_port()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ports.run)
        ports.proxy_healthy = True
        ports.set("web", HealthCheck(number, "shop", "web", 2))
        await opened(number)
        status, headers, body = await ask(number)
        assert (status, headers["content-type"], headers["x-load-balancing-endpoint-weight"]) == (200, "application/json", "2")
        assert body == {"service": {"namespace": "shop", "name": "web"}, "localEndpoints": 2, "serviceProxyHealthy": True}
        ports.proxy_healthy = False
        assert (await ask(number))[0] == 503, "endpoints that the packet filter may not know"
        ports.proxy_healthy = True
        ports.set("web", HealthCheck(number, "shop", "web", 0))
        with trio.fail_after(60):
            while (answer := await ask(number))[0] != 503:
                pass
        assert answer[2]["localEndpoints"] == 0
        ports.set("web", None)
        await closed(number)
        nursery.cancel_scope.cancel()


async def test_a_port_that_another_service_takes_over_tells_of_that_one() -> None:
    ports, number = HealthPorts(), free_port()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ports.run)
        ports.set("one", HealthCheck(number, "shop", "one", 1))
        await opened(number)
        ports.set("one", None)
        ports.set("two", HealthCheck(number, "shop", "two", 1))
        with trio.fail_after(60):
            while (await ask(number))[2]["service"]["name"] != "two":
                pass
        nursery.cancel_scope.cancel()


async def test_whoever_holds_many_connections_open_gets_no_more() -> None:
    ports, number = HealthPorts(), free_port()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ports.run)
        ports.set("web", HealthCheck(number, "shop", "web", 1))
        await opened(number)
        held = [await trio.open_tcp_stream("127.0.0.1", number) for _ in range(limits.HEALTH_CONNECTIONS_PER_PEER_MAX + 4)]
        with trio.fail_after(60):
            async with trio.open_nursery() as waiting:
                for one in held[-3:]:  # one of the others may still have been the probe above
                    waiting.start_soon(_cut, one)
        for one in held:
            await one.aclose()
        nursery.cancel_scope.cancel()


async def _cut(stream: trio.SocketStream) -> None:
    try:
        assert await stream.receive_some(1) == b""
    except trio.BrokenResourceError:
        pass
