"""Empty namespaces that are on their way out, then let them go.

Enters: namespaces with a deletionTimestamp, by their watch.
Leaves: their content deleted, pods first, what other API servers keep last; conditions that say what is left; the namespace
finalized.
Holds: nothing is finalized while anything is left, or while a server does not say what it keeps; what holds out (grace periods,
finalizers) is asked for with growing pauses.
Bound: EMPTYING_WORKERS namespaces at once.
Next: controllers.namespace decides, registry deletes.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from edgekube.api.errors import StatusError, unreachable
from edgekube.api.kinds import EVENT, NAMESPACE, POD, Kind
from edgekube.api.objects import Object, is_deleting, name_of
from edgekube.api.remote_content import RemoteContent, RemoteResource
from edgekube.api.verbs import DeleteOptions, Verbs
from edgekube.controllers.namespace import Content, deletion_order, plan_finalize, plan_status, undiscovered, unexpected
from edgekube.reconcile.execute import execute
from edgekube.reconcile.leaving import Leavers, Metadata, metadata_in
from edgekube.reconcile.queue_figures import QueueFigures

log = logging.getLogger("edgekube.reconcile.emptying")

NAME: Final = "namespace-controller"
EMPTYING_WORKERS: Final = 4
#: While content holds out: pods may take their grace period, people wait for the namespace's end.
LOOK_AGAIN_SECONDS: Final = 1.0
#: While finalizers hold it and nothing has moved since the last look: that may last for days (upstream: 8 s).
STUCK_AGAIN_SECONDS: Final = 8.0


def namespaced(kinds: Iterable[Kind]) -> list[Kind]:
    """The kinds whose objects are a namespace's content, each stored form once."""
    found = {
        kind.resource: kind
        for kind in kinds
        if kind.namespaced and kind.stored and kind.stored_as is None and {"list", "delete"} <= set(kind.verbs)
    }
    return list(found.values())


def _is_leaving(metadata: Metadata) -> bool:
    return metadata.deletionTimestamp is not None


class _Spec(msgspec.Struct):
    terminationGracePeriodSeconds: int | None = None  # the wire's name


class _Status(msgspec.Struct):
    phase: str | None = None


class _Pod(msgspec.Struct):
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


_decode_pod: Final = msgspec.json.Decoder(_Pod).decode


def _grace_seconds(raw: bytes) -> float:
    """How long a pod may take to end."""
    pod = _decode_pod(raw)
    return 0.0 if pod.status.phase in ("Succeeded", "Failed") else float(pod.spec.terminationGracePeriodSeconds or 0)


class NamespaceEmptier:
    """``kinds`` is asked each time, for custom resources come and go."""

    def __init__(
        self,
        verbs: Verbs,
        kinds: Callable[[], Iterable[Kind]],
        beyond: RemoteContent | None = None,
        *,
        clock: Callable[[], float] = time.time,
        figures: QueueFigures | None = None,
    ) -> None:
        self._verbs = verbs
        self._kinds = kinds
        self._beyond = beyond
        self._clock = clock
        self._leavers = Leavers(
            verbs,
            NAMESPACE,
            NAME,
            _is_leaving,
            self._empty,
            workers=EMPTYING_WORKERS,
            log=log,
            figures=figures,
        )

    async def run(self) -> None:
        """Never returns."""
        await self._leavers.run()

    async def _empty(self, name: str) -> float:
        """As Leavers has it."""
        namespace = await self._verbs.get(NAMESPACE, "", name)
        if not is_deleting(namespace) or not (namespace.get("spec") or {}).get("finalizers"):
            return 0.0
        remote, unknown = await self._beyond.discover() if self._beyond is not None else ([], {})
        content = Content(undiscovered=unknown)
        first, rest = deletion_order(namespaced(self._kinds()))
        for kind in first:
            await self._delete_all(kind, namespace, content)
        if not content.remaining and not content.failures:
            for kind in rest:
                await self._delete_all(kind, namespace, content)
            for resource in remote:
                await self._delete_remote(resource, name, content)
        if content.remaining or content.failures or content.undiscovered:
            told = plan_status(namespace, content, self._clock())
            outcome = await execute(self._verbs, told, lambda _: None)
            if outcome.failure is not None:
                raise outcome.failure
            if content.undiscovered and not content.remaining:
                raise unreachable(undiscovered(content))  # that may last: the pauses grow
            if not told and POD.group_resource not in content.remaining:
                return STUCK_AGAIN_SECONDS
            return LOOK_AGAIN_SECONDS
        outcome = await execute(self._verbs, plan_finalize(namespace), lambda _: None)
        if outcome.failure is not None:
            raise outcome.failure
        log.info("namespace=%s emptied", name)
        return 0.0

    async def _delete_all(self, kind: Kind, of: Object, content: Content) -> None:
        """Delete what there is of the kind, and count what does not go at once."""
        namespace, grace_seconds = name_of(of), 0.0
        try:
            left = (await self._verbs.list(kind, namespace)).items
            if kind == POD:
                grace_seconds = max(map(_grace_seconds, left), default=0.0)
            if left and any(metadata_in(raw).deletionTimestamp is None for raw in left):
                await self._verbs.delete_collection(kind, namespace, options=DeleteOptions(propagation_policy="Background"))
                left = (await self._verbs.list(kind, namespace)).items
        except StatusError as error:
            content.failures.append(error.message)
            return
        if not left or kind == EVENT:
            return  # events are told while the content goes; they hold nothing up
        held = Counter(finalizer for raw in left for finalizer in metadata_in(raw).finalizers or ())
        content.add(kind.group_resource, len(left), held)
        if why := unexpected(kind, of, len(left), bool(held), grace_seconds, self._clock()):
            content.failures.append(why)

    async def _delete_remote(self, resource: RemoteResource, namespace: str, content: Content) -> None:
        if self._beyond is None:
            return
        try:
            left = await self._beyond.delete_all(resource, namespace)
        except StatusError as error:
            content.failures.append(error.message)
            return
        content.add(resource.group_resource, left.count, left.finalizers or {})
