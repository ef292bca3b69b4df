"""Delete the instances of CustomResourceDefinitions that are on their way out, then let these go.

Enters: definitions with a deletionTimestamp and our finalizer, by their watch.
Leaves: no instance; the condition Terminating that says how far it is; the definition without the finalizer.
Holds: the finalizer stays while one instance is left: its own finalizers may hold it, and that is looked at with growing pauses.
Bound: one definition at a time.
Next: registry deletes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from edgekube.api import times
from edgekube.api.custom.conditions import CLEANUP_FINALIZER, ESTABLISHED, TERMINATING, is_true, set_condition
from edgekube.api.errors import StatusError
from edgekube.api.kinds import CUSTOMRESOURCEDEFINITION, Kind
from edgekube.api.objects import Object, metadata_of
from edgekube.api.verbs import DeleteOptions, Verbs
from edgekube.reconcile.leaving import Leavers, Metadata, metadata_in
from edgekube.reconcile.queue_figures import QueueFigures

log = logging.getLogger("edgekube.reconcile.instances")

NAME: Final = "customresourcedefinition-cleanup-controller"
#: While instances hold out: their own controllers take their time, people wait for the definition's end.
LOOK_AGAIN_SECONDS: Final = 0.5


def _waits(metadata: Metadata) -> bool:
    return metadata.deletionTimestamp is not None and CLEANUP_FINALIZER in (metadata.finalizers or ())


class InstanceCleaner:
    """``kinds``: one row for each stored custom resource (registry.served_kinds)."""

    def __init__(
        self,
        verbs: Verbs,
        kinds: Callable[[], Iterable[Kind]],
        *,
        clock: Callable[[], float] = time.time,
        figures: QueueFigures | None = None,
    ) -> None:
        self._verbs = verbs
        self._kinds = kinds
        self._clock = clock
        self._leavers = Leavers(
            verbs,
            CUSTOMRESOURCEDEFINITION,
            NAME,
            _waits,
            self._clean,
            workers=1,
            log=log,
            figures=figures,
        )

    async def run(self) -> None:
        """Never returns."""
        await self._leavers.run()

    async def _clean(self, name: str) -> float:
        """As Leavers has it."""
        crd = await self._verbs.get(CUSTOMRESOURCEDEFINITION, "", name)
        finalizers = metadata_of(crd).get("finalizers") or []
        if not metadata_of(crd).get("deletionTimestamp") or CLEANUP_FINALIZER not in finalizers:
            return 0.0
        kind = next((row for row in self._kinds() if row.custom and row.resource == name), None)
        if kind is None or not is_true(crd, ESTABLISHED):
            crd = await self._tell(crd, "False", "NeverEstablished", "resource was never established")
        else:
            crd = await self._tell(crd, "True", "InstanceDeletionInProgress", "CustomResource deletion is in progress")
            try:
                left = await self._delete_all(kind)
            except StatusError as error:
                await self._tell(crd, "True", "InstanceDeletionFailed", f"could not issue all deletes: {error.message}")
                raise
            if left:
                message = f"could not confirm zero CustomResources remaining: {left} left"
                await self._tell(crd, "True", "InstanceDeletionCheck", message)
                return LOOK_AGAIN_SECONDS
            crd = await self._tell(crd, "False", "InstanceDeletionCompleted", "removed all instances")
        kept = [finalizer for finalizer in metadata_of(crd)["finalizers"] if finalizer != CLEANUP_FINALIZER]
        metadata_of(crd)["finalizers"] = kept
        await self._verbs.update(CUSTOMRESOURCEDEFINITION, crd, subresource="status")
        log.info("definition=%s gone", name)
        return 0.0

    async def _tell(self, crd: Object, status: str, reason: str, message: str) -> Object:
        set_condition(crd, TERMINATING, status, reason, message, times.rfc3339(self._clock()))
        return await self._verbs.update(CUSTOMRESOURCEDEFINITION, crd, subresource="status")

    async def _delete_all(self, kind: Kind) -> int:
        """How many are left."""
        left = [metadata_in(raw) for raw in (await self._verbs.list(kind)).items]
        going = {metadata.namespace for metadata in left if metadata.deletionTimestamp is None}
        for namespace in sorted(going):
            await self._verbs.delete_collection(kind, namespace, options=DeleteOptions(propagation_policy="Background"))
        return len((await self._verbs.list(kind)).items) if left else 0
