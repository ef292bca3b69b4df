"""What a pod as a whole was given and has: status.allocatedResources and status.resources.

Enters: the pod as allocated, its memory.
Leaves: amounts as the API shows them; None when there are none.
Holds: pure. Where the pod itself names none, they are its containers' together.
Source: KEP-5419 (In-place Pod-level resources resize), component-helpers resource.PodRequests and PodLimits.
Next: agent.status.
"""

from __future__ import annotations

from decimal import Decimal

from edgekube.agent.allocation import as_allocated
from edgekube.agent.state import PodMemory
from edgekube.api import quantities
from edgekube.api.objects import Object, spec_of
from edgekube.api.pod_requests import pod_limits, pod_requests


def _text(name: str, amount: int) -> str:
    if name == "cpu":
        return quantities.text_of(Decimal(amount).scaleb(-3))
    return quantities.text_of(amount, "binary")


def _shown(amounts: dict[str, int], named: Object) -> Object:
    """As the pod itself writes them, where it does."""
    shown: Object = {}
    for name, amount in sorted(amounts.items()):
        own = named.get(name)
        text = _text(name, amount)
        shown[name] = own if own is not None and quantities.equal(own, text) else text
    return shown


def whole_requests(pod: Object) -> Object | None:
    own = (spec_of(pod).get("resources") or {}).get("requests") or {}
    return _shown(pod_requests(pod, held=False), own) or None


def whole_in_force(pod: Object, memory: PodMemory) -> Object | None:
    if memory.whole_in_force:
        spec = dict(spec_of(pod))
        pod = as_allocated({**pod, "spec": spec}, {"resources": memory.whole_in_force, "containers": {}})
    own: Object = spec_of(pod).get("resources") or {}
    found = {
        "requests": _shown(pod_requests(pod, held=False), own.get("requests") or {}),
        "limits": _shown(pod_limits(pod), own.get("limits") or {}),
    }
    return {side: amounts for side, amounts in found.items() if amounts} or None
