"""Who sent this request: a Protocol, so that certificates, tokens and whatever comes later stand in one row.

Enters: the verified client certificate and the Authorization header.
Leaves: UserInfo, or None when nothing identifies the sender; StatusError "Unauthorized" when something tries to and fails.
Holds: comparisons of secrets are constant-time; nothing secret is logged.
Next: pki.tokens, pki.certificates implement the parts; daemon puts them in a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edgekube.api.verbs import UserInfo


class Authenticator(Protocol):
    async def authenticate(self, peer_certificate: bytes | None, authorization: str) -> UserInfo | None:
        """``peer_certificate`` is DER and already verified against the cluster CA by TLS."""
        ...

    async def review(self, token: str, audiences: Sequence[str]) -> tuple[UserInfo, Sequence[str]]:
        """Whose the token is, and for which of the audiences it is meant, one at least (none given: this API server's).
        StatusError Unauthorized."""
        ...
