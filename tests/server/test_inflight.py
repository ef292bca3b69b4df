"""Places for requests: nobody takes everybody's."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from edgekube import limits
from edgekube.api.errors import StatusError
from edgekube.server.inflight import READING, WATCHING, InFlight


def test_one_user_has_a_share_of_the_streams_and_no_more() -> None:
    places = InFlight()
    with ExitStack() as held:
        for _ in range(limits.WATCHES_PER_USER_MAX):
            held.enter_context(places.place(WATCHING, exempt=False, user_name="system:node:stolen"))
        with pytest.raises(StatusError) as error, places.place(WATCHING, exempt=False, user_name="system:node:stolen"):
            pass
        assert (error.value.code, error.value.retry_after_seconds) == (429, 1)
        for other in ("system:node:pi-2", "alice"):
            with places.place(WATCHING, exempt=False, user_name=other):
                assert places.running[WATCHING] == limits.WATCHES_PER_USER_MAX + 1
        with places.place(WATCHING, exempt=True, user_name="system:node:stolen"):
            pass
    with places.place(WATCHING, exempt=False, user_name="system:node:stolen"):
        assert places.running[WATCHING] == 1


def test_requests_that_end_soon_are_counted_together() -> None:
    places = InFlight()
    with ExitStack() as held:
        for _ in range(limits.REQUESTS_READING_MAX):
            held.enter_context(places.place(READING, exempt=False))
        with pytest.raises(StatusError), places.place(READING, exempt=False):
            pass
        with places.place(READING, exempt=True):
            pass
