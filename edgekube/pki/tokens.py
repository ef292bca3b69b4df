"""Service-account tokens: signed ES256, bound to an account and perhaps a pod, verified without a round trip.

Enters: an account (and what the token is bound to); a token from an Authorization header.
Leaves: a JWT in the shape of Kubernetes' bound tokens; the claims of one that is genuine and in date.
Holds: only the algorithm we sign with is accepted; whether account and pod still exist is asked by the caller for each request.
Bound: limits.TOKEN_CACHE_ENTRIES_MAX verified tokens are remembered by digest, never past their expiry.
Source: kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin (bound tokens), RFC 7519.
Next: server.identity.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec import Struct

from edgekube import limits
from edgekube.api.objects import Object, name_of, uid_of
from edgekube.pki.files import PRIVATE, PUBLIC, write_durably

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

ALGORITHM: Final = "ES256"
#: Kubernetes' bounds of TokenRequest.spec.expirationSeconds.
EXPIRATION_SECONDS_MIN: Final = 600
EXPIRATION_SECONDS_MAX: Final = 1 << 32
#: A pod asks for 3607 s; the token itself lives longer, so that old clients which never re-read it keep working,
#: and carries ``warnafter`` at the hour (upstream's service-account-extend-token-expiration).
EXTENDED_SECONDS: Final = 365 * 24 * 3600
POD_TOKEN_SECONDS: Final = 3607


class TokenRejected(Exception):
    """Not a token of this cluster, or not for this audience, or out of date."""


class BoundAccount(Struct, frozen=True):
    """What a genuine token says."""

    namespace: str
    name: str
    uid: str
    audiences: tuple[str, ...]
    jti: str
    pod: tuple[str, str] | None  # (name, uid)
    secret: tuple[str, str] | None
    node: tuple[str, str] | None


class TokenKey:
    """The signing key and what is published of it."""

    def __init__(self, key: EllipticCurvePrivateKey) -> None:
        from cryptography.hazmat.primitives import serialization

        self.private = key
        self.public = key.public_key()
        der = self.public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.key_id = _base64url(hashlib.sha256(der).digest())

    @classmethod
    def load_or_create(cls, directory: Path) -> TokenKey:
        """``sa.key`` (0600) and ``sa.pub`` in the directory."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        path = directory / "sa.key"
        if not path.exists():
            return new_key(directory)
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{path} is not an ECDSA key")
        return cls(key)


def new_key(directory: Path) -> TokenKey:
    """A key in the place of the one that is there."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = TokenKey(ec.generate_private_key(ec.SECP256R1()))
    encoding, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    write_durably(directory / "sa.key", key.private.private_bytes(encoding, private, serialization.NoEncryption()), PRIVATE)
    write_durably(directory / "sa.pub", public_pem(key.public), PUBLIC)
    return key


def public_pem(key: EllipticCurvePublicKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


class KeyRing(Protocol):
    """The key that signs and those that are believed (pki.token_keys). Asked each time: keys are replaced while we run."""

    @property
    def signing(self) -> TokenKey: ...

    def public(self, key_id: str) -> EllipticCurvePublicKey | None: ...


def signer_of(token: str, keys: KeyRing) -> tuple[str, EllipticCurvePublicKey]:
    """The id and the key that it says it was signed by. Raises TokenRejected, or jwt.PyJWTError when it is no token."""
    import jwt

    key_id = str(jwt.get_unverified_header(token).get("kid", ""))
    key = keys.public(key_id)
    if key is None:
        raise TokenRejected("the token was signed by a key that is not ours, or no longer")
    return key_id, key


class TokenIssuer:
    """Signs tokens (TokenRequest, and the agent's projected volumes)."""

    def __init__(self, keys: KeyRing, issuer: str, clock: Callable[[], float]) -> None:
        self._keys = keys
        self.issuer = issuer
        self._clock = clock

    def issue(
        self,
        namespace: str,
        name: str,
        uid: str,
        audiences: Sequence[str],
        expiration_seconds: int,
        bound: Object | None = None,
        node: Object | None = None,
    ) -> tuple[str, float]:
        """(token, expiry in seconds since the epoch). ``bound`` is the Pod or Secret that the token dies with."""
        import jwt

        now = int(self._clock())
        audiences = list(audiences) or [self.issuer]
        lifetime = expiration_seconds
        private: dict[str, Any] = {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}}
        if bound is not None:
            private[bound["kind"].lower()] = {"name": name_of(bound), "uid": uid_of(bound)}
            if bound["kind"] == "Pod" and expiration_seconds == POD_TOKEN_SECONDS and audiences == [self.issuer]:
                lifetime = EXTENDED_SECONDS
                private["warnafter"] = now + expiration_seconds
        if node is not None:
            private["node"] = {"name": name_of(node), **({"uid": uid_of(node)} if uid_of(node) else {})}
        claims = {
            "iss": self.issuer,
            "sub": f"system:serviceaccount:{namespace}:{name}",
            "aud": audiences,
            "iat": now,
            "nbf": now,
            "exp": now + lifetime,
            "jti": _uuid(),
            "kubernetes.io": private,
        }
        key = self._keys.signing
        token = jwt.encode(claims, key.private, algorithm=ALGORITHM, headers={"kid": key.key_id})
        # The status of a TokenRequest tells the asked-for time, so that the agent rotates by it.
        return token, float(now + expiration_seconds)


class TokenVerifier:
    """Checks signature, issuer, time and audience."""

    def __init__(self, keys: KeyRing, issuer: str, clock: Callable[[], float]) -> None:
        self._keys = keys
        self._issuer = issuer
        self._clock = clock
        self._verified: OrderedDict[bytes, tuple[float, str, BoundAccount]] = OrderedDict()

    def verify(self, token: str, audiences: Sequence[str] = ()) -> BoundAccount:
        """The account of a genuine token for any of the audiences (default: this API server). Raises TokenRejected."""
        if len(token) > limits.TOKEN_BYTES_MAX:
            raise TokenRejected("the token is too large")
        digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        cached = self._verified.get(digest)
        if cached is not None and self._clock() < cached[0] and self._keys.public(cached[1]) is not None:
            self._verified.move_to_end(digest)
            account = cached[2]
        else:
            expiry, key_id, account = self._decode(token)
            self._verified[digest] = (expiry, key_id, account)
            while len(self._verified) > limits.TOKEN_CACHE_ENTRIES_MAX:
                self._verified.popitem(last=False)
        if not self.meant(account, audiences):
            raise TokenRejected("the token is not meant for this audience")
        return account

    def meant(self, account: BoundAccount, audiences: Sequence[str] = ()) -> tuple[str, ...]:
        """Those of the audiences (default: this API server) that the account's token is for."""
        return tuple(audience for audience in audiences or (self._issuer,) if audience in account.audiences)

    def _decode(self, token: str) -> tuple[float, str, BoundAccount]:
        import jwt

        now = self._clock()
        try:
            key_id, key = signer_of(token, self._keys)
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                issuer=self._issuer,
                options={
                    "require": ["exp", "iat", "sub"],
                    "verify_aud": False,
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
            private = claims["kubernetes.io"]
            expiry = float(claims["exp"])
            account = BoundAccount(
                namespace=private["namespace"],
                name=private["serviceaccount"]["name"],
                uid=private["serviceaccount"]["uid"],
                audiences=tuple(claims["aud"]),
                jti=str(claims.get("jti", "")),
                pod=_reference(private.get("pod")),
                secret=_reference(private.get("secret")),
                node=_reference(private.get("node")),
            )
        except (jwt.PyJWTError, KeyError, TypeError, ValueError) as error:
            raise TokenRejected(type(error).__name__) from error
        if now >= expiry:
            raise TokenRejected("the token has expired")
        if now + limits.TOKEN_CLOCK_LEEWAY_SECONDS < float(claims.get("nbf", 0)):
            raise TokenRejected("the token is not valid yet")
        return expiry, key_id, account


def _reference(value: Any) -> tuple[str, str] | None:
    return (str(value["name"]), str(value.get("uid", ""))) if value else None


def _base64url(data: bytes) -> str:
    import base64

    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _uuid() -> str:
    import uuid

    return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
