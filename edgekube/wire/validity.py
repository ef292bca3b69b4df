"""Is a certificate good now? Judged by our own clock, because a board without a clock chip boots in 1970.

Enters: the validity of a peer's certificate and of the authority that signed it, which TLS verified in all but time; the time.
Leaves: a Verdict, and the earliest that it can be now.
Holds: pure. A time before ``not_before`` under our authority shows that the clock is behind, and refuses nothing; a time past
``not_after`` refuses, of the certificate as of the authority.
Source: RFC 5280, 4.1.2.5.
Next: wire.tls asks for every peer.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple, Protocol


class Verdict(Enum):
    VALID = "valid"
    EXPIRED = "the certificate has expired"
    AUTHORITY_EXPIRED = "the certificate of the authority has expired"
    STRANGER = "the certificate was not signed by an authority that is trusted directly"


class Validity(NamedTuple):
    """Seconds since the epoch, both ends included."""

    not_before: float
    not_after: float


class PeerClock(Protocol):
    """What time it is, and that it cannot be earlier than a moment that somebody trusted has put his name to."""

    def __call__(self) -> float: ...

    def raise_floor(self, seconds: float, source: str) -> None: ...


class SystemClock:
    """The kernel's time as it is, for whoever keeps no floor (the command line)."""

    def __call__(self) -> float:
        return time.time()

    def raise_floor(self, seconds: float, source: str) -> None:
        return None


def judge(certificate: Validity, authorities: Sequence[Validity], now: float) -> tuple[Verdict, float]:
    """The verdict and the earliest that it can be now. ``authorities``: those of the issuer's name; several while one replaces
    another of its name, and the longest-lived one counts."""
    if not authorities:
        return Verdict.STRANGER, now
    authority = max(authorities, key=lambda validity: validity.not_after)
    earliest = max(now, authority.not_before, certificate.not_before)
    if earliest > authority.not_after:
        return Verdict.AUTHORITY_EXPIRED, now
    if earliest > certificate.not_after:
        return Verdict.EXPIRED, earliest
    return Verdict.VALID, earliest
