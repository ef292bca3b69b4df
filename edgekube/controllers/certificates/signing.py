"""Approved requests for the built-in signers get their certificate, or the reason why not.

Enters: CertificateSigningRequests, and the function that signs.
Leaves: status.certificate, or the condition Failed.
Holds: only what is approved and not denied is signed, once; a request is for the time it names, at least
EXPIRATION_SECONDS_MIN, at most what the signer gives.
Source: as controllers.certificates.rules; KEP-2784 (expirationSeconds).
Next: the client that asked; controllers.certificates.cleaning.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from functools import partial
from typing import Final, Protocol

from edgekube.api import times
from edgekube.api.calls import Call, Update
from edgekube.api.controller import Controller, Key, Moment, itself
from edgekube.api.kinds import CERTIFICATESIGNINGREQUEST
from edgekube.api.objects import Object
from edgekube.api.view import View
from edgekube.controllers.certificates.rules import SIGNERS, refusal
from edgekube.pki.requests import Requested, RequestUnreadable, parse_request

EXPIRATION_SECONDS_MIN: Final = 600
#: Longest and default life of what the built-in signers sign; upstream's --cluster-signing-duration.
EXPIRATION_SECONDS_MAX: Final = 365 * 24 * 3600


class Sign(Protocol):
    def __call__(self, requested: Requested, usages: Iterable[str], wall_seconds: float, lifetime_seconds: int) -> bytes:
        """The certificate, as PEM."""
        ...


def plan(sign: Sign, view: View, key: Key, now: Moment) -> list[Call]:
    request = view.get(CERTIFICATESIGNINGREQUEST, "", key.name)
    if request is None or not _is_due(request):
        return []
    spec = request["spec"]
    usages = list(spec.get("usages") or ())
    try:
        requested = parse_request(base64.b64decode(spec["request"]).decode("ascii"))
        why = refusal(spec["signerName"], usages, requested)
    except (RequestUnreadable, binascii.Error, UnicodeDecodeError) as error:
        why = str(error)
    if why:
        return [_status(request, conditions=[*conditions_of(request), _failed(why, now.wall_seconds)])]
    certificate = sign(requested, usages, now.wall_seconds, _lifetime_seconds(spec.get("expirationSeconds")))
    return [_status(request, certificate=base64.b64encode(certificate).decode())]


def _is_due(request: Object) -> bool:
    types = {condition.get("type") for condition in conditions_of(request)}
    if "Approved" not in types or types & {"Denied", "Failed"}:
        return False
    return request["spec"].get("signerName") in SIGNERS and not (request.get("status") or {}).get("certificate")


def conditions_of(request: Object) -> list[Object]:
    return list((request.get("status") or {}).get("conditions") or ())


def _lifetime_seconds(asked: object) -> int:
    if not isinstance(asked, int):
        return EXPIRATION_SECONDS_MAX
    return max(EXPIRATION_SECONDS_MIN, min(asked, EXPIRATION_SECONDS_MAX))


def _failed(why: str, wall_seconds: float) -> Object:
    now = times.rfc3339(wall_seconds)
    return {
        "type": "Failed",
        "status": "True",
        "reason": "SignerValidationFailure",
        "message": why,
        "lastUpdateTime": now,
        "lastTransitionTime": now,
    }


def _status(request: Object, **changes: object) -> Call:
    status = {**(request.get("status") or {}), **changes}
    return Update(CERTIFICATESIGNINGREQUEST, {**request, "status": status}, subresource="status")


def controller(sign: Sign) -> Controller:
    return Controller(
        name="certificatesigningrequest-signing-controller",
        watches=((CERTIFICATESIGNINGREQUEST, itself),),
        plan=partial(plan, sign),
    )
