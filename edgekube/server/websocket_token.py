"""A bearer token among the protocols that a WebSocket offers: browsers cannot send an Authorization header with one.

Enters: the headers of a request.
Leaves: the token as an Authorization header, without the protocol that carried it: whatever comes behind does not see it.
Holds: pure; a header that is there already wins; at least one other protocol has to be offered, as there is one to answer with.
Source: kubernetes apiserver, authentication/request/websocket/protocol.go.
Next: server.entry.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from edgekube.api import errors
from edgekube.wire.protocol import asks_for_websocket

_PREFIX: Final = "base64url.bearer.authorization.k8s.io."
_PROTOCOLS: Final = "sec-websocket-protocol"


def take_token(headers: dict[str, str]) -> None:
    """StatusError Unauthorized when what is offered is no token."""
    if _PREFIX not in headers.get(_PROTOCOLS, "") or not asks_for_websocket(headers):
        return
    offered = [protocol.strip() for protocol in headers[_PROTOCOLS].split(",")]
    tokens = [protocol.removeprefix(_PREFIX) for protocol in offered if protocol.startswith(_PREFIX)]
    others = [protocol for protocol in offered if protocol and not protocol.startswith(_PREFIX)]
    headers[_PROTOCOLS] = ", ".join(others)
    if headers.get("authorization"):
        return
    if len(tokens) != 1 or not others:
        raise errors.unauthorized()
    headers["authorization"] = f"Bearer {_decoded(tokens[0])}"


def _decoded(encoded: str) -> str:
    if encoded.endswith("="):  # base64url without padding
        raise errors.unauthorized()
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise errors.unauthorized() from None
