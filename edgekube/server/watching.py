"""Watches over HTTP: one line of JSON per event, until somebody has had enough.

Enters: an Exchange whose verb is watch.
Leaves: a chunked response; an expired revision is an ERROR event in it, as upstream sends it.
Holds: events are spliced from stored bytes; waiting events of one watcher go out in one write.
Bound: limits.WATCHES_MAX streams; the store bounds what a slow one may leave unread.
Next: registry.watch.
"""

from __future__ import annotations

import logging
from typing import Final

import orjson
import trio

from edgekube.api.errors import StatusError
from edgekube.api.verbs import WatchEvent
from edgekube.registry.watch import WatchStream, watch
from edgekube.server import parameters
from edgekube.server.negotiation import JSON
from edgekube.server.rendering import event_line
from edgekube.server.resources import Exchange
from edgekube.server.respond import send, warning_header

log = logging.getLogger("edgekube.server")

_HEADERS: Final = {"content-type": JSON, "cache-control": "no-cache, private"}


class Ending:
    """How the server ends a stream while nothing is being written."""

    def __init__(self) -> None:
        self._ended = False
        self._scope: trio.CancelScope | None = None

    def end(self) -> None:
        self._ended = True
        if self._scope is not None:
            self._scope.cancel()

    async def receive(self, stream: WatchStream) -> list[WatchEvent]:
        """The stream's next events; none when the stream or the server has ended it."""
        events: list[WatchEvent] = []
        if not self._ended:
            with trio.CancelScope() as self._scope:
                events = await stream.receive()
            self._scope = None
        return events


async def serve_watch(exchange: Exchange, endings: set[Ending]) -> None:
    """``endings``: what the server ends when it drains; a stream then ends as if its time were up."""
    responder, kind, form = exchange.responder, exchange.kind, exchange.form
    include = exchange.include()
    options = parameters.watch_options(exchange.route, exchange.registry.draw)
    ending = Ending()
    endings.add(ending)
    try:
        async with watch(exchange.registry, kind, exchange.route.namespace, options) as stream:
            await responder.start(200, {**_HEADERS, **warning_header(exchange.warnings)})
            first = True
            while events := await ending.receive(stream):
                lines = []
                for event in events:
                    lines.append(event_line(kind, event, form, include, first=first))
                    first = False
                await responder.write(b"".join(lines))
            await responder.end()
    except StatusError as error:
        if responder.started or error.reason not in ("Expired", "Gone"):
            raise
        line = b'{"type":"ERROR","object":' + orjson.dumps(error.status()) + b"}\n"
        await send(exchange.request, responder, 200, line)
    finally:
        endings.discard(ending)
