"""Service account tokens of pods, asked for in time.

Enters: pods; the API's serviceaccounts/NAME/token.
Leaves: tokens that have at least a fifth of their life before them.
Holds: in memory only; a token that cannot be renewed is used until it ends.
Source: Kubernetes documentation, "Configure Service Accounts" (kubelet renews at 80% of a token's life, or after 24 h).
Next: volumes.setup.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import Struct

from edgekube.agent.problems import VolumeProblem
from edgekube.api import times
from edgekube.api.errors import StatusError
from edgekube.api.kinds import SERVICEACCOUNT
from edgekube.api.objects import Object, name_of, namespace_of, spec_of, uid_of
from edgekube.api.verbs import Verbs

RENEW_FRACTION = 0.8
RENEW_SECONDS_MAX = 24 * 3600.0
RETRY_SECONDS = 60.0


class Token(Struct, frozen=True):
    text: str
    refresh_at: float
    expires_at: float


class TokenSource:
    def __init__(self, verbs: Verbs, clock: Callable[[], float] = time.time) -> None:
        self._verbs = verbs
        self._clock = clock
        self._tokens: dict[tuple[str, str, int], Token] = {}

    def forget(self, uid: str) -> None:
        for key in [key for key in self._tokens if key[0] == uid]:
            del self._tokens[key]

    async def get(self, pod: Object, audience: str, seconds: int) -> Token:
        key = (uid_of(pod), audience, seconds)
        known = self._tokens.get(key)
        now = self._clock()
        if known and now < known.refresh_at:
            return known
        account = spec_of(pod).get("serviceAccountName") or "default"
        request: Object = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [audience] if audience else [],
                "expirationSeconds": seconds,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name_of(pod), "uid": uid_of(pod)},
            },
        }
        try:
            answer = await self._verbs.create(SERVICEACCOUNT, namespace_of(pod), request, subresource="token", name=account)
        except StatusError as error:
            if known and now < known.expires_at:
                return Token(known.text, now + RETRY_SECONDS, known.expires_at)
            raise VolumeProblem(f"failed to fetch token: {error.message}") from None
        status = answer.get("status") or {}
        expires_at = times.parse(status["expirationTimestamp"])
        life_seconds = max(1.0, expires_at - now)
        token = Token(status["token"], now + min(life_seconds * RENEW_FRACTION, RENEW_SECONDS_MAX), expires_at)
        self._tokens[key] = token
        return token
