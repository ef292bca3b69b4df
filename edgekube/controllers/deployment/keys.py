"""Which Deployments a change of a pod concerns, though a ReplicaSet stands between them.

Enters: changes.
Leaves: keys of Deployments.
Holds: pods wake a Deployment only where their end is waited for; otherwise their ReplicaSet's status tells enough.
Next: controller.
"""

from __future__ import annotations

from collections.abc import Iterable

from edgekube.api import podstate
from edgekube.api.controller import Change, Key, key_of
from edgekube.api.kinds import DEPLOYMENT, REPLICASET
from edgekube.api.objects import controller_of, namespace_of
from edgekube.api.view import View
from edgekube.controllers.deployment import facts


def of_recreated_pods(change: Change, view: View) -> Iterable[Key]:
    """Recreate waits for the last old pod to end."""
    pod = change.new or change.old
    if pod is None or (change.new is not None and not podstate.is_finished(pod)):
        return ()
    owner = controller_of(pod)
    if owner is None or owner.get("kind") != REPLICASET.kind:
        return ()
    replicaset = view.get(REPLICASET, namespace_of(pod), str(owner.get("name")))
    parent = controller_of(replicaset) if replicaset is not None else None
    if parent is None or parent.get("kind") != DEPLOYMENT.kind:
        return ()
    deployment = view.get(DEPLOYMENT, namespace_of(pod), str(parent.get("name")))
    return () if deployment is None or facts.is_rolling(deployment) else (key_of(deployment),)
