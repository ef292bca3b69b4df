"""Watches over HTTP: one line of JSON per event, until somebody has had enough.

Enters: an Exchange whose verb is watch.
Leaves: a chunked response, or messages of a WebSocket; an expired revision is an ERROR event in it, as upstream sends it.
Holds: events are spliced from stored bytes; waiting events of one watcher go out in one write. Who may not see them any more does
not: nodes are looked at with each event, and whoever was shut out has his stream ended.
Bound: limits.WATCHES_MAX streams; the store bounds what a slow one may leave unread.
Next: registry.watch.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from typing import Final

import orjson
import trio

from edgekube.api.errors import StatusError
from edgekube.api.kinds import Kind
from edgekube.api.verbs import UserInfo, WatchEvent
from edgekube.registry.watch import WatchStream, watch
from edgekube.server import parameters
from edgekube.server.identity import NODE_NAME
from edgekube.server.negotiation import JSON, Form, check_form, check_stream
from edgekube.server.rendering import event_line
from edgekube.server.resources import Exchange
from edgekube.server.respond import warning_header
from edgekube.wire.protocol import Disconnected, asks_for_websocket

log = logging.getLogger("edgekube.server")

_HEADERS: Final = {"content-type": JSON, "cache-control": "no-cache, private"}


class Ending:
    """How the server ends a stream: a watch while nothing is being written, anything else in the middle."""

    def __init__(self, user: UserInfo, kind: Kind | None = None) -> None:
        #: Whose it is, and the node that whose token is bound to.
        self.user_name = user.name
        self.node_name = next(iter((user.extra or {}).get(NODE_NAME, ())), "")
        #: What is being watched.
        self.kind = kind
        self._ended = False
        self._stream: WatchStream | None = None
        self._scope: trio.CancelScope | None = None

    def end(self) -> None:
        self._ended = True
        if self._stream is not None:
            self._stream.end()
        if self._scope is not None:
            self._scope.cancel()

    async def receive(self, stream: WatchStream) -> list[WatchEvent]:
        """The stream's next events; none when the stream or the server has ended it."""
        if self._ended:
            return []
        self._stream = stream
        try:
            events = await stream.receive()
            return [] if self._ended else events
        finally:
            self._stream = None

    @contextmanager
    def within(self, endings: set[Ending]) -> Iterator[None]:
        """Something else that goes on for long, among those that may be ended. wire's Disconnected when it is."""
        endings.add(self)
        try:
            with trio.CancelScope() as self._scope:
                yield
        finally:
            endings.discard(self)
        if self._scope.cancelled_caught:
            raise Disconnected("the client may not go on")


#: Sends events and forgets them: a client that does not read keeps one copy waiting, not three.
_Send = Callable[[list[bytes]], Awaitable[None]]


@asynccontextmanager
async def _over_http(exchange: Exchange, stream_type: str) -> AsyncIterator[_Send]:
    responder = exchange.responder
    await responder.start(200, {**_HEADERS, "content-type": stream_type, **warning_header(exchange.warnings)})

    async def send(events: list[bytes]) -> None:
        text = b"".join(events)
        events.clear()
        await responder.write(text)

    yield send
    await responder.end()


def _opened(exchange: Exchange, stream_type: str) -> AbstractAsyncContextManager[_Send]:
    if not asks_for_websocket(exchange.request.headers):
        return _over_http(exchange, stream_type)
    from edgekube.server.watch_socket import over_websocket

    return over_websocket(exchange, text=exchange.form.media_type == JSON)


async def serve_watch(exchange: Exchange, endings: set[Ending], still: Callable[[], bool] = lambda: True) -> None:
    """``endings``: what the server ends when it drains; a stream then ends as if its time were up. ``still``: whether who asked
    may see what comes next."""
    kind, form = exchange.kind, exchange.form
    check_stream(form)
    check_form(form, kind)
    stream_type = JSON if form.media_type == JSON else f"{form.media_type};stream=watch"
    include = exchange.include()
    options = parameters.watch_options(exchange.route, exchange.registry.draw)
    ending = Ending(exchange.user, kind)
    endings.add(ending)

    def line_of(error: StatusError) -> bytes:
        if error.reason not in ("Expired", "Gone"):
            raise error
        return event_line(kind, WatchEvent("ERROR", orjson.dumps(error.status())), Form(form.media_type), include, first=True)

    try:
        async with AsyncExitStack() as stack:
            try:
                stream = await stack.enter_async_context(watch(exchange.registry, kind, exchange.route.namespace, options))
            except StatusError as error:
                line = line_of(error)
                await (await stack.enter_async_context(_opened(exchange, stream_type)))([line])
                return
            send = await stack.enter_async_context(_opened(exchange, stream_type))
            first = True
            try:
                while (events := await ending.receive(stream)) and still():
                    lines = []
                    for event in events:
                        lines.append(event_line(kind, event, form, include, first=first))
                        first = False
                    events = []
                    await send(lines)
            except StatusError as error:  # too slow for the state that it began with
                await send([line_of(error)])
    finally:
        endings.discard(ending)
