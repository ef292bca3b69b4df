"""ValidatingAdmissionWebhook: all webhooks that are meant are asked at once.

Enters: an AdmissionRequest whose object nobody changes any more.
Leaves: nothing, or the StatusError of the first webhook (in their order) that refuses.
Holds: every webhook is asked, whatever another says: a refusal does not keep the others from seeing the request (source:
k8s.io/apiserver pkg/admission/plugin/webhook/validating/dispatcher.go).
Next: registry.webhook_calls.
"""

from __future__ import annotations

from typing import Final

import trio

from edgekube.admission.request import AdmissionRequest
from edgekube.admission.webhooks import Hook
from edgekube.api.errors import StatusError
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.registry.standing import VALIDATING_WEBHOOKS
from edgekube.registry.state import Registry
from edgekube.registry.webhook_calls import Asking, failed_closed, tell_of_failing_open
from edgekube.registry.webhook_figures import VALIDATING, CallingFailed, Counted

_FAILED_OPEN: Final = "failed-open.validating.webhook.admission.k8s.io"


async def admit(registry: Registry, request: AdmissionRequest) -> None:
    asking = Asking(registry, request, VALIDATING_WEBHOOKS, VALIDATING)
    meant: list[tuple[Hook, Kind, Object | None]] = []
    for hook in asking.hooks:
        kind = await asking.kind_for(hook)
        if kind is None:
            continue
        obj = await asking.object_as(kind, request.kind)
        if await asking.meets_conditions(hook, kind, obj):
            meant.append((hook, kind, obj))
    refusals: dict[int, StatusError] = {}

    async def ask(index: int, hook: Hook, kind: Kind, obj: Object | None) -> None:
        try:
            with Counted(registry, request, hook, VALIDATING):
                await asking.ask(hook, kind, obj, mutating=False)
        except StatusError as error:
            refusals[index] = error
        except CallingFailed as error:
            if hook.fails_open:
                request.annotate(f"{_FAILED_OPEN}/round_0_index_{index}", hook.name)
                tell_of_failing_open(hook, error)
            else:
                refusals[index] = failed_closed(hook, error)

    if len(meant) == 1:
        await ask(0, *meant[0])
    elif meant:
        async with trio.open_nursery() as nursery:
            for index, one in enumerate(meant):
                nursery.start_soon(ask, index, *one)
    if refusals:
        raise refusals[min(refusals)]
