"""Tables of the group certificates.k8s.io.

Enters: objects and the time.
Leaves: cells.
Next: tables.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api import times
from edgekube.api.objects import Object
from edgekube.api.tables.columns import AGE, NAME, Table, age, listed, name, part, section, text


def _condition(request: Object) -> str:
    types = {held.get("type") for held in listed(request, "status", "conditions")}
    words = ["Denied" if "Denied" in types else "Approved" if "Approved" in types else "Pending"]
    if "Failed" in types:
        words.append("Failed")
    if part(request, "status", "certificate"):
        words.append("Issued")
    return ",".join(words)


def _signing_request(request: Object, now: float) -> list[Any]:
    spec = section(request, "spec")
    seconds = spec.get("expirationSeconds")
    return [
        name(request),
        age(request, now),
        spec.get("signerName") or "<none>",
        spec.get("username") or "",
        "<none>" if seconds is None else times.age(seconds),
        _condition(request),
    ]


TABLES: Final[dict[str, Table]] = {
    "CertificateSigningRequest": Table(
        (
            NAME,
            AGE,
            text("SignerName", "Who is asked to sign."),
            text("Requestor", "Who asked."),
            text("RequestedDuration", "How long the certificate should be valid."),
            text("Condition", "What became of it."),
        ),
        _signing_request,
    )
}
