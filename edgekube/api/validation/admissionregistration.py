"""Webhook configurations, admission policies and their bindings.

Enters: defaulted objects of admissionregistration.k8s.io/v1.
Leaves: causes appended to ``out``.
Holds: CEL expressions are checked for presence; compiling them is the admission chain's (admission.policies).
Source: admissionregistration/validation.
Next: api.validation.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from edgekube.api import names
from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.fields import (
    Out,
    check,
    check_one_of,
    check_present,
    dns_label,
    dns_subdomain,
    items,
    part,
    qualified_name,
    repeated,
    text,
    texts,
)
from edgekube.api.validation.metadata import check_label_selector

_OPERATIONS: Final = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES: Final = ("*", "Cluster", "Namespaced")
_FAILURES: Final = ("Fail", "Ignore")
_MATCHES: Final = ("Equivalent", "Exact")
_SIDE_EFFECTS: Final = ("None", "NoneOnDryRun")
_ACTIONS: Final = ("Audit", "Deny", "Warn")
_REASONS: Final = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
_CONDITIONS_MAX: Final = 64
_VERSIONS: Final = ("v1", "v1beta1")


def check_webhooks(out: Out, configuration: Object) -> None:
    seen: set[str] = set()
    for i, webhook in enumerate(items(configuration, "webhooks")):
        path, name = f"webhooks[{i}]", text(webhook, "name")
        _check_webhook(out, webhook, path)
        if name in seen:
            out.append(causes.duplicate(f"{path}.name", name))
        seen.add(name)


def _check_webhook(out: Out, webhook: Object, field: str) -> None:
    name = text(webhook, "name")
    check_full_name(out, name, f"{field}.name")
    versions = texts(webhook, "admissionReviewVersions")
    if not versions:
        detail = "must specify one of v1, v1beta1"
        out.append(causes.required(f"{field}.admissionReviewVersions", detail))
    else:
        again = repeated(versions)
        for i, version in enumerate(versions):
            check(out, names.dns1035_label(version), f"{field}.admissionReviewVersions[{i}]", version)
            if i in again:
                out.append(causes.invalid(f"{field}.admissionReviewVersions[{i}]", version, "duplicate version"))
        if not any(version in _VERSIONS for version in versions):
            detail = "must include at least one of v1, v1beta1"
            out.append(causes.invalid(f"{field}.admissionReviewVersions", versions, detail))
    for i, rule in enumerate(items(webhook, "rules")):
        _check_rule(out, rule, f"{field}.rules[{i}]")
    check_one_of(out, webhook, "failurePolicy", field, _FAILURES, needed=False)
    check_one_of(out, webhook, "matchPolicy", field, _MATCHES, needed=False)
    check_one_of(out, webhook, "sideEffects", field, _SIDE_EFFECTS)
    check_one_of(out, webhook, "reinvocationPolicy", field, ("IfNeeded", "Never"), needed=False)
    seconds = webhook.get("timeoutSeconds")
    if isinstance(seconds, int) and not 1 <= seconds <= 30:
        detail = "the timeout value must be between 1 and 30 seconds"
        out.append(causes.invalid(f"{field}.timeoutSeconds", seconds, detail))
    for key in ("namespaceSelector", "objectSelector"):
        check_label_selector(out, webhook.get(key), f"{field}.{key}")
    check_client_config(out, part(webhook, "clientConfig"), f"{field}.clientConfig")
    _check_conditions(out, webhook, field)


def check_full_name(out: Out, name: str, field: str) -> None:
    """A DNS name of three labels or more: ``validate.pods.example.com``."""
    if not name:
        out.append(causes.required(field))
        return
    messages = dns_subdomain(name)
    check(out, messages, field, name)
    if not messages and name.count(".") < 2:
        out.append(causes.invalid(field, name, "should be a domain with at least three segments separated by dots"))


def check_client_config(out: Out, config: Object, field: str) -> None:
    """How to reach a webhook: a URL or a Service, one of them."""
    url, service = config.get("url"), part(config, "service")
    if (url is None) == (config.get("service") is None):
        out.append(causes.required(field, "exactly one of url or service is required"))
    elif url is not None:
        _check_url(out, url, f"{field}.url")
    else:
        for key in ("name", "namespace"):
            check_present(out, service, key, f"{field}.service", f"service {key} is required")
        path = service.get("path")
        if path is not None and not path.startswith("/"):
            out.append(causes.invalid(f"{field}.service.path", path, "must start with a '/'"))
        port = service.get("port")
        if port is not None and names.port_number(port):
            out.append(causes.invalid(f"{field}.service.port", port, f"port is not valid: {names.port_number(port)[0]}"))


def _check_url(out: Out, url: str, field: str) -> None:
    form = "; desired format: https://host[/path]"
    try:
        parts = urlsplit(url)
    except ValueError:
        out.append(causes.required(field, f"url must be a valid URL{form}"))
        return
    if parts.scheme != "https":
        out.append(causes.invalid(field, parts.scheme, f"'https' is the only allowed URL scheme{form}"))
    if not parts.netloc:
        out.append(causes.invalid(field, parts.netloc, f"host must be specified{form}"))
    if "@" in parts.netloc:
        user = parts.netloc.rpartition("@")[0].partition(":")[0]
        out.append(causes.invalid(field, user, "user information is not permitted in the URL"))
    if parts.fragment:
        out.append(causes.invalid(field, parts.fragment, "fragments are not permitted in the URL"))
    if parts.query:
        out.append(causes.invalid(field, parts.query, "query parameters are not permitted in the URL"))


def _check_rule(out: Out, rule: Object, field: str) -> None:
    operations = texts(rule, "operations")
    if not operations:
        out.append(causes.required(f"{field}.operations"))
    if len(operations) > 1 and "*" in operations:
        detail = "if '*' is present, must not specify other operations"
        out.append(causes.invalid(f"{field}.operations", operations, detail))
    for i, operation in enumerate(operations):
        if operation not in _OPERATIONS:
            out.append(causes.not_supported(f"{field}.operations[{i}]", operation, _OPERATIONS))
    for key, what in (("apiGroups", "API groups"), ("apiVersions", "API versions")):
        values = texts(rule, key)
        if not values:
            out.append(causes.required(f"{field}.{key}"))
        if len(values) > 1 and "*" in values:
            detail = f"if '*' is present, must not specify other {what}"
            out.append(causes.invalid(f"{field}.{key}", values, detail))
    for i, version in enumerate(texts(rule, "apiVersions")):
        if not version:
            out.append(causes.required(f"{field}.apiVersions[{i}]"))
    resources = texts(rule, "resources")
    if not resources:
        out.append(causes.required(f"{field}.resources"))
    for i, resource in enumerate(resources):
        if not resource:
            out.append(causes.required(f"{field}.resources[{i}]"))
    if "*/*" in resources and len(resources) > 1:
        detail = "if '*/*' is present, must not specify other resources"
        out.append(causes.invalid(f"{field}.resources", resources, detail))
    elif "*" in resources and any("/" not in one and one != "*" for one in resources):
        detail = "if '*' is present, must not specify other resources without subresources"
        out.append(causes.invalid(f"{field}.resources", resources, detail))
    check_one_of(out, rule, "scope", field, _SCOPES, needed=False)


def _check_conditions(out: Out, holder: Object, field: str) -> None:
    conditions = items(holder, "matchConditions")
    if len(conditions) > _CONDITIONS_MAX:
        out.append(causes.too_many(f"{field}.matchConditions", len(conditions), _CONDITIONS_MAX))
    seen: set[str] = set()
    for i, condition in enumerate(conditions):
        path, name = f"{field}.matchConditions[{i}]", text(condition, "name")
        if not name:
            out.append(causes.required(f"{path}.name"))
        else:
            check(out, qualified_name(name), f"{path}.name", name)
            if name in seen:
                out.append(causes.duplicate(f"{path}.name", name))
        seen.add(name)
        if not text(condition, "expression").strip():
            out.append(causes.required(f"{path}.expression"))


# --- policies -----------------------------------------------------------------------------------------------------------


def _check_match_resources(out: Out, resources: Object, field: str) -> None:
    check_one_of(out, resources, "matchPolicy", field, _MATCHES)
    for key in ("namespaceSelector", "objectSelector"):
        if resources.get(key) is None:
            out.append(causes.required(f"{field}.{key}"))
        else:
            check_label_selector(out, resources[key], f"{field}.{key}")
    for key in ("resourceRules", "excludeResourceRules"):
        for i, rule in enumerate(items(resources, key)):
            _check_rule(out, rule, f"{field}.{key}[{i}]")


def _check_policy(out: Out, spec: Object) -> None:
    check_one_of(out, spec, "failurePolicy", "spec", _FAILURES)
    kind = spec.get("paramKind")
    if kind is not None:
        for key in ("apiVersion", "kind"):
            check_present(out, kind, key, "spec.paramKind")
    constraints = spec.get("matchConstraints")
    if constraints is None:
        out.append(causes.required("spec.matchConstraints"))
    else:
        _check_match_resources(out, constraints, "spec.matchConstraints")
        if not constraints.get("resourceRules"):
            out.append(causes.required("spec.matchConstraints.resourceRules"))
    _check_conditions(out, spec, "spec")
    for i, variable in enumerate(items(spec, "variables")):
        path, name = f"spec.variables[{i}]", text(variable, "name")
        if not name:
            out.append(causes.required(f"{path}.name"))
        else:
            check(out, names.c_identifier(name), f"{path}.name", name)
        if not text(variable, "expression").strip():
            out.append(causes.required(f"{path}.expression"))


def check_validating_policy(out: Out, policy: Object) -> None:
    spec = part(policy, "spec")
    _check_policy(out, spec)
    validations, annotations = items(spec, "validations"), items(spec, "auditAnnotations")
    if not validations and not annotations:
        detail = "validations or auditAnnotations must be present"
        out.append(causes.required("spec.validations", detail))
    for i, validation in enumerate(validations):
        path = f"spec.validations[{i}]"
        if not text(validation, "expression").strip():
            out.append(causes.required(f"{path}.expression", "expression is not specified"))
        message = text(validation, "message")
        if message and "\n" in message:
            out.append(causes.invalid(f"{path}.message", message, "message must not contain line breaks"))
        check_one_of(out, validation, "reason", path, _REASONS, needed=False)
    for i, annotation in enumerate(annotations):
        path = f"spec.auditAnnotations[{i}]"
        check(out, qualified_name(text(annotation, "key")), f"{path}.key", text(annotation, "key"))
        if not text(annotation, "valueExpression").strip():
            out.append(causes.required(f"{path}.valueExpression", "valueExpression is not specified"))


def check_mutating_policy(out: Out, policy: Object) -> None:
    spec = part(policy, "spec")
    _check_policy(out, spec)
    if not items(spec, "mutations"):
        out.append(causes.required("spec.mutations", "mutations must contain at least one item"))
    for i, mutation in enumerate(items(spec, "mutations")):
        path, kind = f"spec.mutations[{i}]", text(mutation, "patchType")
        if kind not in ("ApplyConfiguration", "JSONPatch"):
            out.append(causes.not_supported(f"{path}.patchType", kind, ("ApplyConfiguration", "JSONPatch")))
            continue
        key = "applyConfiguration" if kind == "ApplyConfiguration" else "jsonPatch"
        if not text(part(mutation, key), "expression").strip():
            out.append(causes.required(f"{path}.{key}.expression"))
    check_one_of(out, spec, "reinvocationPolicy", "spec", ("IfNeeded", "Never"))


def _check_binding(out: Out, binding: Object) -> Object:
    spec = part(binding, "spec")
    name = text(spec, "policyName")
    if not name:
        out.append(causes.required("spec.policyName"))
    else:
        check(out, dns_subdomain(name), "spec.policyName", name)
    reference = spec.get("paramRef")
    if reference is not None:
        named, selector = text(reference, "name"), reference.get("selector")
        if named:
            check(out, names.path_segment(named), "spec.paramRef.name", named)
            if selector is not None:
                detail = "name and selector are mutually exclusive"
                out.append(causes.forbidden("spec.paramRef.name", detail))
        elif selector is None:
            out.append(causes.required("spec.paramRef", "one of name or selector must be specified"))
        check_label_selector(out, selector, "spec.paramRef.selector")
        namespace = text(reference, "namespace")
        if namespace:
            check(out, dns_label(namespace), "spec.paramRef.namespace", namespace)
        check_one_of(out, reference, "parameterNotFoundAction", "spec.paramRef", ("Allow", "Deny"))
    if spec.get("matchResources") is not None:
        _check_match_resources(out, spec["matchResources"], "spec.matchResources")
    return spec


def check_validating_binding(out: Out, binding: Object) -> None:
    actions = texts(_check_binding(out, binding), "validationActions")
    if not actions:
        out.append(causes.required("spec.validationActions", "at least one validation action is required"))
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


def check_mutating_binding(out: Out, binding: Object) -> None:
    _check_binding(out, binding)
