"""ResourceQuota: what a write uses is charged before it is stored.

Enters: AdmissionRequests, last of the chain, and how each write ended.
Leaves: status.used of the quotas; StatusError Forbidden when one has no room.
Holds: of two who want the last unit one gets it; who comes while others are decided about is decided with the next, in one write
of the quota. A charge whose write failed is given back; where nobody knows how it ended the namespace is counted anew. A dry
run charges nothing. A namespace without quotas costs one look into a dict.
Next: admission.quota decides; registry.gate asks; registry.quota_counting counts.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final, NamedTuple

import orjson
import trio

from edgekube.admission.pod_resources import Amounts, plus
from edgekube.admission.quota.charge import Write, charges, used_of
from edgekube.admission.quota.meters import changes_with_time, meter_of
from edgekube.admission.request import CREATE, UPDATE, AdmissionRequest
from edgekube.api import quantities
from edgekube.api.errors import StatusError
from edgekube.api.kinds import RESOURCEQUOTA
from edgekube.api.objects import Object, metadata_of, name_of
from edgekube.api.verbs import UserInfo
from edgekube.registry import writing
from edgekube.registry.context import Context
from edgekube.registry.quota_space import Space, Waiting
from edgekube.registry.standing import QUOTAS
from edgekube.registry.state import Registry
from edgekube.store.protocol import Key, KeyMissing, RevisionConflict, StoreError

_SYSTEM: Final = UserInfo("system:apiserver", groups=("system:masters",))
_MEMORY: Final = "ResourceQuota"
_ATTEMPTS_MAX: Final = 20


def context() -> Context:
    """Who writes the status of a quota."""
    return Context(_SYSTEM, trusted=True)


def wants(registry: Registry, request: AdmissionRequest) -> bool:
    if request.operation not in (CREATE, UPDATE) or not request.kind.namespaced:
        return False
    if not registry.standing.any(QUOTAS, request.namespace):
        return False
    if request.operation == UPDATE and not changes_with_time(request.kind.group_resource):
        return False
    return meter_of(request.kind.group_resource) is not None


async def admit(registry: Registry, request: AdmissionRequest) -> None:
    meter = meter_of(request.kind.group_resource)
    new = request.object or {}
    if meter is None or not meter.handles(request.operation, request.subresource, new, request.old_object):
        return
    write = Write(request.kind, request.operation, request.shown_name, new, request.old_object, request.subresource)
    waiting = Waiting(write, meter, request.dry_run)
    space = registry.quotas.of(request.namespace)
    await space.enter()
    held = False
    try:
        await _decide(registry, request.namespace, space, waiting)
        if waiting.refusal is not None:
            raise waiting.refusal
        request.memory[_MEMORY] = _Held(space, waiting.charged or {})
        held = True
    finally:
        if not held:
            space.leave()


class _Held(NamedTuple):
    """A write between its charge and the store."""

    space: Space
    charged: dict[str, Amounts]


async def _decide(registry: Registry, namespace: str, space: Space, waiting: Waiting) -> None:
    """Whoever gets the turn decides for all who came until then."""
    space.waiting.append(waiting)
    try:
        async with space.deciding:
            if not waiting.decided:
                together, space.waiting = space.waiting, []
                with trio.CancelScope(shield=True):
                    await _decide_together(registry, namespace, together)
    except trio.Cancelled:
        if waiting in space.waiting:
            space.waiting.remove(waiting)
        elif waiting.charged:
            registry.quotas.touch(namespace)  # charged, and nobody will write
        raise


async def _decide_together(registry: Registry, namespace: str, together: list[Waiting]) -> None:
    quotas: list[Object] = [orjson.loads(raw) for raw in registry.standing.of(QUOTAS, namespace)]
    added: dict[str, Amounts] = {}
    for waiting in together:
        try:
            charged = charges(quotas, waiting.write, waiting.meter, registry.clock())
        except StatusError as error:
            waiting.refusal = error
            continue
        if waiting.dry_run:
            waiting.charged = {}
            continue
        waiting.charged = charged
        for quota in quotas:
            more = charged.get(name_of(quota))
            if more:
                added[name_of(quota)] = plus(added.get(name_of(quota), {}), more)
                quota["status"] = {**(quota.get("status") or {}), "used": plus(used_of(quota), more)}
    try:
        for name, more in added.items():
            await _add(registry, namespace, name, more)
    except BaseException:
        for waiting in together:  # nothing is known of these: whoever waits is told so, and the namespace is counted
            waiting.charged = None
            waiting.refusal = waiting.refusal or StatusError("InternalError", "the quotas could not be charged")
        registry.quotas.touch(namespace)
        raise


async def _add(registry: Registry, namespace: str, name: str, more: Amounts, *, back: bool = False) -> None:
    """``back``: take it away again."""

    def status(quota: Object) -> Object:
        used = _without(used_of(quota), more) if back else plus(used_of(quota), more)
        return {**(quota.get("status") or {}), "used": used}

    await put_status(registry, namespace, name, status)


async def put_status(registry: Registry, namespace: str, name: str, make: Callable[[Object], Object | None]) -> None:
    """``make``: a quota's new status, None to leave it. Somebody else may write the quota meanwhile; who takes it away ends the
    matter."""
    key = Key(RESOURCEQUOTA.resource, namespace, name)
    for _ in range(_ATTEMPTS_MAX):
        raw = registry.standing.get(QUOTAS, name, namespace)
        if raw is None:
            return
        quota: Object = orjson.loads(raw)
        status = make(quota)
        if status is None:
            return
        quota["status"] = status
        try:
            await writing.update(registry, RESOURCEQUOTA, key, quota, int(metadata_of(quota)["resourceVersion"]), context())
            return
        except KeyMissing:
            return
        except RevisionConflict:
            await trio.lowlevel.checkpoint()
    raise StatusError("InternalError", f"resource quota {name} kept changing")


def _without(used: Amounts, less: Amounts) -> Amounts:
    left = dict(used)
    for name, amount in less.items():
        if name in left:
            rest = quantities.subtract(left[name], amount)
            left[name] = "0" if quantities.is_negative(rest) else rest
    return left


class Outcome:
    """Around the last steps of a write, from validating admission to the store: what was charged for it stays or goes back.

    Set ``kept`` once the write is done."""

    def __init__(self, registry: Registry, request: AdmissionRequest) -> None:
        self._registry = registry
        self._request = request
        self.kept = False

    async def __aenter__(self) -> Outcome:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        request = self._request
        if not request.kind.namespaced:
            return
        held: _Held | None = request.memory.pop(_MEMORY, None)
        if held is not None:
            try:
                if held.charged and not self.kept:
                    await self._give_back(held, certain=isinstance(error, StatusError | StoreError))
            finally:
                held.space.leave()
        if self.kept and not request.dry_run:
            self._notice(held is not None)

    async def _give_back(self, held: _Held, *, certain: bool) -> None:
        request = self._request
        self._registry.quotas.touch(request.namespace)
        if not certain:
            return
        with trio.CancelScope(shield=True):
            async with held.space.deciding:
                for name, amounts in held.charged.items():
                    await _add(self._registry, request.namespace, name, amounts, back=True)

    def _notice(self, charged: bool) -> None:
        """What changed without a charge is counted anew."""
        registry, request = self._registry, self._request
        if not registry.standing.any(QUOTAS, request.namespace):
            return
        if request.kind is RESOURCEQUOTA:
            old = request.old_object or {}
            if request.operation == CREATE or old.get("spec") != (request.object or {}).get("spec"):
                registry.quotas.touch(request.namespace, at_once=True)
            return
        meter = meter_of(request.kind.group_resource)
        if meter is None or (charged and request.operation == CREATE):
            return
        if request.operation == CREATE:
            registry.quotas.touch(request.namespace)
        elif changes_with_time(request.kind.group_resource):
            now = registry.clock()
            if meter.usage(request.object or {}, now) != meter.usage(request.old_object or {}, now):
                registry.quotas.touch(request.namespace)
