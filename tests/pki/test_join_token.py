"""A join token is read as it was written, nothing else is read as one, and its secret shows nowhere."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.pki import join_token
from edgekube.pki.authority import load_or_create_authority
from edgekube.pki.join_token import JoinToken, TokenUnreadable, new_token, parse_credential, parse_token

HASHES = st.text("0123456789abcdef", min_size=64, max_size=64)
IDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=6, max_size=6)
SECRETS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=16, max_size=64)
NOW = datetime.datetime(2026, 11, 27, tzinfo=datetime.UTC)


@given(HASHES, IDS, SECRETS)
def test_what_is_written_is_read(authority_hash: str, token_id: str, secret: str) -> None:
    token = JoinToken(authority_hash, token_id, secret)
    assert parse_token(token.text) == parse_token(f"  {token.text}\n") == token
    assert parse_credential(token.credential) == (token_id, secret)


@given(st.text(max_size=200))
def test_nothing_else_is_read_and_nothing_of_it_repeated(text: str) -> None:
    with pytest.raises(TokenUnreadable) as caught:
        parse_token(text)
    if len(text.strip()) > 12:
        assert text.strip() not in str(caught.value)


@given(HASHES, IDS, SECRETS, st.integers(0, 200), st.characters())
def test_a_token_with_one_character_changed_is_another_or_none(h: str, i: str, s: str, at: int, character: str) -> None:
    text = JoinToken(h, i, s).text
    at %= len(text)
    changed = text[:at] + character + text[at + 1 :]
    try:
        assert (parse_token(changed) == parse_token(text)) == (changed.strip() == text)
    except TokenUnreadable:
        assert changed != text


def test_new_tokens_differ_and_are_read() -> None:
    tokens = {new_token("0" * 64).text for _ in range(100)}
    assert len(tokens) == 100 and all(parse_token(text).authority_hash == "0" * 64 for text in tokens)


@given(SECRETS, SECRETS)
def test_only_the_secret_matches_its_hash(secret: str, other: str) -> None:
    salt = join_token.new_salt()
    stored = join_token.hash_of(salt, secret)
    assert join_token.is_secret(salt, secret, stored) and secret not in stored
    assert join_token.is_secret(salt, other, stored) == (other == secret)
    assert not join_token.is_secret(join_token.new_salt(), secret, stored)


def test_the_pinned_authority_is_found_in_a_bundle(tmp_path: Path) -> None:
    pems = [load_or_create_authority(tmp_path / name, now=NOW).certificate_pem.decode() for name in ("old", "new", "other")]
    bundle = f"# two authorities\n{pems[0]}{pems[1]}"
    for pem in pems[:2]:
        found = join_token.pinned(bundle, join_token.fingerprint(pem))
        assert found is not None and found.strip() == pem.strip()
    assert join_token.pinned(bundle, join_token.fingerprint(pems[2])) is None
    assert join_token.fingerprints(bundle) == [join_token.fingerprint(pem) for pem in pems[:2]]


@given(st.text(max_size=300), HASHES)
def test_a_bundle_of_nonsense_holds_no_authority(bundle: str, authority_hash: str) -> None:
    broken = f"-----BEGIN CERTIFICATE-----\n{bundle}\n-----END CERTIFICATE-----\n"
    assert join_token.pinned(bundle, authority_hash) is None and join_token.pinned(broken, authority_hash) is None
