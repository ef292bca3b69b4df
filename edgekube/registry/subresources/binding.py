"""binding: put a pod on a node.

Enters: a Binding, from the scheduler.
Leaves: the pod with spec.nodeName and PodScheduled=True; a Status.
Holds: a pod is bound once; one that goes or waits for gates is not (source: k8s.io/kubernetes pkg/registry/core/pod/storage,
BindingREST).
Next: registry.writing.
"""

from __future__ import annotations

from typing import Final

import orjson

from edgekube.admission.request import AdmissionRequest
from edgekube.api import errors
from edgekube.api.errors import Cause
from edgekube.api.kinds import POD, Kind
from edgekube.api.objects import Object, metadata_of
from edgekube.registry import gate, identity, writing
from edgekube.registry.context import Context
from edgekube.registry.faults import as_status
from edgekube.registry.get import stored
from edgekube.registry.state import Registry
from edgekube.store.protocol import Key, RevisionConflict, StoreError

_ATTEMPTS_MAX: Final = 5
BINDING: Final = Kind("", "v1", "Binding", "bindings", verbs=())
SUCCESS: Final[Object] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def _target(binding: Object, name: str) -> str:
    target = binding.get("target") or {}
    if target.get("kind") not in (None, "", "Node"):
        why = f'Unsupported value: "{target["kind"]}": supported values: "Node", "<empty>"'
        raise errors.invalid("", "Binding", name, [Cause("FieldValueNotSupported", why, "target.kind")])
    if not target.get("name"):
        raise errors.invalid("", "Binding", name, [Cause("FieldValueRequired", "Required value", "target.name")])
    return str(target["name"])


async def bind(
    registry: Registry, namespace: str, name: str, binding: Object, context: Context, request: AdmissionRequest
) -> Object:
    """The Status of a bound pod. StatusError NotFound, or Conflict when the pod cannot be bound."""
    node_name = _target(binding, name)
    await gate.validate(registry, request)
    key = Key(POD.resource, namespace, name)
    for _ in range(_ATTEMPTS_MAX):
        record = await stored(registry, POD, namespace, name)
        pod: Object = orjson.loads(record.value)
        _check(pod, name, binding)
        _assign(pod, node_name, binding, registry.now())
        try:
            await writing.update(registry, POD, key, pod, record.revision, context)
        except RevisionConflict:
            continue
        except StoreError as error:
            raise as_status(error, POD, name) from error
        return SUCCESS
    raise errors.conflict("", "pods/binding", name)


def _check(pod: Object, name: str, binding: Object) -> None:
    spec = pod.get("spec") or {}
    wanted = metadata_of(binding)
    identity.check_uid(POD, name, binding, pod)
    given, revision = wanted.get("resourceVersion"), metadata_of(pod).get("resourceVersion", "")
    if given and given != revision:
        why = f"Precondition failed: ResourceVersion in precondition: {given}, ResourceVersion in object meta: {revision}"
        raise errors.conflict("", POD.plural, name, why)
    if metadata_of(pod).get("deletionTimestamp"):
        raise errors.conflict("", "pods/binding", name, f"pod {name} is being deleted, cannot be assigned to a host")
    if spec.get("nodeName"):
        raise errors.conflict("", "pods/binding", name, f'pod {name} is already assigned to node "{spec["nodeName"]}"')
    if spec.get("schedulingGates"):
        raise errors.conflict("", "pods/binding", name, f"pod {name} has non-empty .spec.schedulingGates")


def _assign(pod: Object, node_name: str, binding: Object, now: str) -> None:
    metadata, wanted = metadata_of(pod), metadata_of(binding)
    pod["spec"]["nodeName"] = node_name
    for key in ("annotations", "labels"):
        if wanted.get(key):
            metadata[key] = {**(metadata.get(key) or {}), **wanted[key]}
    status = pod.setdefault("status", {})
    others = [condition for condition in status.get("conditions") or [] if condition.get("type") != "PodScheduled"]
    scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now}
    status["conditions"] = [*others, scheduled]
    status.pop("nominatedNodeName", None)
