"""HTTP as a handler sees it, whatever version the peer speaks.

Enters: a parsed request head, a body to be read, the peer's certificate.
Leaves: a response, whole or streamed, or the raw connection after an upgrade.
Holds: names of headers are lower case; a body is never larger than the handler asked for; a handler that returns has answered.
Next: wire.http1, wire.http2 (server), wire.client.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeAlias

from msgspec import Struct, field

Headers: TypeAlias = Mapping[str, str]


class BodyTooLarge(Exception):
    """The peer sent, or announced, more than the handler takes."""


class Disconnected(Exception):
    """The peer is gone; there is nobody to answer."""


class ByteStream(Protocol):
    """A raw duplex connection, after an upgrade or CONNECT-like splice."""

    async def send_all(self, data: bytes | memoryview) -> None: ...

    async def receive_some(self, max_bytes: int = 65536) -> bytes:
        """b"" once the peer has closed its sending side."""
        ...

    async def send_eof(self) -> None:
        """Close our sending side only (TLS close_notify or shutdown), so that the peer may go on sending."""
        ...

    async def aclose(self) -> None: ...


class Body(Protocol):
    async def read(self, max_bytes: int) -> bytes:
        """All of it. Raises BodyTooLarge."""
        ...

    async def receive_some(self) -> bytes:
        """The next piece, b"" at the end."""
        ...


class Request(Struct, eq=False):
    method: str
    path: str  # percent-encoded as sent, without the query
    query: str  # without "?", as sent
    headers: dict[str, str]  # repeated headers joined by ", "
    body: Body
    http_version: str  # "1.1", "2"
    peer: str  # "192.0.2.7:51234"
    peer_certificate: bytes | None = None  # DER, verified against the listener's client CA, and in time
    #: The verified peer certificate's parsed subject, once a handler has looked (kept per connection): see server.identity.
    connection: dict[str, object] = field(default_factory=dict)
    expired_certificate: bytes | None = None  # the same, but past its time: good for asking for a new one, for nothing else


class Responder(Protocol):
    """Answers one request. Use ``send`` for a whole response, or ``start``, ``write``…, ``end`` to stream."""

    async def send(self, status: int, headers: Headers, body: bytes = b"") -> None: ...

    async def start(self, status: int, headers: Headers) -> None: ...

    async def write(self, chunk: bytes) -> None:
        """Waits while the peer reads slowly. Raises Disconnected."""
        ...

    async def end(self) -> None: ...

    async def upgrade(self) -> ByteStream:
        """Hand over the connection with nothing written (HTTP/1.1 only; raises ValueError on HTTP/2). Bytes that arrived
        behind the request head come out of the stream first; the caller writes the 101 head itself."""
        ...

    @property
    def started(self) -> bool:
        """True once a status line has been sent: too late for an error response."""
        ...


Handler: TypeAlias = Callable[[Request, Responder], Awaitable[None]]


def asks_for_websocket(headers: Headers) -> bool:
    """Source: RFC 6455 section 4.2.1."""
    return headers.get("upgrade", "").lower() == "websocket"


async def whole_body(body: Body, length: int | None, max_bytes: int) -> bytes:
    """Body.read by its pieces. ``length``: what the head announced. BodyTooLarge."""
    if length is not None and length > max_bytes:
        raise BodyTooLarge(f"the body has {length} bytes, at most {max_bytes} are taken")
    parts = []
    size = 0
    while piece := await body.receive_some():
        size += len(piece)
        if size > max_bytes:
            raise BodyTooLarge(f"the body is larger than {max_bytes} bytes")
        parts.append(piece)
    return b"".join(parts)
