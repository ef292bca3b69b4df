"""Refusals are told, and a flood of them is counted."""

from __future__ import annotations

import logging

import pytest

from edgekube import limits
from edgekube.wire.protocol import Body, Request
from edgekube.wire.refusals import RefusalLog


class _NoBody:
    async def read(self, max_bytes: int) -> bytes:
        return b""

    async def receive_some(self) -> bytes:
        return b""


def request(path: str) -> Request:
    body: Body = _NoBody()
    return Request("GET", path, "token=secret", {"authorization": "Bearer secret"}, body, "1.1", "192.0.2.66:1234")


def test_a_flood_leaves_a_bounded_number_of_lines(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    refusals = RefusalLog(logging.getLogger("edgekube.test"), lambda: now[0])
    for _ in range(10_000):
        refusals.tell(request("/api/v1/secrets"), 401, "Unauthorized")
    assert len(caplog.records) == limits.REFUSALS_LOGGED_BURST
    now[0] += limits.REFUSALS_LOGGED_SECONDS
    refusals.tell(request("/api/v1/secrets"), 401, "Unauthorized")
    assert f"unsaid={10_000 - limits.REFUSALS_LOGGED_BURST}" in caplog.records[-1].getMessage()
    now[0] += limits.REFUSALS_LOGGED_SECONDS
    refusals.tell(request("/api/v1/secrets"), 401, "Unauthorized")
    assert caplog.records[-1].getMessage() == (
        "refused code=401 method=GET path='/api/v1/secrets' peer=192.0.2.66:1234 why='Unauthorized' unsaid=0"
    )


def test_a_peer_writes_no_lines_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    RefusalLog(logging.getLogger("edgekube.test")).tell(request("/a\nedgekube: all is well" + "x" * 5000), 403, "no\r\n" * 500)
    line = caplog.records[-1].getMessage()
    assert "\n" not in line and "\r" not in line
    assert len(line) < 4 * limits.REFUSAL_TEXT_BYTES_MAX
    assert "secret" not in line
