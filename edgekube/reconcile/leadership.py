"""The Leases by which people and tools see who runs the control loops.

Enters: the API, a component's name, who holds it.
Leaves: kube-system/kube-controller-manager and kube-system/kube-scheduler, renewed.
Holds: nobody is waited for: one server runs the loops, so its Lease is taken at once, and counts a transition when another
process held it. Leases are kept in memory, a renewal writes nothing to disk.
Source: client-go tools/leaderelection; kubernetes.io/docs/concepts/architecture/leases.
Next: daemon starts it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

import trio

from edgekube import limits
from edgekube.api import times
from edgekube.api.calls import Record
from edgekube.api.errors import StatusError
from edgekube.api.kinds import LEASE
from edgekube.api.objects import Object, revision_of
from edgekube.api.verbs import Verbs
from edgekube.reconcile.recorder import Recorder

log = logging.getLogger("edgekube.reconcile.leadership")

NAMESPACE: Final = "kube-system"


async def hold(
    verbs: Verbs,
    recorder: Recorder,
    component: str,
    holder: str,
    *,
    renew_seconds: float = limits.LEADER_RENEW_SECONDS,
    clock: Callable[[], float] = time.time,
) -> None:
    """Never returns."""
    while True:
        try:
            await _hold_once(verbs, recorder, component, holder, clock())
        except StatusError as error:
            log.info("lease=%s/%s not held: %s", NAMESPACE, component, error.message)
        await trio.sleep(renew_seconds)


async def _hold_once(verbs: Verbs, recorder: Recorder, component: str, holder: str, now: float) -> None:
    try:
        lease = await verbs.get(LEASE, NAMESPACE, component)
    except StatusError as error:
        if error.reason != "NotFound":
            raise
        lease = {}
    before: Object = lease.get("spec") or {}
    spec: Object = {
        **before,
        "holderIdentity": holder,
        "leaseDurationSeconds": limits.LEADER_LEASE_SECONDS,
        "renewTime": times.rfc3339_micro(now),
    }
    taken = before.get("holderIdentity") != holder
    if taken:
        spec["acquireTime"] = spec["renewTime"]
        spec["leaseTransitions"] = int(before.get("leaseTransitions") or 0) + bool(before.get("holderIdentity"))
    if not lease:
        made: Object = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": {"name": component}, "spec": spec}
        written = await verbs.create(LEASE, NAMESPACE, made)
    else:
        patch: Object = {"metadata": {"resourceVersion": revision_of(lease)}, "spec": spec}
        written = await verbs.patch(LEASE, NAMESPACE, component, patch)
    if taken:
        recorder.record(component, Record(written, "Normal", "LeaderElection", f"{holder} became leader"))
