"""A machine whose clock begins in 1970, as a board's without a clock chip does: libfaketime, preloaded.

Leaves: environment variables for a program.
Holds: the kernel's clock is the host's and is never touched; lab nodes may not set it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

#: Where Debian puts it, for each architecture.
_LIBRARIES: Final = Path("/usr/lib")


def boots_in_1970() -> tuple[str, ...]:
    """NAME=VALUE for env(1): the clock says one minute past midnight when the program starts, and goes on from there."""
    library = next(_LIBRARIES.glob("*/faketime/libfaketimeMT.so.1"), None)
    assert library is not None, "libfaketime is not installed: tests/run brings it"
    return f"LD_PRELOAD={library}", "FAKETIME=@1970-01-01 00:01:00", "NO_FAKE_STAT=1"
