"""/.well-known/openid-configuration and /openid/v1/jwks: how programs outside verify service account tokens by themselves.

Enters: GET, authorized (ClusterRole system:service-account-issuer-discovery); the keys that are believed now.
Leaves: the issuer's metadata and its public keys, retired ones too.
Holds: nothing of a private key can get here: only public halves are asked for.
Source: KEP-1393; OpenID Connect Discovery 1.0; RFC 7517, RFC 7518 section 6.2.1.
Next: pki.token_keys.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import orjson

from edgekube.api.errors import StatusError
from edgekube.pki.tokens import ALGORITHM
from edgekube.server import respond
from edgekube.wire.protocol import Handler, Request, Responder

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

_CONFIGURATION: Final = "/.well-known/openid-configuration"
_KEYS: Final = "/openid/v1/jwks"
_KEYS_TYPE: Final = "application/jwk-set+json"
#: What upstream tells caches.
_CACHE: Final = {"cache-control": "public, max-age=3600"}
_COORDINATE_BYTES: Final = 32


class IssuerDiscovery:
    def __init__(
        self, issuer: str, address: Callable[[], str], publics: Callable[[], Mapping[str, EllipticCurvePublicKey]]
    ) -> None:
        """``address``: HOST:PORT of this server. ``publics``: the keys by their ids."""
        self._issuer = issuer
        self._address = address
        self._publics = publics

    def rows(self) -> dict[str, Handler]:
        """The application's desks."""
        return {_CONFIGURATION: self._configuration, _KEYS: self._keys}

    async def _configuration(self, request: Request, responder: Responder) -> None:
        body = {
            "issuer": self._issuer,
            "jwks_uri": f"https://{self._address()}{_KEYS}",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
        }
        _only_get(request)
        await respond.send(request, responder, 200, orjson.dumps(body), headers=_CACHE)

    async def _keys(self, request: Request, responder: Responder) -> None:
        _only_get(request)
        body = {"keys": [jwk(key_id, key) for key_id, key in self._publics().items()]}
        await respond.send(request, responder, 200, orjson.dumps(body), content_type=_KEYS_TYPE, headers=_CACHE)


def jwk(key_id: str, key: EllipticCurvePublicKey) -> dict[str, str]:
    point = key.public_numbers()
    x, y = (
        base64.urlsafe_b64encode(part.to_bytes(_COORDINATE_BYTES, "big")).rstrip(b"=").decode() for part in (point.x, point.y)
    )
    return {"use": "sig", "kty": "EC", "kid": key_id, "crv": "P-256", "alg": ALGORITHM, "x": x, "y": y}


def _only_get(request: Request) -> None:
    if request.method != "GET":
        raise StatusError("MethodNotAllowed", "the server does not allow this method on the requested resource")
