"""A watch over a WebSocket, as Java's fabric8 and browsers ask for it: each event is a message.

Enters: a request that asks for a WebSocket, events in the form that was asked for.
Leaves: a text message an event, or a binary one where the form is not text; then a close.
Holds: whichever protocol the client offers is taken, as upstream does. Loaded when somebody asks.
Source: kubernetes apiserver, endpoints/handlers/watch.go (HandleWS).
Next: server.watching.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from edgekube.server.resources import Exchange
from edgekube.server.websocket import answer_head, opened


@asynccontextmanager
async def over_websocket(exchange: Exchange, *, text: bool) -> AsyncIterator[Callable[[list[bytes]], Awaitable[None]]]:
    """What sends events. StatusError BadRequest when it is no proper request."""
    head, _ = answer_head(exchange.request.headers, None)
    async with opened(head, exchange.responder) as socket:

        async def send(events: list[bytes]) -> None:
            for event in events:
                await socket.send(event.decode() if text else event)
            events.clear()

        yield send
