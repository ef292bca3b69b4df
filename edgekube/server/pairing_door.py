"""/edgekube/v1/pairings: machines that nobody knows ask to be let in.

    POST /edgekube/v1/pairings               name, requests, the CA that the machine was shown, its commitment
    POST /edgekube/v1/pairings/ID/reveal     its nonce
    GET  /edgekube/v1/pairings/ID            and now? Answered when there is news, or after a while

Enters: requests of strangers, which prove nothing but that they hold a key.
Leaves: what pki.pairing says next; for a machine that was let in its certificates.
Holds: an exchange is known by an id that only its machine was told; nothing is issued before a person typed its code, or its
serial number was allowed.
Bound: server.pairings; one question at a time waits for each pairing; PAIRING_REQUESTS_PER_PEER_MAX; server.doors.
Next: server.pairing_desk is the person's side; server.issuing makes the certificates.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from edgekube import limits
from edgekube.api import errors
from edgekube.api.cluster_facts import ClusterFacts
from edgekube.api.errors import StatusError
from edgekube.api.objects import Object
from edgekube.api.verbs import UserInfo
from edgekube.pki.join_token import fingerprints
from edgekube.pki.pairing import State, nonce_from
from edgekube.server.allowed_serials import AllowedSerials
from edgekube.server.attempts import network_of
from edgekube.server.doors import PREFIX, answer, body_of
from edgekube.server.issuing import Issuer, asked_from
from edgekube.server.pairings import Pairing, Pairings
from edgekube.wire.protocol import Request, Responder

log = logging.getLogger("edgekube.server")

NAME: Final = "pairings"
METHODS: Final = frozenset({"GET", "POST"})
#: The cause by which a machine sees that another name was chosen for it.
NAME_GIVEN: Final = "NodeNameGiven"
_GROUP: Final = "system:bootstrappers"


class PairingDoor:
    def __init__(self, issuer: Issuer, allowed: AllowedSerials, facts: Callable[[], ClusterFacts]) -> None:
        self._issuer = issuer
        self._allowed = allowed
        self._facts = facts
        self.pairings = Pairings()
        self._asking: dict[str, trio.Event] = {}
        self._under_way: Counter[str] = Counter()

    async def serve(self, request: Request, responder: Responder) -> None:
        network = network_of(request.peer)
        if self._under_way[network] >= limits.PAIRING_REQUESTS_PER_PEER_MAX:
            raise errors.too_many_requests("too many requests at once from this address")
        self._under_way[network] += 1
        try:
            await self._serve(request, responder)
        finally:
            self._under_way[network] -= 1
            if not self._under_way[network]:
                del self._under_way[network]

    async def _serve(self, request: Request, responder: Responder) -> None:
        pairing_id, _, step = request.path.removeprefix(PREFIX + NAME).strip("/").partition("/")
        match (request.method, bool(pairing_id), step):
            case ("POST", False, ""):
                body = await self._start(request)
            case ("POST", True, "reveal"):
                body = await self._reveal(request, pairing_id)
            case ("GET", True, ""):
                body = await self._news(pairing_id)
            case _:
                raise StatusError("MethodNotAllowed", "the server does not allow this method on the requested resource")
        await answer(request, responder, body)

    async def _start(self, request: Request) -> Object:
        self.pairings.knock(request.peer, trio.current_time())
        body = await body_of(request)
        asked = asked_from(body)
        authority, committed = text_of(body, "authority"), _nonce(body, "commitment")
        facts = self._facts()
        if authority not in fingerprints(facts.authorities):
            raise StatusError("Forbidden", "the CA that this machine was shown is not this cluster's: somebody sits in between")
        allowed = await self._allowed.find(asked.serial)
        if allowed is not None and allowed.node_name and allowed.node_name != asked.node_name:
            why = f"the machine with this serial number is to be node {allowed.node_name}"
            raise StatusError("Conflict", why, causes=[errors.Cause(NAME_GIVEN, allowed.node_name)])
        self._issuer.check_name(asked)
        pairing = self.pairings.start(asked, authority, facts.cluster_id, committed, request.peer, trio.current_time())
        return {"id": pairing.id, "nonce": pairing.exchange.server_nonce.hex(), "clusterId": facts.cluster_id}

    async def _reveal(self, request: Request, pairing_id: str) -> Object:
        nonce = _nonce(await body_of(request), "nonce")
        pairing = self.pairings.reveal(pairing_id, nonce, trio.current_time())
        asked = pairing.asked
        log.info("a machine asks to be let in name=%s serial=%s peer=%s", asked.node_name, asked.serial or "-", request.peer)
        if await self._allowed.find(asked.serial) is not None and await self._allowed.take(asked.serial):
            await self.admit(pairing, "serial")
        return _state(pairing)

    async def _news(self, pairing_id: str) -> Object:
        """Waits until the pairing's state is another, but no longer than a while; a newer question sends an older one home."""
        pairing = self.pairings.find(pairing_id, trio.current_time())
        older = self._asking.pop(pairing_id, None)
        if older is not None:
            older.set()
        mine = self._asking[pairing_id] = trio.Event()
        with trio.move_on_after(min(limits.PAIRING_WAIT_SECONDS, max(0.0, pairing.expires - trio.current_time()))):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_then_cancel, mine.wait, nursery.cancel_scope)
                while _waits(pairing):
                    await pairing.changed()
                nursery.cancel_scope.cancel()
        if self._asking.get(pairing_id) is mine:
            del self._asking[pairing_id]
        self.pairings.sweep(trio.current_time())
        return _state(pairing)

    async def admit(self, pairing: Pairing, method: str) -> None:
        """It was decided: have the certificates made. StatusError, and the machine hears that it cannot have them."""
        asked = pairing.asked
        self.pairings.approve(pairing, trio.current_time())
        user = UserInfo(f"edgekube:{method}:{asked.node_name}", groups=(_GROUP, "system:authenticated"))
        try:
            pairing.issued = (await self._issuer.issue(asked, method=method, user=user)).as_body()
        except StatusError as error:
            pairing.failed = error.message
            raise
        finally:
            pairing.wake()


def _waits(pairing: Pairing) -> bool:
    return pairing.open or (pairing.exchange.state is State.APPROVED and pairing.issued is None and not pairing.failed)


async def _then_cancel(wait: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
    await wait()
    scope.cancel()


def _state(pairing: Pairing) -> Object:
    if pairing.failed:
        return {"state": State.REJECTED.value, "message": pairing.failed}
    if pairing.exchange.state is State.APPROVED and pairing.issued is None:
        return {"state": State.PENDING.value}
    return {"state": pairing.exchange.state.value, **({"issued": pairing.issued} if pairing.issued is not None else {})}


def text_of(body: Object, key: str) -> str:
    """StatusError BadRequest for what is no short string."""
    value = body.get(key)
    if not isinstance(value, str) or len(value) > 253:
        raise errors.bad_request(f"{key} must be a string")
    return value


def _nonce(body: Object, key: str) -> bytes:
    try:
        return nonce_from(text_of(body, key))
    except ValueError as error:
        raise errors.bad_request(f"{key}: {error}") from error
