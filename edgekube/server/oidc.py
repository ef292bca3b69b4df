"""Tokens of identity providers (OpenID Connect): verified with the keys that the provider publishes.

Enters: a token whose issuer is a provider's URL.
Leaves: the user that its claims name; StatusError Unauthorized.
Holds: keys are fetched when a token first needs them, and again for a key that is not known, at most every
limits.OIDC_REFRESH_SECONDS; only signatures of the chosen kinds are believed. Where a provider cannot be reached its own
users are refused, and nobody else.
Bound: limits.OIDC_ANSWER_BYTES_MAX, limits.OIDC_KEYS_MAX, limits.OIDC_SECONDS_MAX, limits.TOKEN_CACHE_ENTRIES_MAX.
Source: kubernetes.io, "OpenID Connect Tokens"; openid.net, Discovery 1.0; RFC 7517.
Next: server.other_tokens asks; admission.authentication.claims says whom the claims name.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
import trio
from msgspec import Struct

from edgekube import limits
from edgekube.admission.authentication.claims import ClaimsRefused, user_of
from edgekube.admission.authentication.configuration import Jwt, Mapped, Rule
from edgekube.api import errors
from edgekube.api.verbs import UserInfo
from edgekube.wire.client import http_client
from edgekube.wire.tls import foreign_client_context

log = logging.getLogger("edgekube.server")

_WELL_KNOWN: Final = "/.well-known/openid-configuration"
#: Of providers in a file; with flags they are chosen.
_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")


class ProviderSettings(Struct, frozen=True):
    """One provider, as flags name it."""

    issuer_url: str
    client_id: str
    username_claim: str = "sub"
    #: "": the issuer's URL and "#", but nothing before an e-mail address; "-": nothing.
    username_prefix: str = ""
    groups_claim: str = ""
    groups_prefix: str = ""
    required_claims: tuple[tuple[str, str], ...] = ()

    def as_jwt(self) -> Jwt:
        prefix = self.username_prefix
        if not prefix and self.username_claim != "email":
            prefix = f"{self.issuer_url}#"
        return Jwt(
            self.issuer_url,
            discovery_url="",
            authority_pem="",
            audiences=(self.client_id,),
            claim_rules=tuple(Rule(claim, required) for claim, required in self.required_claims),
            username=Mapped(self.username_claim, "" if prefix == "-" else prefix),
            groups=Mapped(self.groups_claim, self.groups_prefix),
            uid=Mapped(),
            extra=(),
            user_rules=(),
        )


class ProviderUnavailable(Exception):
    """It did not answer, or not with what the standard asks for."""


def issuer_of(token: str) -> str:
    """Who issued the token, as it says of itself; nothing is verified yet."""
    import jwt

    if len(token) > limits.TOKEN_BYTES_MAX:
        return ""
    try:
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
    except (jwt.PyJWTError, ValueError):
        return ""
    return issuer if isinstance(issuer, str) else ""


class Provider:
    def __init__(
        self,
        provider: Jwt,
        clock: Callable[[], float],
        *,
        ca_file: Path | None = None,
        algorithms: Sequence[str] = _ALGORITHMS,
    ) -> None:
        """``ca_file``: in the place of the certificates that the provider has with it."""
        self.issuer_url = provider.issuer_url
        self.provider = provider
        self._ca_file = ca_file
        self._algorithms = list(algorithms)
        self._clock = clock
        self._keys: dict[str, Any] = {}  # kid -> jwt.PyJWK
        self._fetching = trio.Lock()
        self._fetched_at = -limits.OIDC_REFRESH_SECONDS
        self._verified: OrderedDict[bytes, tuple[float, UserInfo]] = OrderedDict()

    async def user_of(self, token: str) -> UserInfo | None:
        digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        known = self._verified.get(digest)
        if known is not None and self._clock() < known[0]:
            self._verified.move_to_end(digest)
            return known[1]
        found = await self._verify(token)
        if found is None:
            return None
        self._verified[digest] = found
        while len(self._verified) > limits.TOKEN_CACHE_ENTRIES_MAX:
            self._verified.popitem(last=False)
        return found[1]

    async def _verify(self, token: str) -> tuple[float, UserInfo] | None:
        import jwt

        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:  # it is looked at more closely than by whoever asked only who issued it
            return None
        if header.get("alg") not in self._algorithms:
            return None
        try:
            key = await self._key(str(header.get("kid") or ""))
        except ProviderUnavailable as error:
            log.warning("the identity provider did not help to verify a token why=%r", str(error))
            raise errors.unauthorized() from error
        if key is None:
            return None
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=self._algorithms,
                audience=self.provider.audiences,
                issuer=self.issuer_url,
                options={"require": ["exp", "iss", "aud"], "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
            expiry, begin = float(claims["exp"]), float(claims.get("nbf") or 0)
        except (jwt.PyJWTError, TypeError, ValueError, OverflowError):
            return None
        now = self._clock()
        if now >= expiry or now + limits.TOKEN_CLOCK_LEEWAY_SECONDS < begin:
            return None
        try:
            return expiry, user_of(self.provider, claims)
        except (ClaimsRefused, OverflowError) as error:  # a number that no double holds
            log.warning("a token of an identity provider names nobody issuer=%s why=%r", self.issuer_url, str(error))
            return None

    async def _key(self, key_id: str) -> Any:
        """A token without ``kid`` is verified with the only key that there is."""
        for _ in range(2):
            if key_id in self._keys:
                return self._keys[key_id]
            if not key_id and len(self._keys) == 1:
                return next(iter(self._keys.values()))
            if not await self._refresh(key_id):
                return None
        return None

    async def _refresh(self, key_id: str) -> bool:
        """Whether there may be other keys now. Whoever comes meanwhile waits for the same answer."""
        async with self._fetching:
            if key_id in self._keys:
                return True
            if trio.current_time() - self._fetched_at < limits.OIDC_REFRESH_SECONDS:
                return False
            self._fetched_at = trio.current_time()
            with trio.move_on_after(limits.OIDC_SECONDS_MAX):
                self._keys = await self._published()
                return True
            raise ProviderUnavailable(f"no answer within {limits.OIDC_SECONDS_MAX:.0f} seconds")

    async def _published(self) -> dict[str, Any]:
        import jwt

        document = await self._get(self.provider.discovery_url or f"{self.issuer_url.rstrip('/')}{_WELL_KNOWN}")
        if document.get("issuer") != self.issuer_url:
            raise ProviderUnavailable(f"it calls itself {json.dumps(document.get('issuer'))}")
        found = (await self._get(str(document.get("jwks_uri") or ""))).get("keys")
        keys: dict[str, Any] = {}
        for row in found if isinstance(found, list) else ():
            if len(keys) >= limits.OIDC_KEYS_MAX or not isinstance(row, dict) or row.get("use", "sig") != "sig":
                continue
            try:
                keys[str(row.get("kid") or "")] = jwt.PyJWK(row)
            except (jwt.PyJWTError, ValueError):
                continue  # of a kind that nobody here knows
        return keys

    async def _get(self, url: str) -> dict[str, Any]:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise ProviderUnavailable(f"not an https URL: {url}")
        authority: bytes | None = self.provider.authority_pem.encode() or None
        try:
            if self._ca_file is not None:
                authority = await trio.Path(self._ca_file).read_bytes()
            context = foreign_client_context(authority)
            async with http_client(parts.hostname, parts.port or 443, context=context) as client:
                path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
                async with client.request("GET", path, {"accept": "application/json"}, None) as answer:
                    body = await answer.read(limits.OIDC_ANSWER_BYTES_MAX)
                    status = answer.status
            document = orjson.loads(body)
        except trio.Cancelled:
            raise
        except Exception as error:
            raise ProviderUnavailable(f"GET {url}: {error}") from error
        if status != 200 or not isinstance(document, dict):
            raise ProviderUnavailable(f"GET {url}: answered {status}")
        return document
