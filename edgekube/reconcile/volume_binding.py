"""Before a pod is bound: its volumes are.

Enters: a VolumePlan for the node that was chosen.
Leaves: volumes with the claims that were chosen for them, claims that say near which node their volume is to be made; then the
word that all of them are bound.
Holds: nothing is waited for that the binder or the provisioner has not been asked for; a claim that is sent back, a volume that
cannot be reached from the node, and a pod that went end the wait.
Bound: limits.VOLUME_BINDING_SECONDS.
Next: controllers.volumes binds; reconcile.scheduling.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import trio

from edgekube import limits
from edgekube.api import storage
from edgekube.api.errors import StatusError
from edgekube.api.kinds import PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM
from edgekube.api.objects import Object, annotations_of, is_deleting, name_of
from edgekube.api.verbs import Verbs
from edgekube.scheduler.cluster import Cluster
from edgekube.scheduler.storage import ClaimKey, Storage, VolumePlan, key_of


class VolumesNotBound(Exception):
    """Why, in words."""


class VolumeBinder:
    def __init__(self, verbs: Verbs, cluster: Cluster) -> None:
        self._verbs = verbs
        self._cluster = cluster
        self._changed = trio.Event()

    @property
    def _storage(self) -> Storage:
        return self._cluster.surroundings.storage

    def changed(self) -> None:
        """A claim or a volume did."""
        self._changed.set()
        self._changed = trio.Event()

    async def bind(self, plan: VolumePlan, is_wanted: Callable[[], bool]) -> None:
        """VolumesNotBound when it does not come about; ``is_wanted``: the pod is still there."""
        try:
            for claim, volume in plan.bind:
                await self._give(claim, volume)
            for claim in plan.provision:
                await self._ask_for(claim, plan.node)
        except StatusError as error:
            raise VolumesNotBound(f"binding volumes: {error.message}") from error
        with trio.move_on_after(limits.VOLUME_BINDING_SECONDS):
            while True:
                # Taken before looking: what changes after that is seen.
                changed = self._changed
                if not is_wanted():
                    raise VolumesNotBound("binding volumes: pod does not exist any more")
                if self._all_bound(plan):
                    return
                await changed.wait()
        raise VolumesNotBound("binding volumes: context deadline exceeded")

    async def _give(self, claim: Object, volume: Object) -> None:
        bound = storage.bound_volume(copy.deepcopy(volume), claim)
        if bound is not None:
            await self._verbs.update(PERSISTENTVOLUME, bound)

    async def _ask_for(self, claim: Object, node: str) -> None:
        key = key_of(claim)
        if annotations_of(claim).get(storage.SELECTED_NODE) == node:
            return
        metadata = {"uid": claim["metadata"].get("uid"), "annotations": {storage.SELECTED_NODE: node}}
        await self._verbs.patch(PERSISTENTVOLUMECLAIM, key.namespace, key.name, {"metadata": metadata})

    def _all_bound(self, plan: VolumePlan) -> bool:
        done = [self._is_bound(key_of(claim), plan, name_of(volume)) for claim, volume in plan.bind]
        done += [self._is_bound(key_of(claim), plan, "") for claim in plan.provision]
        return all(done)

    def _is_bound(self, key: ClaimKey, plan: VolumePlan, chosen: str) -> bool:
        known = self._storage
        claim = known.claims.get(key)
        if claim is None or is_deleting(claim):
            raise VolumesNotBound(f'binding volumes: failed to check binding: persistentvolumeclaim "{key.name}" not found')
        selected = annotations_of(claim).get(storage.SELECTED_NODE)
        promised = known.promised.get(key)
        if not chosen and selected == plan.node:
            known.promised.pop(key, None)
        elif not chosen and promised is None and not storage.is_fully_bound(claim):
            raise VolumesNotBound(f'binding volumes: provisioning failed for PVC "{key.name}"')
        name = (claim.get("spec") or {}).get("volumeName") or chosen
        volume = known.volumes.get(str(name)) if name else None
        node = self._cluster.nodes.get(plan.node)
        if node is None:
            raise VolumesNotBound(f'binding volumes: failed to get node "{plan.node}"')
        if volume is not None and not storage.reachable_from(volume, node.facts.labels):
            raise VolumesNotBound(f'binding volumes: pv "{name}" node affinity doesn\'t match node "{plan.node}"')
        return storage.is_fully_bound(claim)
