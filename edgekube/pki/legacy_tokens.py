"""Tokens that stand in Secrets of type kubernetes.io/service-account-token: they name the Secret and never end.

Enters: a service account and the Secret; a token.
Leaves: a JWT in the shape of Kubernetes' old tokens; the claims of one that we signed.
Holds: signed and verified with the keys of pki.tokens. Whether the Secret still holds the token, and the account still is the
same, is asked by the caller for each request.
Bound: limits.TOKEN_CACHE_ENTRIES_MAX verified tokens are remembered by digest.
Source: k8s.io/kubernetes pkg/serviceaccount (legacy.go).
Next: controllers.serviceaccounttokens makes them, server.other_tokens verifies.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final, NamedTuple

from edgekube import limits
from edgekube.pki.tokens import ALGORITHM, KeyRing, TokenRejected, signer_of

ISSUER: Final = "kubernetes/serviceaccount"
_CLAIM: Final = f"{ISSUER}/"


class LegacyAccount(NamedTuple):
    namespace: str
    name: str
    uid: str
    secret: str


class LegacyTokens:
    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys
        self._verified: OrderedDict[bytes, tuple[str, LegacyAccount]] = OrderedDict()

    def issue(self, account: LegacyAccount) -> str:
        import jwt

        claims = {
            "iss": ISSUER,
            "sub": f"system:serviceaccount:{account.namespace}:{account.name}",
            f"{_CLAIM}namespace": account.namespace,
            f"{_CLAIM}secret.name": account.secret,
            f"{_CLAIM}service-account.name": account.name,
            f"{_CLAIM}service-account.uid": account.uid,
        }
        key = self._keys.signing
        return jwt.encode(claims, key.private, algorithm=ALGORITHM, headers={"kid": key.key_id})

    def believes(self, token: str, account: LegacyAccount) -> bool:
        """Whether it is this account's, and signed by a key that is still believed."""
        try:
            return self.verify(token) == account
        except TokenRejected:
            return False

    def verify(self, token: str) -> LegacyAccount:
        """Raises TokenRejected."""
        if len(token) > limits.TOKEN_BYTES_MAX:
            raise TokenRejected("the token is too large")
        digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        known = self._verified.get(digest)
        if known is not None and self._keys.public(known[0]) is not None:
            self._verified.move_to_end(digest)
            return known[1]
        found = self._verified[digest] = self._decode(token)
        while len(self._verified) > limits.TOKEN_CACHE_ENTRIES_MAX:
            self._verified.popitem(last=False)
        return found[1]

    def _decode(self, token: str) -> tuple[str, LegacyAccount]:
        import jwt

        try:
            key_id, key = signer_of(token, self._keys)
            claims = jwt.decode(
                token, key, algorithms=[ALGORITHM], issuer=ISSUER, options={"require": ["iss", "sub"], "verify_aud": False}
            )
            names = ("namespace", "service-account.name", "service-account.uid", "secret.name")
            account = LegacyAccount(*(str(claims[f"{_CLAIM}{name}"]) for name in names))
        except (jwt.PyJWTError, KeyError, TypeError, ValueError) as error:
            raise TokenRejected(type(error).__name__) from error
        if claims["sub"] != f"system:serviceaccount:{account.namespace}:{account.name}":
            raise TokenRejected("the token's subject is not its account")
        return key_id, account
