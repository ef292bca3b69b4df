"""From a pod's claim to the volume that stands for it.

Enters: pods; the API's claims and persistent volumes, each read by its name when a pod is prepared.
Leaves: VolumeSource.
Holds: what was found once for a pod stays: a claim that is bound stays bound, and a pod that has its volume keeps it while the
claim is being deleted, or the API is away. It is remembered in the pod's directory, so that a restart needs no API either.
Next: volumes.source judges, volumes.setup mounts.
"""

from __future__ import annotations

from edgekube.agent.problems import VolumeProblem
from edgekube.agent.volumes.source import VolumeSource, check_claim, claim_name_of, claimed_source
from edgekube.api.errors import StatusError
from edgekube.api.kinds import PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM, Kind
from edgekube.api.objects import Object, namespace_of
from edgekube.api.verbs import Verbs


async def find_source(verbs: Verbs, pod: Object, volume: Object) -> VolumeSource:
    """VolumeProblem while there is none."""
    claim = await _get(verbs, PERSISTENTVOLUMECLAIM, namespace_of(pod), claim_name_of(pod, volume))
    volume_name = check_claim(pod, volume, claim)
    assert claim is not None, "check_claim raises"
    return claimed_source(pod, volume, claim, await _get(verbs, PERSISTENTVOLUME, "", volume_name))


async def _get(verbs: Verbs, kind: Kind, namespace: str, name: str) -> Object | None:
    try:
        return await verbs.get(kind, namespace, name)
    except StatusError as error:
        if error.reason == "NotFound":
            return None
        what = "PVC" if kind is PERSISTENTVOLUMECLAIM else f"PV {name}"
        raise VolumeProblem(f"failed to fetch {what} from API server: {error.message}", unbound=True) from None
