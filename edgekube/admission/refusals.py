"""How somebody is told that he may not.

Enters: what was asked, and the reason that authorization gave.
Leaves: StatusError Forbidden, in upstream's words.
Holds: pure (source: k8s.io/apiserver pkg/endpoints/handlers/responsewriters).
Next: server.app, admission.impersonation.
"""

from __future__ import annotations

from edgekube.admission.attributes import Attributes
from edgekube.api import errors
from edgekube.api.errors import StatusError


def refusal_of(attributes: Attributes, reason: str = "") -> StatusError:
    user = attributes.user.name
    if not attributes.resource:
        why = f'User "{user}" cannot {attributes.verb} path "{attributes.path}"'
        return errors.forbidden("", "", "", f"{why}: {reason}" if reason else why)
    resource = f"{attributes.resource}/{attributes.subresource}" if attributes.subresource else attributes.resource
    place = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    why = f'User "{user}" cannot {attributes.verb} resource "{resource}" in API group "{attributes.group}" {place}'
    return errors.forbidden(attributes.group, attributes.resource, attributes.name, f"{why}: {reason}" if reason else why)
