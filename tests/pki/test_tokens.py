"""Tokens are Kubernetes' bound tokens, and nothing else is accepted as one."""

import stat
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube import limits
from edgekube.pki.token_keys import TokenKeys
from edgekube.pki.tokens import EXTENDED_SECONDS, TokenIssuer, TokenKey, TokenRejected, TokenVerifier

ISSUER = "https://kubernetes.default.svc.cluster.local"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """An issuer and a verifier over one key and one clock."""

    def __init__(self, directory: Path) -> None:
        self.clock = Clock()
        self.key = TokenKey.load_or_create(directory)
        self.issuer = TokenIssuer(TokenKeys(self.key), ISSUER, self.clock)
        self.verifier = TokenVerifier(TokenKeys(self.key), ISSUER, self.clock)

    def claims(self, token: str) -> dict[str, Any]:
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
        return claims


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pki")


@pytest.fixture
def desk(directory: Path) -> Desk:
    return Desk(directory)


def pod(name: str = "web-1", uid: str = "p-1") -> dict[str, Any]:
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "uid": uid}}


def test_a_token_has_the_claims_that_kubernetes_documents(desk: Desk) -> None:
    token, expires = desk.issuer.issue("shop", "web", "u-1", [], 3600, pod())
    claims = desk.claims(token)
    assert claims["iss"] == ISSUER and claims["aud"] == [ISSUER]
    assert claims["sub"] == "system:serviceaccount:shop:web"
    assert claims["exp"] - claims["iat"] == 3600 and expires == claims["exp"]
    assert claims["kubernetes.io"] == {
        "namespace": "shop",
        "serviceaccount": {"name": "web", "uid": "u-1"},
        "pod": {"name": "web-1", "uid": "p-1"},
    }
    assert jwt.get_unverified_header(token)["kid"] == desk.key.key_id


def test_the_verifier_reads_back_what_the_issuer_wrote(desk: Desk) -> None:
    token, _ = desk.issuer.issue(
        "shop", "web", "u-1", ["vault"], 3600, pod(), {"kind": "Node", "metadata": {"name": "pi", "uid": "n"}}
    )
    account = desk.verifier.verify(token, ["vault"])
    assert (account.namespace, account.name, account.uid) == ("shop", "web", "u-1")
    assert account.pod == ("web-1", "p-1") and account.node == ("pi", "n")


def test_a_token_for_another_audience_is_not_for_us(desk: Desk) -> None:
    token, _ = desk.issuer.issue("shop", "web", "u-1", ["vault"], 3600)
    with pytest.raises(TokenRejected, match="audience"):
        desk.verifier.verify(token)


def test_a_token_dies_at_its_expiry_even_when_it_was_seen_before(desk: Desk) -> None:
    token, expires = desk.issuer.issue("shop", "web", "u-1", [], 600)
    desk.verifier.verify(token)
    desk.clock.now = expires
    with pytest.raises(TokenRejected, match="expired"):
        desk.verifier.verify(token)


def test_a_pods_token_outlives_the_hour_but_warns(desk: Desk) -> None:
    token, expires = desk.issuer.issue("shop", "web", "u-1", [], 3607, pod())
    claims = desk.claims(token)
    assert claims["exp"] - claims["iat"] == EXTENDED_SECONDS
    assert claims["kubernetes.io"]["warnafter"] == expires == claims["iat"] + 3607


def test_a_token_from_the_future_is_refused_beyond_the_leeway(desk: Desk) -> None:
    token, _ = desk.issuer.issue("shop", "web", "u-1", [], 3600)
    desk.clock.now -= limits.TOKEN_CLOCK_LEEWAY_SECONDS + 1
    with pytest.raises(TokenRejected, match="not valid yet"):
        desk.verifier.verify(token)


def test_other_algorithms_and_other_keys_are_refused(desk: Desk, tmp_path: Path) -> None:
    token, _ = desk.issuer.issue("shop", "web", "u-1", [], 3600)
    claims, ours = desk.claims(token), {"kid": desk.key.key_id}
    stranger = TokenKey.load_or_create(tmp_path)
    forged = [
        jwt.encode(claims, "", algorithm="none", headers=ours),
        jwt.encode(claims, "s" * 32, algorithm="HS256", headers=ours),
        jwt.encode(claims, stranger.private, algorithm="ES256", headers=ours),
        jwt.encode(claims, stranger.private, algorithm="ES256", headers={"kid": stranger.key_id}),
        jwt.encode(claims, desk.key.private, algorithm="ES256"),
    ]
    for token in forged:
        with pytest.raises(TokenRejected):
            desk.verifier.verify(token)


def test_a_genuine_signature_over_foreign_claims_is_refused(desk: Desk) -> None:
    for claims in (
        {"iss": ISSUER, "sub": "x", "iat": 1, "exp": 1e12},
        {"iss": "https://other", "sub": "x", "iat": 1, "exp": 1e12},
    ):
        with pytest.raises(TokenRejected):
            desk.verifier.verify(jwt.encode(claims, desk.key.private, algorithm="ES256", headers={"kid": desk.key.key_id}))


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.text(max_size=80), st.binary(max_size=60).map(lambda b: b.decode("latin-1"))))
def test_no_text_breaks_the_verifier(directory: Path, text: str) -> None:
    with pytest.raises(TokenRejected):
        Desk(directory).verifier.verify(text)


def test_an_enormous_token_is_refused_unread(desk: Desk) -> None:
    with pytest.raises(TokenRejected, match="too large"):
        desk.verifier.verify("a" * (limits.TOKEN_BYTES_MAX + 1))


def test_the_cache_stays_within_its_bound(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TOKEN_CACHE_ENTRIES_MAX", 3)
    for number in range(5):
        desk.verifier.verify(desk.issuer.issue("shop", f"a{number}", "u", [], 3600)[0])
    assert len(desk.verifier._verified) == 3


def test_the_key_is_private_and_stays(tmp_path: Path) -> None:
    first = TokenKey.load_or_create(tmp_path)
    assert stat.S_IMODE((tmp_path / "sa.key").stat().st_mode) == 0o600
    assert TokenKey.load_or_create(tmp_path).key_id == first.key_id
