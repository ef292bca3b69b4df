"""Tell when this machine's clock is set.

Enters: the kernel's notice that the clock was set to another time (not that it runs a little faster or slower).
Leaves: a return from wait(), once for each time.
Holds: nothing is polled. A kernel without timers of this kind is waited for in vain.
Source: timerfd_create(2), TFD_TIMER_CANCEL_ON_SET.
Next: reconcile.engine plans anew whatever waits for a time.
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Final

import trio

_CLOCK_REALTIME: Final = 0
_ABSOLUTE_AND_CANCELLED_ON_SET: Final = 1 | 2
_FAR_SECONDS: Final = (1 << 33) if ctypes.sizeof(ctypes.c_long) == 8 else (1 << 31) - 1


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class _Timer(ctypes.Structure):
    _fields_ = [("interval", _Timespec), ("value", _Timespec)]


async def wait() -> None:
    """Until the clock is set."""
    try:
        descriptor = _armed()
    except OSError:
        await trio.sleep_forever()
    try:
        while True:
            await trio.lowlevel.wait_readable(descriptor)
            try:
                os.read(descriptor, 8)
            except OSError as error:
                if error.errno == errno.ECANCELED:
                    return
                if error.errno not in (errno.EAGAIN, errno.EINTR):
                    raise
            else:
                await trio.sleep_forever()  # centuries have passed
    finally:
        trio.lowlevel.notify_closing(descriptor)
        os.close(descriptor)


def _armed() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor: int = libc.timerfd_create(_CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    timer = _Timer(_Timespec(0, 0), _Timespec(_FAR_SECONDS, 0))
    if libc.timerfd_settime(descriptor, _ABSOLUTE_AND_CANCELLED_ON_SET, ctypes.byref(timer), None):
        os.close(descriptor)
        raise OSError(ctypes.get_errno(), "timerfd_settime")
    return descriptor
