"""Pairing without any secret: six digits that a person compares, as in ZRTP and Bluetooth's numeric comparison.

The node has a key, the server a CA; neither knows the other's, and anybody may sit between them. They exchange:

    node → server   name, serial, key (in signing requests), the CA it was shown, commitment = H(key, name, serial, node nonce)
    server → node   server nonce
    node → server   node nonce                  the server checks it against the commitment
    both            code = H(key, CA, cluster, name, serial, node nonce, server nonce), six digits

Whoever sits between has to show the node a CA of his own (he cannot speak TLS as the cluster's), and the server a key of his own
(he cannot sign with the node's): the two ends hash different things and show different codes, but by chance. To steer chance he
would have to choose a nonce when he knows all the others. On the node's side he must send the server nonce while the node's is
still hidden in its commitment; on the server's side he is bound by his own commitment before he sees the server's. So each
exchange is one guess in a million, and a person who types a wrong code ends it.

Enters: random bytes, names, keys' and CAs' SHA-256.
Leaves: commitment, code; ServerExchange, the server's end of one exchange as a table of states.
Holds: pure; every field is hashed with its length, so that no two inputs run into each other; comparing takes constant time; an
exchange goes forward only, and each message counts once.
Source: RFC 6189 sections 4.1.1 and 4.4.1.1 (ZRTP's hash commitment and short authentication string).
Next: server.pairings, client.pairing.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import re
import secrets
from typing import Final

from msgspec import Struct

NONCE_BYTES: Final = 32
_COMMITMENT_TAG: Final = b"edgekube pairing 1 commitment"
_CODE_TAG: Final = b"edgekube pairing 1 code"
_CODES: Final = 10**6
_CODE: Final = re.compile(r"\s*([0-9]{3})[- ]?([0-9]{3})\s*", re.ASCII)
_HASH: Final = re.compile(r"[0-9a-f]{64}")


class OutOfTurn(Exception):
    """A message that this exchange does not wait for: replayed, late, or of somebody else."""


class Mismatch(Exception):
    """What was revealed is not what was committed to."""


class Party(Struct, frozen=True):
    """What both ends know of the exchange besides the nonces, and must agree on."""

    public_key: str  # SHA-256 of the node's SubjectPublicKeyInfo, in hex
    node_name: str
    serial: str
    authority: str  # SHA-256 of the CA's certificate (DER), in hex
    cluster_id: str


def new_nonce() -> bytes:
    return secrets.token_bytes(NONCE_BYTES)


def nonce_from(text: str) -> bytes:
    """A nonce or commitment as it is sent: 64 hex digits. ValueError."""
    if not _HASH.fullmatch(text):
        raise ValueError("expected 64 hex digits")
    return bytes.fromhex(text)


def _hash(tag: bytes, *fields: bytes) -> bytes:
    digest = hashlib.sha256()
    for field in (tag, *fields):
        digest.update(len(field).to_bytes(4, "big"))
        digest.update(field)
    return digest.digest()


def commitment(public_key: str, node_name: str, serial: str, node_nonce: bytes) -> bytes:
    return _hash(_COMMITMENT_TAG, bytes.fromhex(public_key), node_name.encode(), serial.encode(), node_nonce)


def code(party: Party, node_nonce: bytes, server_nonce: bytes) -> str:
    """Six decimal digits, uniform: 256 bits modulo a million leave no bias that anybody could measure."""
    digest = _hash(
        _CODE_TAG,
        bytes.fromhex(party.public_key),
        bytes.fromhex(party.authority),
        party.cluster_id.encode(),
        party.node_name.encode(),
        party.serial.encode(),
        node_nonce,
        server_nonce,
    )
    return f"{int.from_bytes(digest, 'big') % _CODES:06d}"


def shown(digits: str) -> str:
    """As people read it: 831-402."""
    return f"{digits[:3]}-{digits[3:]}"


def typed(text: str) -> str | None:
    """The six digits of what a person typed: 831-402, 831 402 or 831402; None when it is no code."""
    match = _CODE.fullmatch(text)
    return match[1] + match[2] if match else None


class State(enum.Enum):
    COMMITTED = "committed"  # the node's nonce is still hidden
    PENDING = "pending"  # both show a code; a person decides
    APPROVED = "approved"
    REJECTED = "rejected"  # by a person
    BURNED = "burned"  # a wrong code was typed, or what was revealed did not fit
    EXPIRED = "expired"


#: What may follow what; anything else raises.
_NEXT: Final[dict[State, frozenset[State]]] = {
    State.COMMITTED: frozenset({State.PENDING, State.BURNED, State.REJECTED, State.EXPIRED}),
    State.PENDING: frozenset({State.APPROVED, State.REJECTED, State.BURNED, State.EXPIRED}),
    State.APPROVED: frozenset(),
    State.REJECTED: frozenset(),
    State.BURNED: frozenset(),
    State.EXPIRED: frozenset(),
}


class ServerExchange:
    """The server's end. ``code`` is "" until both nonces are known."""

    def __init__(self, party: Party, committed: bytes, server_nonce: bytes) -> None:
        self.party = party
        self.state = State.COMMITTED
        self.code = ""
        self.committed = committed
        self.server_nonce = server_nonce

    def _go(self, state: State) -> None:
        if state not in _NEXT[self.state]:
            raise OutOfTurn(f"an exchange that is {self.state.value} cannot become {state.value}")
        self.state = state

    def reveal(self, node_nonce: bytes) -> None:
        """Raises OutOfTurn, or Mismatch, which is the end of it."""
        if self.state is not State.COMMITTED:
            raise OutOfTurn("the nonce was revealed before")
        party = self.party
        expected = commitment(party.public_key, party.node_name, party.serial, node_nonce)
        if not hmac.compare_digest(expected, self.committed):
            self._go(State.BURNED)
            raise Mismatch("what was revealed is not what was committed to")
        self.code = code(party, node_nonce, self.server_nonce)
        self._go(State.PENDING)

    def is_code(self, digits: str) -> bool:
        """Whether a person typed this exchange's code. Asking changes nothing: who gets False has to burn it."""
        return self.state is State.PENDING and hmac.compare_digest(self.code.encode(), digits.encode())

    def approve(self) -> None:
        self._go(State.APPROVED)

    def reject(self) -> None:
        self._go(State.REJECTED)

    def burn(self) -> None:
        self._go(State.BURNED)

    def expire(self) -> None:
        self._go(State.EXPIRED)
