"""Machines that ask to be let in and show a code, until a person says yes or no.

Enters: what a machine asks for, its commitment, its nonce; a person's word.
Leaves: the exchange and its code; who waits is woken when its state changes.
Holds: in memory only: after a restart machines begin anew. A wrong code burns every exchange under the name. Whoever asks from
one address crowds out only those who ask from there.
Bound: PAIRINGS_MAX and its kin; PAIRING_GUESSES_PER_NAME_MAX exchanges begun under one name while a code is shown.
Next: pki.pairing is the exchange; server.pairing_door speaks HTTP.
"""

from __future__ import annotations

import logging
import secrets
from collections import Counter, OrderedDict
from collections.abc import Iterator

import trio
from msgspec import Struct, field

from edgekube import limits
from edgekube.api import errors
from edgekube.api.errors import StatusError
from edgekube.api.objects import Object
from edgekube.pki.pairing import Mismatch, OutOfTurn, Party, ServerExchange, State, new_nonce
from edgekube.server.attempts import Attempts, network_of
from edgekube.server.issuing import Asked

log = logging.getLogger("edgekube.server")

_OPEN = frozenset({State.COMMITTED, State.PENDING})


class Pairing(Struct, eq=False):
    id: str
    asked: Asked
    exchange: ServerExchange
    peer: str
    network: str  # what limits count the peer by
    began: float
    expires: float
    #: What the machine gets once it was let in, or why it cannot have it.
    issued: Object | None = None
    failed: str = ""
    _changed: trio.Event = field(default_factory=trio.Event)

    @property
    def open(self) -> bool:
        return self.exchange.state in _OPEN

    async def changed(self) -> None:
        await self._changed.wait()

    def wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class Pairings:
    def __init__(self) -> None:
        self._pairings: OrderedDict[str, Pairing] = OrderedDict()
        self._starts = Attempts(failures_max=limits.PAIRING_STARTS_BURST, seconds_per_failure=limits.PAIRING_STARTS_SECONDS)
        #: Name -> when exchanges were begun under it.
        self._begun: OrderedDict[str, list[float]] = OrderedDict()
        self._commitments: OrderedDict[bytes, float] = OrderedDict()

    # --- the machine's side

    def knock(self, peer: str, now: float) -> None:
        """Before anything that was sent is looked at: signing requests cost a millisecond. StatusError TooManyRequests."""
        wait_seconds = self._starts.wait_seconds(peer, now)
        if wait_seconds > 0:
            raise errors.too_many_requests("too many pairings were begun from this address", int(wait_seconds) + 1)
        self._starts.failed(peer, now)

    def start(self, asked: Asked, authority: str, cluster_id: str, committed: bytes, peer: str, now: float) -> Pairing:
        """StatusError TooManyRequests, or BadRequest for a commitment that was used before."""
        self.sweep(now)
        if committed in self._commitments:
            raise errors.bad_request("this commitment was used before: begin with a new nonce")
        self._guess(asked.node_name, now)
        self._make_room(asked, peer)
        self._commitments[committed] = now
        party = Party(asked.public_key, asked.node_name, asked.serial, authority, cluster_id)
        exchange = ServerExchange(party, committed, new_nonce())
        pairing = Pairing(
            secrets.token_hex(16), asked, exchange, peer, network_of(peer), now, now + limits.PAIRING_REVEAL_SECONDS
        )
        self._pairings[pairing.id] = pairing
        return pairing

    def _guess(self, name: str, now: float) -> None:
        begun = [moment for moment in self._begun.pop(name, []) if now - moment < limits.PAIRING_SECONDS]
        self._begun[name] = begun
        while len(self._begun) > limits.PAIRING_NAMES_MAX:
            self._begun.popitem(last=False)
        if len(begun) >= limits.PAIRING_GUESSES_PER_NAME_MAX:
            log.warning("too many pairings under the name %s: somebody guesses codes, or two machines have one name", name)
            wait_seconds = int(begun[0] + limits.PAIRING_SECONDS - now) + 1
            raise errors.too_many_requests(f"too many pairings were begun under the name {name}", wait_seconds)
        begun.append(now)

    def _make_room(self, asked: Asked, peer: str) -> None:
        """A machine that begins anew replaces what it had begun. Of one address the oldest gives way, of one name or serial
        nobody: whoever was there first cannot be pushed out by a stranger who calls himself the same."""
        for pairing in self._waiting():
            if pairing.asked.public_key == asked.public_key:
                self._end(pairing, State.EXPIRED)
        network = network_of(peer)
        same_peer = [pairing for pairing in self._waiting() if pairing.network == network]
        for pairing in same_peer[: max(0, len(same_peer) - limits.PAIRINGS_PER_PEER_MAX + 1)]:
            self._end(pairing, State.EXPIRED)
        same_name = sum(pairing.asked.node_name == asked.node_name for pairing in self._waiting())
        same_serial = sum(bool(asked.serial) and pairing.asked.serial == asked.serial for pairing in self._waiting())
        if same_name >= limits.PAIRINGS_PER_NAME_MAX or same_serial >= limits.PAIRINGS_PER_SERIAL_MAX:
            raise errors.too_many_requests(f"too many machines are pairing as {asked.node_name} or with its serial number", 30)
        if len(self._pairings) >= limits.PAIRINGS_MAX:
            self._push_out(network)

    def _waiting(self) -> list[Pairing]:
        return [pairing for pairing in self._pairings.values() if pairing.open]

    def _push_out(self, network: str) -> None:
        """One that has ended, else the oldest of the address that has the most: a crowd costs those who make it."""
        ended = next((pairing for pairing in self._pairings.values() if not pairing.open), None)
        if ended is None:
            per_network = Counter(pairing.network for pairing in self._pairings.values())
            crowded, count = per_network.most_common(1)[0]
            if count <= per_network[network] + 1:
                raise errors.too_many_requests("too many machines are pairing", int(limits.PAIRING_STARTS_SECONDS))
            ended = next(pairing for pairing in self._pairings.values() if pairing.network == crowded)
            self._end(ended, State.EXPIRED)
        del self._pairings[ended.id]

    def find(self, pairing_id: str, now: float) -> Pairing:
        """StatusError NotFound, also for one that is long over."""
        self.sweep(now)
        pairing = self._pairings.get(pairing_id)
        if pairing is None:
            raise StatusError("NotFound", "there is no such pairing (any more): begin anew")
        return pairing

    def reveal(self, pairing_id: str, nonce: bytes, now: float) -> Pairing:
        """StatusError Conflict for a message out of turn, Forbidden for a nonce that does not fit."""
        pairing = self.find(pairing_id, now)
        try:
            pairing.exchange.reveal(nonce)
        except OutOfTurn as error:
            log.warning("a pairing message was repeated name=%s peer=%s", pairing.asked.node_name, pairing.peer)
            raise StatusError("Conflict", str(error)) from error
        except Mismatch as error:
            log.warning("a pairing revealed another nonce than promised name=%s peer=%s", pairing.asked.node_name, pairing.peer)
            pairing.wake()
            raise StatusError("Forbidden", str(error)) from error
        pairing.expires = now + limits.PAIRING_SECONDS
        return pairing

    # --- the person's side

    def pending(self, now: float) -> list[Pairing]:
        self.sweep(now)
        return [pairing for pairing in self._pairings.values() if pairing.exchange.state is State.PENDING]

    def named(self, name: str, now: float) -> list[Pairing]:
        """Those that wait under this name. StatusError NotFound when there is none."""
        found = [pairing for pairing in self.pending(now) if pairing.asked.node_name == name]
        if not found:
            raise StatusError("NotFound", f"no machine is waiting under the name {name}: edgekube node pending lists them")
        return found

    def match(self, name: str, digits: str, now: float) -> Pairing:
        """The exchange whose code this is. StatusError Forbidden when it is none's: then all under this name are burned."""
        waiting = self.named(name, now)
        matching = [pairing for pairing in waiting if pairing.exchange.is_code(digits)]
        if not matching:
            for pairing in waiting:
                self._end(pairing, State.BURNED)
            log.warning("a wrong code was typed for %s: its pairing is void", name)
            raise StatusError(
                "Forbidden",
                f"this is not the code of {name}: the exchange is void, and the machine shows a new code in a moment. If it did "
                "show the code that you typed, somebody sits between it and this server",
            )
        return matching[0]

    def approve(self, pairing: Pairing, now: float) -> None:
        """Its certificates are made next. Others under the same name are over: the name is taken now. StatusError Conflict when
        it ended meanwhile."""
        try:
            pairing.exchange.approve()
        except OutOfTurn as error:
            raise StatusError("Conflict", str(error)) from error
        pairing.expires = now + limits.PAIRING_SECONDS
        for other in self._waiting():
            if other.asked.node_name == pairing.asked.node_name:
                self._end(other, State.REJECTED)

    def reject(self, name: str, now: float) -> int:
        found = self.named(name, now)
        for pairing in found:
            self._end(pairing, State.REJECTED)
        return len(found)

    # --- time

    def sweep(self, now: float) -> None:
        """What is over its time ends; what has ended is kept for a moment, so that its machine hears how it ended."""
        for pairing in list(self._pairings.values()):
            if now >= pairing.expires:
                if pairing.open:
                    self._end(pairing, State.EXPIRED)
                del self._pairings[pairing.id]
        while self._commitments:
            oldest = next(iter(self._commitments.values()))
            if now - oldest < limits.PAIRING_SECONDS and len(self._commitments) <= limits.PAIRING_COMMITMENTS_MAX:
                break
            self._commitments.popitem(last=False)

    def _end(self, pairing: Pairing, state: State) -> None:
        steps = {
            State.EXPIRED: pairing.exchange.expire,
            State.BURNED: pairing.exchange.burn,
            State.REJECTED: pairing.exchange.reject,
        }
        steps[state]()
        pairing.wake()

    def __iter__(self) -> Iterator[Pairing]:
        return iter(self._pairings.values())

    def __len__(self) -> int:
        return len(self._pairings)
