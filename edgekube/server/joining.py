"""POST /edgekube/v1/join: a machine that has a token becomes a node.

Enters: ``Authorization: Bearer <id>.<secret>`` and what the machine wants to be.
Leaves: its certificates and what it has to know of the cluster; or why not, in words that say what to do.
Holds: nothing of the request is looked at before its token is known to be good, and nothing is spent before its name is known to
be free; the last use of a token goes to one machine, however many ask at once; all that is wrong with a token answers alike.
Bound: limits.JOIN_FAILURES_MAX wrong tokens a peer; server.doors.
Next: server.issuing.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Final

import trio

from edgekube import limits
from edgekube.api import errors
from edgekube.api.errors import StatusError
from edgekube.api.join_tokens import NAMESPACE, TokenRecord, as_secret, record_of, secret_name
from edgekube.api.kinds import SECRET
from edgekube.api.objects import Object, uid_of
from edgekube.api.verbs import DeleteOptions, ListOptions, UserInfo, Verbs
from edgekube.pki.join_token import is_secret, parse_credential
from edgekube.server.attempts import Attempts
from edgekube.server.doors import answer, body_of
from edgekube.server.issuing import Asked, Issuer, asked_from
from edgekube.wire.protocol import Request, Responder

log = logging.getLogger("edgekube.server")

#: As upstream's bootstrap tokens name whoever shows one.
_USER_PREFIX: Final = "system:bootstrap:"
_GROUP: Final = "system:bootstrappers"
_REFUSED: Final = "the token is not known, expired or used up: 'edgekube token create' on the server makes a new one"
#: Attempts to spend a use that others spend at the same time; each race has a winner, so this many mean that many others joined.
_ATTEMPTS_MAX: Final = 64


class Joining:
    def __init__(self, verbs: Verbs, issuer: Issuer, clock: Callable[[], float]) -> None:
        self._verbs = verbs
        self._issuer = issuer
        self._clock = clock
        self._attempts = Attempts(failures_max=limits.JOIN_FAILURES_MAX, seconds_per_failure=limits.JOIN_FAILURE_SECONDS)

    async def serve(self, request: Request, responder: Responder) -> None:
        wait_seconds = self._attempts.wait_seconds(request.peer, trio.current_time())
        if wait_seconds > 0:
            raise errors.too_many_requests("too many wrong tokens from this address", math.ceil(wait_seconds))
        scheme, _, credential = request.headers.get("authorization", "").partition(" ")
        try:
            _, record = await self._known(credential.strip() if scheme.lower() == "bearer" else "")
        except StatusError:
            self._attempts.failed(request.peer, trio.current_time())
            log.warning("a machine was not let join: wrong token peer=%s", request.peer)
            raise
        asked = asked_from(await body_of(request))
        self._issuer.check_name(asked)
        await self._spend(credential.strip(), asked)
        user = UserInfo(f"{_USER_PREFIX}{record.id}", groups=(_GROUP, "system:authenticated"))
        issued = await self._issuer.issue(asked, method=f"token:{record.id}", user=user)
        await answer(request, responder, issued.as_body())

    async def _known(self, credential: str, public_key: str = "") -> tuple[Object, TokenRecord]:
        """The token's Secret and record. StatusError Unauthorized, the same for everything that can be wrong. Without a key, one
        that is used up still counts as known: whether it admits this machine is seen once the machine has said who it is."""
        parsed = parse_credential(credential)
        secret = await self._find(parsed[0]) if parsed else None
        record = record_of(secret) if secret is not None else None
        good = is_secret(record.salt if record else "", parsed[1] if parsed else "", record.hash if record else "0" * 64)
        if secret is None or record is None or not good:
            raise errors.unauthorized(_REFUSED)
        why = record.closed(self._clock(), public_key)
        if why and (public_key or why != "used up"):
            log.warning("token %s was shown and is %s", record.id, why)
            raise errors.unauthorized(_REFUSED)
        return secret, record

    async def _find(self, token_id: str) -> Object | None:
        try:
            return await self._verbs.get(SECRET, NAMESPACE, secret_name(token_id))
        except StatusError as error:
            if error.reason != "NotFound":
                raise
            return None

    async def _spend(self, credential: str, asked: Asked) -> None:
        """One use of the token, for this key. The Secret's revision decides between machines that ask at once."""
        for _ in range(_ATTEMPTS_MAX):
            secret, record = await self._known(credential, asked.public_key)
            spent = record.spent_for(asked.public_key)
            if spent == record:
                return
            try:
                await self._verbs.update(SECRET, as_secret(spent, secret))
                return
            except StatusError as error:
                if error.reason not in ("Conflict", "NotFound"):
                    raise
        raise errors.too_many_requests("many machines join with this token at once, please try again")


async def sweep_tokens(verbs: Verbs, clock: Callable[[], float]) -> None:
    """Until cancelled: tokens that have expired are deleted."""
    while True:
        try:
            page = await verbs.list(SECRET, NAMESPACE, ListOptions(field_selector="type=edgekube.io/join-token"))
            for secret in page.objects():
                record = record_of(secret)
                if record is not None and record.expires_at is not None and clock() >= record.expires_at:
                    options = DeleteOptions(precondition_uid=uid_of(secret))
                    await verbs.delete(SECRET, NAMESPACE, secret_name(record.id), options)
        except StatusError as error:
            log.debug("expired join tokens were not swept: %s", error.message)
        await trio.sleep(limits.TOKEN_SWEEP_SECONDS)
