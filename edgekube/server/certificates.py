"""/edgekube/v1/certificates: what certificates there are, and the commands that replace them.

Enters: GET, and POST with an action, both authorized like any other path (RBAC, nonResourceURLs).
Leaves: a report; the server's own certificates, authority or token key replaced; a Conflict with what stands against it.
Holds: decides by what nodes say of themselves (api.node_trust); every action may be asked for twice.
Next: OwnCertificates does it (daemon.certificates).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from edgekube.api import errors
from edgekube.api.errors import StatusError
from edgekube.api.kinds import NODE
from edgekube.api.node_trust import NodeTrust, against_finishing, holding_old, not_trusting, trust_of
from edgekube.api.objects import Object
from edgekube.api.verbs import Verbs
from edgekube.server.doors import answer, body_of
from edgekube.wire.protocol import Request, Responder

log = logging.getLogger("edgekube.server")

ROTATE: Final = "rotate"
ROTATE_CA: Final = "rotate-ca"
FINISH_CA: Final = "finish-ca"
ROTATE_TOKEN_KEY: Final = "rotate-service-account-key"
FINISH_TOKEN_KEY: Final = "finish-service-account-key"


class OwnCertificates(Protocol):
    """What the server holds of its own."""

    @property
    def node_name(self) -> str:
        """Of this machine's node, whose certificate is among our own; "" when it is none."""
        ...

    @property
    def phase(self) -> str:
        """settled, trusting, signing (pki.authorities)."""
        ...

    @property
    def newest(self) -> str:
        """Fingerprint of the authority that is to remain."""
        ...

    def report(self) -> Object:
        """``authorities``, ``certificates`` and ``tokenKeys``."""
        ...

    async def reissue(self) -> None: ...

    async def begin(self) -> None: ...

    async def sign_with_new(self) -> None: ...

    async def finish(self) -> None: ...

    async def rotate_token_key(self) -> None: ...

    async def drop_token_keys(self) -> int: ...


class CertificateDesk:
    def __init__(self, verbs: Verbs, own: OwnCertificates) -> None:
        self._verbs = verbs
        self._own = own
        self._actions: dict[str, Callable[[bool], Awaitable[str]]] = {
            ROTATE: self._rotate,
            ROTATE_CA: self._rotate_ca,
            FINISH_CA: self._finish_ca,
            ROTATE_TOKEN_KEY: self._rotate_token_key,
            FINISH_TOKEN_KEY: self._finish_token_key,
        }

    async def serve(self, request: Request, responder: Responder) -> None:
        done = ""
        if request.method == "POST":
            body = await body_of(request)
            action = self._actions.get(str(body.get("action")))
            if action is None:
                raise errors.bad_request(f"action must be one of {', '.join(self._actions)}")
            done = await action(body.get("force") is True)
        elif request.method != "GET":
            raise StatusError("MethodNotAllowed", "the server does not allow this method on the requested resource")
        await answer(request, responder, await self._report(done))

    async def _report(self, done: str) -> dict[str, Any]:
        nodes, new = await self.nodes(), self._own.newest
        waiting = not_trusting(nodes, new) if self._own.phase == "trusting" else []
        holding = holding_old(nodes, new) if self._own.phase != "settled" else []
        told = [{"name": each.name, "ready": each.ready, "authority": each.authority, "notAfter": each.expires} for each in nodes]
        return {"done": done, **self._own.report(), "nodes": told, "waitingFor": waiting, "holdingOld": holding}

    async def nodes(self) -> list[NodeTrust]:
        """All but our own."""
        page = await self._verbs.list(NODE)
        nodes = [trust_of(node) for node in page.objects()]
        return [node for node in nodes if node.name != self._own.node_name]

    async def _rotate(self, force: bool) -> str:
        await self._own.reissue()
        return "the server's certificates have been replaced"

    async def _rotate_ca(self, force: bool) -> str:
        if self._own.phase != "settled":
            return "the authority is being replaced already"
        await self._own.begin()
        return "there is a new authority; it signs once every node that is there trusts it"

    async def _finish_ca(self, force: bool) -> str:
        if self._own.phase == "settled":
            return "the authority is not being replaced: there is nothing to finish"
        nodes, new = await self.nodes(), self._own.newest
        holding = holding_old(nodes, new)
        if holding and not force:
            raise StatusError("Conflict", against_finishing(holding))
        await self._own.sign_with_new()
        await self._own.finish()
        locked_out = f"; these nodes have to join anew: {', '.join(holding)}" if holding else ""
        return f"the old authority is dropped{locked_out}"

    async def _rotate_token_key(self, force: bool) -> str:
        await self._own.rotate_token_key()
        return "tokens are signed by a new key; those of the old one are still believed"

    async def _finish_token_key(self, force: bool) -> str:
        dropped = await self._own.drop_token_keys()
        return (
            f"{dropped} retired keys are dropped; tokens that they signed are refused" if dropped else "there is no retired key"
        )

    async def follow(self, wait: Callable[[], Awaitable[None]]) -> None:
        """Until cancelled: let the new authority sign as soon as every node that is there trusts it. ``wait`` returns when it is
        time to look again."""
        while True:
            await wait()
            if self._own.phase != "trusting":
                continue
            try:
                waiting = not_trusting(await self.nodes(), self._own.newest)
            except StatusError as error:
                log.warning("the nodes cannot be listed, trying again why=%r", error.message)
                continue
            if not waiting:
                await self._own.sign_with_new()
