"""An agent's own certificates while it runs: renewed long before they expire, and right after, if the board lay in a drawer.

Enters: the node's files, its servers, the clock; a poke when the cluster's facts have changed.
Leaves: new key and certificates in the node's files, which listener and client take up by themselves; the clock's floor raised by
what the server says the time is; three annotations on the Node that say what it holds and trusts.
Holds: the old key proves who asks, and stays in use until the new files are whole; a key that was asked with is asked with again
until an answer has come. Nothing here ends the agent: what fails is tried again.
Bound: limits.RENEWAL_RETRY_SECONDS, doubled up to limits.CERTIFICATE_LOOK_SECONDS.
Next: server.renewing; pki.renewal decides.
"""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import Callable
from typing import Any

import trio

from edgekube import limits
from edgekube.api import times
from edgekube.api.errors import StatusError, unavailable
from edgekube.api.kinds import NODE
from edgekube.api.node_trust import annotations_for
from edgekube.api.objects import Object
from edgekube.api.verbs import Verbs
from edgekube.client.addresses import ServerAddresses
from edgekube.client.doors import call
from edgekube.client.joining import joined_from, what_is_asked
from edgekube.daemon.node_files import NodeFiles
from edgekube.pki.certificate_facts import CertificateFacts, facts_in_pem
from edgekube.pki.clock import Clock
from edgekube.pki.renewal import authority_of, renewal_at, spread_of, why_renew
from edgekube.wire.tls import ClientTls

log = logging.getLogger("edgekube.agent")


class Renewal:
    def __init__(
        self,
        files: NodeFiles,
        node_name: str,
        servers: ServerAddresses,
        tls: ClientTls,
        clock: Clock,
        verbs: Verbs,
        renewed: Callable[[], None],
    ) -> None:
        """``renewed`` is called once new certificates are in place."""
        self._files = files
        self._node_name = node_name
        self._servers = servers
        self._tls = tls
        self._clock = clock
        self._verbs = verbs
        self._renewed = renewed
        self._poked = trio.Event()
        self._refused = False
        #: Held while the node's key is being changed.
        self.lock = trio.Lock()

    def hopeless(self) -> bool:
        """Whether nothing will be mended here: the server refuses a certificate that is in date, or has refused to renew it."""
        try:
            held, _, _ = self._look()
        except (OSError, ValueError):
            return True
        return self._refused or self._clock() <= held.not_after

    def poke(self) -> None:
        """The cluster has told something new."""
        self._poked.set()

    async def run(self) -> None:
        """Until cancelled."""
        pause_seconds = limits.RENEWAL_RETRY_SECONDS
        while True:
            try:
                wait_seconds = await self._round()
                pause_seconds = limits.RENEWAL_RETRY_SECONDS
            except (OSError, ValueError, StatusError) as error:
                why = error.message if isinstance(error, StatusError) else str(error)
                log.warning("certificates could not be looked after, trying again in %.0f s: %s", pause_seconds, why)
                wait_seconds = pause_seconds
                pause_seconds = min(pause_seconds * 2, limits.CERTIFICATE_LOOK_SECONDS)
            with trio.move_on_after(wait_seconds):
                await self._poked.wait()
            self._poked = trio.Event()

    async def _round(self) -> float:
        """How long until the next."""
        await self._ask_time()
        held, trusted, signing = self._look()
        spread = spread_of(self._node_name)
        why = why_renew(held, trusted, signing, self._clock(), spread)
        if why:
            await self._renew(why)
            held, trusted, signing = self._look()
        if not await self._tell(held, trusted):
            return limits.RENEWAL_RETRY_SECONDS
        return max(1.0, min(limits.CERTIFICATE_LOOK_SECONDS, renewal_at(held, spread) - self._clock()))

    def _look(self) -> tuple[CertificateFacts, list[CertificateFacts], str]:
        held = facts_in_pem(self._files.client_certificate.read_text())
        if not held:
            raise ValueError(f"{self._files.client_certificate} holds no certificate")
        signing = json.loads(self._files.cluster.read_text()).get("signing-authority") or ""
        return held[0], facts_in_pem(self._files.authorities.read_text()), str(signing)

    async def _ask_time(self) -> None:
        """The server is verified before it is believed."""
        told = await self._call("GET", "cluster")
        self._clock.raise_floor(times.parse(str(told.get("time") or "")), "the server")

    async def _renew(self, why: str) -> None:
        log.info("asking for new certificates: %s", why)
        async with self.lock:
            asked = await trio.to_thread.run_sync(_asked, self._files, self._node_name)
            try:
                joined = joined_from(self._node_name, await self._call("POST", "renew", asked))
            except StatusError as error:
                self._refused = error.reason == "Unauthorized"
                raise
            await trio.to_thread.run_sync(self._files.save_renewed, joined)
        self._refused = False
        self._tls.reload()
        self._renewed()
        log.info("new certificates are in use")

    async def _call(self, method: str, path: str, body: Object | None = None) -> Any:
        """From the first server that answers."""
        last: Exception = unavailable("no server's address is known")
        for address in self._servers.all():
            try:
                return await call(address, self._tls(), method, path, body)
            except ssl.SSLError as error:
                last = unavailable(f"{address[0]}:{address[1]}: {error}")
            except StatusError as error:
                if error.reason != "ServiceUnavailable":
                    raise
                last = error
        raise last

    async def _tell(self, held: CertificateFacts, trusted: list[CertificateFacts]) -> bool:
        """Whether there is a Node to tell it by; at the first start there is none yet."""
        authority = authority_of(held, trusted)
        wanted = annotations_for(
            [each.fingerprint for each in trusted], authority.fingerprint if authority else "", times.rfc3339(held.not_after)
        )
        try:
            await self._verbs.patch(NODE, "", self._node_name, {"metadata": {"annotations": wanted}})
        except StatusError as error:
            if error.reason != "NotFound":
                raise
            return False
        return True


def _asked(files: NodeFiles, node_name: str) -> Object:
    from edgekube.pki.requests import load_or_create_key

    return what_is_asked(node_name, load_or_create_key(files.next_key), "")
