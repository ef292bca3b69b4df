"""A node that its cluster does not know any more: told, and brought back as soon as somebody lets it.

Enters: refusals of this node's certificate, from a server that has proved who it is.
Leaves: the node a member again, with the key and the name that it has: everything else in the agent just goes on.
Holds: nothing is thrown away: whoever removed the node by mistake gives it a token, or its Secret back, and it is there again;
pods run on meanwhile. A node that was revoked is not let in by any token.
Bound: one attempt each limits.REJOIN_SECONDS.
Next: daemon.membership, server.joining.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

import trio

from edgekube import limits
from edgekube.api.errors import StatusError
from edgekube.api.kinds import NODE
from edgekube.api.verbs import Verbs
from edgekube.client.addresses import ServerAddresses
from edgekube.client.joining import Joined
from edgekube.client.remote import RemoteVerbs
from edgekube.daemon.membership import hardware_serial, has_token, join_once, token_of
from edgekube.daemon.node_files import Membership, NodeFiles
from edgekube.daemon.refusal import JoinRefused
from edgekube.daemon.renewal import Renewal
from edgekube.notify import notify
from edgekube.pki.join_token import fingerprints
from edgekube.pki.requests import load_or_create_key
from edgekube.settings import Settings
from edgekube.wire.tls import ClientTls

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

log = logging.getLogger("edgekube.agent")


class Rejoining:
    def __init__(
        self, settings: Settings, files: NodeFiles, member: Membership, servers: ServerAddresses, tls: ClientTls
    ) -> None:
        self._settings = dataclasses.replace(
            settings, node_name=member.node_name, node_name_given=True, cluster=member.facts.cluster_id
        )
        self._files = files
        self._member = member
        self._servers = servers
        self._tls = tls
        self._refused = trio.Event()
        self._told = False

    def refused(self, error: StatusError) -> None:
        """client.target: a server of ours does not take this node's certificate."""
        self._refused.set()
        if not self._told:
            self._told = True
            log.error("this node is refused by its cluster: %s", error.message)
            notify(f"STATUS=refused by the cluster: {error.message}")

    async def run(self, verbs: RemoteVerbs, renewal: Renewal) -> None:
        """Until cancelled. A certificate that has only expired is ``renewal``'s to replace: that has to be refused first."""
        while True:
            await self._refused.wait()
            # A refusal that comes from here on is looked at once more: it may be of a moment after we were let in.
            self._refused = trio.Event()
            known = await self._is_known(verbs)
            if not known and not (renewal.hopeless() and await self._join(verbs, renewal)):
                self._refused.set()
                await self._wait()
                continue
            verbs.start_afresh()
            if self._told:
                self._told = False
                log.info("this node is a member of its cluster again name=%s", self._member.node_name)
                notify("STATUS=the node is ready")

    async def _wait(self) -> None:
        """Until the next attempt is due, or somebody has put another token there."""
        before = self._token()
        until = trio.current_time() + limits.REJOIN_SECONDS
        while self._token() == before:
            await trio.sleep(limits.TOKEN_FILE_LOOK_SECONDS)
            if trio.current_time() >= until:
                return

    def _token(self) -> str:
        try:
            return token_of(self._settings).text
        except JoinRefused:
            return ""

    async def _is_known(self, verbs: Verbs) -> bool:
        try:
            await verbs.get(NODE, "", self._member.node_name)
        except StatusError as error:
            return error.reason == "NotFound"  # the key is taken again, and the agent will register the Node
        return True

    async def _join(self, verbs: Verbs, renewal: Renewal) -> bool:
        async with renewal.lock:  # the key must not be changed meanwhile
            return await self._join_with_key(verbs)

    async def _join_with_key(self, verbs: Verbs) -> bool:
        key = await trio.to_thread.run_sync(load_or_create_key, self._files.key)
        try:
            joined = await self._by_token(key) if has_token(self._settings) else await self._by_pairing(verbs, key)
        except (JoinRefused, StatusError, OSError) as error:
            log.warning("not back in the cluster, trying again in %.0f s: %s", limits.REJOIN_SECONDS, error)
            return False
        if joined is None:
            return True
        if joined.facts.cluster_id != self._member.facts.cluster_id:
            log.error("that is another cluster: to move this machine there, uninstall it first")
            return False
        await trio.to_thread.run_sync(self._files.save, joined)
        self._tls.reload()
        return True

    async def _by_token(self, key: EllipticCurvePrivateKey) -> Joined:
        return await join_once(self._settings, key, self._servers.all())

    async def _by_pairing(self, verbs: Verbs, key: EllipticCurvePrivateKey) -> Joined | None:
        """None when the key is taken again before anybody has let the machine in."""
        from edgekube.daemon.pairing import join_by_pairing

        joined: Joined | None = None
        problem: JoinRefused | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._until_known, verbs, nursery.cancel_scope)
            try:
                # Not any cluster of this id: the one that it was a member of.
                trusted = fingerprints(self._files.authorities.read_text())
                serial = hardware_serial(self._settings)
                joined = await join_by_pairing(self._settings, key, serial, lambda name: name, trusted)
            except JoinRefused as error:
                problem = error
            nursery.cancel_scope.cancel()
        if problem is not None:
            raise problem
        return joined

    async def _until_known(self, verbs: Verbs, pairing: trio.CancelScope) -> None:
        while True:
            await trio.sleep(limits.REJOIN_SECONDS)
            if await self._is_known(verbs):
                pairing.cancel()
                return
