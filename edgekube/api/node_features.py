"""What a node's agent must be able to do for a pod, beyond what every agent of this API level can.

Enters: a pod's spec.
Leaves: names of features, as nodes declare them in status.declaredFeatures.
Holds: pure. Scheduler and agent read a pod in the same way.
Source: component-helpers nodedeclaredfeatures (v1.36), inferred for scheduling.
Next: scheduler.plugins.features, agent.admission, agent.node_object.
"""

from __future__ import annotations

from typing import Final

from edgekube.api.objects import Object
from edgekube.api.restarting import could_restart_all

RESTART_ALL: Final = "RestartAllContainersOnContainerExits"
HOST_NETWORK: Final = "UserNamespacesHostNetworkSupport"

#: Of our own agents, sorted, as the API wants them.
DECLARED: Final = ("InPlacePodLevelResourcesVerticalScaling", "InPlacePodVerticalScalingInitContainers", RESTART_ALL)


def needed_features(spec: Object) -> frozenset[str]:
    needed = set()
    if spec.get("hostNetwork") and spec.get("hostUsers") is False:
        needed.add(HOST_NETWORK)
    if could_restart_all({"spec": spec}):
        needed.add(RESTART_ALL)
    return frozenset(needed)
