"""Several authorizers in a row: the first that allows decides.

Enters: Attributes.
Leaves: a Decision; a refusal carries what each had to say.
Holds: pure; nobody in the row can take back what another allows (source: k8s.io/apiserver authorization/union).
Next: admission.node_authorizer, admission.rbac.
"""

from __future__ import annotations

from edgekube.admission.attributes import Attributes, Authorizer, Decision


class Chain:
    def __init__(self, *authorizers: Authorizer) -> None:
        self._authorizers = authorizers

    def authorize(self, attributes: Attributes) -> Decision:
        reasons: list[str] = []
        for authorizer in self._authorizers:
            decision = authorizer.authorize(attributes)
            if decision.allowed:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(False, "\n".join(reasons))
