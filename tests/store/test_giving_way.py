"""The loop pauses for the writer only when it is busy, a write waits, and the last pause is some time ago."""

from __future__ import annotations

import pytest

from edgekube.store.giving_way import PAUSE_EVERY_SECONDS, GivingWay


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seen: list[float] = []
    monkeypatch.setattr("edgekube.store.giving_way.time.sleep", seen.append)
    return seen


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("edgekube.store.giving_way.time.perf_counter", lambda: now[0])
    return now


def test_no_pause_without_a_waiting_write_or_when_the_loop_would_sleep_anyway(pauses: list[float], clock: list[float]) -> None:
    waiting: list[str] = []
    instrument = GivingWay(waiting)
    instrument.before_io_wait(0)
    waiting.append("write")
    instrument.before_io_wait(0.5)
    assert pauses == []
    instrument.before_io_wait(0)
    assert len(pauses) == 1


def test_pauses_keep_their_distance(pauses: list[float], clock: list[float]) -> None:
    instrument = GivingWay(["write"])
    for _ in range(5):
        instrument.before_io_wait(0)
    assert len(pauses) == 1
    clock[0] += PAUSE_EVERY_SECONDS
    instrument.before_io_wait(0)
    assert len(pauses) == 2
