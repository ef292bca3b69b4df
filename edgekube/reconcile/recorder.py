"""Events, as kubectl describe shows them: repeats are counted, floods are cut.

Enters: Record values from controllers, scheduler and agent.
Leaves: core/v1 Event objects, created once and patched with a count after that.
Holds: recording never waits and never fails its caller; an Event that cannot be written is dropped with a log line, a burst of
them with one.
Bound: limits.EVENTS_WAITING_MAX for each of EVENT_WRITER_TASKS_MAX writers, EVENT_SERIES_MAX, EVENT_BURST (source: client-go
tools/record EventCorrelator).
Next: registry.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

import trio
from msgspec import Struct

from edgekube import limits
from edgekube.api import times
from edgekube.api.calls import Record
from edgekube.api.errors import StatusError
from edgekube.api.kinds import EVENT
from edgekube.api.objects import Object, name_of, namespace_of, revision_of, uid_of
from edgekube.api.verbs import Verbs

log = logging.getLogger("edgekube.reconcile.recorder")
_V = TypeVar("_V")

COMBINED: Final = "(combined from similar events): "
#: Event.message and ObjectMeta.name bounds of the API (events.k8s.io validation: 1 kB of note; DNS-1123 subdomain).
_MESSAGE_CHARACTERS_MAX: Final = 1024
_NAME_CHARACTERS_MAX: Final = 253


class _Series(NamedTuple):
    component: str
    uid: str
    type: str
    reason: str
    message: str
    field_path: str


class _Written(Struct):
    namespace: str
    name: str
    count: int


class _Similar(Struct):
    """Messages (their hashes) of one source about one object with one reason, since ``start_seconds``."""

    start_seconds: float
    messages: tuple[int, ...] = ()


class _Bucket(Struct):
    tokens: float
    filled_at: float


class _Writer:
    def __init__(self) -> None:
        self.send, self.receive = trio.open_memory_channel[tuple[str, Record]](limits.EVENTS_WAITING_MAX)

    def waiting(self) -> int:
        return self.receive.statistics().current_buffer_used


class Recorder:
    """Shared by everybody in a process. ``host`` is the node, for events that come from one."""

    def __init__(self, verbs: Verbs, *, host: str = "", clock: Callable[[], float] = time.time) -> None:
        self._verbs = verbs
        self._host = host
        self._clock = clock
        #: Events about one object go through one of them, in order.
        self._writers = [_Writer() for _ in range(limits.EVENT_WRITER_TASKS_MAX)]
        #: By the hash of what they are about: a thousand of them are kept for long, and their words would be most of it.
        self._written: dict[int, _Written] = {}
        self._similar: dict[int, _Similar] = {}
        self._buckets: dict[int, _Bucket] = {}
        self._serial = 0
        #: Of the burst that is going on: too many wait, or the API refuses.
        self._dropped = 0

    def record(self, component: str, event: Record) -> None:
        writer = self._writers[hash(_about(event)) % len(self._writers)]
        try:
            writer.send.send_nowait((component, event))
        except trio.WouldBlock:
            self._drop(component, event, "too many wait", logging.WARNING)

    async def run(self) -> None:
        """Write what is recorded, for ever."""
        async with trio.open_nursery() as nursery:
            for writer in self._writers:
                nursery.start_soon(self._run, writer)

    async def _run(self, writer: _Writer) -> None:
        async for component, event in writer.receive:
            try:
                await self._write(component, event)
            except StatusError as error:
                # A namespace on its way out refuses events; nobody would read them.
                level = logging.DEBUG if error.reason in ("Forbidden", "NotFound") else logging.WARNING
                self._drop(component, event, error.message, level)
            else:
                if self._dropped and all(each.waiting() < limits.EVENTS_WAITING_MAX // 2 for each in self._writers):
                    log.info("events are written again, %d were dropped", self._dropped)
                    self._dropped = 0

    def _drop(self, component: str, event: Record, why: str, level: int) -> None:
        """A thousand pods that crash must not fill the log as well."""
        if level >= logging.WARNING:
            self._dropped += 1
            if self._dropped > 1:
                level = logging.DEBUG
        log.log(level, "component=%s reason=%s event dropped: %s", component, event.reason, why)

    async def _write(self, component: str, event: Record) -> None:
        series = self._combined(component, event)
        if not self._allowed(component, series.uid):
            return
        now = times.rfc3339(self._clock())
        key = hash(series)
        known = self._written.get(key)
        if known is not None:
            _remember(self._written, key, known)
            patch: Object = {"count": known.count + 1, "lastTimestamp": now, "message": _message(series, event)}
            try:
                await self._verbs.patch(EVENT, known.namespace, known.name, patch)
            except StatusError as error:
                if error.reason != "NotFound":
                    raise
                self._written.pop(key, None)  # its time to live is over: start anew
            else:
                known.count += 1
                return
        body = self._event(component, series, event, now)
        await self._verbs.create(EVENT, namespace_of(body), body)
        _remember(self._written, key, _Written(sys.intern(namespace_of(body)), name_of(body), 1))

    def _event(self, component: str, series: _Series, event: Record, now: str) -> Object:
        about = event.about
        self._serial += 1
        suffix = f".{int(self._clock() * 1e9) + self._serial:x}"
        source: Object = {"component": component}
        if self._host:
            source["host"] = self._host
        involved: Object = {
            "kind": about.get("kind"),
            "apiVersion": about.get("apiVersion"),
            "namespace": namespace_of(about),
            "name": name_of(about),
            "uid": uid_of(about),
            "resourceVersion": revision_of(about),
            "fieldPath": event.field_path,
        }
        namespace = namespace_of(about) or "default"
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name_of(about)[: _NAME_CHARACTERS_MAX - len(suffix)] + suffix, "namespace": namespace},
            "involvedObject": {key: value for key, value in involved.items() if value},
            "reason": event.reason,
            "message": _message(series, event),
            "type": event.type,
            "source": source,
            "reportingComponent": component,
            "reportingInstance": self._host,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "eventTime": None,
            "count": 1,
        }

    def _combined(self, component: str, event: Record) -> _Series:
        """The series that the event counts towards: its own, or that of similar ones once those are many."""
        uid = _about(event)
        group = _Series(component, uid, event.type, event.reason, "", event.field_path)
        now = trio.current_time()
        key, message = hash(group), hash(event.message)
        similar = self._similar.get(key)
        if similar is None or now - similar.start_seconds > limits.EVENT_SIMILAR_SECONDS:
            similar = _Similar(now)
            _remember(self._similar, key, similar)
        if message not in similar.messages:
            if len(similar.messages) >= limits.EVENT_SIMILAR_MAX:
                return group
            similar.messages = (*similar.messages, message)
        return group._replace(message=event.message)

    def _allowed(self, component: str, uid: str) -> bool:
        now = trio.current_time()
        key = hash((component, uid))
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = _Bucket(limits.EVENT_BURST, now)
            _remember(self._buckets, key, bucket)
        refill = (now - bucket.filled_at) / limits.EVENT_REFILL_SECONDS
        bucket.tokens = min(float(limits.EVENT_BURST), bucket.tokens + refill)
        bucket.filled_at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


def _about(event: Record) -> str:
    return uid_of(event.about) or f"{namespace_of(event.about)}/{name_of(event.about)}"


def _message(series: _Series, event: Record) -> str:
    text = event.message if series.message else COMBINED + event.message
    return text if len(text) <= _MESSAGE_CHARACTERS_MAX else text[: _MESSAGE_CHARACTERS_MAX - 3] + "..."


def _remember(cache: dict[int, _V], key: int, value: _V) -> None:
    """As the newest; the oldest makes room."""
    cache.pop(key, None)
    cache[key] = value
    if len(cache) > limits.EVENT_SERIES_MAX:
        del cache[next(iter(cache))]
