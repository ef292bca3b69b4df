"""The admission chain: every write and every connection passes here, whoever makes it.

Enters: an AdmissionRequest from a verb.
Leaves: the object as the mutating chain leaves it; the StatusError that refuses.
Holds: the order is upstream's. ``mutate`` runs after defaults and before the strategy; ``validate`` after the strategy and the
validation of values, before the store. A plugin is asked ``wants`` first, which costs next to nothing where nothing is
configured (source: k8s.io/kubernetes pkg/kubeapiserver/options/plugins.go;
k8s.io/apiserver pkg/admission/reinvocation.go).
Next: the plugins below; registry.create, registry.replace, registry.delete, registry.local and server.connecting call.
"""

from __future__ import annotations

from typing import Final, Protocol

from edgekube.admission.request import CONNECT, CREATE, DELETE, UPDATE, AdmissionRequest
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.registry import accounts, admit, lifecycle, pod_security, quotas, restrict
from edgekube.registry.context import Context
from edgekube.registry.limit_ranges import BOUNDING, FILLING
from edgekube.registry.policies import mutating as mutating_policies
from edgekube.registry.policies import validating as validating_policies
from edgekube.registry.resizing import GROWING, PLACED
from edgekube.registry.state import Registry
from edgekube.registry.webhook_plugin import MUTATING_HOOKS, VALIDATING_HOOKS


class Plugin(Protocol):
    """A module of the registry. A mutating one may change ``request.object``; a validating one only refuses."""

    def wants(self, registry: Registry, request: AdmissionRequest) -> bool:
        """Cheap, and asked before the objects are there: by resource, operation and user."""
        ...

    async def admit(self, registry: Registry, request: AdmissionRequest) -> None: ...


_MUTATING: Final[tuple[Plugin, ...]] = (lifecycle, FILLING, restrict, admit, PLACED, mutating_policies, MUTATING_HOOKS)
#: Quotas are the last: what they charge is given back only where the store refuses (registry.quotas.Outcome).
_VALIDATING: Final[tuple[Plugin, ...]] = (
    BOUNDING,
    accounts,
    pod_security,
    GROWING,
    validating_policies,
    VALIDATING_HOOKS,
    quotas,
)

_OPTIONS: Final = {CREATE: "CreateOptions", UPDATE: "UpdateOptions", DELETE: "DeleteOptions"}


def request_of(
    operation: str,
    kind: Kind,
    namespace: str,
    name: str,
    context: Context,
    obj: Object | None,
    old: Object | None = None,
    *,
    subresource: str = "",
    body_kind: Kind | None = None,
    options: Object | None = None,
) -> AdmissionRequest:
    """``options`` default to what the context says of the write."""
    if kind.resource == "namespaces":
        namespace = name
    if options is None and operation != CONNECT:
        options = {"kind": _OPTIONS[operation], "apiVersion": "meta.k8s.io/v1"}
        if context.dry_run:
            options["dryRun"] = ["All"]
        if context.options:
            options |= context.options
    return AdmissionRequest(
        operation,
        kind,
        namespace,
        name,
        context.user,
        obj,
        old,
        subresource,
        context.dry_run,
        options,
        body_kind,
        context.trusted,
        context.foundation,
        warnings=context.warnings,
        annotations=context.annotations,
    )


async def mutate(registry: Registry, request: AdmissionRequest) -> Object:
    """The object, perhaps another one; see ``request.mutated``."""
    await _run(registry, request, _MUTATING)
    if request.reinvoke:
        request.reinvoked = True
        await _run(registry, request, _MUTATING)
    return request.object if request.object is not None else {}


def validates(registry: Registry, request: AdmissionRequest) -> bool:
    """Whether any plugin would look: else the object need not be put into the version that was asked for."""
    return _wanted(registry, request, _VALIDATING)


async def validate(registry: Registry, request: AdmissionRequest) -> None:
    await _run(registry, request, _VALIDATING)


def _wanted(registry: Registry, request: AdmissionRequest, plugins: tuple[Plugin, ...]) -> bool:
    for plugin in plugins:  # noqa: SIM110 - each write passes here: a generator would cost half as much again
        if plugin.wants(registry, request):
            return True
    return False


async def _run(registry: Registry, request: AdmissionRequest, plugins: tuple[Plugin, ...]) -> None:
    for plugin in plugins:
        if plugin.wants(registry, request):
            await plugin.admit(registry, request)


def concerns(registry: Registry, request: AdmissionRequest) -> bool:
    """Whether any plugin at all would look."""
    return _wanted(registry, request, _MUTATING) or validates(registry, request)


async def both(registry: Registry, request: AdmissionRequest) -> None:
    """Where nothing stands between the two: deletions and connections."""
    await mutate(registry, request)
    await validate(registry, request)
