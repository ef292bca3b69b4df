"""Service account keys are replaced while their tokens are in use."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekube import limits
from edgekube.pki.token_keys import TokenKeys
from edgekube.pki.tokens import TokenIssuer, TokenRejected, TokenVerifier

ISSUER = "https://kubernetes.default.svc.cluster.local"
NOW = 1_800_000_000.0


class Office:
    """Issuer and verifier over one directory of keys."""

    def __init__(self, directory: Path) -> None:
        self.keys = TokenKeys.load_or_create(directory)
        self.issuer = TokenIssuer(self.keys, ISSUER, lambda: NOW)
        self.verifier = TokenVerifier(self.keys, ISSUER, lambda: NOW)

    def token(self) -> str:
        return self.issuer.issue("shop", "web", "u-1", [], 3600)[0]


def test_old_tokens_are_believed_until_their_key_is_dropped(tmp_path: Path) -> None:
    office = Office(tmp_path)
    old = office.token()
    office.verifier.verify(old)
    office.keys.rotate(NOW)
    new = office.token()
    assert office.verifier.verify(old).name == office.verifier.verify(new).name == "web"
    assert office.keys.drop() == 1
    with pytest.raises(TokenRejected):  # although the verifier remembers it
        office.verifier.verify(old)
    office.verifier.verify(new)


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    office = Office(tmp_path)
    tokens = [office.token()]
    for day in range(3):
        office.keys.rotate(NOW + day)
        tokens.append(office.token())
    again = Office(tmp_path)
    for token in tokens:
        again.verifier.verify(token)
    assert again.keys.signing.key_id == office.keys.signing.key_id
    assert list(again.keys.publics()) == list(office.keys.publics()) and len(again.keys.publics()) == 4
    assert again.keys.drop() == 3
    assert len(TokenKeys.load_or_create(tmp_path).publics()) == 1


def test_a_power_cut_before_the_new_key_leaves_the_old_one_in_use(tmp_path: Path) -> None:
    office = Office(tmp_path)
    token = office.token()
    before = (tmp_path / "sa.key").read_bytes()
    office.keys.rotate(NOW)
    (tmp_path / "sa.key").write_bytes(before)
    again = Office(tmp_path)
    again.verifier.verify(token)
    assert again.keys.retired == ()
    again.keys.rotate(NOW + 1)
    again.verifier.verify(token)


def test_a_key_is_dropped_by_itself_once_its_last_token_is_out_of_date(tmp_path: Path) -> None:
    keys = TokenKeys.load_or_create(tmp_path)
    keys.rotate(NOW)
    keys.rotate(NOW + 100)
    assert keys.drop_outlived(NOW + limits.TOKEN_LIFE_SECONDS_MAX) == 0
    assert keys.drop_outlived(NOW + limits.TOKEN_LIFE_SECONDS_MAX + 1) == 1
    assert len(TokenKeys.load_or_create(tmp_path).retired) == 1


def test_only_public_halves_of_retired_keys_stay(tmp_path: Path) -> None:
    keys = TokenKeys.load_or_create(tmp_path)
    keys.rotate(NOW)
    assert [path.name for path in tmp_path.rglob("*") if b"PRIVATE" in (path.read_bytes() if path.is_file() else b"")] == [
        "sa.key"
    ]
