"""Join without address and without token: find the cluster, show a code, and ask until somebody says yes.

Enters: Settings, the machine's key and serial number, another name in case the wanted one is taken.
Leaves: Joined; JoinRefused when a person has to say which cluster is meant.
Holds: of several clusters none is chosen; the code is shown where people look: the log, standard output and
<run>/agent/pairing-code. A machine that nobody let in asks again, more and more seldom.
Bound: PAIRING_AGAIN_FIRST_SECONDS to PAIRING_AGAIN_LAST_SECONDS.
Next: client.pairing, daemon.finding.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio
from msgspec import Struct

from edgekube import limits
from edgekube.api.errors import StatusError
from edgekube.api.names import dns1123_subdomain
from edgekube.api.objects import Object
from edgekube.client.addresses import Address
from edgekube.client.doors import address_of
from edgekube.client.joining import Joined, NotThisCluster
from edgekube.client.pairing import PairingEnded, authority_at, pair
from edgekube.daemon.finding import look_around
from edgekube.daemon.refusal import JoinRefused
from edgekube.daemon.trying import NoneWorked, first_that_works
from edgekube.discovery.servers import SeveralClusters, found, is_meant, the_one
from edgekube.notify import notify
from edgekube.pki.files import PUBLIC
from edgekube.pki.pairing import State
from edgekube.settings import Settings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

log = logging.getLogger("edgekube.agent")

_NAME_TAKEN: Final = "NodeNameTaken"
_NAME_GIVEN: Final = "NodeNameGiven"


class Candidate(Struct, frozen=True):
    """Where to pair. ``cas``: the only ones that will do; none for an address that was typed and a CA that nobody knows yet."""

    addresses: tuple[Address, ...]
    cas: frozenset[str] = frozenset()


async def candidate_for(settings: Settings, trusted: Iterable[str] = ()) -> Candidate | None:
    """The servers that were named, else those of the one cluster on the LAN that can be meant. ``trusted``: the SHA-256 of the
    only CAs that will do, when any are known. None when nothing was heard. Raises JoinRefused when there are several."""
    cas = frozenset(trusted)
    if settings.server:
        return Candidate(tuple(address_of(url) for url in settings.server), cas)
    heard = await look_around()
    try:
        cluster = the_one([cluster for cluster in found(heard, settings.cluster) if not cas or cluster.ca in cas])
    except SeveralClusters as error:
        raise JoinRefused(str(error)) from error
    return Candidate(cluster.addresses, frozenset({cluster.ca})) if cluster is not None else None


class CodeDisplay:
    """Where the code of the moment can be read; nothing once it is over."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def show(self, code: str, node_name: str, address: Address) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(f"{code} {node_name}\n")
        self._path.chmod(PUBLIC)
        log.info("pairing code=%s node=%s server=%s:%d", code, node_name, *address)
        notify(f"STATUS=waiting to be let in: edgekube node approve {node_name} {code}")
        # For whoever stands before a screen; a log line is easily overlooked.
        print(
            f"\n    pairing code of {node_name}:   {code}\n\n    on the server: sudo edgekube node approve {node_name} {code}\n",
            file=sys.stdout,
            flush=True,
        )

    def clear(self) -> None:
        self._path.unlink(missing_ok=True)


async def join_by_pairing(
    settings: Settings,
    key: EllipticCurvePrivateKey,
    serial: str,
    another_name: Callable[[str], str],
    trusted: Iterable[str] = (),
) -> Joined:
    """For as long as it takes. ``trusted``: what a machine that was a member knows of its cluster's CAs. Raises JoinRefused."""
    display = CodeDisplay(settings.run_dir / "agent" / "pairing-code")
    attempt = _Attempt(settings, key, serial, another_name, display)
    pauses = _Pauses()
    while True:
        candidate = await candidate_for(settings, trusted)
        if candidate is None:
            cluster = f"cluster {settings.cluster}" if settings.cluster else "any cluster"
            problem = f"no server of {cluster} announces itself on this LAN: is it on, or behind a router (then --server)?"
            pause_seconds = pauses.absent()
        else:
            try:
                return await attempt.at(candidate)
            except PairingEnded as error:
                problem = str(error)
                pause_seconds = pauses.rejected() if error.state is State.REJECTED else pauses.soon()
            except NotThisCluster as error:
                problem = str(error)
                pause_seconds = pauses.absent()
            except StatusError as error:
                if error.reason in ("BadRequest", "Conflict"):
                    raise JoinRefused(f"the server refused this node: {error.message}") from error
                problem = error.message
                pause_seconds = max(pauses.absent(), error.retry_after_seconds)
            finally:
                display.clear()
        log.warning("not joined yet, trying again in %.0f s: %s", pause_seconds, problem)
        notify(f"STATUS=not joined yet: {problem}")
        await trio.sleep(pause_seconds)


class _Pauses:
    """Before the next attempt: a server that is not there may be switched on any moment; a person who said no means it."""

    def __init__(self) -> None:
        self._absent_seconds = limits.JOIN_RETRY_FIRST_SECONDS
        self._rejected_seconds = limits.PAIRING_AGAIN_FIRST_SECONDS

    def soon(self) -> float:
        """A code was mistyped or too old: a person is at it."""
        self._absent_seconds = limits.JOIN_RETRY_FIRST_SECONDS
        return limits.JOIN_RETRY_FIRST_SECONDS

    def absent(self) -> float:
        pause_seconds = self._absent_seconds
        self._absent_seconds = min(2 * pause_seconds, limits.JOIN_RETRY_LAST_SECONDS)
        return pause_seconds

    def rejected(self) -> float:
        pause_seconds = self._rejected_seconds
        self._rejected_seconds = min(2 * pause_seconds, limits.PAIRING_AGAIN_LAST_SECONDS)
        return pause_seconds


class _Attempt:
    def __init__(
        self,
        settings: Settings,
        key: EllipticCurvePrivateKey,
        serial: str,
        another_name: Callable[[str], str],
        display: CodeDisplay,
    ) -> None:
        self._settings = settings
        self._key = key
        self._serial = serial
        self._another_name = another_name
        self._display = display
        self._name = settings.node_name

    async def at(self, candidate: Candidate) -> Joined:
        """At the first of its addresses where the cluster proves to be itself. One of their errors when none does."""

        def wanted(told: Object, ca: str) -> bool:
            if candidate.cas:
                return ca in candidate.cas
            return is_meant(self._settings.cluster, str(told.get("clusterId")), str(told.get("name")), ca)

        async def prove(address: Address) -> str:
            try:
                return await authority_at(address, wanted)
            except (NotThisCluster, StatusError, OSError) as error:
                log.info("not paired at %s:%d: %s", *address, error)
                raise

        try:
            address, authority = await first_that_works(candidate.addresses, prove)
        except NoneWorked as error:
            if isinstance(error.__cause__, NotThisCluster | StatusError):
                raise error.__cause__ from error
            raise NotThisCluster(str(error.__cause__ or "no server answers where one was announced")) from error
        return await self._pair(address, authority)

    async def _pair(self, address: Address, authority: str) -> Joined:
        for _ in range(3):  # a given name may be taken, and so may the next
            name = self._name
            try:
                return await pair(
                    address, authority, name, self._key, self._serial, lambda code: self._display.show(code, self._name, address)
                )
            except StatusError as error:
                other = self._other_name(error)
                if not other or self._settings.node_name_given:
                    raise
                log.warning("this machine cannot be node %s, pairing as %s: %s", name, other, error.message)
                self._name = other
        raise NotThisCluster("the server finds no name for this machine")

    def _other_name(self, error: StatusError) -> str:
        for cause in error.causes:
            if cause.reason == _NAME_GIVEN:
                return _checked(cause.message)
            if cause.reason == _NAME_TAKEN:
                return self._another_name(self._settings.node_name)
        return ""


def _checked(name: str) -> str:
    """A name that a server gave: it is shown within a command that a person types as root. NotThisCluster when it is none."""
    if dns1123_subdomain(name) or len(name) > limits.NODE_NAME_CHARACTERS_MAX:
        raise NotThisCluster("the server gives this machine a name that is none")
    return name
