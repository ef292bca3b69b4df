"""MutatingAdmissionWebhook: webhooks asked one after the other, each seeing what those before it made of the object.

Enters: an AdmissionRequest.
Leaves: its object as their patches leave it, with defaults; the StatusError that refuses.
Holds: a patch is held against the object's shape, and defaults are filled in, before the next webhook sees it. Where one changed
something the whole mutating chain runs once more, and asks those again whose reinvocationPolicy says so (source:
k8s.io/apiserver pkg/admission/plugin/webhook/mutating/dispatcher.go).
Next: registry.webhook_calls.
"""

from __future__ import annotations

from typing import Final

import orjson

from edgekube.admission import webhook_review
from edgekube.admission.audit_policy import PATCH_ANNOTATIONS
from edgekube.admission.request import AdmissionRequest
from edgekube.admission.webhook_review import InvalidAnswer, Verdict
from edgekube.admission.webhooks import Hook, Reinvocation
from edgekube.api import errors, json_patch
from edgekube.api.errors import StatusError
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.registry import checks
from edgekube.registry.standing import MUTATING_WEBHOOKS
from edgekube.registry.state import Registry
from edgekube.registry.webhook_calls import Asking, failed_closed, tell_of_failing_open
from edgekube.registry.webhook_figures import ADMIT, CallingFailed, Counted

_PLUGIN: Final = "MutatingAdmissionWebhook"
_MUTATION: Final = "mutation.webhook.admission.k8s.io"


async def admit(registry: Registry, request: AdmissionRequest) -> None:
    again = request.memory.setdefault(_PLUGIN, Reinvocation())
    if request.reinvoked:
        again.second_run(_bytes(request.object))
    asking = Asking(registry, request, MUTATING_WEBHOOKS, ADMIT)
    given = request.kind
    for index, hook in enumerate(asking.hooks):
        kind = await asking.kind_for(hook)
        if kind is None or (request.reinvoked and not again.asks_again(hook)):
            continue
        obj = await asking.object_as(kind, given)
        if not await asking.meets_conditions(hook, kind, obj):
            continue
        request.object, given = obj, kind
        changed = await _ask(registry, request, asking, hook, kind, index)
        if changed:
            again.changed()
            request.mutated = request.reinvoke = True
        again.asked(hook)
    request.object = await asking.object_as(request.kind, given)
    again.left = _bytes(request.object)


def _bytes(obj: Object | None) -> bytes:
    return b"" if obj is None else orjson.dumps(obj, option=orjson.OPT_SORT_KEYS)


async def _ask(registry: Registry, request: AdmissionRequest, asking: Asking, hook: Hook, kind: Kind, index: int) -> bool:
    """Whether the webhook changed the object."""
    place = f"round_{int(request.reinvoked)}_index_{index}"
    changed = False
    try:
        with Counted(registry, request, hook, ADMIT):
            verdict = await asking.ask(hook, kind, request.object, mutating=True)
            made = _patched(registry, hook, kind, request, verdict, place)
        if made is not None:
            changed = made != request.object
            request.object = made
            if request.body_kind is None:
                checks.fill(registry, kind, made)
    except CallingFailed as error:
        if not hook.fails_open:
            raise failed_closed(hook, error) from error
        request.annotate(f"failed-open.{_MUTATION}/{place}", hook.name)
        tell_of_failing_open(hook, error)
    finally:
        said = {"configuration": hook.configuration, "webhook": hook.name, "mutated": changed}
        request.annotate(f"{_MUTATION}/{place}", orjson.dumps(said).decode())
    return changed


def _patched(
    registry: Registry, hook: Hook, kind: Kind, request: AdmissionRequest, verdict: Verdict, place: str
) -> Object | None:
    """Another object, and a note of the patch; None for no change. CallingFailed, StatusError InternalError."""
    if not verdict.patch:
        return None
    try:
        operations = webhook_review.operations_of(verdict.patch)
    except InvalidAnswer as error:
        raise CallingFailed(f"received undecodable patch in webhook response: {error}") from error
    if not operations:
        return None
    if request.object is None:
        why = f'admission webhook "{hook.name}" attempted to modify the object, which is not supported for this operation'
        raise errors.internal(why)
    if verdict.patch_type != webhook_review.JSON_PATCH:
        raise CallingFailed(f'unsupported patch type "{verdict.patch_type}"')
    try:
        made = json_patch.applied(orjson.loads(orjson.dumps(request.object)), operations)
        if request.body_kind is None:
            checks.shape_of_mutated(registry, kind, made)
    except json_patch.Fault as error:
        raise errors.internal(str(error)) from error
    except StatusError as error:
        raise errors.internal(error.message) from error
    said = {"configuration": hook.configuration, "webhook": hook.name, "patch": operations, "patchType": verdict.patch_type}
    request.annotate(f"{PATCH_ANNOTATIONS}{place}", orjson.dumps(said).decode())
    return made
