"""A container's log over a WebSocket, for browsers, which cannot read a body as it comes.

Enters: a request that asks for a WebSocket, what the agent sends.
Leaves: messages with the log's bytes, then a close.
Holds: the protocols are upstream's: binary.k8s.io or none, and base64.binary.k8s.io. Loaded when somebody asks.
Next: server.tunnel.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from edgekube.server.websocket import answer_head, opened
from edgekube.wire.protocol import Responder

BINARY: Final = "binary.k8s.io"
BASE64: Final = "base64.binary.k8s.io"


async def send_log(headers: Mapping[str, str], responder: Responder, receive_some: Callable[[], Awaitable[bytes]]) -> None:
    head, chosen = answer_head(headers, (BINARY, BASE64))
    async with opened(head, responder) as socket:
        while piece := await receive_some():
            await socket.send(base64.b64encode(piece).decode() if chosen == BASE64 else piece)
