"""Every namespace has a ConfigMap kube-root-ca.crt with the cluster's CA, for pods to trust the API by.

Enters: namespaces, these ConfigMaps, and what the CA certificates are now.
Leaves: the ConfigMap where it is missing or different.
Holds: a namespace on its way out gets nothing; only ConfigMaps of this name are watched.
Source: kubernetes.io/docs/concepts/security/service-accounts; KEP-1205.
Next: agent (projected volumes). What is there already is changed by reconcile.root_ca when an authority comes or goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from edgekube.api.calls import Call, Create, Update
from edgekube.api.controller import Change, Controller, Key, Moment, itself
from edgekube.api.kinds import CONFIGMAP, NAMESPACE
from edgekube.api.objects import is_deleting
from edgekube.api.verbs import ListOptions
from edgekube.api.view import View

NAME: Final = "kube-root-ca.crt"
_DESCRIPTION: Final = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal "
    "service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."
)


def plan(root_ca: Callable[[], str], view: View, key: Key, now: Moment) -> list[Call]:
    namespace = view.get(NAMESPACE, "", key.name)
    if namespace is None or is_deleting(namespace):
        return []
    configmap = view.get(CONFIGMAP, key.name, NAME)
    data = {"ca.crt": root_ca()}
    if configmap is None:
        metadata = {"name": NAME, "namespace": key.name, "annotations": {"kubernetes.io/description": _DESCRIPTION}}
        return [Create(CONFIGMAP, key.name, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})]
    if configmap.get("data") == data or is_deleting(configmap):
        return []
    return [Update(CONFIGMAP, {**configmap, "data": data})]


def _namespace_of(change: Change, view: View) -> Iterable[Key]:
    return (Key("", change.key.namespace),) if change.key.name == NAME else ()


def controller(root_ca: Callable[[], str]) -> Controller:
    return Controller(
        name="root-ca-certificate-publisher-controller",
        watches=((NAMESPACE, itself), (CONFIGMAP, _namespace_of)),
        plan=partial(plan, root_ca),
        selections=((CONFIGMAP, ListOptions(field_selector=f"metadata.name={NAME}")),),
    )
