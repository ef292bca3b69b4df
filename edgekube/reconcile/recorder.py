"""Events, as kubectl describe shows them: repeats are counted, floods are cut.

Enters: Record values from controllers, scheduler and agent.
Leaves: core/v1 Event objects, created once and patched with a count after that.
Holds: recording never waits and never fails its caller; an Event that cannot be written is dropped with a log line.
Bound: limits.EVENTS_WAITING_MAX, EVENT_SERIES_MAX, EVENT_BURST (source: client-go tools/record EventCorrelator).
Next: registry.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

import trio

from edgekube import limits
from edgekube.api import times
from edgekube.api.calls import Record
from edgekube.api.errors import StatusError
from edgekube.api.kinds import EVENT
from edgekube.api.objects import Object, name_of, namespace_of, revision_of, uid_of
from edgekube.api.verbs import Verbs

log = logging.getLogger("edgekube.reconcile.recorder")
_K = TypeVar("_K")
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


@dataclass(slots=True)
class _Written:
    namespace: str
    name: str
    count: int


@dataclass(slots=True)
class _Similar:
    """Messages of one source about one object with one reason, since ``start_seconds``."""

    start_seconds: float
    messages: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class Recorder:
    """Shared by everybody in a process. ``host`` is the node, for events that come from one."""

    def __init__(self, verbs: Verbs, *, host: str = "", clock: Callable[[], float] = time.time) -> None:
        self._verbs = verbs
        self._host = host
        self._clock = clock
        self._send, self._receive = trio.open_memory_channel[tuple[str, Record]](limits.EVENTS_WAITING_MAX)
        self._written: OrderedDict[_Series, _Written] = OrderedDict()
        self._similar: OrderedDict[_Series, _Similar] = OrderedDict()
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()
        self._serial = 0

    def record(self, component: str, event: Record) -> None:
        try:
            self._send.send_nowait((component, event))
        except trio.WouldBlock:
            log.warning("component=%s reason=%s event dropped: too many wait", component, event.reason)

    async def run(self) -> None:
        """Write what is recorded, for ever."""
        async for component, event in self._receive:
            try:
                await self._write(component, event)
            except StatusError as error:
                # A namespace on its way out refuses events; nobody would read them.
                level = logging.DEBUG if error.reason in ("Forbidden", "NotFound") else logging.WARNING
                log.log(level, "component=%s reason=%s event not written: %s", component, event.reason, error.message)

    async def _write(self, component: str, event: Record) -> None:
        series = self._combined(component, event)
        if not self._allowed(component, series.uid):
            return
        now = times.rfc3339(self._clock())
        known = self._written.get(series)
        if known is not None:
            self._written.move_to_end(series)
            patch: Object = {"count": known.count + 1, "lastTimestamp": now, "message": _message(series, event)}
            try:
                await self._verbs.patch(EVENT, known.namespace, known.name, patch)
            except StatusError as error:
                if error.reason != "NotFound":
                    raise
                del self._written[series]  # its time to live is over: start anew
            else:
                known.count += 1
                return
        body = self._event(component, series, event, now)
        await self._verbs.create(EVENT, namespace_of(body), body)
        _remember(self._written, series, _Written(namespace_of(body), name_of(body), 1))

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
        uid = uid_of(event.about) or f"{namespace_of(event.about)}/{name_of(event.about)}"
        group = _Series(component, uid, event.type, event.reason, "", event.field_path)
        now = trio.current_time()
        similar = self._similar.get(group)
        if similar is None or now - similar.start_seconds > limits.EVENT_SIMILAR_SECONDS:
            similar = _Similar(now)
            _remember(self._similar, group, similar)
        if len(similar.messages) < limits.EVENT_SIMILAR_MAX or event.message in similar.messages:
            similar.messages.add(event.message)
            return group._replace(message=event.message)
        return group

    def _allowed(self, component: str, uid: str) -> bool:
        now = trio.current_time()
        bucket = self._buckets.get((component, uid))
        if bucket is None:
            bucket = _Bucket(limits.EVENT_BURST, now)
            _remember(self._buckets, (component, uid), bucket)
        refill = (now - bucket.filled_at) / limits.EVENT_REFILL_SECONDS
        bucket.tokens = min(float(limits.EVENT_BURST), bucket.tokens + refill)
        bucket.filled_at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


def _message(series: _Series, event: Record) -> str:
    text = event.message if series.message else COMBINED + event.message
    return text if len(text) <= _MESSAGE_CHARACTERS_MAX else text[: _MESSAGE_CHARACTERS_MAX - 3] + "..."


def _remember(cache: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    cache[key] = value
    cache.move_to_end(key)
    if len(cache) > limits.EVENT_SERIES_MAX:
        cache.popitem(last=False)
