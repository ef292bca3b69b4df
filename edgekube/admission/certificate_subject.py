"""No certificate for the API's all-powerful group is asked for through a signing request.

Enters: a CertificateSigningRequest that is about to be created.
Leaves: nothing, or StatusError Forbidden.
Holds: pure; a request that cannot be read is left to its signer (source: k8s.io/kubernetes plugin/pkg/admission/certificates/
subjectrestriction).
Next: registry.admit.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from edgekube.api import errors
from edgekube.api.objects import Object, name_of
from edgekube.pki.requests import RequestUnreadable, parse_request

_SIGNER: Final = "kubernetes.io/kube-apiserver-client"
_MASTERS: Final = "system:masters"


def admit(request: Object) -> None:
    spec = request.get("spec") or {}
    if spec.get("signerName") != _SIGNER:
        return
    try:
        requested = parse_request(base64.b64decode(str(spec.get("request") or "")).decode("ascii"))
    except (RequestUnreadable, binascii.Error, UnicodeDecodeError):
        return
    if _MASTERS in requested.organizations:
        why = f"use of {_SIGNER} signer with {_MASTERS} group is not allowed"
        raise errors.forbidden("certificates.k8s.io", "certificatesigningrequests", name_of(request), why)
