"""Who may approve or sign for a signer: a permission of its own, besides the one to write the request.

Enters: who writes to the approval or status of a CertificateSigningRequest, and its signer's name.
Leaves: nothing, or StatusError Forbidden.
Holds: ``approve`` and ``sign`` are verbs on the resource signers, named DOMAIN/PATH or DOMAIN/* (source: k8s.io/kubernetes
plugin/pkg/admission/certificates approval and signing; kubernetes.io, Certificate Signing Requests, "Authorization").
Next: server.app.
"""

from __future__ import annotations

from typing import Final

from edgekube.admission.attributes import Attributes, Authorizer
from edgekube.api import errors
from edgekube.api.kinds import CERTIFICATESIGNINGREQUEST as KIND
from edgekube.api.verbs import UserInfo
from edgekube.registry.state import Registry

#: subresource -> the verb on signers
_VERBS: Final = {"approval": "approve", "status": "sign"}
_WRITES: Final = ("update", "patch")


def concerns(resource: str, subresource: str, verb: str) -> bool:
    return resource == KIND.plural and subresource in _VERBS and verb in _WRITES


async def check(registry: Registry, authorizer: Authorizer, user: UserInfo, name: str, subresource: str) -> None:
    request = await registry.find(KIND, "", name)
    if request is None:
        return  # the verb says NotFound
    signer = str((request.get("spec") or {}).get("signerName") or "")
    verb = _VERBS[subresource]
    for scope in (signer, f"{signer.partition('/')[0]}/*"):
        wanted = Attributes(user, verb, KIND.group, KIND.version, "signers", name=scope)
        if authorizer.authorize(wanted).allowed:
            return
    why = f'user not permitted to {verb} requests with signerName "{signer}"'
    raise errors.forbidden(KIND.group, KIND.plural, name, why)
