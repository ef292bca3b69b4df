"""What time it is on a board that does not know."""

from __future__ import annotations

import datetime
import time
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from edgekube import limits
from edgekube.pki.authority import load_or_create_authority
from edgekube.pki.clock import (
    FILE,
    Clock,
    floor_beside_ntp,
    is_to_be_set,
    kernel_is_synchronised,
    now_of,
    oldest_of,
    read_floor,
    released,
    starting_clock,
    written_floor,
)

RELEASED = released()
seconds = st.floats(min_value=0, max_value=4e9)


class Board:
    """A board's clocks: what the kernel shows, what has passed since power came, whether NTP is there."""

    def __init__(self, directory: Path, system: float = 0.0, *, synchronised: bool = False, may_set: bool = True) -> None:
        self.directory = directory
        self.system = system
        self.up = 0.0
        self.synchronised = synchronised
        self.may_set = may_set
        self.was_set: list[float] = []
        self.clock = self.boot()

    def boot(self) -> Clock:
        return Clock(
            self.directory / FILE,
            system=lambda: self.system,
            monotonic=lambda: self.up,
            synchronised=lambda: self.synchronised,
            set_system=self._set,
        )

    def _set(self, seconds: float) -> None:
        if not self.may_set:
            raise PermissionError("no CAP_SYS_TIME")
        self.was_set.append(seconds)
        self.system = seconds

    def passes(self, seconds: float) -> None:
        self.system += seconds
        self.up += seconds


@given(seconds, seconds)
def test_now_is_never_before_the_kernel_nor_before_the_floor(system: float, floor: float) -> None:
    assert now_of(system, floor) in (system, floor) and now_of(system, floor) >= max(system, floor)


@given(seconds, seconds, st.booleans())
def test_a_clock_is_only_ever_set_forward_and_never_beside_ntp(system: float, floor: float, synchronised: bool) -> None:
    if is_to_be_set(system, floor, synchronised=synchronised):
        assert floor > system + limits.CLOCK_BEHIND_SECONDS_MAX and not synchronised


@given(seconds, seconds, seconds)
def test_beside_ntp_a_floor_is_never_raised_and_never_below_the_release(system: float, floor: float, oldest: float) -> None:
    left = floor_beside_ntp(system, floor, oldest)
    assert left <= max(floor, oldest)
    assert now_of(system, left) <= max(system, oldest) or left == floor <= system


@given(st.integers(min_value=0, max_value=4_000_000_000))
def test_the_file_says_what_was_written(moment: int) -> None:
    assert read_floor(written_floor(moment + 0.25)) == moment


@given(st.text())
def test_any_other_text_is_a_floor_or_none_and_never_an_error(text: str) -> None:
    assert read_floor(text) is None or isinstance(read_floor(text), float)


@given(st.lists(st.tuples(st.sampled_from(["passes", "raise", "back", "reboot"]), st.floats(min_value=0, max_value=1e8))))
def test_time_goes_forward_whatever_the_kernel_shows(
    tmp_path_factory: pytest.TempPathFactory, story: list[tuple[str, float]]
) -> None:
    board = Board(tmp_path_factory.mktemp("board"), may_set=False)
    known = RELEASED
    for what, amount in story:
        if what == "passes":
            board.passes(amount)
            known += amount
        elif what == "raise":
            board.clock.raise_floor(known + amount, "a story")
            known += amount
        elif what == "back":
            board.system = max(0.0, board.system - amount)
        else:
            board.clock.save()
            board.system = board.up = 0.0
            known = float(int(known))
            board.clock = board.boot()
        assert board.clock() >= known - 1


@given(seconds, seconds)
def test_a_release_says_that_1970_is_wrong_and_outvotes_no_clock_that_is_about_right(system: float, release: float) -> None:
    oldest = oldest_of(system, release)
    assert oldest in (0.0, release)
    if oldest:
        assert release - system > limits.RELEASE_DOUBT_SECONDS


def test_a_clock_that_is_a_month_before_the_release_is_left_alone(tmp_path: Path) -> None:
    board = Board(tmp_path, RELEASED - 30 * 86400)
    board.clock.look()
    assert board.clock() == RELEASED - 30 * 86400 and board.was_set == []


def test_a_first_boot_in_1970_is_at_least_the_release_and_time_goes_on(tmp_path: Path) -> None:
    board = Board(tmp_path)
    assert board.clock() == RELEASED
    board.passes(5)
    assert board.clock() == RELEASED + 5


def test_a_later_boot_in_1970_goes_on_where_the_plug_was_pulled(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.clock.raise_floor(RELEASED + 1e6, "the server")
    board.passes(100)
    board.clock.save()
    assert (tmp_path / FILE).read_text() == written_floor(RELEASED + 1e6 + 100)
    board.system = board.up = 0.0
    assert board.boot()() == RELEASED + 1e6 + 100


def test_a_file_that_is_no_time_is_no_floor(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).write_bytes(b"\xff\xfe\x00")
    assert Board(tmp_path).clock() == RELEASED
    (tmp_path / FILE).write_text("tomorrow")
    assert Board(tmp_path).clock() == RELEASED
    assert "time floor" in caplog.text


def test_the_kernels_clock_is_set_when_it_is_behind(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.clock.look()
    assert board.was_set == [RELEASED] and board.system == RELEASED
    board.passes(50)
    board.clock.look()
    assert board.was_set == [RELEASED], "once is enough"
    board.clock.raise_floor(board.clock() + limits.CLOCK_BEHIND_SECONDS_MAX - 1, "the server")
    board.clock.look()
    assert len(board.was_set) == 1, "a minute is left to NTP"


def test_without_the_right_to_set_it_time_is_right_all_the_same(tmp_path: Path) -> None:
    board = Board(tmp_path, may_set=False)
    board.clock.look()
    assert board.system == 0.0 and board.clock() == RELEASED


def test_a_clock_that_ntp_keeps_is_left_alone_and_overrules_a_floor_from_2099(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.clock.raise_floor(4_070_000_000.0, "a wrong clock")
    board.clock.save()
    board.system, board.synchronised = RELEASED + 1000, True
    clock = board.boot()
    clock.look()
    assert clock() == RELEASED + 1000 and board.was_set == []
    clock.save()
    assert read_floor((tmp_path / FILE).read_text()) == RELEASED + 1000


async def _written(path: Path, floor: float) -> None:
    """Writing is done in a thread, which no mock clock hurries."""
    for _ in range(3000):
        if path.exists() and read_floor(path.read_text()) == floor:
            return
        await trio.to_thread.run_sync(time.sleep, 0.01)
    raise AssertionError(f"{path} does not say {floor}")


async def test_the_floor_reaches_the_disk_now_and_then_and_at_the_end(tmp_path: Path, autojump_clock: MockClock) -> None:
    board = Board(tmp_path, RELEASED + 10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(board.clock.keep)
        await trio.sleep(limits.TIME_FLOOR_SAVE_SECONDS / 2)
        assert not (tmp_path / FILE).exists(), "SD cards wear out"
        await trio.sleep(limits.TIME_FLOOR_SAVE_SECONDS)
        await _written(tmp_path / FILE, RELEASED + 10)
        board.passes(7)
        nursery.cancel_scope.cancel()
    assert read_floor((tmp_path / FILE).read_text()) == RELEASED + 17


async def test_news_of_the_time_reaches_the_disk_at_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    board = Board(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(board.clock.keep)
        await trio.sleep(1)
        board.clock.raise_floor(RELEASED + 1e6, "the server")
        await _written(tmp_path / FILE, RELEASED + 1e6)
        nursery.cancel_scope.cancel()


def test_a_full_disk_does_not_stop_the_clock(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).mkdir()
    board = Board(tmp_path, RELEASED + 10)
    with pytest.raises(OSError):
        board.clock.save()
    assert board.clock() == RELEASED + 10


def test_our_own_authority_says_how_late_it_is_at_least(tmp_path: Path) -> None:
    made = datetime.datetime(2040, 1, 1, tzinfo=datetime.UTC)
    load_or_create_authority(tmp_path / "pki", now=made)
    clock = starting_clock(tmp_path, tmp_path / "pki/ca.crt", may_set=False)
    assert clock.utc() >= made - datetime.timedelta(days=1)
    assert starting_clock(tmp_path, tmp_path / "none", may_set=False)() < made.timestamp()


def test_the_kernel_can_be_asked_whether_ntp_is_there() -> None:
    assert kernel_is_synchronised() in (True, False)
