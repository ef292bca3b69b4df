"""What the query of a request says."""

from __future__ import annotations

import pytest

from edgekube.limits import REQUEST_SECONDS_MAX
from edgekube.server.parameters import timeout_seconds
from edgekube.server.routes import route


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", REQUEST_SECONDS_MAX),
        ("0", REQUEST_SECONDS_MAX),
        ("0s", REQUEST_SECONDS_MAX),
        ("-5s", REQUEST_SECONDS_MAX),
        ("1h", REQUEST_SECONDS_MAX),
        ("1500ms", 1.5),
        ("2.5s", 2.5),
        (".5s", 0.5),
        ("1s500ms", 1.5),
        ("10us", 1e-5),
    ],
)
def test_the_time_that_a_request_has(text: str, seconds: float) -> None:
    assert timeout_seconds(route("GET", "/version", f"timeout={text}")) == pytest.approx(seconds)
