"""The two plugins that ask webhooks, before anybody configured one: nothing of what they need is loaded until then.

Enters: an AdmissionRequest.
Leaves: what the real ones leave.
Holds: webhook configurations and policies are judged by no webhook; heartbeats of our own are nobody's business.
Next: registry.mutating_webhooks, registry.validating_webhooks.
"""

from __future__ import annotations

from typing import Final

from edgekube.admission.matching import is_exempt
from edgekube.admission.request import AdmissionRequest
from edgekube.registry.standing import MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS
from edgekube.registry.state import Registry


class _Hooks:
    def __init__(self, resource: str) -> None:
        self._resource = resource

    def wants(self, registry: Registry, request: AdmissionRequest) -> bool:
        return registry.standing.any(self._resource) and not request.is_own_business and not is_exempt(request.kind)

    async def admit(self, registry: Registry, request: AdmissionRequest) -> None:
        if self._resource == MUTATING_WEBHOOKS:
            from edgekube.registry import mutating_webhooks

            await mutating_webhooks.admit(registry, request)
        else:
            from edgekube.registry import validating_webhooks

            await validating_webhooks.admit(registry, request)


MUTATING_HOOKS: Final = _Hooks(MUTATING_WEBHOOKS)
VALIDATING_HOOKS: Final = _Hooks(VALIDATING_WEBHOOKS)
