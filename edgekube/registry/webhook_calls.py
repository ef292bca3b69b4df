"""One request and the webhooks of a configuration: which of them are meant, and what one says.

Enters: an AdmissionRequest; Hooks in their order.
Leaves: the kind in whose terms a webhook is asked, or None; a Verdict; CallingFailed where failurePolicy decides what becomes of
it; the StatusError that refuses.
Holds: rules first, then selectors, then match conditions. The namespace is read once for a request, objects are converted once
for a version (source: k8s.io/apiserver pkg/admission/plugin/webhook/generic/webhook.go).
Next: registry.mutating_webhooks, registry.validating_webhooks; registry.webhook_client calls.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import orjson
import trio
from msgspec import Struct, field

from edgekube import limits
from edgekube.admission import webhook_review
from edgekube.admission.request import AdmissionRequest
from edgekube.admission.webhook_review import InvalidAnswer, Verdict
from edgekube.admission.webhooks import Hook, hooks_of
from edgekube.api import errors
from edgekube.api.errors import StatusError
from edgekube.api.kinds import NAMESPACE, Kind
from edgekube.api.objects import Object, labels_of
from edgekube.registry.equivalents import equivalents_of, in_terms_of
from edgekube.registry.state import Registry
from edgekube.registry.webhook_client import client_of
from edgekube.registry.webhook_faults import CallFailed
from edgekube.registry.webhook_figures import CallingFailed, count_exclusion

if TYPE_CHECKING:
    from edgekube.admission.policies.evaluation import Policy

#: Where a request remembers when its time is up.
_ENDS: Final = "webhooks end"

log = logging.getLogger("edgekube.registry")


class Configured(Struct):
    """All webhooks of a kind, and their match conditions once somebody asked for them."""

    hooks: tuple[Hook, ...]
    conditions: dict[str, Policy] = field(default_factory=dict)

    def conditions_of(self, hook: Hook) -> Policy:
        found = self.conditions.get(hook.uid)
        if found is None:
            from edgekube.admission.policies.evaluation import Policy

            conditions = [{"name": name, "expression": text} for name, text in hook.conditions]
            policy = {"failurePolicy": "Ignore" if hook.fails_open else "Fail", "matchConditions": conditions}
            found = self.conditions[hook.uid] = Policy({"spec": policy})
        return found


def configured(registry: Registry, resource: str) -> Configured:
    def make(raws: Iterator[bytes]) -> Configured:
        return Configured(hooks_of(orjson.loads(raw) for raw in raws))

    return registry.standing.made(resource, make)


class Asking:
    def __init__(self, registry: Registry, request: AdmissionRequest, resource: str, plugin: str) -> None:
        self._registry = registry
        self._request = request
        self._plugin = plugin
        self._configured = configured(registry, resource)
        self._equivalents = equivalents_of(registry)
        self._namespace: dict[str, str] | None = None
        self._old: dict[Kind, Object] = {}
        self._authorizer: tuple[Any, Any] | None = None

    @property
    def hooks(self) -> tuple[Hook, ...]:
        return self._configured.hooks

    async def kind_for(self, hook: Hook) -> Kind | None:
        """The kind as which the webhook is asked; None: it is not meant. StatusError NotFound, Forbidden."""
        request, constraints = self._request, hook.constraints
        kind = constraints.kind_for(request, self._equivalents)
        if kind is None or not constraints.selects_object(request):
            return None
        labels = await self._labels() if constraints.asks_namespace(request) else {}
        if not constraints.selects_namespace(request, labels):
            return None
        return kind

    async def meets_conditions(self, hook: Hook, kind: Kind, obj: Object | None) -> bool:
        """What its matchConditions say of the request. StatusError Forbidden when they say nothing, and failurePolicy is Fail."""
        if not hook.conditions:
            return True
        from edgekube.admission.policies import inputs
        from edgekube.registry import authorizing
        from edgekube.registry.policies.patience import patiently

        request = self._request
        if self._authorizer is None:
            self._authorizer = authorizing.variables(self._registry, request)
        asked = inputs.request_value(request, kind)
        values = inputs.values(obj, await self.old_as(kind), asked, None, None, *self._authorizer)
        matched = await patiently(self._configured.conditions_of(hook).matches, values)
        if matched.error:
            raise errors.forbidden(request.kind.group, request.kind.plural, request.name, matched.error)
        if not matched.matches:
            count_exclusion(self._registry, request, hook, self._plugin)
        return matched.matches

    async def _labels(self) -> dict[str, str]:
        if self._namespace is None:
            name = self._request.namespace or self._request.name
            found = await self._registry.find(NAMESPACE, "", name)
            if found is None:
                raise errors.not_found("", "namespaces", name)
            self._namespace = labels_of(found)
        return self._namespace

    async def object_as(self, kind: Kind, given: Kind) -> Object | None:
        obj = self._request.object
        if obj is None or kind == given or self._request.body_kind is not None:
            return obj
        return await self._converted(obj, given, kind)

    async def old_as(self, kind: Kind) -> Object | None:
        old = self._request.old_object
        if old is None or kind == self._request.kind or self._request.body_kind is not None:
            return old
        if kind not in self._old:
            self._old[kind] = await self._converted(old, self._request.kind, kind)
        return self._old[kind]

    def _seconds_left(self) -> float:
        """Of the time that all webhooks of a request may take together."""
        ends = self._request.memory.setdefault(_ENDS, trio.current_time() + limits.WEBHOOKS_OF_REQUEST_SECONDS)
        left: float = ends - trio.current_time()
        if left <= 0:
            raise StatusError("Timeout", "Timeout: request did not complete within requested timeout")
        return left

    async def _converted(self, obj: Object, given: Kind, wanted: Kind) -> Object:
        try:
            return await in_terms_of(self._registry, obj, given, wanted)
        except StatusError as error:
            raise errors.internal(error.message) from error

    async def ask(self, hook: Hook, kind: Kind, obj: Object | None, *, mutating: bool) -> Verdict:
        """An allowing verdict; its warnings and annotations are noted. CallingFailed; StatusError when the webhook refuses, or
        may not be asked on a dry run."""
        request = self._request
        hook.check_dry_run(dry_run=request.dry_run)
        uid = str(uuid.uuid4())
        old = await self.old_as(kind)
        try:
            version = webhook_review.version_for(hook.versions)
            body = webhook_review.review(request, kind, obj, old, uid=uid, version=version, dry_run=request.dry_run)
        except InvalidAnswer as error:
            raise CallingFailed(f"could not create admission objects: {error}", 400) from error
        try:
            seconds = min(hook.timeout_seconds, self._seconds_left())
            answer = await client_of(self._registry).call(hook.client_config, body, seconds)
        except CallFailed as error:
            raise CallingFailed(f"failed to call webhook: {error}", error.code) from error
        try:
            verdict = webhook_review.verdict_of(answer, uid=uid, version=version, mutating=mutating)
        except InvalidAnswer as error:
            raise CallingFailed(f"received invalid webhook response: {error}") from error
        for key, value in verdict.annotations.items():
            request.annotate(f"{hook.name}/{key}", value)
        for text in verdict.warnings:
            request.warn(text)
        if not verdict.allowed:
            raise webhook_review.refusal(hook.name, verdict.result)
        return verdict


def failed_closed(hook: Hook, error: CallingFailed) -> StatusError:
    quoted = json.dumps(hook.name, ensure_ascii=False)
    return errors.internal(f"failed calling webhook {quoted}: {error}")


def tell_of_failing_open(hook: Hook, error: CallingFailed) -> None:
    log.warning("webhook cannot be asked, failing open webhook=%s configuration=%s why=%s", hook.name, hook.configuration, error)
