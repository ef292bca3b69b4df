"""Images that are there already: without internet nothing else would run.

Enters: a pending pod, and one node's images.
Leaves: a score from 0 to 100, by bytes that need not be fetched.
Holds: an image that few nodes have pulls less hard, so that not all pods go to where the first one ran.
Source: kube-scheduler plugin ImageLocality.
Next: scheduler.profiles.
"""

from __future__ import annotations

from typing import Final

from edgekube.scheduler.cluster import Cluster, NodeState
from edgekube.scheduler.plugin import SCORE_MAX, LocalScore, Measure
from edgekube.scheduler.pods import PendingPod

IMAGES: Final = "ImageLocality"

_MIB: Final = 1024 * 1024
#: An image below this size is not worth going for; above this, a node that has it could not be better.
_BYTES_MIN: Final = 23 * _MIB
_BYTES_MAX: Final = 1000 * _MIB


def _named(image: str) -> str:
    return image if image.rfind(":") > image.rfind("/") else f"{image}:latest"


def _present(pod: PendingPod, cluster: Cluster) -> Measure | None:
    names = [_named(image) for image in pod.images]
    holders = {name: cluster.image_holders[name] for name in names if name in cluster.image_holders}
    if not holders:
        return None
    held = [name for name in names if name in holders]
    nodes = len(cluster.nodes)
    ceiling = _BYTES_MAX * max(1, pod.containers)

    def measure(node: NodeState) -> int:
        images = node.facts.images
        size = sum(int(images[name] * holders[name] / nodes) for name in held if name in images)
        return SCORE_MAX * (min(max(size, _BYTES_MIN), ceiling) - _BYTES_MIN) // (ceiling - _BYTES_MIN)

    return measure


def image_locality(weight: int) -> LocalScore:
    return LocalScore(IMAGES, weight, _present)
