"""Every namespace has a ServiceAccount "default", for pods that name none.

Enters: namespaces and their ServiceAccounts.
Leaves: the missing ones.
Holds: a namespace on its way out gets nothing.
Source: kubernetes.io/docs/concepts/security/service-accounts (default service accounts).
Next: admission.service_account.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edgekube.api.calls import Call, Create
from edgekube.api.controller import Change, Controller, Key, Moment, itself
from edgekube.api.kinds import NAMESPACE, SERVICEACCOUNT
from edgekube.api.objects import is_deleting
from edgekube.api.view import View

DEFAULT: Final = "default"


def plan(view: View, key: Key, now: Moment) -> list[Call]:
    namespace = view.get(NAMESPACE, "", key.name)
    if namespace is None or is_deleting(namespace) or view.get(SERVICEACCOUNT, key.name, DEFAULT) is not None:
        return []
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": DEFAULT, "namespace": key.name}}
    return [Create(SERVICEACCOUNT, key.name, account)]


def _namespace_of_default(change: Change, view: View) -> Iterable[Key]:
    return (Key("", change.key.namespace),) if change.key.name == DEFAULT else ()


SERVICEACCOUNT_CONTROLLER: Final = Controller(
    name="serviceaccount-controller",
    watches=((NAMESPACE, itself), (SERVICEACCOUNT, _namespace_of_default)),
    plan=plan,
)
