"""What time it is, on a board that may have no clock chip, no network and no battery.

Enters: the kernel's clock; moments that cannot lie in the future: the one on disk, those in certificates under our authority,
what an authenticated server says, the release of this program.
Leaves: ``clock()``, seconds since the epoch; the floor on disk; the kernel's clock set, where it may be and nobody else does it.
Holds: now = max(kernel, floor), and the floor goes on at the pace of the monotonic clock, so that time does not stand still on a
board that woke up in 1970. A kernel clock that NTP keeps is never touched, and it overrules a floor that a wrong clock raised.
Nothing here sets a clock back.
Bound: limits.TIME_FLOOR_SAVE_SECONDS between writes (SD card).
Source: adjtimex(2), clock_settime(2).
Next: wire.tls judges certificates by it, daemon keeps it.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import trio

from edgekube import limits
from edgekube.pki.files import PUBLIC, write_durably
from edgekube.version import RELEASE_DATE
from edgekube.wire.tls import validities_of_authorities

log = logging.getLogger("edgekube")

#: The name below the data directory.
FILE: Final = "time-floor"
_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES: Final = 208


def released() -> float:
    """No clock that is right can be before the release of this program."""
    return datetime.datetime.fromisoformat(RELEASE_DATE).replace(tzinfo=datetime.UTC).timestamp()


def oldest_of(system: float, release: float) -> float:
    """The earliest that it can be, knowing nothing but when this program was released. A person typed that date: it says
    that 1970 is wrong, and does not outvote a clock that is about right."""
    return release if release - system > limits.RELEASE_DOUBT_SECONDS else 0.0


def now_of(system: float, floor: float) -> float:
    return max(system, floor)


def is_to_be_set(system: float, floor: float, *, synchronised: bool) -> bool:
    """Whether the kernel's clock is known to be wrong, and is ours to set. Only ever forward."""
    return not synchronised and floor - system > limits.CLOCK_BEHIND_SECONDS_MAX


def floor_beside_ntp(system: float, floor: float, oldest: float) -> float:
    """What is left of a floor when NTP says that it is ``system``: a clock that once showed 2099 must not rule for ever."""
    return floor if floor <= system else max(system, oldest)


def read_floor(text: str) -> float | None:
    """Seconds since the epoch from the file's text; None if there is none in it."""
    try:
        moment = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None else None


def written_floor(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ\n")


def kernel_is_synchronised() -> bool:
    """Whether NTP (or PTP, or a GPS) has disciplined the kernel's clock lately."""
    import ctypes

    timex = ctypes.create_string_buffer(_TIMEX_BYTES)  # modes = 0: only ask
    state: int = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
    return 0 <= state < _TIME_ERROR


def set_kernel_clock(seconds: float) -> None:
    """Raises PermissionError without CAP_SYS_TIME."""
    time.clock_settime(time.CLOCK_REALTIME, seconds)


#: Monotonic seconds that go on while the machine sleeps.
since_boot: Final[Callable[[], float]] = partial(time.clock_gettime, time.CLOCK_BOOTTIME)


class Clock:
    """``clock()`` is now. Reads no file and asks no kernel more than a plain time() does."""

    def __init__(
        self,
        path: Path | None = None,
        *,
        oldest: float | None = None,
        system: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = since_boot,
        synchronised: Callable[[], bool] = kernel_is_synchronised,
        set_system: Callable[[float], None] | None = None,
    ) -> None:
        """``path``: where the floor outlives a power cut. ``set_system``: None leaves the kernel's clock alone."""
        self._path = path
        self._system = system
        self._monotonic = monotonic
        self._synchronised = synchronised
        self._set_system = set_system
        self._oldest = oldest_of(system(), released()) if oldest is None else oldest
        self._floor = self._oldest
        self._raised_at = monotonic()
        self._saved = 0.0
        self._raised = trio.Event()
        self._load()

    def __call__(self) -> float:
        return now_of(self._system(), self.floor)

    @property
    def floor(self) -> float:
        return self._floor + (self._monotonic() - self._raised_at)

    def utc(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self(), datetime.UTC)

    def raise_floor(self, seconds: float, source: str) -> None:
        """It cannot be earlier than this. The caller has verified whoever says so."""
        if seconds <= self():
            return
        log.info("the clock was behind seconds=%d source=%r", seconds - self(), source)
        self._put(seconds)
        self._raised.set()

    def _put(self, floor: float) -> None:
        self._floor, self._raised_at = floor, self._monotonic()

    def _load(self) -> None:
        if self._path is None:
            return
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as error:
            log.warning("the time floor cannot be read path=%s why=%r", self._path, str(error))
            return
        floor = read_floor(text)
        if floor is None:
            log.warning("the time floor is no time path=%s", self._path)
            return
        self._saved = floor
        if floor > self.floor:
            self._put(floor)

    def save(self) -> None:
        """Write the floor: what is now will have been. Raises OSError."""
        now = self()
        if self._path is not None and int(now) != int(self._saved):
            write_durably(self._path, written_floor(now).encode(), PUBLIC)
            self._saved = now

    def look(self) -> None:
        """Compare with the kernel's clock: believe it where NTP keeps it, set it where it is known to be behind."""
        system, floor, synchronised = self._system(), self.floor, self._synchronised()
        if synchronised:
            lowered = floor_beside_ntp(system, floor, self._oldest)
            if lowered < floor:
                log.warning("NTP says that the time floor was wrong seconds=%d", floor - lowered)
                self._put(lowered)
        elif self._set_system is not None and is_to_be_set(system, floor, synchronised=synchronised):
            try:
                self._set_system(floor)
            except OSError as error:  # without CAP_SYS_TIME; ours is right all the same
                log.info("the system's clock is behind and may not be set seconds=%d why=%r", floor - system, str(error))
                self._set_system = None
            else:
                log.warning("the system's clock was behind and has been set seconds=%d", floor - system)

    async def keep(self) -> None:
        """Look and save now and then, and at the end. Never returns by itself."""
        try:
            while True:
                self.look()
                with trio.move_on_after(limits.TIME_FLOOR_SAVE_SECONDS):
                    await self._raised.wait()
                self._raised = trio.Event()
                await trio.to_thread.run_sync(self._try_to_save)
        finally:
            self._try_to_save()

    def _try_to_save(self) -> None:
        try:
            self.save()
        except OSError as error:
            log.warning("the time floor cannot be written path=%s why=%r", self._path, str(error))


def starting_clock(data_dir: Path, authorities: Path, *, may_set: bool) -> Clock:
    """The clock of a server or an agent: floor from disk and from the authorities' own file (if there is one), set at once where
    it is to be set, before anything takes a timestamp."""
    clock = Clock(data_dir / FILE, set_system=set_kernel_clock if may_set else None)
    with contextlib.suppress(OSError):
        for validity in validities_of_authorities(authorities):
            clock.raise_floor(validity.not_before, str(authorities))
    clock.look()
    return clock
