"""Bearer tokens besides those that TokenRequest gives out: bootstrap tokens, tokens in Secrets, identity providers'.

Enters: a token that pki.tokens does not know, and for whom it should be meant.
Leaves: whose it is, and which of the audiences it is for; StatusError Unauthorized.
Holds: Secret and account are looked at with each request; secrets are compared in constant time. These tokens name no audience
that a review could ask for: they are for this API server and nobody else.
Next: server.identity asks; pki.legacy_tokens, api.bootstrap_tokens, server.oidc verify.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Iterable, Sequence

from edgekube.api import bootstrap_tokens, errors
from edgekube.api.errors import StatusError
from edgekube.api.kinds import SECRET, SERVICEACCOUNT, Kind
from edgekube.api.objects import Object, is_deleting, uid_of
from edgekube.api.verbs import UserInfo, Verbs
from edgekube.pki.legacy_tokens import LegacyTokens
from edgekube.pki.tokens import TokenRejected
from edgekube.server.oidc import Provider, issuer_of

_AUTHENTICATED = "system:authenticated"


class OtherTokens:
    def __init__(
        self,
        verbs: Verbs,
        legacy: LegacyTokens,
        audience: str,
        clock: Callable[[], float],
        providers: Iterable[Provider] = (),
    ) -> None:
        """``audience``: this API server's. ``providers``: the identity providers, each with an issuer of its own."""
        self._verbs = verbs
        self._legacy = legacy
        self._audience = audience
        self._clock = clock
        self.let_in_by(providers)

    def let_in_by(self, providers: Iterable[Provider]) -> None:
        """These identity providers, from now on."""
        self._providers = {provider.issuer_url: provider for provider in providers}

    async def review(self, token: str, audiences: Sequence[str]) -> tuple[UserInfo, Sequence[str]]:
        if audiences and self._audience not in audiences:
            raise errors.unauthorized()
        user = await self._user_of(token)
        if user is None:
            raise errors.unauthorized()
        return user, (self._audience,)

    async def _user_of(self, token: str) -> UserInfo | None:
        shown = bootstrap_tokens.parse(token)
        if shown is not None:
            return await self._bootstrapper(shown)
        if token.count(".") != 2:
            return None
        if self._providers and (provider := self._providers.get(issuer_of(token))) is not None:
            return await provider.user_of(token)
        return await self._account(token)

    async def _bootstrapper(self, shown: bootstrap_tokens.Shown) -> UserInfo | None:
        secret = await self._find(SECRET, bootstrap_tokens.NAMESPACE, shown.secret_name)
        groups = bootstrap_tokens.groups_of(shown, secret or {}, self._clock())
        if groups is None:
            return None
        return UserInfo(f"{bootstrap_tokens.USER_PREFIX}{shown.id}", groups=(*groups, _AUTHENTICATED))

    async def _account(self, token: str) -> UserInfo | None:
        try:
            account = self._legacy.verify(token)
        except TokenRejected:
            return None
        secret = await self._find(SECRET, account.namespace, account.secret)
        found = await self._find(SERVICEACCOUNT, account.namespace, account.name)
        if secret is None or found is None or is_deleting(secret) or is_deleting(found) or uid_of(found) != account.uid:
            return None
        if not hmac.compare_digest(_token_in(secret), token.encode()):
            return None
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{account.namespace}", _AUTHENTICATED)
        return UserInfo(f"system:serviceaccount:{account.namespace}:{account.name}", account.uid, groups)

    async def _find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        try:
            return await self._verbs.get(kind, namespace, name)
        except StatusError as error:
            if error.reason == "NotFound":
                return None
            raise


def _token_in(secret: Object) -> bytes:
    try:
        return base64.b64decode(str((secret.get("data") or {}).get("token") or ""), validate=True)
    except binascii.Error:
        return b""
