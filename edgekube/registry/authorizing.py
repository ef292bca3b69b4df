"""The authorizer as expressions ask it: may somebody do something else, asked in the middle of an admission.

Enters: an AdmissionRequest; questions of its expressions.
Leaves: values for ``authorizer`` and ``authorizer.requestResource``.
Holds: the same question is answered once in a request. A registry without an authorizer allows nothing: it says that it cannot
know.
Next: api.cel.library.authz asks; admission.chain answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from edgekube.admission.attributes import Attributes
from edgekube.admission.request import AdmissionRequest
from edgekube.api.cel.library.authz import Answer, Authorizer, Question, ResourceCheck
from edgekube.api.selectors.fields import pinned_fields
from edgekube.api.verbs import UserInfo
from edgekube.registry.state import Registry

_ACCOUNT: Final = "system:serviceaccount:"


def _user(request: AdmissionRequest, question: Question) -> UserInfo:
    if not question.user:
        return request.user
    namespace = question.user.removeprefix(_ACCOUNT).partition(":")[0]
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    return UserInfo(question.user, groups=groups)


def _attributes(request: AdmissionRequest, question: Question) -> Attributes:
    user = _user(request, question)
    if question.path:
        return Attributes(user, question.verb, path=question.path)
    return Attributes(
        user,
        question.verb,
        group=question.group,
        version="*",
        resource=question.resource,
        subresource=question.subresource,
        namespace=question.namespace,
        name=question.name,
        fields=pinned_fields(question.field_selector) if question.field_selector else (),
    )


def _asker(registry: Registry, request: AdmissionRequest) -> Callable[[Question], Answer]:
    answers: dict[Question, Answer] = {}

    def ask(question: Question) -> Answer:
        if not trio.lowlevel.in_trio_run():  # a heavy expression, in a thread of its own
            return trio.from_thread.run_sync(ask, question)
        if registry.authorizer is None:
            return Answer(False, error="no authorizer")
        if question not in answers:
            decision = registry.authorizer.authorize(_attributes(request, question))
            answers[question] = Answer(decision.allowed, decision.reason)
        return answers[question]

    return ask


def variables(registry: Registry, request: AdmissionRequest) -> tuple[Authorizer, ResourceCheck]:
    ask = _asker(registry, request)
    own = Question(
        group=request.kind.group,
        resource=request.kind.plural,
        subresource=request.subresource,
        namespace=request.namespace,
        name=request.name,
    )
    return Authorizer(ask), ResourceCheck(ask, own)
