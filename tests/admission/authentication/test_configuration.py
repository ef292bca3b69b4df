"""AuthenticationConfiguration: what is refused, in whose words, and whom claims name."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from edgekube.admission.authentication.claims import ClaimsRefused, user_of
from edgekube.admission.authentication.configuration import Anonymous, ConfigurationError, Jwt, Mapped, parse_configuration
from edgekube.server.oidc import ProviderSettings

GOOD = """
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer: {url: https://idp.example, audiences: [edge]}
  claimMappings: {username: {claim: sub, prefix: ''}}
"""


def read(**changes: Any) -> Any:
    """The good file with fields of its provider changed: ``issuer__url``."""
    document = yaml.safe_load(GOOD)
    for path, value in changes.items():
        place = document["jwt"][0]
        *steps, last = path.split("__")
        for step in steps:
            place = place.setdefault(step, {})
        place[last] = value
    return document


def provider(**changes: Any) -> Jwt:
    return parse_configuration(read(**changes)).providers[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"issuer__url": ""}, "jwt[0].issuer.url: Required value"),
        ({"issuer__url": "http://a"}, 'jwt[0].issuer.url: Invalid value: "http://a": URL scheme must be https'),
        (
            {"issuer__url": "https://own"},
            'jwt[0].issuer.url: Invalid value: "https://own": URL must not overlap with disallowed issuers: [https://own]',
        ),
        (
            {"issuer__discoveryURL": "https://idp.example/"},
            'jwt[0].issuer.discoveryURL: Invalid value: "https://idp.example/": discoveryURL must be different from URL',
        ),
        ({"issuer__audiences": []}, "jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required"),
        (
            {"issuer__audiences": ["a", "b"]},
            'jwt[0].issuer.audienceMatchPolicy: Invalid value: "": audienceMatchPolicy must be MatchAny for multiple audiences',
        ),
        ({"issuer__color": "red"}, 'jwt[0].issuer.color: Invalid value: "color": unknown field'),
        ({"issuer__audiences": "edge"}, 'jwt[0].issuer.audiences: Invalid value: "edge": must be a list'),
        (
            {"claimMappings__username": {"claim": "sub"}},
            "jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is set. "
            "It can be set to an empty string to disable prefixing",
        ),
        ({"claimMappings__username": {}}, "jwt[0].claimMappings.username: Required value: claim or expression is required"),
        (
            {"claimMappings__username": {"claim": "sub", "prefix": "", "expression": "claims.sub"}},
            'jwt[0].claimMappings.username: Invalid value: "": claim and expression can\'t both be set',
        ),
        (
            {"claimMappings__username": {"expression": "claims.email"}},
            'jwt[0].claimMappings.username.expression: Invalid value: "claims.email": claims.email_verified must be used in '
            "claimMappings.username.expression or claimMappings.extra[*].valueExpression or "
            "claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression",
        ),
        (
            {"claimValidationRules": [{"expression": "claims.sub"}]},
            'jwt[0].claimValidationRules[0].expression: Invalid value: "claims.sub": must evaluate to bool',
        ),
        (
            {"userValidationRules": [{"expression": "user.color == ''"}]},
            "jwt[0].userValidationRules[0].expression: Invalid value: \"user.color == ''\": compilation failed: ERROR: "
            "<input>:1:5: undefined field 'color'\n | user.color == ''\n | ....^",
        ),
        (
            {"claimMappings__extra": [{"key": "x.k8s.io/a", "valueExpression": "'b'"}]},
            'jwt[0].claimMappings.extra[0].key: Invalid value: "x.k8s.io/a": k8s.io, kubernetes.io and their subdomains are '
            "reserved for Kubernetes use",
        ),
    ],
    ids=lambda given: str(next(iter(given))) if isinstance(given, dict) else "",
)
def test_a_file_that_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_configuration(read(**changes), ["https://own"])
    assert str(refused.value) == words


def test_strangers() -> None:
    assert parse_configuration(read()).anonymous is None

    def of(anonymous: dict[str, Any]) -> Anonymous | None:
        return parse_configuration({**read(), "anonymous": anonymous}).anonymous

    some = of({"enabled": True, "conditions": [{"path": "/livez"}]})
    assert some is not None and some.allows("/livez") and not some.allows("/api")
    every = of({"enabled": True})
    assert every is not None and every.allows("/api")
    none = of({"enabled": False})
    assert none is not None and not none.allows("/livez")
    with pytest.raises(ConfigurationError, match=r"anonymous.conditions\[0\].*must not be empty"):
        of({"enabled": True, "conditions": [None]})
    with pytest.raises(ConfigurationError, match="enabled should be set to true when conditions are defined"):
        of({"enabled": False, "conditions": [{"path": "/livez"}]})


def test_whom_claims_name() -> None:
    verified = {"username": {"expression": "claims.email_verified ? claims.email : ''"}}
    user = user_of(provider(claimMappings=verified), {"email": "ann@example.com", "email_verified": True})
    assert (user.name, user.groups) == ("ann@example.com", ("system:authenticated",))
    for mapping, claims in (
        (verified, {"email": "ann@example.com", "email_verified": False}),
        (verified, {"email": "ann@example.com"}),
        ({"username": {"expression": "claims.n"}}, {"n": 7}),
        ({"username": {"claim": "sub", "prefix": "system:"}}, {"sub": "node:n1"}),
        ({"username": {"claim": "sub", "prefix": ""}, "groups": {"expression": "claims.n"}}, {"sub": "a", "n": 7}),
        ({"username": {"claim": "sub", "prefix": ""}, "uid": {"claim": "n"}}, {"sub": "a"}),
    ):
        with pytest.raises(ClaimsRefused):
            user_of(provider(claimMappings=mapping), claims)
    ruled = provider(
        claimValidationRules=[{"claim": "tenant", "requiredValue": "hall"}, {"expression": "claims.n > 1.5", "message": "few"}]
    )
    assert user_of(ruled, {"sub": "a", "tenant": "hall", "n": 2}).name == "a"
    with pytest.raises(ClaimsRefused, match=r"validation expression 'claims.n > 1.5' failed: few"):
        user_of(ruled, {"sub": "a", "tenant": "hall", "n": 1})
    with pytest.raises(ClaimsRefused, match="required claim tenant"):
        user_of(ruled, {"sub": "a", "n": 2})


def test_a_provider_of_flags() -> None:
    user = user_of(ProviderSettings("https://idp", "id", groups_claim="roles").as_jwt(), {"sub": "7", "roles": "ops"})
    assert (user.name, user.groups) == ("https://idp#7", ("ops", "system:authenticated"))
    bare = ProviderSettings("https://idp", "id", username_prefix="-").as_jwt()
    assert bare.username == Mapped("sub", "") and user_of(bare, {"sub": "7"}).name == "7"
    assert ProviderSettings("https://idp", "id", "email").as_jwt().username == Mapped("email", "")
    for claims in ({"sub": ""}, {"sub": "system:node:n1"}, {"sub": "system:serviceaccount:kube-system:default"}):
        with pytest.raises(ClaimsRefused):
            user_of(bare, claims)
