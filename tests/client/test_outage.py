"""An outage is two lines in the log."""

from __future__ import annotations

import logging

import pytest

from edgekube.client.outage import Outage


def test_an_outage_is_two_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    moments = iter([100.0, 161.2])
    outage = Outage(lambda: next(moments))
    outage.answered()
    for _ in range(20):
        outage.failed("connection refused")
    for _ in range(20):
        outage.answered()
    assert [record.getMessage() for record in caplog.records] == [
        "the API server does not answer, what runs here runs on: connection refused",
        "the API server answers again after 61 s",
    ]
