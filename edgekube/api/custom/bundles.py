"""Is a caBundle one that certificates can be checked with?

Enters: a base64 text, as clientConfig.caBundle has it.
Leaves: yes or no.
Holds: empty is good: then the system's own authorities are trusted. Whether a certificate can be trusted is TLS's to say.
Source: k8s.io/apiserver pkg/util/webhook (ValidateCABundle).
Next: api.custom.naming, api.custom.definition_rules.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from edgekube.api.objects import Object

UNREADABLE: Final = "unable to load root certificates: unable to parse bytes as PEM block"
_BLOCK: Final = re.compile(r"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----", re.ASCII)
_SEQUENCE: Final = b"\x30"


def is_good(bundle: str) -> bool:
    try:
        text = base64.b64decode(bundle, validate=True).decode("latin-1")
    except (binascii.Error, ValueError):
        return False
    return not text.strip() or any(_is_certificate(block) for block in _BLOCK.findall(text))


def _is_certificate(block: str) -> bool:
    try:
        return base64.b64decode("".join(block.split()), validate=True).startswith(_SEQUENCE)
    except (binascii.Error, ValueError):
        return False


def bundle_of(crd: Object) -> str:
    """The conversion webhook's, "" where there is none."""
    conversion = (crd.get("spec") or {}).get("conversion") or {}
    config = (conversion.get("webhook") or {}).get("clientConfig") or {}
    return str(config.get("caBundle") or "")
