"""What connections share, whichever HTTP they speak.

Enters: the server's handler and nursery.
Leaves: the Shell that every connection holds; the face that the server needs of a connection; what an error is to the peer.
Holds: nothing per request.
Next: wire.http1, wire.http2, wire.server.
"""

from __future__ import annotations

import logging
from typing import Protocol, TypeVar

import trio

from edgekube.wire.answers import ErrorBody, Refused
from edgekube.wire.protocol import BodyTooLarge, Handler, Request

log = logging.getLogger("edgekube.wire")

E = TypeVar("E", bound=BaseException)


class Shell:
    """One server as its connections see it."""

    __slots__ = ("draining", "error_body", "handler", "nursery")

    def __init__(self, handler: Handler, error_body: ErrorBody, nursery: trio.Nursery) -> None:
        self.handler = handler
        self.error_body = error_body
        self.nursery = nursery
        self.draining = False


class Connection(Protocol):
    async def run(self) -> None: ...

    def sweep(self, now: float) -> None:
        """Called about once a second: enforce times that are too cheap to have a timer each."""
        ...

    def start_draining(self) -> None:
        """Close when idle, else finish what runs and then close."""
        ...

    def cut(self) -> None: ...


def refusal_of(error: Exception, request: Request) -> Refused:
    """What the peer is told of an error of its handler; one that nobody foresaw is logged."""
    refused = only(error, Refused)
    too_large = only(error, BodyTooLarge)
    if too_large is not None:
        refused = Refused(413, str(too_large))
    if refused is None:
        log.error("handler failed method=%s path=%s peer=%s", request.method, request.path, request.peer, exc_info=error)
        refused = Refused(500, "the server failed to answer; its log says why")
    return refused


def only(error: BaseException, kind: type[E]) -> E | None:
    """The ``kind`` that this error is, or that a group consists of entirely: a handler with a nursery raises groups."""
    while isinstance(error, BaseExceptionGroup):
        matching, rest = error.split(kind)
        if matching is None or rest is not None:
            return None
        error = matching.exceptions[0]
    return error if isinstance(error, kind) else None
