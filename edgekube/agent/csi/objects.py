"""What the API says of a driver and its secrets, read when it is needed.

Enters: names.
Leaves: objects and values; VolumeProblem in upstream's words.
Holds: nothing is kept: a secret lives as long as the call that carries it.
Next: agent.csi.staging, agent.csi.volumes.
"""

from __future__ import annotations

from edgekube.agent.env import secret_data
from edgekube.agent.problems import VolumeProblem
from edgekube.api.errors import StatusError
from edgekube.api.kinds import CSIDRIVER, SECRET
from edgekube.api.objects import Object
from edgekube.api.verbs import Verbs


async def read_driver(verbs: Verbs, name: str) -> Object | None:
    """The CSIDriver, if there is one."""
    try:
        return await verbs.get(CSIDRIVER, "", name)
    except StatusError as error:
        if error.reason == "NotFound":
            return None
        raise VolumeProblem(f"kubernetes.io/csi: failed to find CSIDriver {name}: {error.message}") from None


async def read_secret(verbs: Verbs, reference: Object | None, what: str, stage: str, namespace: str = "") -> dict[str, str]:
    """{} when nothing is referred to. ``namespace``: where the reference names none."""
    if not reference:
        return {}
    place, name = reference.get("namespace") or namespace, reference.get("name") or ""
    try:
        found = await verbs.get(SECRET, place, name)
    except StatusError as error:
        why = f"kubernetes.io/csi: failed to find the secret {name} in the namespace {place} with error: {error.message}"
        raise VolumeProblem(f"fetching {what} {place}/{name} failed: {why}", stage=stage) from None
    return {key: value.decode("utf-8", "surrogateescape") for key, value in secret_data(found).items()}
