"""The token that a machine joins with: what people copy, and what the server keeps of it.

Enters: text, random bytes, a salt.
Leaves: JoinToken; the salted hash that is stored in the secret's place.
Holds: the secret has 103 bits from the system's generator, so one round of SHA-256 is enough to keep it; comparing takes the same
time whatever is wrong; nothing here prints a secret.
Source: the pinning is that of k3s and kubeadm (discovery-token-ca-cert-hash): who holds the token knows the cluster's CA, so the
network between need not be trusted.
Next: api.join_tokens (what is stored), server.joining, client.joining.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from edgekube.api.join_tokens import TOKEN_ID

_PREFIX: Final = "EK1"
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_ID_CHARACTERS: Final = 6
_SECRET_CHARACTERS: Final = 20
_SECRET: Final = r"[a-z0-9]{16,64}"
_TOKEN: Final = re.compile(rf"{_PREFIX}::([0-9a-f]{{64}})::({TOKEN_ID})\.({_SECRET})", re.ASCII)
_CREDENTIAL: Final = re.compile(rf"({TOKEN_ID})\.({_SECRET})", re.ASCII)
_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


class TokenUnreadable(ValueError):
    """This is not a join token. Says what one looks like, never what was given."""


@dataclass(frozen=True, slots=True)
class JoinToken:
    authority_hash: str  # SHA-256 of the CA certificate's DER, in hex
    id: str
    secret: str = field(repr=False)

    @property
    def text(self) -> str:
        return f"{_PREFIX}::{self.authority_hash}::{self.credential}"

    @property
    def credential(self) -> str:
        """What is sent to the server, once it has been verified."""
        return f"{self.id}.{self.secret}"


def new_token(authority_hash: str) -> JoinToken:
    def draw(characters: int) -> str:
        return "".join(secrets.choice(_ALPHABET) for _ in range(characters))

    return JoinToken(authority_hash, draw(_ID_CHARACTERS), draw(_SECRET_CHARACTERS))


def parse_token(text: str) -> JoinToken:
    """Raises TokenUnreadable."""
    match = _TOKEN.fullmatch(text.strip())
    if match is None:
        raise TokenUnreadable(
            "this is no join token: 'edgekube token create' on the server prints one, EK1::<64 hex>::<id>.<secret>"
        )
    return JoinToken(*match.groups())


def parse_credential(text: str) -> tuple[str, str] | None:
    """(id, secret) of what a machine sent; None when it is neither."""
    match = _CREDENTIAL.fullmatch(text)
    return (match[1], match[2]) if match else None


def new_salt() -> str:
    return secrets.token_hex(16)


def hash_of(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}:{secret}".encode()).hexdigest()


def is_secret(salt: str, secret: str, stored_hash: str) -> bool:
    return hmac.compare_digest(hash_of(salt, secret), stored_hash)


def certificates_of(bundle: str) -> list[str]:
    """The PEM certificates of a bundle, one by one."""
    return _CERTIFICATE.findall(bundle)


def fingerprint(certificate_pem: str) -> str:
    """SHA-256 of the certificate's DER, in hex. ValueError for what is no PEM certificate."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate_pem.strip())).hexdigest()


def pinned(bundle: str, authority_hash: str) -> str | None:
    """The certificate of the bundle that the token pins; None when it is not there, so that this is not the token's cluster."""
    return next((pem for pem in certificates_of(bundle) if hmac.compare_digest(_fingerprint_or_none(pem), authority_hash)), None)


def _fingerprint_or_none(pem: str) -> str:
    try:
        return fingerprint(pem)
    except ValueError:
        return ""


def fingerprints(bundle: str) -> Sequence[str]:
    return [found for pem in certificates_of(bundle) if (found := _fingerprint_or_none(pem))]
