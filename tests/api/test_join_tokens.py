"""A token's record survives its Secret, is spent once per key, and a bent one opens nothing."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edgekube.api.join_tokens import TYPE, TokenRecord, as_secret, record_of

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
KEYS = st.text("0123456789abcdef", min_size=8, max_size=8)
RECORDS = st.builds(
    TokenRecord,
    id=st.just("abc123"),
    salt=st.text("0123456789abcdef", max_size=32),
    hash=st.text("0123456789abcdef", max_size=64),
    expires_at=st.none() | st.integers(0, 4_000_000_000).map(float),
    uses_left=st.none() | st.integers(0, 1000),
    description=TEXT,
    used_by=st.lists(KEYS, unique=True, max_size=5).map(tuple),
)


@given(RECORDS)
def test_a_secret_gives_back_the_record(record: TokenRecord) -> None:
    assert record_of(as_secret(record)) == record


@given(RECORDS, st.lists(KEYS, max_size=20))
def test_a_use_is_counted_once_for_each_key(record: TokenRecord, keys: list[str]) -> None:
    joined = set(record.used_by)
    for key in keys:
        if record.closed(0.0 if record.expires_at else 1.0, key):
            assert record.uses_left == 0 or record.expires_at == 0
            continue
        spent = record.spent_for(key)
        if record.uses_left is None:
            assert spent == record
        else:
            assert spent.uses_left == record.uses_left - (key not in joined)
            joined.add(key)
        record = spent


@given(RECORDS, st.floats(0, 5e9))
def test_nothing_opens_after_its_time(record: TokenRecord, now: float) -> None:
    expired = record.expires_at is not None and now >= record.expires_at
    assert (record.closed(now, "key") == "expired") == expired


@given(RECORDS, st.sampled_from(["salt", "hash", "uses-left", "expiration"]), st.binary(max_size=20))
def test_a_bent_secret_is_no_record_or_one_that_says_what_is_there(record: TokenRecord, key: str, data: bytes) -> None:
    secret = as_secret(record)
    secret["data"][key] = base64.b64encode(data).decode()
    found = record_of(secret)
    assert found is None or as_secret(found)["type"] == TYPE


def test_other_secrets_are_no_tokens() -> None:
    secret = as_secret(TokenRecord("abc123", "s", "h", None, 1))
    assert record_of({**secret, "type": "Opaque"}) is None
    assert record_of({**secret, "metadata": {"name": "join-token-ABC"}}) is None
    assert record_of({**secret, "data": {"salt": "no base64"}}) is None


def test_deleting_a_node_from_a_record_leaves_the_use_spent() -> None:
    spent = TokenRecord("abc123", "s", "h", None, 1).spent_for("key")
    forgotten = replace(spent, used_by=())
    assert spent.closed(0.0, "key") == "" and forgotten.closed(0.0, "key") == "used up"
