"""Where an API server is and how each side proves who it is.

Enters: functions, because all of it may change while a program runs: addresses move, certificates and tokens rotate.
Leaves: an HttpClient whose every new connection asks them again.
Holds: the server is known by its certificate's name, never by its address.
Next: client.remote.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

from msgspec import Struct

from edgekube.api.errors import StatusError
from edgekube.wire.client import HttpClient
from edgekube.wire.transport import Transport, connect


class Target(Struct, frozen=True):
    """``server_name`` is what the server's certificate must carry. ``token`` gives the bearer token, "" for none. ``unreachable``
    is told where nobody answered, so that ``address`` may name another place next; ``refused``, that a server of ours does not
    know who we are."""

    address: Callable[[], tuple[str, int]]
    context: Callable[[], ssl.SSLContext] | None  # None: plain TCP, for tests on loopback
    server_name: str
    token: Callable[[], str] | None = None
    unreachable: Callable[[tuple[str, int]], None] | None = None
    refused: Callable[[StatusError], None] | None = None

    def http_client(self) -> HttpClient:
        return HttpClient(self.dial, self.server_name)

    async def dial(self) -> Transport:
        """A connection whose far end is known to be the server."""
        host, port = self.address()
        context = self.context() if self.context is not None else None
        try:
            return await connect(host, port, context=context, server_hostname=self.server_name)
        except OSError:
            if self.unreachable is not None:
                self.unreachable((host, port))
            raise


def fixed_target(host: str, port: int, context: ssl.SSLContext, server_name: str, token: str = "") -> Target:
    """A target that does not change."""
    return Target(lambda: (host, port), lambda: context, server_name, (lambda: token) if token else None)
