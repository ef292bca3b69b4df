"""Signing requests are signed when approved and within their signer's rules, refused with the reason, and swept away."""

from __future__ import annotations

import base64
import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from edgekube.api.kinds import CERTIFICATESIGNINGREQUEST as KIND
from edgekube.api.objects import Object
from edgekube.api.verbs import UserInfo
from edgekube.controllers.certificates import approving, cleaning, signing
from edgekube.controllers.certificates.rules import API_CLIENT, EXTENDED_USAGES, KEY_USAGES, NODE_CLIENT, NODE_SERVING
from edgekube.pki.authority import Authority, Subject, load_or_create_authority
from edgekube.pki.requests import request_pem
from edgekube.pki.signer import RequestSigner
from tests.controllers.world import World

CLIENT = ["digital signature", "client auth"]
SERVING = ["digital signature", "key encipherment", "server auth"]
NODE = Subject("system:node:pi-7", ("system:nodes",))
NODE_PORT = Subject("system:node:pi-7", ("system:nodes",), "server", ("pi-7",))
KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    directory: Path = tmp_path_factory.mktemp("ca")
    now = datetime.datetime.fromtimestamp(1_800_000_000, datetime.UTC)
    return load_or_create_authority(directory, now=now)


def request(subject: Subject, signer: str, usages: list[str], *, types: tuple[str, ...] = ("Approved",), **spec: Any) -> Object:
    encoded = base64.b64encode(request_pem(KEY, subject).encode()).decode()
    conditions = [{"type": each, "status": "True", "lastUpdateTime": "2027-01-15T08:00:00Z"} for each in types]
    status = {"conditions": conditions} if types else {}
    return {
        "metadata": {"name": "r"},
        "spec": {"request": encoded, "signerName": signer, "usages": usages, **spec},
        "status": status,
    }


def signed(authority: Authority, asked: Object) -> tuple[World, Object]:
    world = World()
    world.put(KIND, asked)
    world.step(signing.controller(RequestSigner(lambda: authority, KEY_USAGES, EXTENDED_USAGES)), "", "r")
    found = world.get(KIND, "", "r")
    assert found is not None
    return world, found["status"]


@pytest.mark.parametrize(
    ("subject", "signer", "usages"),
    [
        (Subject("jane", ("developers",)), API_CLIENT, CLIENT),
        (Subject("jane"), API_CLIENT, ["client auth"]),
        (NODE, NODE_CLIENT, CLIENT),
        (NODE, NODE_CLIENT, [*CLIENT, "key encipherment"]),
        (NODE_PORT, NODE_SERVING, SERVING),
        (Subject("system:node:pi-7", ("system:nodes",), "server", ("192.0.2.7",)), NODE_SERVING, SERVING),
    ],
)
def test_what_keeps_to_the_rules_is_signed(authority: Authority, subject: Subject, signer: str, usages: list[str]) -> None:
    _, status = signed(authority, request(subject, signer, usages))
    certificate = x509.load_pem_x509_certificate(base64.b64decode(status["certificate"]))
    certificate.verify_directly_issued_by(authority.certificate)
    assert certificate.public_key() == KEY.public_key()
    common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    assert [each.value for each in common] == [subject.common_name]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    given = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert {each.dotted_string for each in given} == {EXTENDED_USAGES[each] for each in usages if each in EXTENDED_USAGES}
    use = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert use.key_encipherment == ("key encipherment" in usages) and not use.key_cert_sign


@pytest.mark.parametrize(
    ("subject", "signer", "usages", "why"),
    [
        (Subject("jane"), API_CLIENT, ["client auth", "server auth"], "usages did not match"),
        (Subject("jane"), API_CLIENT, ["digital signature"], "usages did not match"),
        (Subject("jane"), NODE_CLIENT, CLIENT, "organization must be system:nodes"),
        (Subject("jane", ("system:nodes",)), NODE_CLIENT, CLIENT, "common name must be system:node:NAME"),
        (Subject("system:node:", ("system:nodes",)), NODE_CLIENT, CLIENT, "common name must be system:node:NAME"),
        (Subject("system:node:pi-7", ("system:nodes", "x")), NODE_CLIENT, CLIENT, "organization must be system:nodes"),
        (NODE_PORT, NODE_CLIENT, CLIENT, "DNS names"),
        (NODE, NODE_CLIENT, SERVING, "usages did not match"),
        (NODE, NODE_SERVING, SERVING, "at least one DNS or IP"),
        (NODE_PORT, NODE_SERVING, CLIENT, "usages did not match"),
        *(
            (
                Subject(NODE.common_name, NODE.organizations, "server", ("pi-7", name)),
                NODE_SERVING,
                SERVING,
                "is not a node's name",
            )
            for name in (
                "kubernetes.default.svc",
                "Kubernetes.Default.SVC",
                "kubernetes",
                "kubernetes.default.svc.cluster.local",
                "*.default.svc",
                "*.svc",
                "pi-8.node.edgekube.internal",
                "*.node.edgekube.internal",
                "k*.default.svc",
            )
        ),
    ],
)
def test_what_does_not_fails_with_the_reason(
    authority: Authority, subject: Subject, signer: str, usages: list[str], why: str
) -> None:
    _, status = signed(authority, request(subject, signer, usages))
    assert "certificate" not in status
    failed = status["conditions"][-1]
    assert (failed["type"], failed["status"], failed["reason"]) == ("Failed", "True", "SignerValidationFailure")
    assert why in failed["message"]


@pytest.mark.parametrize("types", [(), ("Denied",), ("Approved", "Failed"), ("Approved", "Denied")])
def test_what_is_not_approved_is_left_alone(authority: Authority, types: tuple[str, ...]) -> None:
    world, status = signed(authority, request(NODE, NODE_CLIENT, CLIENT, types=types))
    assert "certificate" not in status and [each["type"] for each in status.get("conditions", [])] == list(types)
    assert world.events == []


def test_other_signers_requests_and_signed_ones_are_left_alone(authority: Authority) -> None:
    assert "certificate" not in signed(authority, request(NODE, "example.com/mine", CLIENT))[1]
    done = request(NODE, NODE_CLIENT, CLIENT)
    done["status"]["certificate"] = "b2xk"
    assert signed(authority, done)[1]["certificate"] == "b2xk"


def test_nonsense_is_told_as_such(authority: Authority) -> None:
    asked = request(NODE, NODE_CLIENT, CLIENT)
    asked["spec"]["request"] = base64.b64encode(b"nonsense").decode()
    assert "unable to parse certificate request" in signed(authority, asked)[1]["conditions"][-1]["message"]


@pytest.mark.parametrize(("asked", "given"), [(None, 365 * 86400), (60, 600), (3600, 3600), (10**9, 365 * 86400)])
def test_a_certificate_lives_as_long_as_asked_within_bounds(authority: Authority, asked: int | None, given: int) -> None:
    made = request(NODE, NODE_CLIENT, CLIENT)
    if asked is not None:
        made["spec"]["expirationSeconds"] = asked
    _, status = signed(authority, made)
    certificate = x509.load_pem_x509_certificate(base64.b64decode(status["certificate"]))
    assert certificate.not_valid_after_utc.timestamp() == 1_800_000_000 + given


@pytest.mark.parametrize(
    ("username", "subresources", "approved"),
    [
        ("system:node:pi-7", {"selfnodeclient"}, "Auto approving self kubelet client certificate after SubjectAccessReview."),
        ("system:node:pi-8", {"selfnodeclient"}, ""),
        ("system:bootstrap:abc123", {"nodeclient"}, "Auto approving kubelet client certificate after SubjectAccessReview."),
        ("system:bootstrap:abc123", set(), ""),
    ],
)
def test_rbac_says_who_needs_no_human(username: str, subresources: set[str], approved: str) -> None:
    def may_create(user: UserInfo, subresource: str) -> bool:
        return user.name == username and subresource in subresources

    world = World()
    world.put(KIND, request(NODE, NODE_CLIENT, CLIENT, types=(), username=username, groups=["system:nodes"]))
    world.step(approving.controller(may_create), "", "r")
    found = world.get(KIND, "", "r")
    assert found is not None
    assert "".join(each["message"] for each in found["status"].get("conditions", [])) == approved


@pytest.mark.parametrize(
    "asked",
    [request(NODE_PORT, NODE_SERVING, SERVING, types=()), request(Subject("jane"), API_CLIENT, CLIENT, types=()),
     request(NODE_PORT, NODE_CLIENT, CLIENT, types=()), request(NODE, NODE_CLIENT, CLIENT, types=("Denied",))],
)  # fmt: skip
def test_nothing_else_is_approved_by_itself(asked: Object) -> None:
    world = World()
    world.put(KIND, asked)
    assert world.step(approving.controller(lambda user, subresource: True), "", "r") == []


@pytest.mark.parametrize(
    ("types", "seconds"), [((), cleaning.PENDING_SECONDS), (("Denied",), cleaning.ANSWERED_SECONDS), (("Approved",), 3600.0)]
)
def test_requests_are_swept_away_when_they_are_over(types: tuple[str, ...], seconds: float) -> None:
    world = World()
    asked = request(NODE, NODE_CLIENT, CLIENT, types=types)
    for condition in asked["status"].get("conditions", []):
        condition["lastUpdateTime"] = "2027-01-15T08:00:00Z"
    assert world.now == 1_800_000_000.0  # 2027-01-15T08:00:00Z
    world.put(KIND, asked)
    world.step(cleaning.CLEANING_CONTROLLER, "", "r")
    assert world.later == seconds and world.get(KIND, "", "r") is not None
    world.now += seconds
    world.step(cleaning.CLEANING_CONTROLLER, "", "r")
    assert world.get(KIND, "", "r") is None
