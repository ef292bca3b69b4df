"""What is heard on a LAN is anybody's word: it is read strictly, and shown only as plain text."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edgekube import limits
from edgekube.discovery.announcement import Announcement, NotAnAnnouncement, instance_name, parse, properties_of

PI = Announcement(
    node="pi-7",
    role="server",
    cluster_id="3fa2b1c9-0d7e-4a51-9c0b-2f8f6a1f0a11",
    cluster_name="greenhouse",
    ca="ab" * 32,
    version="v1.36.0+edgekube.1",
    addresses=("192.0.2.7", "2001:db8::7"),
    port=6443,
)


def told(announcement: Announcement) -> dict[bytes, bytes | None]:
    return {key.encode(): value.encode() for key, value in properties_of(announcement).items()}


def names() -> st.SearchStrategy[str]:
    return st.from_regex(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?", fullmatch=True)


@given(
    node=names(),
    role=st.sampled_from(["server", "agent"]),
    cluster_id=st.uuids().map(str),
    cluster_name=names(),
    ca=st.binary(min_size=32, max_size=32).map(bytes.hex),
    port=st.integers(1, 65535),
)
def test_what_is_told_is_what_is_heard(**fields: object) -> None:
    announcement = replace(PI, **fields)
    assert parse(told(announcement), announcement.addresses, announcement.port) == announcement
    assert len(instance_name(announcement)) <= 63 and "." not in instance_name(announcement)


@given(
    st.dictionaries(
        st.sampled_from([b"id", b"name", b"node", b"ca", b"role", b"v", b"x"]), st.binary(max_size=300) | st.none(), max_size=8
    ),
    st.lists(st.text(max_size=50) | st.ip_addresses().map(str), max_size=20),
    st.integers(),
)
def test_anything_else_is_refused_or_harmless(properties: Mapping[bytes, bytes | None], addresses: list[str], port: int) -> None:
    try:
        announcement = parse({**told(PI), **properties}, addresses, port)
    except NotAnAnnouncement:
        return
    assert len(announcement.addresses) <= limits.ANNOUNCED_ADDRESSES_MAX
    for text in (announcement.node, announcement.cluster_name, announcement.version, announcement.ca, announcement.cluster_id):
        assert re.fullmatch("[ -~]{1,253}", text)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("id", "not-a-uuid"),
        ("ca", "ab" * 31),
        ("ca", "AB" * 32),
        ("role", "admin"),
        ("name", "\x1b[2Jgone"),
        ("name", "x" * 64),
        ("node", "Pi_7"),
        ("v", ""),
    ],
)
def test_a_malformed_field_is_named(key: str, value: str) -> None:
    with pytest.raises(NotAnAnnouncement, match=f"^{key} is malformed"):
        parse({**told(PI), key.encode(): value.encode()}, PI.addresses, PI.port)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "0.0.0.0", "224.0.0.1", "ff02::1", "::ffff:127.0.0.1", "pi-7", "fe80::7", ""]
)
def test_nobody_is_sent_to_his_own_loopback(address: str) -> None:
    with pytest.raises(NotAnAnnouncement, match="no address"):
        parse(told(PI), [address], PI.port)
    assert parse(told(PI), [address, "192.0.2.7"], PI.port).addresses == ("192.0.2.7",)


def test_a_long_node_name_still_makes_a_name_of_one_label() -> None:
    long = replace(PI, node="a" * 100 + ".example")
    assert instance_name(long) == "a" * 54 + "-3fa2b1c9"
    assert instance_name(replace(PI, node="pi.7")) == "pi-7-3fa2b1c9"
