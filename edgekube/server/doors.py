"""What stands open to machines that are not yet, or no longer, somebody: a table of paths below /edgekube/v1.

Enters: requests below PREFIX, before anybody is authenticated or authorized.
Leaves: each to the handler of its row, which asks for whatever proof it needs; a Status for everything else.
Holds: only the rows exist, with only their methods; a row that has enough to do refuses more with 429, so that strangers cannot
crowd out each other's doors nor the API.
Bound: Door.requests_max under way in a row; limits.DOOR_BODY_BYTES_MAX for a body read with ``body_of``.
Next: server.cluster_facts, server.joining.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import orjson
import trio
from msgspec import Struct

from edgekube import limits
from edgekube.api import errors
from edgekube.api.errors import StatusError
from edgekube.api.objects import Object
from edgekube.server import respond
from edgekube.wire.protocol import Handler, Request, Responder

PREFIX: Final = "/edgekube/v1/"


class Door(Struct, frozen=True):
    """``name`` is the path below PREFIX; what follows it after a slash belongs to the same row."""

    name: str
    methods: frozenset[str]
    handler: Handler
    requests_max: int = limits.DOOR_REQUESTS_MAX


class Doors:
    def __init__(self, doors: Iterable[Door] = ()) -> None:
        self._doors = {door.name: door for door in doors}
        self._open = dict.fromkeys(self._doors, 0)

    async def serve(self, request: Request, responder: Responder) -> None:
        """StatusError for what no row answers."""
        name = request.path.removeprefix(PREFIX).partition("/")[0]
        door = self._doors.get(name)
        if door is None:
            raise StatusError("NotFound", "the server could not find the requested resource")
        if request.method not in door.methods:
            raise StatusError("MethodNotAllowed", "the server does not allow this method on the requested resource")
        if self._open[name] >= door.requests_max:
            raise errors.too_many_requests("too many machines ask at once, please try again later")
        self._open[name] += 1
        try:
            await door.handler(request, responder)
        finally:
            self._open[name] -= 1


async def body_of(request: Request, max_bytes: int = limits.DOOR_BODY_BYTES_MAX) -> Object:
    """The JSON object that a stranger sent, all of it in bounded time. StatusError BadRequest; wire's BodyTooLarge."""
    with trio.move_on_after(limits.DOOR_BODY_SECONDS):
        data = await request.body.read(max_bytes)
        try:
            body = orjson.loads(data)
        except orjson.JSONDecodeError:
            body = None
        if not isinstance(body, dict):
            raise errors.bad_request("the body is not a JSON object")
        return body
    raise StatusError("Timeout", "the body did not come in time")


async def answer(request: Request, responder: Responder, body: Object, status: int = 200) -> None:
    await respond.send(request, responder, status, orjson.dumps(body))
