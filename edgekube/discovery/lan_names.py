"""Keep names of Services on the LAN: NAME.local, for browsers and for whoever looks what is there.

Enters: the names that are wanted, as they change.
Leaves: their addresses, told by mDNS, and a service of type _http or _https for each.
Holds: a name that another machine has is left to it and tried again later; what is not wanted any more is said goodbye to.
Next: discovery.mdns.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

import trio

from edgekube import limits
from edgekube.api.lan_names import LanName
from edgekube.discovery.mdns import Mdns

log = logging.getLogger("edgekube.discovery")


class WantedNames(Protocol):
    def current(self) -> Mapping[str, LanName]: ...

    async def changed(self) -> None:
        """Returns once ``current`` may have changed since it was asked last."""
        ...


async def keep_names(mdns: Mdns, names: WantedNames) -> None:
    """Until cancelled."""
    held: dict[str, LanName] = {}
    taken: set[str] = set()
    while True:
        wanted = names.current()
        for name in [name for name, value in held.items() if wanted.get(name) != value]:
            del held[name]
            await mdns.release(name)
        for name, value in wanted.items():
            if name in held:
                continue
            if await mdns.claim(value):
                held[name] = value
                log.info("announced name=%s.local addresses=%s", name, ",".join(value.addresses))
            elif name not in taken:
                log.warning("%s.local belongs to another machine on the LAN; trying again now and then", name)
        taken = set(wanted) - set(held)
        with trio.move_on_after(limits.MDNS_RETRY_SECONDS if taken else float("inf")):
            await names.changed()
