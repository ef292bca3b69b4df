"""Where the cluster's servers are: the ones that were given, the ones that answered before, the ones that the cluster names.

Enters: addresses from all these sources; where nobody answered.
Leaves: the address to try now.
Holds: pure; an address is only a place to try: who answers there proves who it is. One that fails goes behind the others. Those
that were there from the start stay, whatever is offered later.
Bound: limits.SERVER_ADDRESSES_MAX; of the offered ones the last gives way.
Next: client.target.
"""

from __future__ import annotations

from collections.abc import Iterable

from edgekube import limits

Address = tuple[str, int]


class ServerAddresses:
    def __init__(self, addresses: Iterable[Address]) -> None:
        self._addresses = list(dict.fromkeys(addresses))
        self._kept = frozenset(self._addresses)

    def current(self) -> Address:
        """OSError, as of a connection that failed, when no address is known."""
        if not self._addresses:
            raise OSError("no server's address is known yet")
        return self._addresses[0]

    def unreachable(self, address: Address) -> None:
        if self._addresses and self._addresses[0] == address:
            self._addresses.append(self._addresses.pop(0))

    def offer(self, addresses: Iterable[Address], *, first: bool = False) -> None:
        """Further places. ``first``: tried before the others, for somebody has just seen a server there."""
        new = [address for address in dict.fromkeys(addresses) if first or address not in self._addresses]
        rest = [address for address in self._addresses if address not in new]
        self._addresses = [*new, *rest] if first else [*rest, *new]
        surplus = len(self._addresses) - limits.SERVER_ADDRESSES_MAX
        for address in reversed(self._addresses[1:]):
            if surplus > 0 and address not in self._kept:
                self._addresses.remove(address)
                surplus -= 1

    def all(self) -> tuple[Address, ...]:
        return tuple(self._addresses)
