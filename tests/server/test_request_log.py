"""One line for a request, without secrets."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import cast

import pytest

from edgekube.cli.logs import formatter
from edgekube.server.accounting import Account
from edgekube.server.request_log import RequestLog, shown_query
from edgekube.server.routes import route
from edgekube.wire.protocol import Responder
from tests.server.running import Api, running_api
from tests.wire.test_refusals import request

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


def test_a_query_shows_what_the_api_defines() -> None:
    query = route("GET", "/x", "limit=5&command=mysql&command=-phunter2&token=abc&labelSelector=a%3Db").query
    assert shown_query(query) == "limit=5&command=…&token=…&labelSelector=a=b"


async def test_each_request_has_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running_api(tmp_path, log_requests=True) as api:
        with caplog.at_level(logging.INFO, "edgekube.requests"):
            answered = await api.ask("GET", f"{CONFIGMAPS}?limit=3&secret=s3cret", user_agent="kubectl/v1.36")
    (record,) = caplog.records
    message = record.getMessage()
    assert message.startswith(f"request method='GET' path='{CONFIGMAPS}' code=200 ms=")
    assert "s3cret" not in message and "Bearer" not in message
    said = json.loads(formatter("json").format(record))
    assert (said["code"], said["verb"], said["resource"], said["agent"]) == (200, "list", "configmaps", "kubectl/v1.36")
    assert said["query"] == "limit=3&secret=…"
    assert said["audit_id"] == answered.headers["audit-id"]


def test_what_was_upgraded_or_is_watched_is_not_slow(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekube.limits.REQUEST_SLOW_SECONDS", 0)
    for code, query, wanted in ((101, "", 0), (200, "watch=1", 0), (200, "", 1)):
        account = Account(request(CONFIGMAPS), cast("Responder", None))
        account.code, account.route = code, route("GET", CONFIGMAPS, query)
        with caplog.at_level(logging.INFO, "edgekube.requests"):
            RequestLog(every=False).ended(account)
        assert len(caplog.records) == wanted


async def test_slow_requests_are_told_of_in_any_case(
    api: Api, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with caplog.at_level(logging.INFO, "edgekube.requests"):
        await api.ask("GET", CONFIGMAPS)
        assert not caplog.records
        monkeypatch.setattr("edgekube.limits.REQUEST_SLOW_SECONDS", 0)
        await api.ask("GET", CONFIGMAPS)
    assert [record.getMessage().partition(" method")[0] for record in caplog.records] == ["slow request"]
