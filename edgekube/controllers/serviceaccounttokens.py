"""Secrets of type kubernetes.io/service-account-token get a token, the cluster's authority and their namespace.

Enters: these Secrets, service accounts, and how a token is made.
Leaves: what the Secret lacks; the deletion of one whose account is gone or another one.
Holds: a token that is good stays. An account that comes with its Secret in one manifest is waited for.
Source: k8s.io/kubernetes pkg/controller/serviceaccount (tokens_controller.go).
Next: server.other_tokens verifies.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, Protocol

from edgekube.api import times
from edgekube.api.calls import Call, Delete, Later, Update
from edgekube.api.controller import Change, Controller, Key, Moment, itself, key_of
from edgekube.api.kinds import SECRET, SERVICEACCOUNT
from edgekube.api.objects import Object, annotations_of, is_deleting, name_of, uid_of
from edgekube.api.verbs import DeleteOptions, ListOptions
from edgekube.api.view import View
from edgekube.pki.legacy_tokens import LegacyAccount

TYPE: Final = "kubernetes.io/service-account-token"
_NAME: Final = "kubernetes.io/service-account.name"
_UID: Final = "kubernetes.io/service-account.uid"
_WAIT_SECONDS: Final = 10.0


class Signer(Protocol):
    """pki.legacy_tokens.LegacyTokens."""

    def issue(self, account: LegacyAccount) -> str: ...

    def believes(self, token: str, account: LegacyAccount) -> bool: ...


def plan(signer: Signer, root_ca: Callable[[], str], view: View, key: Key, now: Moment) -> list[Call]:
    secret = view.get(SECRET, key.namespace, key.name)
    if secret is None or is_deleting(secret) or secret.get("type") != TYPE:
        return []
    named = annotations_of(secret)
    account = view.get(SERVICEACCOUNT, key.namespace, named.get(_NAME, ""))
    if account is None or (named.get(_UID) or uid_of(account)) != uid_of(account):
        return _without_account(secret, key, now)
    wanted = LegacyAccount(key.namespace, name_of(account), uid_of(account), key.name)
    data: Object = dict(secret.get("data") or {})
    if not signer.believes(_text(data.get("token")), wanted):
        data["token"] = _encoded(signer.issue(wanted))
    data |= {"ca.crt": _encoded(root_ca()), "namespace": _encoded(key.namespace)}
    if data == secret.get("data") and named.get(_UID):
        return []
    metadata = {**secret["metadata"], "annotations": {**named, _UID: uid_of(account)}}
    return [Update(SECRET, {**secret, "metadata": metadata, "data": data})]


def _without_account(secret: Object, key: Key, now: Moment) -> list[Call]:
    made = times.parse(secret["metadata"]["creationTimestamp"])
    wait = made + _WAIT_SECONDS - now.wall_seconds
    if wait > 0 and not annotations_of(secret).get(_UID):
        return [Later(wait)]
    return [Delete(SECRET, key.namespace, key.name, DeleteOptions(precondition_uid=uid_of(secret)))]


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _text(value: str | None) -> str:
    try:
        return base64.b64decode(value or "", validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _of_account(change: Change, view: View) -> Iterable[Key]:
    for secret in view.list(SECRET, change.key.namespace):
        if annotations_of(secret).get(_NAME) == change.key.name:
            yield key_of(secret)


def controller(signer: Signer, root_ca: Callable[[], str]) -> Controller:
    return Controller(
        name="serviceaccount-token-controller",
        watches=((SECRET, itself), (SERVICEACCOUNT, _of_account)),
        plan=partial(plan, signer, root_ca),
        selections=((SECRET, ListOptions(field_selector=f"type={TYPE}")),),
    )
