"""How much pods use, from cgroup files: a small /stats/summary.

Enters: pods and their cgroups.
Leaves: the part of kubelet's Summary that metrics-server and people read: cpu and memory per pod and for the node.
Holds: files only, 0.1 ms a pod; a pod without a cgroup yet is left out.
Next: agent.server.
"""

from __future__ import annotations

import time

from edgekube.agent.pods import Pods
from edgekube.agent.resources import qos_class
from edgekube.api import times
from edgekube.api.objects import Object


def _usage(cpu_ns: int, memory_bytes: int, working_set_bytes: int, now: str) -> Object:
    return {
        "cpu": {"time": now, "usageCoreNanoSeconds": cpu_ns},
        "memory": {"time": now, "usageBytes": memory_bytes, "workingSetBytes": working_set_bytes},
    }


def summary(pods: Pods) -> Object:
    node = pods.node
    now = times.rfc3339(time.time())
    shown: list[Object] = []
    for worker in pods.workers():
        pod = worker.pod()
        found = node.cgroups.usage(node.cgroups.path_of(qos_class(pod), worker.uid))
        if found is not None:
            reference = {"name": worker.name, "namespace": worker.namespace, "uid": worker.uid}
            usage = _usage(found.cpu_usage_ns, found.memory_usage_bytes, found.memory_working_set_bytes, now)
            shown.append({"podRef": reference, "startTime": times.rfc3339(worker.memory.started_at), **usage})
    whole: Object = {"nodeName": node.settings.node_name}
    total = node.cgroups.usage("/")
    if total is not None:
        whole.update(_usage(total.cpu_usage_ns, total.memory_usage_bytes, total.memory_working_set_bytes, now))
    return {"node": whole, "pods": shown}
