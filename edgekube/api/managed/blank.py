"""The object that a new one is compared with: what a type has before anything is said.

Enters: the Site of a whole object.
Leaves: a value with the structs that Kubernetes always writes, and null for the lists and maps that it does not leave out; so
that nobody comes to manage ``spec`` itself by creating something in it.
Holds: pure; made once for a type, and never changed.
Source: the v1.36 OpenAPI documents: a field with the default ``{}`` is a struct that is always there.
Next: registry.managing.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from edgekube.api.managed.sites import KEYED, MAP, SET, Site
from edgekube.api.objects import Object

#: Fields that are structs and no pointers to any, in whatever type they are ...
_ALWAYS_THERE: Final = frozenset({
    "acceptedNames", "backend", "clientConfig", "conditions", "current", "daemonEndpoints", "deprecatedSource",
    "describedObject", "devices", "involvedObject", "jobTemplate", "kubeletEndpoint", "lastState", "limitResponse",
    "loadBalancer", "metadata", "metric", "names", "nodeInfo", "podAffinityTerm", "podSelector", "pool", "port", "preference",
    "priorityLevelConfiguration", "regarding", "resources", "roleRef", "scaleTargetRef", "source", "spec", "state", "status",
    "strategy", "target", "template", "updateStrategy", "user", "userInfo",
})  # fmt: skip
#: ... but for these.
_POINTERS: Final = frozenset({
    ("WebhookConversion", "clientConfig"), ("NetworkPolicyPeer", "podSelector"), ("ContainerStatus", "resources"),
    ("PodSpec", "resources"), ("PodStatus", "resources"), ("CustomResourceSubresources", "status"),
    ("ReplicationControllerSpec", "template"), ("ContainerStatus", "user"), ("Subject", "user"),
})  # fmt: skip


@cache
def blank(site: Site) -> Object:
    made: Object = {}
    short = site.struct.rpartition(".")[2]
    for name in site.declared:
        inner = site.field(name)
        if inner is None:
            continue
        if inner.struct and inner.relation == MAP:
            if name in _ALWAYS_THERE and (short, name) not in _POINTERS:
                made[name] = blank(inner)
            elif name in site.node.required:
                made[name] = None
        elif inner.relation in (MAP, KEYED, SET) and name in site.node.required:
            made[name] = None
    return made
