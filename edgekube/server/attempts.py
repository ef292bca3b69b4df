"""How often one peer may be wrong: a bucket for each address that fills with time and empties with failures.

Enters: a peer as the wire names it, and the time.
Leaves: whether it may try, and in how many seconds again.
Holds: pure; IPv6 peers count by their /64, for whoever has one address of it has them all.
Bound: limits.ATTEMPTS_PEERS_MAX peers are remembered; the one that failed longest ago gives way.
Next: server.joining, server's other doors.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, IPv6Network, ip_address

from edgekube import limits


class Attempts:
    def __init__(self, *, failures_max: int, seconds_per_failure: float, peers_max: int = limits.ATTEMPTS_PEERS_MAX) -> None:
        """``failures_max`` at once, then one each ``seconds_per_failure``."""
        self._failures_max = failures_max
        self._seconds_per_failure = seconds_per_failure
        self._peers_max = peers_max
        #: peer -> when all its failures will have been forgotten.
        self._forgotten_at: OrderedDict[str, float] = OrderedDict()

    def wait_seconds(self, peer: str, now: float) -> float:
        """0: the peer may try."""
        debt_seconds = self._forgotten_at.get(network_of(peer), now) - now
        return max(0.0, debt_seconds - (self._failures_max - 1) * self._seconds_per_failure)

    def failed(self, peer: str, now: float) -> None:
        network = network_of(peer)
        until = max(now, self._forgotten_at.pop(network, now)) + self._seconds_per_failure
        self._forgotten_at[network] = min(until, now + self._failures_max * self._seconds_per_failure)
        while len(self._forgotten_at) > self._peers_max:
            self._forgotten_at.popitem(last=False)


def network_of(peer: str) -> str:
    """The address of ``192.0.2.7:51234``, or the /64 of ``[2001:db8::1]:51234``."""
    host = peer.rpartition(":")[0].strip("[]").partition("%")[0] or peer
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(IPv6Network((address, 64), strict=False))
    return str(address)
