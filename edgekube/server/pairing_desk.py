"""Where an administrator decides about machines that ask to be let in: three paths below /edgekube/v1/pairings.

    GET  /edgekube/v1/pairings/pending       who waits (?codes=true: with their codes)
    POST /edgekube/v1/pairings/approve       name and code
    POST /edgekube/v1/pairings/reject        name

Enters: requests of users that the application has authenticated, and authorized for the path and the verb (get, post).
Leaves: the list; certificates for the machine whose code was typed; an end for all under the name when the code is wrong.
Holds: a code is compared in constant time and is good once.
Next: server.pairings, server.pairing_door.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qs

import trio

from edgekube.api import errors
from edgekube.api.errors import StatusError
from edgekube.api.names import dns1123_subdomain
from edgekube.api.objects import Object
from edgekube.api.verbs import UserInfo
from edgekube.pki.pairing import shown, typed
from edgekube.server.doors import answer, body_of
from edgekube.server.pairing_door import NAME, PairingDoor, text_of
from edgekube.server.pairings import Pairing
from edgekube.wire.protocol import Handler, Request, Responder

log = logging.getLogger("edgekube.server")


class PairingDesk:
    def __init__(self, door: PairingDoor) -> None:
        self._door = door
        self._pairings = door.pairings

    def rows(self) -> Mapping[str, Handler]:
        """The application's desks."""
        return {
            f"{NAME}/pending": _only("GET", self._pending),
            f"{NAME}/approve": _only("POST", self._approve),
            f"{NAME}/reject": _only("POST", self._reject),
        }

    async def _pending(self, request: Request) -> Object:
        with_codes = parse_qs(request.query).get("codes") == ["true"]
        now = trio.current_time()
        return {"items": [_item(pairing, now, with_codes=with_codes) for pairing in self._pairings.pending(now)]}

    async def _approve(self, request: Request) -> Object:
        body = await body_of(request)
        name, digits = _name(body), typed(text_of(body, "code"))
        if digits is None:
            raise errors.bad_request("a code has six digits, as 831-402")
        pairing = self._pairings.match(name, digits, trio.current_time())
        log.info("the pairing of %s was approved by=%s", name, _user(request))
        await self._door.admit(pairing, "pairing")
        return {"node": name, "key": pairing.asked.public_key}

    async def _reject(self, request: Request) -> Object:
        name = _name(await body_of(request))
        count = self._pairings.reject(name, trio.current_time())
        log.info("the pairing of %s was rejected by=%s", name, _user(request))
        return {"node": name, "rejected": count}


def _only(method: str, serve: Callable[[Request], Awaitable[Object]]) -> Handler:
    async def handle(request: Request, responder: Responder) -> None:
        if request.method != method:
            raise StatusError("MethodNotAllowed", "the server does not allow this method on the requested resource")
        await answer(request, responder, await serve(request))

    return handle


def _user(request: Request) -> str:
    user = request.connection.get("user")
    return user.name if isinstance(user, UserInfo) else "-"


def _item(pairing: Pairing, now: float, *, with_codes: bool) -> Object:
    asked = pairing.asked
    item: Object = {
        "name": asked.node_name,
        "serial": asked.serial,
        "peer": pairing.peer,
        "key": asked.public_key,
        "ageSeconds": int(now - pairing.began),
    }
    return {**item, "code": shown(pairing.exchange.code)} if with_codes else item


def _name(body: Object) -> str:
    name = text_of(body, "name")
    if dns1123_subdomain(name):
        raise errors.bad_request("name must be a node's name")
    return name
