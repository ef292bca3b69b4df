"""A stranger to our code verifies a token by what the API publishes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import jwt
import pytest

from edgekube.pki.token_keys import TokenKeys
from edgekube.pki.tokens import TokenIssuer
from edgekube.server.issuer_discovery import IssuerDiscovery
from tests.server.secured import ISSUER, Secured, admin, node, secured_api

NOW = 1_800_000_000.0


@pytest.fixture
def keys(tmp_path: Path) -> TokenKeys:
    return TokenKeys.load_or_create(tmp_path / "keys")


@pytest.fixture
async def api(tmp_path: Path, keys: TokenKeys) -> AsyncIterator[Secured]:
    (tmp_path / "api").mkdir()
    discovery = IssuerDiscovery(ISSUER, lambda: "192.0.2.1:6443", keys.publics)
    async with secured_api(tmp_path / "api", desks=discovery.rows) as api:
        yield api


async def test_tokens_of_old_and_new_keys_are_verified_by_the_published_ones(api: Secured, keys: TokenKeys) -> None:
    issuer = TokenIssuer(keys, ISSUER, lambda: NOW)
    tokens = [issuer.issue("shop", "web", "u-1", ["vault"], 3600)[0]]
    keys.rotate(NOW)
    tokens.append(issuer.issue("shop", "web", "u-1", ["vault"], 3600)[0])
    told = (await api.ask(admin(), "GET", "/.well-known/openid-configuration")).json
    assert told["issuer"] == ISSUER and told["jwks_uri"] == "https://192.0.2.1:6443/openid/v1/jwks"
    answer = await api.ask(admin(), "GET", "/openid/v1/jwks")
    assert answer.headers["content-type"] == "application/jwk-set+json"
    published = jwt.PyJWKSet.from_dict(answer.json)
    for token in tokens:
        key = published[jwt.get_unverified_header(token)["kid"]]
        claims = jwt.decode(
            token,
            key,
            algorithms=["ES256"],
            audience="vault",
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
        )
        assert claims["sub"] == "system:serviceaccount:shop:web"
    keys.drop()
    assert len((await api.ask(admin(), "GET", "/openid/v1/jwks")).json["keys"]) == 1
    assert "d" not in answer.json["keys"][0], "that would be the private key"


async def test_it_is_for_those_whom_rbac_lets(api: Secured) -> None:
    for path in ("/.well-known/openid-configuration", "/openid/v1/jwks"):
        assert (await api.ask(None, "GET", path)).status == 401
        assert (await api.ask(node("pi-7"), "GET", path)).status == 403
        assert (await api.ask(admin(), "POST", path, {})).status == 405
