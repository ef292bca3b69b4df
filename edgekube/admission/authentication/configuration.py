"""AuthenticationConfiguration: whose tokens are believed, and whom their claims name.

Enters: the file as a person wrote it, read as YAML.
Leaves: its providers with their expressions compiled; ConfigurationError with everything that is wrong, in upstream's words.
Holds: pure; a file with a mistake is refused as a whole. Field names that nobody knows are mistakes.
Bound: limits.IDENTITY_PROVIDERS_MAX.
Source: kubernetes.io, "Using Authentication Configuration"; k8s.io/apiserver pkg/apis/apiserver (v1, validation).
Next: admission.authentication.claims, server.oidc.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from edgekube import limits
from edgekube.admission.authentication.expressions import Expressions
from edgekube.admission.authentication.issuers import check_issuer
from edgekube.api import names
from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.fields import EnoughFound, Findings, Out, items, part, text, texts

if TYPE_CHECKING:
    from edgekube.api.cel import Program

_VERSIONS: Final = ("apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1")
_KIND: Final = "AuthenticationConfiguration"
_BOTH: Final = "claim and expression can't both be set"
_RESERVED: Final = ("kubernetes.io", "k8s.io")
#: What each map may hold; lists hold maps of the kind that is named after the star.
_SHAPE: Final[dict[str, dict[str, str]]] = {
    "": {"apiVersion": "text", "kind": "text", "jwt": "*jwt", "anonymous": "anonymous"},
    "anonymous": {"enabled": "flag", "conditions": "*condition"},
    "condition": {"path": "text"},
    "jwt": {
        "issuer": "issuer", "claimValidationRules": "*claimRule", "claimMappings": "mappings", "userValidationRules": "*userRule",
    },
    "issuer": {
        "url": "text", "discoveryURL": "text", "certificateAuthority": "text", "audiences": "*text",
        "audienceMatchPolicy": "text", "egressSelectorType": "text",
    },
    "claimRule": {"claim": "text", "requiredValue": "text", "expression": "text", "message": "text"},
    "userRule": {"expression": "text", "message": "text"},
    "mappings": {"username": "prefixed", "groups": "prefixed", "uid": "plain", "extra": "*extra"},
    "prefixed": {"claim": "text", "prefix": "text", "expression": "text"},
    "plain": {"claim": "text", "expression": "text"},
    "extra": {"key": "text", "valueExpression": "text"},
}  # fmt: skip
_SCALARS: Final = {"text": str, "flag": bool}


class ConfigurationError(Exception):
    """What is wrong with the file, for whoever wrote it."""


class Mapped(Struct, frozen=True):
    """Where an attribute comes from: a claim, with what is put before it, or an expression; neither: it has none."""

    claim: str = ""
    prefix: str = ""
    program: Program | None = None


class Rule(Struct, frozen=True):
    """A claim with its value, or an expression that must be true."""

    claim: str = ""
    required: str = ""
    program: Program | None = None
    message: str = ""


class Jwt(Struct, frozen=True):
    """One provider."""

    issuer_url: str
    discovery_url: str
    authority_pem: str
    audiences: tuple[str, ...]
    claim_rules: tuple[Rule, ...]
    username: Mapped
    groups: Mapped
    uid: Mapped
    extra: tuple[tuple[str, Program], ...]
    user_rules: tuple[Rule, ...]


class Anonymous(Struct, frozen=True):
    """What may be asked without saying who asks; roles decide about it then. ``paths``: None for all."""

    paths: frozenset[str] | None

    def allows(self, path: str) -> bool:
        return self.paths is None or path in self.paths


class AuthenticationConfiguration(Struct, frozen=True):
    providers: tuple[Jwt, ...]
    #: None: the file says nothing of it.
    anonymous: Anonymous | None


def parse_configuration(document: Any, disallowed_issuers: Iterable[str] = ()) -> AuthenticationConfiguration:
    """ConfigurationError."""
    out: Out = Findings()
    with suppress(EnoughFound):
        _check_shape(out, document, "", "")
    _raise(out)
    if document.get("apiVersion") not in _VERSIONS or document.get("kind") != _KIND:
        raise ConfigurationError(f"not an {_KIND} of {' or '.join(_VERSIONS)}")
    providers: list[Jwt] = []
    with suppress(EnoughFound):
        rows = items(document, "jwt")
        if len(rows) > limits.IDENTITY_PROVIDERS_MAX:
            out.append(causes.too_many("jwt", len(rows), limits.IDENTITY_PROVIDERS_MAX))
        seen: dict[str, set[str]] = {"url": set(), "discoveryURL": set()}
        for i, row in enumerate(rows[: limits.IDENTITY_PROVIDERS_MAX]):
            providers.append(_provider(out, row, f"jwt[{i}]", frozenset(disallowed_issuers)))
            for key, known in seen.items():
                url = text(part(row, "issuer"), key)
                if url and url in known:
                    out.append(causes.duplicate(f"jwt[{i}].issuer.{key}", url))
                known.add(url)
    anonymous = _anonymous(out, document.get("anonymous"))
    _raise(out)
    return AuthenticationConfiguration(tuple(providers), anonymous)


def _raise(out: Out) -> None:
    if out:
        told = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in out]
        raise ConfigurationError(told[0] if len(told) == 1 else f"[{', '.join(told)}]")


def _check_shape(out: Out, value: Any, shape: str, path: str) -> None:
    if value is None and path:
        return
    if shape.startswith("*"):
        if type(value) is not list:
            out.append(causes.invalid(path, value, "must be a list"))
            return
        for i, each in enumerate(value):
            if each is None:
                out.append(causes.invalid(f"{path}[{i}]", each, "must not be empty"))
            else:
                _check_shape(out, each, shape[1:], f"{path}[{i}]")
    elif shape in _SCALARS:
        if type(value) is not _SCALARS[shape]:
            out.append(causes.invalid(path, value, f"must be a {shape}"))
    elif type(value) is not dict:
        out.append(causes.invalid(path, value, "must be a map"))
    else:
        known = _SHAPE[shape]
        for key, each in value.items():
            inner = f"{path}.{key}" if path else str(key)
            if key not in known:
                out.append(causes.invalid(inner, key, "unknown field"))
            else:
                _check_shape(out, each, known[key], inner)


def _anonymous(out: Out, given: Object | None) -> Anonymous | None:
    if given is None:
        return None
    conditions = items(given, "conditions")
    if not given.get("enabled"):
        if conditions:
            detail = "enabled should be set to true when conditions are defined"
            out.append(causes.invalid("anonymous.conditions", conditions, detail))
        return Anonymous(frozenset())
    return Anonymous(frozenset(text(each, "path") for each in conditions) if conditions else None)


def _provider(out: Out, row: Object, path: str, disallowed: frozenset[str]) -> Jwt:
    expressions = Expressions()
    issuer, mappings = part(row, "issuer"), part(row, "claimMappings")
    check_issuer(out, issuer, f"{path}.issuer", disallowed)
    claim_rules = _claim_rules(out, items(row, "claimValidationRules"), f"{path}.claimValidationRules", expressions)
    where = f"{path}.claimMappings"
    username = _mapped(out, part(mappings, "username"), f"{where}.username", expressions, prefixed=True)
    groups = _mapped(out, part(mappings, "groups"), f"{where}.groups", expressions, prefixed=True)
    if not part(mappings, "username").get("claim") and not part(mappings, "username").get("expression"):
        out.append(causes.required(f"{where}.username", "claim or expression is required"))
    uid = _mapped(out, part(mappings, "uid"), f"{where}.uid", expressions, prefixed=False)
    extra = _extra(out, items(mappings, "extra"), f"{where}.extra", expressions)
    _check_email(out, username, [*(rule.program for rule in claim_rules), *(program for _, program in extra)], where)
    return Jwt(
        text(issuer, "url"),
        text(issuer, "discoveryURL"),
        text(issuer, "certificateAuthority"),
        tuple(texts(issuer, "audiences")),
        claim_rules,
        username,
        groups,
        uid,
        extra,
        _user_rules(out, items(row, "userValidationRules"), f"{path}.userValidationRules", expressions),
    )


def _claim_rules(out: Out, rows: list[Object], path: str, expressions: Expressions) -> tuple[Rule, ...]:
    made: list[Rule] = []
    seen: set[tuple[str, str]] = set()
    for i, row in enumerate(rows):
        where, claim, expression = f"{path}[{i}]", text(row, "claim"), text(row, "expression")
        if claim and expression:
            out.append(causes.invalid(where, claim, _BOTH))
        elif not claim and not expression:
            out.append(causes.required(where, "claim or expression is required"))
        elif claim:
            if row.get("message"):
                out.append(causes.invalid(f"{where}.message", row["message"], "may not be specified when claim is set"))
            if ("claim", claim) in seen:
                out.append(causes.duplicate(f"{where}.claim", claim))
            seen.add(("claim", claim))
            made.append(Rule(claim, text(row, "requiredValue")))
        else:
            if row.get("requiredValue"):
                detail = "may not be specified when expression is set"
                out.append(causes.invalid(f"{where}.requiredValue", row["requiredValue"], detail))
            if ("expression", expression) in seen:
                out.append(causes.duplicate(f"{where}.expression", expression))
                continue
            seen.add(("expression", expression))
            made.append(Rule(program=expressions.condition(out, expression, f"{where}.expression"), message=text(row, "message")))
    return tuple(made)


def _user_rules(out: Out, rows: list[Object], path: str, expressions: Expressions) -> tuple[Rule, ...]:
    made: list[Rule] = []
    seen: set[str] = set()
    for i, row in enumerate(rows):
        where, expression = f"{path}[{i}].expression", text(row, "expression")
        if not expression:
            out.append(causes.required(where))
        elif expression in seen:
            out.append(causes.duplicate(where, expression))
        else:
            seen.add(expression)
            made.append(Rule(program=expressions.of_user(out, expression, where), message=text(row, "message")))
    return tuple(made)


def _mapped(out: Out, row: Object, path: str, expressions: Expressions, *, prefixed: bool) -> Mapped:
    claim, expression = text(row, "claim"), text(row, "expression")
    if claim and expression:
        out.append(causes.invalid(path, "", _BOTH))
        return Mapped()
    if expression:
        if row.get("prefix") is not None:
            out.append(causes.invalid(f"{path}.prefix", row["prefix"], "may not be specified when expression is set"))
        return Mapped(program=expressions.of_claims(out, expression, f"{path}.expression"))
    if claim and prefixed and row.get("prefix") is None:
        detail = "prefix is required when claim is set. It can be set to an empty string to disable prefixing"
        out.append(causes.required(f"{path}.prefix", detail))
    return Mapped(claim, text(row, "prefix"))


def _extra(out: Out, rows: list[Object], path: str, expressions: Expressions) -> tuple[tuple[str, Program], ...]:
    made: list[tuple[str, Program]] = []
    seen: set[str] = set()
    for i, row in enumerate(rows):
        where, key, expression = f"{path}[{i}]", text(row, "key"), text(row, "valueExpression")
        _check_key(out, key, f"{where}.key")
        if key in seen:
            out.append(causes.duplicate(f"{where}.key", key))
            continue
        seen.add(key)
        if not expression:
            out.append(causes.required(f"{where}.valueExpression"))
        elif (program := expressions.of_claims(out, expression, f"{where}.valueExpression")) is not None:
            made.append((key, program))
    return tuple(made)


def _check_key(out: Out, key: str, path: str) -> None:
    if not key:
        out.append(causes.required(path))
        return
    domain, _, rest = key.partition("/")
    if not domain or not rest:
        out.append(causes.invalid(path, key, 'must be a domain-prefixed path (such as "acme.io/foo")'))
    else:
        for message in names.dns1123_subdomain(domain):
            out.append(causes.invalid(path, domain, message))
    if key != key.lower():
        out.append(causes.invalid(path, key, "must be lowercase"))
    if rest and any(domain == each or domain.endswith(f".{each}") for each in _RESERVED):
        out.append(causes.invalid(path, key, "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use"))


def _check_email(out: Out, username: Mapped, others: list[Program | None], path: str) -> None:
    """An address that nobody has verified names nobody."""
    from edgekube.admission.authentication.expressions import reads_claim

    if username.program is None or not reads_claim(username.program, "email"):
        return
    if any(program is not None and reads_claim(program, "email_verified") for program in (username.program, *others)):
        return
    detail = (
        "claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or "
        "claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression"
    )
    out.append(causes.invalid(f"{path}.username.expression", username.program.text, detail))
