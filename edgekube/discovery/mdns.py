"""zeroconf on its own thread, with a guard that closes it when somebody floods the LAN.

Enters: interfaces; an announcement to register, or a Seen to fill.
Leaves: registered and browsed services; ``flooded`` once what comes in is more than a LAN of honest machines sends.
Holds: nothing of zeroconf's runs in trio's thread, and nothing of ours in its: answers cross over in one bounded queue.
Bound: MDNS_WINDOW_RECORDS_MAX records or MDNS_CORE_SHARE_MAX of a core per window, MDNS_ASKED_MAX questions under way; zeroconf's
own cache is bounded in the release that pyproject.toml asks for (10,000 records).
Next: discovery.announce, discovery.browse.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from edgekube import limits
from edgekube.api.lan_names import LanName
from edgekube.discovery.announcement import (
    SERVICE_TYPE,
    Announcement,
    NotAnAnnouncement,
    instance_name,
    parse,
    properties_of,
)
from edgekube.discovery.interfaces import Reachable

if TYPE_CHECKING:
    from zeroconf import ServiceInfo, Zeroconf

log = logging.getLogger("edgekube.discovery")

#: Instance name and what it announces; None for a goodbye.
Heard = tuple[str, Announcement | None]

_QUEUE_ITEMS_MAX: Final = limits.DISCOVERED_INSTANCES_MAX
_GUARD_SECONDS: Final = 0.25


class MdnsUnavailable(Exception):
    """No interface to speak on, or the multicast port cannot be had."""


@asynccontextmanager
async def open_mdns(reachable: Reachable) -> AsyncIterator[Mdns]:
    """Raises MdnsUnavailable. Leaving says goodbye for what was registered."""
    if not reachable.interfaces:
        raise MdnsUnavailable("this machine has no address on a network yet")
    try:
        zeroconf = await trio.to_thread.run_sync(_open, reachable)
    except (OSError, RuntimeError) as error:
        raise MdnsUnavailable(f"mDNS cannot be used: {error}") from error
    mdns = Mdns(zeroconf, trio.lowlevel.current_trio_token())
    try:
        yield mdns
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(zeroconf.close)


def _in_a_line(record: logging.LogRecord) -> bool:
    """A link that went away while zeroconf spoke on it is no fault whose origin anybody has to look for."""
    record.exc_info = None
    return True


def _open(reachable: Reachable) -> Zeroconf:
    from zeroconf import IPVersion, Zeroconf

    logging.getLogger("zeroconf").addFilter(_in_a_line)
    version_6 = any(isinstance(interface, int) for interface in reachable.interfaces)
    version_4 = any(isinstance(interface, str) for interface in reachable.interfaces)
    version = IPVersion.All if version_4 and version_6 else IPVersion.V6Only if version_6 else IPVersion.V4Only
    return Zeroconf(interfaces=list(reachable.interfaces), ip_version=version, use_asyncio=False)


class Mdns:
    def __init__(self, zeroconf: Zeroconf, token: trio.lowlevel.TrioToken) -> None:
        self._zeroconf = zeroconf
        self._token = token
        self._queue: deque[Heard] = deque(maxlen=_QUEUE_ITEMS_MAX)
        self._tell: Callable[[str, Announcement | None], None] = lambda instance, announcement: None
        self._asking: set[asyncio.Task[None]] = set()
        self._browser: Any = None
        self._names: dict[str, ServiceInfo] = {}
        self._said: dict[str, tuple[str, ...]] = {}
        self.flooded = trio.Event()
        self.malformed = 0
        #: Flooded: nothing is handed over any more until somebody has closed this.
        self._deaf = False
        assert zeroconf.loop is not None
        self._loop = zeroconf.loop
        self._loop.call_soon_threadsafe(self._guard)

    async def register(self, announcement: Announcement) -> str:
        """Announce; the instance name, which is another when the wanted one was taken."""
        from zeroconf import Error

        info = _service_info(announcement)
        try:
            await trio.to_thread.run_sync(lambda: self._zeroconf.register_service(info, allow_name_change=True))
        except (Error, TimeoutError) as error:
            raise MdnsUnavailable(f"the announcement found no name: {error or type(error).__name__}") from error
        return info.get_name()

    async def claim(self, name: LanName) -> bool:
        """Tell the addresses of NAME.local from now on; False when another machine answers to it."""
        return await trio.to_thread.run_sync(lambda: asyncio.run_coroutine_threadsafe(self._claim(name), self._loop).result())

    async def release(self, name: str) -> None:
        """Say goodbye to a name that was claimed."""
        info = self._names.pop(name)
        self._said |= {name: tuple(info.parsed_addresses())}
        await trio.to_thread.run_sync(lambda: self._zeroconf.unregister_service(info))

    async def browse(self, tell: Callable[[str, Announcement | None], None]) -> None:
        """From now on ``tell`` is called in trio's thread with whatever is heard, and with None for a goodbye."""
        self._tell = tell
        await trio.to_thread.run_sync(lambda: asyncio.run_coroutine_threadsafe(self._start_browser(), self._loop).result())

    # --- in zeroconf's thread

    async def _claim(self, name: LanName) -> bool:
        from zeroconf import AddressResolver, Error  # type: ignore[attr-defined]  # its list of exports lacks it

        # zeroconf makes sure of the service's name; whether a machine is called so has to be asked.
        resolver = AddressResolver(f"{name.name}.local.")
        heard = await resolver.async_request(self._zeroconf, limits.MDNS_ASK_SECONDS * 1000)
        # What we said ourselves a moment ago is still in everybody's memory, ours too.
        own = {*name.addresses, *self._said.get(name.name, ())}
        if heard and not set(resolver.parsed_addresses()) <= own:
            return False
        self._said = {known: said for known, said in self._said.items() if known in self._names} | {name.name: name.addresses}
        info = _name_info(name)
        try:
            await (await self._zeroconf.async_register_service(info))
        except (Error, TimeoutError) as error:
            log.debug("not registered name=%s: %s", name.name, error or type(error).__name__)
            return False
        self._names[name.name] = info
        return True

    async def _start_browser(self) -> None:
        from zeroconf.asyncio import AsyncServiceBrowser

        self._browser = AsyncServiceBrowser(self._zeroconf, SERVICE_TYPE, handlers=[self._changed])

    def _guard(self) -> None:
        """Look at what this thread cost in each window (its own CPU time, however busy the machine is)."""
        from zeroconf import RecordUpdate, RecordUpdateListener

        counted = 0

        class Counter(RecordUpdateListener):
            def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:
                nonlocal counted
                counted += len(records)

        self._zeroconf.async_add_listener(Counter(), None)
        began, used = time.monotonic(), time.thread_time()

        def look() -> None:
            nonlocal counted, began, used
            core_seconds = time.thread_time() - used
            share_max = limits.MDNS_CORE_SHARE_MAX * limits.MDNS_WINDOW_SECONDS
            if counted > limits.MDNS_WINDOW_RECORDS_MAX or core_seconds > share_max:
                self._deaf = True
                self._call(self.flooded.set)
                return
            if time.monotonic() - began > limits.MDNS_WINDOW_SECONDS:
                counted, began, used = 0, time.monotonic(), time.thread_time()
            self._loop.call_later(_GUARD_SECONDS, look)

        look()

    def _changed(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: Any) -> None:
        from zeroconf import ServiceStateChange
        from zeroconf.asyncio import AsyncServiceInfo

        if self._deaf:
            return
        if state_change is ServiceStateChange.Removed:
            self._hand_over(name, None)
            return
        info = AsyncServiceInfo(SERVICE_TYPE, name)
        if info.load_from_cache(zeroconf) and info.text:
            self._read(name, info)
        elif len(self._asking) < limits.MDNS_ASKED_MAX:
            task = self._loop.create_task(self._ask(name, info))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _ask(self, name: str, info: Any) -> None:
        if await info.async_request(self._zeroconf, limits.MDNS_ASK_SECONDS * 1000):
            self._read(name, info)

    def _read(self, name: str, info: ServiceInfo) -> None:
        try:
            announcement = parse(info.properties, info.parsed_scoped_addresses(), info.port or 0)
        except NotAnAnnouncement as error:
            self.malformed += 1
            log.debug("not an announcement instance=%r: %s", name[:80], error)
            self._hand_over(name, None)
            return
        self._hand_over(name, announcement)

    def _hand_over(self, name: str, announcement: Announcement | None) -> None:
        self._queue.append((name.removesuffix(f".{SERVICE_TYPE}"), announcement))
        self._call(self._drain, idempotent=True)

    def _call(self, function: Callable[[], None], *, idempotent: bool = False) -> None:
        try:
            self._token.run_sync_soon(function, idempotent=idempotent)
        except trio.RunFinishedError:
            pass  # the program is ending

    # --- in trio's thread

    def _drain(self) -> None:
        for _ in range(len(self._queue)):  # what comes meanwhile has its own turn: others want theirs, too
            self._tell(*self._queue.popleft())


def _service_info(announcement: Announcement) -> ServiceInfo:
    from zeroconf import ServiceInfo

    # A host name that nobody else has: two machines of one name would be told with the addresses of both.
    host = f"edgekube-{secrets.token_hex(6)}.local."

    return ServiceInfo(
        SERVICE_TYPE,
        f"{instance_name(announcement)}.{SERVICE_TYPE}",
        port=announcement.port,
        properties=dict(properties_of(announcement)),
        server=host,
        parsed_addresses=list(announcement.addresses),
    )


def _name_info(name: LanName) -> ServiceInfo:
    from zeroconf import ServiceInfo

    service_type = "_https._tcp.local." if name.secure else "_http._tcp.local."
    return ServiceInfo(
        service_type,
        f"{name.name}.{service_type}",
        port=name.port,
        properties={},
        server=f"{name.name}.local.",
        parsed_addresses=list(name.addresses),
    )
