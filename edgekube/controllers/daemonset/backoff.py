"""How long a node is spared another pod after one failed there.

Enters: failures, by DaemonSet, generation and node.
Leaves: seconds to wait.
Holds: a node that refuses a pod at once would otherwise see a new one as fast as both can. The pause doubles with each failure
and is forgotten when the node has been quiet for twice the longest pause. This is the one thing that a plan of a DaemonSet
remembers: failed pods are deleted, so nothing in the cluster tells how many there were.
Bound: limits.DAEMON_BACKOFFS_MAX nodes, the least recent goes.
Source: k8s.io/kubernetes pkg/controller/daemon failedPodsBackoff; client-go util/flowcontrol.Backoff.
Next: managing.
"""

from __future__ import annotations

from collections import OrderedDict

from edgekube import limits
from edgekube.api.objects import Object, uid_of


class Backoff:
    def __init__(self) -> None:
        #: (pause, since when) on the monotonic clock.
        self._pauses: OrderedDict[tuple[str, int, str], tuple[float, float]] = OrderedDict()

    def left_seconds(self, daemon: Object, node_name: str, now_seconds: float) -> float:
        """Until the next pod may be deleted there; 0.0 when it may be now."""
        pause, since = self._pauses.get(_key(daemon, node_name), (0.0, now_seconds))
        return max(0.0, since + pause - now_seconds)

    def failed(self, daemon: Object, node_name: str, now_seconds: float) -> None:
        key = _key(daemon, node_name)
        pause, since = self._pauses.pop(key, (0.0, now_seconds))
        last = limits.DAEMON_BACKOFF_LAST_SECONDS
        forgotten = not pause or now_seconds - since > 2 * last
        pause = limits.DAEMON_BACKOFF_FIRST_SECONDS if forgotten else min(last, 2 * pause)
        self._pauses[key] = (pause, now_seconds)
        if len(self._pauses) > limits.DAEMON_BACKOFFS_MAX:
            self._pauses.popitem(last=False)


def _key(daemon: Object, node_name: str) -> tuple[str, int, str]:
    observed = int((daemon.get("status") or {}).get("observedGeneration") or 0)
    return (uid_of(daemon), observed, node_name)
