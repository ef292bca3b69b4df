"""Where an API server is and how each side proves who it is.

Enters: functions, because all of it may change while a program runs: addresses move, certificates and tokens rotate.
Leaves: an HttpClient whose every new connection asks them again.
Holds: the server is known by its certificate's name, never by its address.
Next: client.remote.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass

from edgekube.wire.client import HttpClient
from edgekube.wire.transport import Transport, connect


@dataclass(frozen=True, slots=True)
class Target:
    """``server_name`` is what the server's certificate must carry. ``token`` gives the bearer token, "" for none."""

    address: Callable[[], tuple[str, int]]
    context: Callable[[], ssl.SSLContext] | None  # None: plain TCP, for tests on loopback
    server_name: str
    token: Callable[[], str] | None = None

    def http_client(self) -> HttpClient:
        async def dial() -> Transport:
            host, port = self.address()
            context = self.context() if self.context is not None else None
            return await connect(host, port, context=context, server_hostname=self.server_name)

        return HttpClient(dial, self.server_name)


def fixed_target(host: str, port: int, context: ssl.SSLContext, server_name: str, token: str = "") -> Target:
    """A target that does not change."""
    return Target(lambda: (host, port), lambda: context, server_name, (lambda: token) if token else None)
