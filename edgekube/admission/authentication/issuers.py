"""Who issues tokens: its URL, how its keys are found, for whom its tokens are.

Enters: the field ``issuer`` of a provider.
Leaves: causes appended to ``out``.
Source: k8s.io/apiserver pkg/apis/apiserver/validation (validateIssuer).
Next: admission.authentication.configuration.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.fields import Out, text, texts

_PEM: Final = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_MATCH_ANY: Final = "MatchAny"


def check_issuer(out: Out, issuer: Object, path: str, disallowed: frozenset[str]) -> None:
    url, discovery = text(issuer, "url"), text(issuer, "discoveryURL")
    if not url:
        out.append(causes.required(f"{path}.url"))
    else:
        _check_url(out, url, f"{path}.url", disallowed)
    if discovery:
        if url and url.rstrip("/") == discovery.rstrip("/"):
            out.append(causes.invalid(f"{path}.discoveryURL", discovery, "discoveryURL must be different from URL"))
        _check_url(out, discovery, f"{path}.discoveryURL", frozenset())
    _check_audiences(out, issuer, path)
    authority = text(issuer, "certificateAuthority")
    if authority and not _PEM.search(authority):
        detail = "data does not contain any valid RSA or ECDSA certificates"
        out.append(causes.invalid(f"{path}.certificateAuthority", "<omitted>", detail))
    if issuer.get("egressSelectorType"):
        detail = "egress selectors are not here: the server asks issuers itself"
        out.append(causes.invalid(f"{path}.egressSelectorType", issuer["egressSelectorType"], detail))


def _check_url(out: Out, url: str, path: str, disallowed: frozenset[str]) -> None:
    if url in disallowed:
        shown = " ".join(sorted(disallowed))
        out.append(causes.invalid(path, url, f"URL must not overlap with disallowed issuers: [{shown}]"))
    try:
        parts = urlsplit(url)
    except ValueError as error:
        out.append(causes.invalid(path, url, str(error)))
        return
    for wrong, detail in (
        (parts.scheme != "https", "URL scheme must be https"),
        ("@" in parts.netloc, "URL must not contain a username or password"),
        (bool(parts.query), "URL must not contain a query"),
        (bool(parts.fragment), "URL must not contain a fragment"),
    ):
        if wrong:
            out.append(causes.invalid(path, url, detail))


def _check_audiences(out: Out, issuer: Object, path: str) -> None:
    audiences, policy = texts(issuer, "audiences"), text(issuer, "audienceMatchPolicy")
    where = f"{path}.audiences"
    if not audiences:
        out.append(causes.required(where, f"at least one {where} is required"))
        return
    seen: set[str] = set()
    for i, audience in enumerate(audiences):
        if not audience:
            out.append(causes.required(f"{where}[{i}]"))
        if audience in seen:
            out.append(causes.duplicate(f"{where}[{i}]", audience))
        seen.add(audience)
    if len(audiences) > 1 and policy != _MATCH_ANY:
        detail = "audienceMatchPolicy must be MatchAny for multiple audiences"
        out.append(causes.invalid(f"{path}.audienceMatchPolicy", policy, detail))
    if len(audiences) == 1 and policy not in ("", _MATCH_ANY):
        detail = "audienceMatchPolicy must be empty or MatchAny for single audience"
        out.append(causes.invalid(f"{path}.audienceMatchPolicy", policy, detail))
