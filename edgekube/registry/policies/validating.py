"""ValidatingAdmissionPolicy: what a request would leave behind is held against every policy that is about it.

Enters: an AdmissionRequest, its object as it will be stored.
Leaves: nothing, warnings and audit annotations, or the StatusError of the first policy that denies.
Holds: all policies are asked, so that each can warn and annotate, before one of them refuses.
Source: k8s.io/apiserver pkg/admission/plugin/policy/validating/dispatcher.go.
Next: admission.policies.evaluation.
"""

from __future__ import annotations

import time

from edgekube.admission.policies.decisions import Collected, Decision, Denial, failure_annotation, refusal, warning
from edgekube.admission.request import AdmissionRequest
from edgekube.registry.policies import figures
from edgekube.registry.policies.active import Binding, Hook
from edgekube.registry.policies.figures import count_validation
from edgekube.registry.state import Registry


def wants(registry: Registry, request: AdmissionRequest) -> bool:
    return registry.policies.validating.concerns(request)


async def admit(registry: Registry, request: AdmissionRequest) -> None:
    from edgekube.registry.policies.facts import Facts  # with it comes CEL
    from edgekube.registry.policies.patience import patiently

    facts = Facts(registry, request)
    denials: list[Denial] = []
    for hook in registry.policies.validating.hooks():
        kind = await facts.kind_for(hook.constraints)
        if kind is None:
            continue
        collected = Collected()
        for binding, all_params in await facts.bound(hook, denials):
            obj = await facts.as_kind(request.object, kind)
            namespace = await facts.namespace()
            policy = registry.policies.validating.compiled(hook)
            for params in all_params:
                values = await facts.values(kind, obj, namespace, params)
                started_at = time.perf_counter()
                verdict = await patiently(policy.verdict, values)
                seconds = time.perf_counter() - started_at
                for index, decision in enumerate(verdict.decisions):
                    denials += _act(registry, request, hook, binding, index, decision, seconds)
                for annotation in verdict.annotations:
                    if annotation.error:
                        denials.append(Denial(hook.name, binding.name, annotation.error))
                        count_validation(registry, hook.name, binding.name, annotation.error, figures.DENY, seconds)
                    else:
                        collected.add(annotation)
        for key, value in collected.published(hook.name).items():
            request.annotate(key, value)
    if denials:
        raise refusal(request.kind, request.shown_name, denials)


def _act(
    registry: Registry,
    request: AdmissionRequest,
    hook: Hook,
    binding: Binding,
    index: int,
    decision: Decision,
    seconds: float,
) -> list[Denial]:
    """What the binding wants done about a validation that failed."""
    if not decision.denies:
        if decision.failed:
            count_validation(registry, hook.name, binding.name, decision.message, figures.ALLOW, seconds)
        return []
    denials = []
    for action in binding.actions:
        match action:
            case "Deny":
                denials.append(Denial(hook.name, binding.name, decision.message, decision.reason))
            case "Warn":
                request.warn(warning(hook.name, binding.name, decision))
            case "Audit":
                request.annotate(*failure_annotation(binding.object, index, decision))
        count_validation(registry, hook.name, binding.name, decision.message, action.lower(), seconds)
    return denials
