"""The server's own certificates while it runs: renewed before they expire, when addresses change, when the authority does.

Enters: Settings, Identity, the clock; addresses; the commands of server.certificates.
Leaves: files that the listeners take up by themselves; a call for everybody who has copies of what they say.
Holds: one change at a time, each of them whole on disk before anybody is told; no connection ends for it.
Bound: limits.CERTIFICATE_LOOK_SECONDS between looks.
Next: daemon.identity issues; pki.authorities, pki.token_keys keep the keys.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import trio

from edgekube import limits
from edgekube.api import times
from edgekube.daemon.identity import Identity, issue_leaves
from edgekube.pki.authorities import Phase, fingerprint
from edgekube.pki.authority import Authority
from edgekube.pki.certificate_facts import CertificateFacts, facts_in_pem
from edgekube.pki.clock import Clock
from edgekube.settings import Settings

log = logging.getLogger("edgekube")


class KeptCertificates:
    """server.certificates.OwnCertificates."""

    def __init__(self, settings: Settings, identity: Identity, clock: Clock, addresses: Sequence[str]) -> None:
        self._settings = settings
        self._identity = identity
        self._clock = clock
        self._addresses = tuple(addresses)
        self._lock = trio.Lock()
        self._poked = trio.Event()
        self._stepped = trio.Event()
        #: Called when certificates or the bundle have changed on disk.
        self.changed: list[Callable[[], None]] = []

    # --- while running

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with trio.move_on_after(limits.CERTIFICATE_LOOK_SECONDS):
                await self._poked.wait()
            self._poked = trio.Event()
            try:
                await self._change(lambda: None)
                await trio.to_thread.run_sync(self._identity.token_keys.drop_outlived, self._clock())
            except OSError as error:
                log.error("certificates cannot be renewed, trying again why=%r", str(error))

    def addresses_changed(self, addresses: Sequence[str]) -> None:
        """What this machine can be reached at is something else now: the server's certificate follows at once."""
        if tuple(addresses) != self._addresses:
            self._addresses = tuple(addresses)
            self._poked.set()

    async def next_look(self) -> None:
        """When it may be time for the next step of a change of the authority."""
        if self.phase == Phase.TRUSTING.value:
            await trio.sleep(limits.ROTATION_LOOK_SECONDS)
        else:
            await self._stepped.wait()

    async def _change(self, step: Callable[[], object], *, anew: bool = False) -> None:
        """Do a step on disk, then issue what that makes necessary, then tell. Raises OSError."""

        def work() -> bool:
            before = self._identity.authorities.bundle
            step()
            issued = issue_leaves(self._settings, self._identity, self._addresses, self._clock.utc(), anew=anew)
            return issued or self._identity.authorities.bundle != before

        async with self._lock:
            with trio.CancelScope(shield=True):  # half a change is told to nobody, so none is left half done
                changed = await trio.to_thread.run_sync(work)
        if changed:
            for tell in self.changed:
                tell()

    # --- commands

    async def reissue(self) -> None:
        await self._change(lambda: None, anew=True)
        log.info("the server's certificates have been replaced")

    async def begin(self) -> None:
        await self._step("there is a new authority, trusted beside the old one", self._identity.authorities.begin)

    async def sign_with_new(self) -> None:
        await self._step("the new authority signs from now on", self._identity.authorities.sign_with_new)

    async def finish(self) -> None:
        await self._step("the old authority is dropped", self._identity.authorities.finish)

    async def _step(self, told: str, step: Callable[[Any], None]) -> None:
        before = self.phase
        await self._change(lambda: step(self._clock.utc()))
        if self.phase != before:
            log.info("%s fingerprint=%s", told, self.newest)
        stepped, self._stepped = self._stepped, trio.Event()
        stepped.set()

    async def rotate_token_key(self) -> None:
        async with self._lock:
            await trio.to_thread.run_sync(self._identity.token_keys.rotate, self._clock())

    async def drop_token_keys(self) -> int:
        async with self._lock:
            return await trio.to_thread.run_sync(self._identity.token_keys.drop)

    # --- questions

    @property
    def node_name(self) -> str:
        return self._settings.node_name if self._settings.agent else ""

    @property
    def phase(self) -> str:
        return self._identity.authorities.phase.value

    @property
    def newest(self) -> str:
        return fingerprint(self._identity.authorities.newest)

    @property
    def signing(self) -> str:
        """Fingerprint of the authority that nodes are to hold certificates of."""
        return fingerprint(self._identity.authorities.signing)

    def report(self) -> dict[str, Any]:
        authorities, keys = self._identity.authorities, self._identity.token_keys
        pairs = {
            "server": self._identity.server,
            "admin": self._identity.admin,
            "agent-client": self._identity.agent_client,
            "front-proxy-client": self._identity.front_proxy,
            "node": self._identity.node,
        }
        signers = (*authorities.trusted, self._identity.front_proxy_authority)
        return {
            "phase": authorities.phase.value,
            "began": authorities.began,
            "authorities": [_authority(each, signs=each is authorities.signing) for each in authorities.trusted],
            "certificates": [{"name": name, **_described(_leaf(pair.certificate), signers)} for name, pair in pairs.items()],
            "tokenKeys": [
                {"id": keys.signing.key_id, "signs": True},
                *({"id": key.key_id, "signs": False, "retired": times.rfc3339(key.retired_at)} for key in keys.retired),
            ],
        }


def _leaf(path: Path) -> CertificateFacts:
    return facts_in_pem(path.read_text())[0]


def _authority(authority: Authority, *, signs: bool) -> dict[str, Any]:
    facts = facts_in_pem(authority.certificate_pem.decode())[0]
    return {"fingerprint": facts.fingerprint, "notAfter": times.rfc3339(facts.not_after), "signs": signs}


def _described(facts: CertificateFacts, authorities: Sequence[Authority]) -> dict[str, Any]:
    signers = (facts_in_pem(each.certificate_pem.decode())[0] for each in authorities)
    authority = next((each.fingerprint for each in signers if each.subject == facts.issuer), "")
    return {"notAfter": times.rfc3339(facts.not_after), "authority": authority}
