"""Approve node certificates for those whom RBAC lets have them without a human.

Enters: CertificateSigningRequests of the signer kube-apiserver-client-kubelet; a function that answers as a SubjectAccessReview.
Leaves: the condition Approved; nothing for everybody else's, which wait for a human.
Holds: only a request that its signer would sign is approved; a node may renew its own name, a bootstrapper may ask for any.
Source: k8s.io/kubernetes pkg/controller/certificates/approver; kubernetes.io, TLS bootstrapping ("nodeclient", "selfnodeclient").
Next: controllers.certificates.signing.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from edgekube.api import times
from edgekube.api.calls import Call, Update
from edgekube.api.controller import Controller, Key, Moment, itself
from edgekube.api.kinds import CERTIFICATESIGNINGREQUEST
from edgekube.api.objects import Object
from edgekube.api.verbs import UserInfo
from edgekube.api.view import View
from edgekube.controllers.certificates.rules import NODE_CLIENT, refusal
from edgekube.controllers.certificates.signing import conditions_of
from edgekube.pki.requests import RequestUnreadable, parse_request

#: May this user create certificatesigningrequests/SUBRESOURCE?
MayCreate: TypeAlias = Callable[[UserInfo, str], bool]

_MESSAGES: Final = {
    "selfnodeclient": "Auto approving self kubelet client certificate after SubjectAccessReview.",
    "nodeclient": "Auto approving kubelet client certificate after SubjectAccessReview.",
}


def plan(may_create: MayCreate, view: View, key: Key, now: Moment) -> list[Call]:
    request = view.get(CERTIFICATESIGNINGREQUEST, "", key.name)
    if request is None or conditions_of(request) or request["spec"].get("signerName") != NODE_CLIENT:
        return []
    spec = request["spec"]
    try:
        requested = parse_request(base64.b64decode(spec["request"]).decode("ascii"))
    except (RequestUnreadable, binascii.Error, UnicodeDecodeError):
        return []
    if refusal(NODE_CLIENT, spec.get("usages") or (), requested):
        return []
    extra = {name: tuple(values) for name, values in (spec.get("extra") or {}).items()}
    user = UserInfo(str(spec.get("username") or ""), str(spec.get("uid") or ""), tuple(spec.get("groups") or ()), extra)
    if requested.common_name == user.name and may_create(user, "selfnodeclient"):
        return [approval(request, "AutoApproved", _MESSAGES["selfnodeclient"], now.wall_seconds)]
    if may_create(user, "nodeclient"):
        return [approval(request, "AutoApproved", _MESSAGES["nodeclient"], now.wall_seconds)]
    return []


def approval(request: Object, reason: str, message: str, wall_seconds: float) -> Update:
    """The call that approves."""
    now = times.rfc3339(wall_seconds)
    condition = {"type": "Approved", "status": "True", "reason": reason, "message": message, "lastUpdateTime": now}
    status = {**(request.get("status") or {}), "conditions": [*conditions_of(request), condition]}
    return Update(CERTIFICATESIGNINGREQUEST, {**request, "status": status}, subresource="approval")


def controller(may_create: MayCreate) -> Controller:
    return Controller(
        name="certificatesigningrequest-approving-controller",
        watches=((CERTIFICATESIGNINGREQUEST, itself),),
        plan=partial(plan, may_create),
    )
