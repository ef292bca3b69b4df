"""Become a node by a code that a person compares: the machine's end of pki.pairing.

Enters: a server's address, the CA that is to be believed for this exchange, the machine's key and the name it would like.
Leaves: the code, to be shown; Joined once somebody approved it.
Holds: after the first look every word goes over TLS that verifies under that CA, and the code binds it: another CA in between is
another code. The key stays on this machine. A server that shows another cluster's certificates in the end is refused.
Bound: PAIRING_SECONDS for the whole exchange.
Next: daemon.pairing.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from edgekube import limits
from edgekube.api.errors import StatusError, unavailable
from edgekube.api.objects import Object
from edgekube.client.addresses import Address
from edgekube.client.doors import call, look_without_trust, trusting
from edgekube.client.joining import Joined, NotThisCluster, joined_from, what_is_asked
from edgekube.pki.join_token import certificates_of, fingerprint, fingerprints
from edgekube.pki.pairing import Party, State, code, commitment, new_nonce, nonce_from, shown
from edgekube.pki.requests import public_key_hash

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_PATH = "pairings"
#: Authorities of a bundle that are tried: two overlap while a CA is rotated.
_AUTHORITIES_MAX = 4


class PairingEnded(Exception):
    """Nobody let this machine in; how it ended, and the server's reason if it gave one."""

    def __init__(self, state: State, message: str = "") -> None:
        super().__init__(message or f"the pairing is {state.value}")
        self.state = state


async def authority_at(address: Address, wanted: Callable[[Object, str], bool]) -> str:
    """The PEM of a CA that the server there can prove to be its own. ``wanted``: asked with what the server says of itself and
    the CA's SHA-256. Raises NotThisCluster, or StatusError as of a server that does not answer."""
    told = await look_without_trust(address)
    host, port = address
    problem = f"{host}:{port} is not the cluster that is wanted"
    for pem in certificates_of(str(told.get("caBundle") or ""))[:_AUTHORITIES_MAX]:
        try:
            if not wanted(told, fingerprint(pem)):
                continue
            await call(address, trusting(pem), "GET", "cluster")
        except (ssl.SSLError, ValueError) as error:
            problem = f"{host}:{port} cannot prove to be the server that it says it is: {error}"
            continue
        return pem
    raise NotThisCluster(problem)


async def pair(
    address: Address,
    authority: str,
    node_name: str,
    key: EllipticCurvePrivateKey,
    serial: str,
    show: Callable[[str], None],
) -> Joined:
    """``show`` gets the code as people read it. Raises PairingEnded, NotThisCluster or StatusError."""
    host, port = address
    context = trusting(authority)
    nonce = new_nonce()
    public_key = public_key_hash(key.public_key())
    asked = what_is_asked(node_name, key, serial)
    asked["authority"] = fingerprint(authority)
    asked["commitment"] = commitment(public_key, node_name, serial, nonce).hex()
    try:
        begun = await call(address, context, "POST", _PATH, asked)
        pairing_id, server_nonce, cluster_id = _begun(begun)
        state = await call(address, context, "POST", f"{_PATH}/{pairing_id}/reveal", {"nonce": nonce.hex()})
        party = Party(public_key, node_name, serial, fingerprint(authority), cluster_id)
        if state.get("state") == State.PENDING.value:
            show(shown(code(party, nonce, server_nonce)))
        with trio.move_on_after(limits.PAIRING_SECONDS):
            while state.get("state") == State.PENDING.value:
                state = await _ask(address, context, pairing_id)
    except ssl.SSLError as error:
        raise NotThisCluster(f"{host}:{port} is not the server any more that this machine began to pair with: {error}") from error
    if state.get("state") != State.APPROVED.value:
        raise PairingEnded(_state(state), str(state.get("message") or ""))
    joined = joined_from(node_name, state.get("issued"))
    if joined.facts.cluster_id != cluster_id or fingerprint(authority) not in fingerprints(joined.facts.authorities):
        raise NotThisCluster(f"{host}:{port} brought the certificates of another cluster")
    return joined


async def _ask(address: Address, context: ssl.SSLContext, pairing_id: str) -> Any:
    """The state after a while. A server that is away for a moment is asked again; one that has forgotten is over."""
    try:
        return await call(address, context, "GET", f"{_PATH}/{pairing_id}")
    except StatusError as error:
        if error.reason == "NotFound":
            raise PairingEnded(State.EXPIRED, error.message) from error
        if error.reason not in ("ServiceUnavailable", "TooManyRequests"):
            raise
        await trio.sleep(max(limits.JOIN_RETRY_FIRST_SECONDS, error.retry_after_seconds))
        return {"state": State.PENDING.value}


def _begun(body: Any) -> tuple[str, bytes, str]:
    try:
        pairing_id = str(body["id"])
        if not pairing_id.isalnum() or len(pairing_id) > 64:
            raise ValueError("no id")
        return pairing_id, nonce_from(str(body["nonce"])), str(body["clusterId"])
    except (KeyError, ValueError, TypeError) as error:
        raise unavailable(f"the server's answer makes no sense: {error}") from error


def _state(body: Any) -> State:
    try:
        return State(body.get("state"))
    except ValueError:
        return State.EXPIRED
