"""Webhook configurations, and what policies share with them: rules and match conditions.

Enters: defaulted objects of admissionregistration.k8s.io/v1.
Leaves: causes appended to ``out``.
Holds: every cause names its field as upstream does.
Source: admissionregistration/validation.
Next: api.validation.policies, api.validation.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from edgekube.api import names
from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.expressions import Expressions
from edgekube.api.validation.fields import (
    Out,
    check,
    check_one_of_given,
    check_present,
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
FAILURES: Final = ("Fail", "Ignore")
MATCHES: Final = ("Equivalent", "Exact")
_SIDE_EFFECTS: Final = ("None", "NoneOnDryRun")
_CONDITIONS_MAX: Final = 64
_VERSIONS: Final = ("v1", "v1beta1")


def check_webhooks(out: Out, configuration: Object) -> None:
    seen: set[str] = set()
    for i, webhook in enumerate(items(configuration, "webhooks")):
        path, name = f"webhooks[{i}]", text(webhook, "name")
        _check_webhook(out, webhook, path)
        _check_versions(out, texts(webhook, "admissionReviewVersions"), f"{path}.admissionReviewVersions")
        if name and name in seen:
            out.append(causes.duplicate(f"{path}.name", name))
        seen.add(name)


def _check_versions(out: Out, versions: list[str], field: str) -> None:
    known = ", ".join(_VERSIONS)
    if not versions:
        out.append(causes.required(field, f"must specify one of {known}"))
        return
    again = repeated(versions)
    for i, version in enumerate(versions):
        if i in again:
            out.append(causes.invalid(f"{field}[{i}]", version, "duplicate version"))
        else:
            check(out, names.dns1035_label(version), f"{field}[{i}]", version)
    if not any(version in _VERSIONS for version in versions):
        out.append(causes.invalid(field, versions, f"must include at least one of {known}"))


def _check_webhook(out: Out, webhook: Object, field: str) -> None:
    name = text(webhook, "name")
    check_full_name(out, name, f"{field}.name")
    for i, rule in enumerate(items(webhook, "rules")):
        check_rule(out, rule, f"{field}.rules[{i}]")
    check_one_of_given(out, webhook, "failurePolicy", field, FAILURES)
    check_one_of_given(out, webhook, "matchPolicy", field, MATCHES)
    if webhook.get("sideEffects") is None:
        out.append(causes.required(f"{field}.sideEffects", f"must specify one of {', '.join(_SIDE_EFFECTS)}"))
    check_one_of_given(out, webhook, "sideEffects", field, _SIDE_EFFECTS)
    check_one_of_given(out, webhook, "reinvocationPolicy", field, ("IfNeeded", "Never"))
    seconds = webhook.get("timeoutSeconds")
    if isinstance(seconds, int) and not 1 <= seconds <= 30:
        detail = "the timeout value must be between 1 and 30 seconds"
        out.append(causes.invalid(f"{field}.timeoutSeconds", seconds, detail))
    for key in ("namespaceSelector", "objectSelector"):
        check_label_selector(out, webhook.get(key), f"{field}.{key}")
    check_client_config(out, part(webhook, "clientConfig"), f"{field}.clientConfig")
    check_conditions(out, webhook, field, Expressions(params=False, composed=False))


def check_full_name(out: Out, name: str, field: str) -> None:
    """A DNS name of three labels or more: ``validate.pods.example.com``."""
    if not name:
        out.append(causes.required(field))
        return
    messages = dns_subdomain(name)
    if messages:
        out.append(causes.invalid(field, name, ",".join(messages)))
    elif name.count(".") < 2:
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
            check_present(out, service, key, f"{field}.service")
        _check_path(out, service.get("path") or "", f"{field}.service.path")
        port = service.get("port")
        if port is not None and names.port_number(port):
            out.append(causes.invalid(f"{field}.service.port", port, f"port is not valid: {names.port_number(port)[0]}"))


def _check_path(out: Out, path: str, field: str) -> None:
    """Empty, "/", or segments that each are a name (apiserver util/webhook ValidateWebhookService)."""
    if path in ("", "/"):
        return
    if path == "//":
        out.append(causes.invalid(field, path, "segment[0] may not be empty"))
        return
    if not path.startswith("/"):
        out.append(causes.invalid(field, path, "must start with a '/'"))
    for i, segment in enumerate(path[1:].removesuffix("/").split("/")):
        if not segment:
            out.append(causes.invalid(field, path, f"segment[{i}] may not be empty"))
            continue
        for message in dns_subdomain(segment):
            out.append(causes.invalid(field, path, f"segment[{i}]: {message}"))


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


def check_rule(out: Out, rule: Object, field: str) -> None:
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
    _check_resources(out, texts(rule, "resources"), field)
    check_one_of_given(out, rule, "scope", field, _SCOPES)


def _check_resources(out: Out, resources: list[str], field: str) -> None:
    if not resources:
        out.append(causes.required(f"{field}.resources"))
    whole: set[str] = set()  # x of x/*
    anywhere: set[str] = set()  # y of */y
    for i, resource in enumerate(resources):
        path = f"{field}.resources[{i}]"
        if not resource:
            out.append(causes.required(path))
        name, slash, below = resource.partition("/")
        if not slash:
            continue
        if name in whole:
            out.append(causes.invalid(path, resource, f"if '{name}/*' is present, must not specify {resource}"))
        if below in anywhere:
            out.append(causes.invalid(path, resource, f"if '*/{below}' is present, must not specify {resource}"))
        if below == "*":
            whole.add(name)
        if name == "*":
            anywhere.add(below)
    if "*/*" in resources and len(resources) > 1:
        detail = "if '*/*' is present, must not specify other resources"
        out.append(causes.invalid(f"{field}.resources", resources, detail))
    if "*" in resources and any("/" not in one and one != "*" for one in resources):
        detail = "if '*' is present, must not specify other resources without subresources"
        out.append(causes.invalid(f"{field}.resources", resources, detail))


def check_conditions(out: Out, holder: Object, field: str, expressions: Expressions) -> None:
    conditions = items(holder, "matchConditions")
    if len(conditions) > _CONDITIONS_MAX:
        out.append(causes.too_many(f"{field}.matchConditions", len(conditions), _CONDITIONS_MAX))
    again = repeated(text(condition, "name") for condition in conditions)
    for i, condition in enumerate(conditions):
        path, name = f"{field}.matchConditions[{i}]", text(condition, "name")
        expression = text(condition, "expression").strip()
        if not expression:
            out.append(causes.required(f"{path}.expression"))
        else:
            expressions.check_condition(out, expression, f"{path}.expression")
        if not name:
            out.append(causes.required(f"{path}.name"))
        else:
            check(out, qualified_name(name), f"{path}.name", name)
            if i in again:
                out.append(causes.duplicate(f"{path}.name", name))
