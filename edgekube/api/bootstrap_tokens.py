"""Kubernetes' bootstrap tokens: Secrets of type bootstrap.kubernetes.io/token in kube-system.

Enters: a token as it is shown, the Secret that it names, the time.
Leaves: the groups of whoever shows it, or None when it opens nothing.
Holds: pure; secrets are compared in constant time; a time that cannot be read has passed.
Source: kubernetes.io, "Authenticating with Bootstrap Tokens"; k8s.io/kubernetes plugin/pkg/auth/authenticator/token/bootstrap.
Next: server.other_tokens, api.cluster_info; reconcile.cluster_info deletes what has expired.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import math
import re
from typing import Final, NamedTuple

from edgekube.api import times
from edgekube.api.objects import Object, is_deleting, name_of

NAMESPACE: Final = "kube-system"
TYPE: Final = "bootstrap.kubernetes.io/token"
USER_PREFIX: Final = "system:bootstrap:"
GROUP: Final = "system:bootstrappers"
_TOKEN: Final = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})", re.ASCII)
_EXTRA_GROUP: Final = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]", re.ASCII)


class Shown(NamedTuple):
    id: str
    secret: str

    @property
    def secret_name(self) -> str:
        return f"bootstrap-token-{self.id}"


def parse(token: str) -> Shown | None:
    """None: it has not the form of one."""
    match = _TOKEN.fullmatch(token)
    return Shown(match[1], match[2]) if match else None


def _value(secret: Object, key: str) -> str:
    try:
        return base64.b64decode(str((secret.get("data") or {}).get(key) or ""), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def expires_at(secret: Object) -> float:
    """Infinity: never."""
    text = _value(secret, "expiration")
    try:
        return times.parse(text) if text else math.inf
    except ValueError:
        return 0.0


def has_expired(secret: Object, now: float) -> bool:
    return now >= expires_at(secret)


def groups_of(shown: Shown, secret: Object, now: float) -> tuple[str, ...] | None:
    """``secret``: the Secret of that name."""
    good = hmac.compare_digest(_value(secret, "token-secret").encode(), shown.secret.encode())
    if not good or secret.get("type") != TYPE or is_deleting(secret) or _value(secret, "token-id") != shown.id:
        return None
    if has_expired(secret, now) or _value(secret, "usage-bootstrap-authentication") != "true":
        return None
    extra = [group.strip() for group in _value(secret, "auth-extra-groups").split(",") if group.strip()]
    if any(not _EXTRA_GROUP.fullmatch(group) for group in extra):
        return None
    return (*sorted({GROUP, *extra}),)


def signs(secret: Object, now: float) -> Shown | None:
    """The token with which kube-public/cluster-info is signed; None: it is not meant for that, or over."""
    token = parse(f"{_value(secret, 'token-id')}.{_value(secret, 'token-secret')}")
    if token is None or secret.get("type") != TYPE or is_deleting(secret) or has_expired(secret, now):
        return None
    if name_of(secret) != token.secret_name or _value(secret, "usage-bootstrap-signing") != "true":
        return None
    return token
