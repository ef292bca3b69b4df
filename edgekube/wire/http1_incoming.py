"""One HTTP/1.1 request while it arrives: its body, and how long that may take.

Enters: pieces of the body, from the parser; whoever feeds the parser.
Leaves: the body, whole or in pieces.
Holds: what was sent right behind the head is read without a turn of the loop; a peer that waits for 100-continue is told to go
on when somebody reads.
Bound: what the reader takes at most; limits.WIRE_BODY_SECONDS and WIRE_BODY_BYTES_PER_SECOND_MIN.
Next: wire.http1 parses; the handler reads.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

import trio

from edgekube import limits
from edgekube.wire.answers import Refused
from edgekube.wire.protocol import Request, whole_body
from edgekube.wire.transport import Transport

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Feed(Protocol):
    """The connection: whoever calls these has the next bytes parsed, and perhaps a piece of the body."""

    transport: Transport

    def feed_now(self) -> bool: ...

    async def feed_more(self) -> None: ...


class Incoming:
    """One request while it arrives. It is the request's Body as well."""

    __slots__ = (
        "_connection",
        "_content_length",
        "_deadline",
        "_pieces",
        "_received_bytes",
        "complete",
        "expects_continue",
        "http_1_0",
        "keep_alive",
        "request",
        "upgrade",
    )

    def __init__(self, connection: Feed, request: Request, content_length: int | None) -> None:
        self._connection = connection
        self._content_length = content_length
        self._pieces: deque[bytes] = deque()
        self._received_bytes = 0
        self._deadline = 0.0
        self.complete = False
        self.expects_continue = False
        self.keep_alive = True
        self.http_1_0 = False
        self.upgrade = False
        self.request = request

    def feed(self, piece: bytes) -> None:
        self._received_bytes += len(piece)
        self._pieces.append(piece)

    def unread_bytes_known(self) -> int | None:
        """How much is still to come, None when chunked."""
        if self.complete:
            return 0
        return None if self._content_length is None else self._content_length - self._received_bytes

    async def read(self, max_bytes: int) -> bytes:
        if self.complete and len(self._pieces) == 1 and len(self._pieces[0]) <= max_bytes:
            return self._pieces.popleft()
        return await whole_body(self, self._content_length, max_bytes)

    async def receive_some(self) -> bytes:
        while not self._pieces:
            if self.complete:
                return b""
            connection = self._connection
            if self.expects_continue:
                self.expects_continue = False
                if not self._received_bytes:
                    await connection.transport.send_all(_CONTINUE)
            if not self._deadline:
                self._deadline = trio.current_time() + limits.WIRE_BODY_SECONDS
                if connection.feed_now():
                    continue  # many clients send the body right behind the head, but apart from it
            with trio.move_on_at(self._deadline + self._received_bytes / limits.WIRE_BODY_BYTES_PER_SECOND_MIN) as scope:
                await connection.feed_more()
            if scope.cancelled_caught:
                raise Refused(408, "the request body came too slowly")
        return self._pieces.popleft()
