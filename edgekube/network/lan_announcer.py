"""Keep this node answering for the addresses that it holds, on the interfaces whose segments they belong to.

Enters: addresses and who holds them (network.lan_addresses), this machine's links, conflicts.
Leaves: one LanSpeaker per interface with an address to answer for; what the node tells of its segments.
Holds: a node that another one contradicts asks the API: who still holds the address defends it, who cannot ask yields, because
the other one was told by the API and this one was not.
Next: network.lan_speaker; daemon.lan_announcing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import TypeAlias

import trio
from msgspec import Struct

from edgekube import limits
from edgekube.network.forwarding import Printed
from edgekube.network.lan_speaker import Interface, LanSpeaker
from edgekube.network.peers import Segment, segments

log = logging.getLogger("edgekube.network")

Speak: TypeAlias = Callable[[Interface, Callable[[str, bytes], None]], LanSpeaker]


class Wiring(Struct, frozen=True):
    """The segments of this machine and the interfaces on them."""

    segments: tuple[Segment, ...]
    interfaces: dict[str, Interface]

    def interface_of(self, address: str) -> Interface | None:
        """The interface on whose segment the address is."""
        parsed = ip_address(address)
        for segment in self.segments:
            if parsed in segment.interface.network:
                return self.interfaces.get(segment.device)
        return None

    def told(self) -> str:
        """What the Node's annotation says."""
        return ",".join(sorted({str(segment.interface.network) for segment in self.segments}))


def wiring(links: Sequence[Printed]) -> Wiring:
    """From what ``ip -j address`` prints; only interfaces with an Ethernet address can answer."""
    found = {}
    for link in links:
        mac = str(link.get("address") or "")
        if link.get("link_type") == "ether" and len(mac) == 17:
            name = str(link["ifname"])
            found[name] = Interface(name, int(link["ifindex"]), bytes.fromhex(mac.replace(":", "")))
    return Wiring(tuple(segment for segment in segments(links) if segment.device in found), found)


class LanAnnouncer:
    """``still_mine`` asks the API whether this node holds an address; False also when it cannot be asked. ``speak`` opens the
    interface, in the network namespace that the node lives in."""

    def __init__(self, still_mine: Callable[[str], Awaitable[bool]], speak: Speak = LanSpeaker) -> None:
        self._still_mine = still_mine
        self._speak = speak
        self._speakers: dict[Interface, tuple[LanSpeaker, trio.CancelScope]] = {}
        self._wanted: dict[Interface, set[str]] = {}
        self._yielded: set[str] = set()
        self._judged_at: dict[str, float] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled: then nobody answers any more."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    def answering(self) -> set[str]:
        return {address for addresses in self._wanted.values() for address in addresses} - self._yielded

    def hold(self, addresses: set[str], wired: Wiring) -> None:
        """Answer for these; what has been told anew is not yielded any more."""
        self._yielded &= addresses
        wanted: dict[Interface, set[str]] = {}
        for address in addresses:
            interface = wired.interface_of(address)
            if interface is not None:
                wanted.setdefault(interface, set()).add(address)
        self._wanted = wanted
        for interface in self._speakers.keys() - wanted.keys():
            self._speakers.pop(interface)[1].cancel()
        for interface in wanted:
            if interface not in self._speakers:
                self._start(interface)
        self._tell()

    def take_back(self) -> None:
        """The API was heard: whoever yielded because he could not ask may answer again for what he holds."""
        if self._yielded:
            self._yielded.clear()
            self._tell()

    def _tell(self) -> None:
        for interface, (speaker, _) in self._speakers.items():
            speaker.hold(self._wanted[interface] - self._yielded)

    def _start(self, interface: Interface) -> None:
        assert self._nursery is not None
        try:
            speaker = self._speak(interface, self._conflict)
        except OSError as error:
            log.warning("cannot answer for addresses on %s: %s", interface.name, error)
            return
        scope = trio.CancelScope()
        self._speakers[interface] = speaker, scope

        async def run() -> None:
            with scope:
                await speaker.run()

        self._nursery.start_soon(run)

    def _conflict(self, address: str, mac: bytes) -> None:
        now = trio.current_time()
        if now - self._judged_at.get(address, -limits.LAN_DEFEND_SECONDS) < limits.LAN_DEFEND_SECONDS:
            return
        self._judged_at = {a: at for a, at in self._judged_at.items() if now - at < limits.LAN_DEFEND_SECONDS} | {address: now}
        assert self._nursery is not None
        self._nursery.start_soon(self._judge, address, mac)

    async def _judge(self, address: str, mac: bytes) -> None:
        mine = False
        with trio.move_on_after(limits.LAN_API_ANSWER_SECONDS):
            mine = await self._still_mine(address)
        if address not in self.answering():
            return
        if mine:
            log.warning("address %s is this node's, but %s claims it", address, mac.hex(":"))
            for interface, (speaker, _) in self._speakers.items():
                if address in self._wanted.get(interface, ()):
                    speaker.announce(address)
        else:
            log.info("address %s is left to %s: the API does not say that it is this node's", address, mac.hex(":"))
            self._yielded.add(address)
            self._tell()
