"""Admission policies and their bindings.

Enters: defaulted policies and bindings of admissionregistration.k8s.io/v1.
Leaves: causes appended to ``out``.
Holds: an expression is compiled as the admission chain will compile it, so that a policy that is stored can be asked.
Source: admissionregistration/validation (v1.36).
Next: api.validation.
"""

from __future__ import annotations

import re
from typing import Final

from edgekube.api import names
from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.admissionregistration import FAILURES, MATCHES, check_conditions, check_rule
from edgekube.api.validation.conditions import check_conditions as check_status_conditions
from edgekube.api.validation.expressions import Expressions
from edgekube.api.validation.fields import (
    Out,
    check,
    check_one_of,
    check_one_of_given,
    dns_subdomain,
    items,
    part,
    qualified_name,
    repeated,
    same,
    text,
    texts,
)
from edgekube.api.validation.metadata import check_label_selector

_ACTIONS: Final = ("Audit", "Deny", "Warn")
_REASONS: Final = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_PATCHES: Final = ("ApplyConfiguration", "JSONPatch")
#: A deletion leaves nothing that could be changed.
_MUTATING_OPERATIONS: Final = ("*", "CONNECT", "CREATE", "UPDATE")
_AUDIT_ANNOTATIONS_MAX: Final = 20
_AUDIT_EXPRESSION_BYTES_MAX: Final = 5 * 1024
_NEWLINES: Final = re.compile(r"[\n\r]")
_IDENTIFIER: Final = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*", re.ASCII)
_RESERVED: Final = frozenset({
    "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop",
    "package", "namespace", "return", "var", "void", "while",
})  # fmt: skip
#: One step of a JSONPath, as a warning's fieldRef has them: ``spec.validations[0].expression``.
_FIELD_REFERENCE: Final = re.compile(r"[^{}\[\]'\"]+(\[[^\[\]{}]+\][^{}\[\]'\"]*)*")


def _check_selected(out: Out, resources: Object, field: str) -> None:
    check_one_of(out, resources, "matchPolicy", field, MATCHES)
    for key in ("namespaceSelector", "objectSelector"):
        if resources.get(key) is None:
            out.append(causes.required(f"{field}.{key}"))
        else:
            check_label_selector(out, resources[key], f"{field}.{key}")
    for key in ("resourceRules", "excludeResourceRules"):
        for i, rule in enumerate(items(resources, key)):
            path, named = f"{field}.{key}[{i}]", texts(rule, "resourceNames")
            again = repeated(named)
            for j, name in enumerate(named):
                check(out, names.path_segment(name), f"{path}.resourceNames[{j}]", name)
                if j in again:
                    out.append(causes.duplicate(f"{path}.resourceNames[{j}]", name))
            check_rule(out, rule, path)


def _check_mutating_operations(out: Out, resources: Object, field: str) -> None:
    for rule in items(resources, "resourceRules"):
        for operation in texts(rule, "operations"):
            if operation not in _MUTATING_OPERATIONS:
                out.append(causes.not_supported(f"{field}.resourceRules.operations", operation, _MUTATING_OPERATIONS))


def _check_param_kind(out: Out, kind: Object) -> None:
    field, version, name = "spec.paramKind", text(kind, "apiVersion"), text(kind, "kind")
    if not version:
        out.append(causes.required(f"{field}.apiVersion"))
    elif version.count("/") > 1:
        out.append(causes.invalid(f"{field}.apiVersion", version, f"unexpected GroupVersion string: {version}"))
    else:
        group, _, number = version.rpartition("/")
        if group and dns_subdomain(group):
            out.append(causes.invalid(f"{field}.apiVersion", group, ",".join(dns_subdomain(group))))
        if not number:
            out.append(causes.invalid(f"{field}.apiVersion", version, "version must be specified"))
        elif names.dns1035_label(number):
            out.append(causes.invalid(f"{field}.apiVersion", number, ",".join(names.dns1035_label(number))))
    if not name:
        out.append(causes.required(f"{field}.kind"))
    elif messages := names.dns1035_label(name.lower()):
        detail = "may have mixed case, but should otherwise match: " + ",".join(messages)
        out.append(causes.invalid(f"{field}.kind", name, detail))


def _check_policy(out: Out, spec: Object, old: Object | None, expressions: Expressions, *, mutates: bool) -> None:
    """What both kinds of policies have. Match conditions that nobody touched are taken as they are."""
    if spec.get("failurePolicy") is None:
        out.append(causes.required("spec.failurePolicy"))
    check_one_of_given(out, spec, "failurePolicy", "spec", FAILURES)
    kind, constraints = spec.get("paramKind"), spec.get("matchConstraints")
    if kind is not None:
        _check_param_kind(out, kind)
    if constraints is None:
        out.append(causes.required("spec.matchConstraints"))
    else:
        _check_selected(out, constraints, "spec.matchConstraints")
        if not constraints.get("resourceRules"):
            out.append(causes.required("spec.matchConstraints.resourceRules"))
        if mutates:
            _check_mutating_operations(out, constraints, "spec.matchConstraints")
    if old is None or not same(spec.get("matchConditions"), old.get("matchConditions")):
        check_conditions(out, spec, "spec", expressions.alone())
    for i, variable in enumerate(items(spec, "variables")):
        path, name = f"spec.variables[{i}]", text(variable, "name")
        if not name.strip():
            out.append(causes.required(f"{path}.name", "name is not specified"))
        elif not _IDENTIFIER.fullmatch(name) or name in _RESERVED:
            out.append(causes.invalid(f"{path}.name", name, "must be a valid CEL identifier"))
        if not text(variable, "expression").strip():
            out.append(causes.required(f"{path}.expression", "expression is not specified"))
        else:
            expressions.check_variable(out, name, text(variable, "expression"), f"{path}.expression")


def _check_validation(out: Out, validation: Object, expressions: Expressions, path: str) -> None:
    expression, message = text(validation, "expression"), text(validation, "message")
    worded = text(validation, "messageExpression")
    if not expression.strip():
        out.append(causes.required(f"{path}.expression", "expression is not specified"))
    else:
        expressions.check_condition(out, expression, f"{path}.expression")
    if worded and not worded.strip():
        out.append(causes.invalid(f"{path}.messageExpression", worded, "must be non-empty if specified"))
    elif worded:
        expressions.check_message(out, worded, f"{path}.messageExpression")
    if message and not message.strip():
        out.append(causes.invalid(f"{path}.message", message, "must be non-empty if specified"))
    elif _NEWLINES.search(message.strip()):
        out.append(causes.invalid(f"{path}.message", message, "must not contain line breaks"))
    check_one_of_given(out, validation, "reason", path, _REASONS)


def _check_audit_annotation(out: Out, policy: Object, annotation: Object, expressions: Expressions, path: str) -> None:
    key, expression = text(annotation, "key"), text(annotation, "valueExpression")
    name = text(part(policy, "metadata"), "name")
    if not name:
        out.append(causes.invalid(f"{path}.key", key, "requires metadata.name be non-empty"))
    else:
        full = f"{name}/{key}"
        check(out, qualified_name(full), f"{path}.key", full)
    if not expression.strip():
        out.append(causes.required(f"{path}.valueExpression", "valueExpression is not specified"))
    elif len(expression.strip().encode()) > _AUDIT_EXPRESSION_BYTES_MAX:
        detail = f"must not exceed {_AUDIT_EXPRESSION_BYTES_MAX} bytes in length"
        out.append(causes.required(f"{path}.valueExpression", detail))
    else:
        expressions.check_audit_value(out, expression, f"{path}.valueExpression")


def check_validating_policy(out: Out, policy: Object, old: Object | None = None) -> None:
    spec = part(policy, "spec")
    expressions = Expressions(params=spec.get("paramKind") is not None, composed=bool(items(spec, "variables")))
    _check_policy(out, spec, part(old, "spec") if old is not None else None, expressions, mutates=False)
    validations, annotations = items(spec, "validations"), items(spec, "auditAnnotations")
    if not validations and not annotations:
        detail = "validations or auditAnnotations must contain at least one item"
        out.append(causes.required("spec.validations", detail))
        out.append(causes.required("spec.auditAnnotations", detail))
    for i, validation in enumerate(validations):
        _check_validation(out, validation, expressions, f"spec.validations[{i}]")
    if len(annotations) > _AUDIT_ANNOTATIONS_MAX:
        detail = f"must not have more than {_AUDIT_ANNOTATIONS_MAX} auditAnnotations"
        out.append(causes.invalid("spec.auditAnnotations", annotations, detail))
    again = repeated(text(annotation, "key") for annotation in annotations)
    for i, annotation in enumerate(annotations):
        _check_audit_annotation(out, policy, annotation, expressions, f"spec.auditAnnotations[{i}]")
        if i in again:
            out.append(causes.duplicate(f"spec.auditAnnotations[{i}].key", text(annotation, "key")))


def check_validating_policy_update(out: Out, new: Object, old: Object) -> None:
    check_validating_policy(out, new, old)


def check_validating_policy_status(out: Out, new: Object, old: Object) -> None:
    status = part(new, "status")
    for i, warning in enumerate(items(part(status, "typeChecking"), "expressionWarnings")):
        path, reference = f"status.typeChecking.expressionWarnings[{i}]", text(warning, "fieldRef").strip()
        if not text(warning, "warning"):
            out.append(causes.required(f"{path}.warning"))
        if not reference:
            out.append(causes.required(f"{path}.fieldRef"))
        elif not _FIELD_REFERENCE.fullmatch(reference):
            out.append(causes.invalid(f"{path}.fieldRef", reference, "invalid JSONPath: unterminated or unexpected text"))
    check_status_conditions(out, status, "conditions", "status")


def _check_mutation(out: Out, mutation: Object, expressions: Expressions, path: str) -> None:
    kind = text(mutation, "patchType")
    if not kind:
        out.append(causes.required(f"{path}.patchType"))
        return
    if kind not in _PATCHES:
        out.append(causes.not_supported(f"{path}.patchType", kind, _PATCHES))
        return
    key, other = ("jsonPatch", "applyConfiguration") if kind == "JSONPatch" else ("applyConfiguration", "jsonPatch")
    if mutation.get(key) is None:
        out.append(causes.required(f"{path}.{key}", f"must be specified when patchType is {kind}"))
    else:
        expression = text(mutation[key], "expression").strip()
        if not expression:
            out.append(causes.required(f"{path}.{key}.expression"))
        elif kind == "JSONPatch":
            expressions.check_json_patch(out, expression, f"{path}.{key}.expression")
        else:
            expressions.check_apply_configuration(out, expression, f"{path}.{key}.expression")
    if mutation.get(other) is not None:
        out.append(causes.invalid(f"{path}.{other}", f"{{{other}}}", f"must not be specified when patchType is {kind}"))


def check_mutating_policy(out: Out, policy: Object, old: Object | None = None) -> None:
    spec = part(policy, "spec")
    expressions = Expressions(params=spec.get("paramKind") is not None, composed=True)
    _check_policy(out, spec, part(old, "spec") if old is not None else None, expressions, mutates=True)
    if not items(spec, "mutations"):
        out.append(causes.required("spec.mutations", "mutations must contain at least one item"))
    for i, mutation in enumerate(items(spec, "mutations")):
        _check_mutation(out, mutation, expressions, f"spec.mutations[{i}]")
    check_one_of(out, spec, "reinvocationPolicy", "spec", ("IfNeeded", "Never"))


def check_mutating_policy_update(out: Out, new: Object, old: Object) -> None:
    check_mutating_policy(out, new, old)


# --- bindings -----------------------------------------------------------------------------------------------------------


def _check_param_ref(out: Out, reference: Object, field: str) -> None:
    name, selector = text(reference, "name"), reference.get("selector")
    exclusive = "name and selector are mutually exclusive"
    if name:
        check(out, names.path_segment(name), f"{field}.name", name)
        if selector is not None:
            out.append(causes.forbidden(f"{field}.name", exclusive))
    if selector is not None:
        check_label_selector(out, selector, f"{field}.selector")
        if name:
            out.append(causes.forbidden(f"{field}.selector", exclusive))
    if not name and selector is None:
        out.append(causes.required(field, "one of name or selector must be specified"))
    check_one_of(out, reference, "parameterNotFoundAction", field, ("Deny", "Allow"))


def _check_binding(out: Out, binding: Object) -> Object:
    spec = part(binding, "spec")
    name = text(spec, "policyName")
    if not name:
        out.append(causes.required("spec.policyName"))
    else:
        check(out, dns_subdomain(name), "spec.policyName", name)
    if spec.get("paramRef") is not None:
        _check_param_ref(out, spec["paramRef"], "spec.paramRef")
    if spec.get("matchResources") is not None:
        _check_selected(out, spec["matchResources"], "spec.matchResources")
    return spec


def check_validating_binding(out: Out, binding: Object) -> None:
    actions = texts(_check_binding(out, binding), "validationActions")
    again = repeated(actions)
    for i, action in enumerate(actions):
        if action not in _ACTIONS:
            out.append(causes.not_supported(f"spec.validationActions[{i}]", action, _ACTIONS))
        if i in again:
            out.append(causes.duplicate(f"spec.validationActions[{i}]", action))
    if "Deny" in actions and "Warn" in actions:
        detail = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the API response "
            "and headers serves no purpose)"
        )
        out.append(causes.invalid("spec.validationActions", actions, detail))
    if not actions:
        out.append(causes.required("spec.validationActions", "at least one validation action is required"))


def check_mutating_binding(out: Out, binding: Object) -> None:
    spec = _check_binding(out, binding)
    if spec.get("matchResources") is not None:
        _check_mutating_operations(out, spec["matchResources"], "spec.matchResources")
