"""authorizer: may the user of the request do something else as well?

Enters: an Authorizer that the caller made from a function which decides.
Leaves: checks that are built step by step, and decisions.
Bound: a check costs 350,000, so an expression has two of them.
Source: Kubernetes' CEL authorizer library.
Next: the caller (admission policies, match conditions).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from edgekube.api import names
from edgekube.api.cel.errors import EvaluationError, no_such_overload
from edgekube.api.cel.types import Type

_AUTHORIZER: Final = "kubernetes.authorization.Authorizer"
_PATH: Final = "kubernetes.authorization.PathCheck"
_GROUP: Final = "kubernetes.authorization.GroupCheck"
_RESOURCE: Final = "kubernetes.authorization.ResourceCheck"
_DECISION: Final = "kubernetes.authorization.Decision"
DECLARATIONS: Final = f"""
authorizer_path {_AUTHORIZER}.path(string) -> {_PATH}
authorizer_group {_AUTHORIZER}.group(string) -> {_GROUP}
authorizer_serviceaccount {_AUTHORIZER}.serviceAccount(string, string) -> {_AUTHORIZER}
groupcheck_resource {_GROUP}.resource(string) -> {_RESOURCE}
resourcecheck_subresource {_RESOURCE}.subresource(string) -> {_RESOURCE}
resourcecheck_namespace {_RESOURCE}.namespace(string) -> {_RESOURCE}
resourcecheck_name {_RESOURCE}.name(string) -> {_RESOURCE}
authorizer_fieldselector {_RESOURCE}.fieldSelector(string) -> {_RESOURCE}
authorizer_labelselector {_RESOURCE}.labelSelector(string) -> {_RESOURCE}
pathcheck_check {_PATH}.check(string) -> {_DECISION}
resourcecheck_check {_RESOURCE}.check(string) -> {_DECISION}
decision_errored {_DECISION}.errored() -> bool
decision_error {_DECISION}.error() -> string
decision_allowed {_DECISION}.allowed() -> bool
decision_reason {_DECISION}.reason() -> string
"""


#: The type of the variable ``authorizer``, and of ``authorizer.requestResource``.
AUTHORIZER: Final = Type("struct", _AUTHORIZER)
RESOURCE_CHECK: Final = Type("struct", _RESOURCE)


class Question(Struct, frozen=True):
    """What is asked: ``path`` for a path, else a resource. ``user`` is "" for the user of the request, or a service account's
    name.
    """

    verb: str = ""
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: str = ""
    label_selector: str = ""
    user: str = ""


class Answer(NamedTuple):
    allowed: bool
    reason: str = ""
    error: str = ""


Ask = Callable[[Question], Answer]


class _Check:
    __slots__ = ("ask", "question")
    type_name = _AUTHORIZER
    equality_cost_is_one: Final = True

    def __init__(self, ask: Ask, question: Question | None = None) -> None:
        self.ask: Final = ask
        self.question: Final = question if question is not None else Question()


class Authorizer(_Check):
    __slots__ = ()


class _PathCheck(_Check):
    __slots__ = ()
    type_name = _PATH


class _GroupCheck(_Check):
    __slots__ = ()
    type_name = _GROUP


class ResourceCheck(_Check):
    """``authorizer.requestResource`` is one that the caller fills in."""

    __slots__ = ()
    type_name = _RESOURCE


class _Decision:
    __slots__ = ("answer",)
    type_name: Final = _DECISION
    equality_cost_is_one: Final = True

    def __init__(self, answer: Answer) -> None:
        self.answer: Final = answer


def _path(check: Any, path: Any) -> _PathCheck:
    if not isinstance(check, Authorizer) or type(path) is not str:
        raise no_such_overload()
    if not path.strip():
        raise EvaluationError("path must not be empty")
    return _PathCheck(check.ask, replace(check.question, path=path))


def _group(check: Any, group: Any) -> _GroupCheck:
    if not isinstance(check, Authorizer) or type(group) is not str:
        raise no_such_overload()
    return _GroupCheck(check.ask, replace(check.question, group=group))


def _service_account(check: Any, namespace: Any, name: Any) -> Authorizer:
    if not isinstance(check, Authorizer) or type(namespace) is not str or type(name) is not str:
        raise no_such_overload()
    if names.dns1123_subdomain(name):
        raise EvaluationError("Invalid service account name")
    if names.dns1123_label(namespace):
        raise EvaluationError("Invalid service account namespace")
    return Authorizer(check.ask, replace(check.question, user=f"system:serviceaccount:{namespace}:{name}"))


def _resource(check: Any, resource: Any) -> ResourceCheck:
    if not isinstance(check, _GroupCheck) or type(resource) is not str:
        raise no_such_overload()
    if not resource.strip():
        raise EvaluationError("resource must not be empty")
    return ResourceCheck(check.ask, replace(check.question, resource=resource))


def _narrowed(part: str) -> Callable[[Any, Any], ResourceCheck]:
    def function(check: Any, value: Any) -> ResourceCheck:
        if not isinstance(check, ResourceCheck) or type(value) is not str:
            raise no_such_overload()
        return ResourceCheck(check.ask, replace(check.question, **{part: value}))

    return function


def _ask(check: Any, verb: Any) -> _Decision:
    if not isinstance(check, (ResourceCheck, _PathCheck)) or type(verb) is not str:
        raise no_such_overload()
    return _Decision(check.ask(replace(check.question, verb=verb)))


def _of_decision(take: Callable[[Answer], Any]) -> Callable[[Any], Any]:
    def function(decision: Any) -> Any:
        if not isinstance(decision, _Decision):
            raise no_such_overload()
        return take(decision.answer)

    return function


IMPLEMENTATIONS: Final[dict[str, Callable[..., Any]]] = {
    "path": _path,
    "group": _group,
    "serviceAccount": _service_account,
    "resource": _resource,
    "subresource": _narrowed("subresource"),
    "namespace": _narrowed("namespace"),
    "name": _narrowed("name"),
    "fieldSelector": _narrowed("field_selector"),
    "labelSelector": _narrowed("label_selector"),
    "check": _ask,
    "errored": _of_decision(lambda answer: bool(answer.error)),
    "error": _of_decision(lambda answer: answer.error),
    "allowed": _of_decision(lambda answer: answer.allowed),
    "reason": _of_decision(lambda answer: answer.reason),
}
