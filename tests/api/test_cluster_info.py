"""Signatures of cluster-info, against a JWS library."""

from __future__ import annotations

import base64
import warnings

import jwt
import pytest
import yaml

from edgekube.api import cluster_info
from edgekube.api.bootstrap_tokens import Shown
from edgekube.api.objects import Object

TOKEN = Shown("abcdef", "0123456789abcdef")


def secret(**data: str) -> Object:
    good = {"token-id": TOKEN.id, "token-secret": TOKEN.secret, "usage-bootstrap-signing": "true"}
    data = {key.replace("_", "-"): value for key, value in data.items()}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in {**good, **data}.items()}
    return {"metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token", "data": encoded}


def test_a_signature_is_a_jws_without_its_content() -> None:
    content = cluster_info.kubeconfig("https://10.0.0.1:6443", "PEM")
    header, between, end = cluster_info.signature(content, TOKEN).split(".")
    assert between == "" and base64.urlsafe_b64decode(header + "==") == b'{"alg":"HS256","kid":"abcdef"}'
    whole = f"{header}.{base64.urlsafe_b64encode(content.encode()).decode().rstrip('=')}.{end}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the key is shorter than the library likes
        assert jwt.PyJWS().decode(whole, TOKEN.secret, algorithms=["HS256"]) == content.encode()
        with pytest.raises(jwt.InvalidSignatureError):
            jwt.PyJWS().decode(whole, "0123456789abcdee", algorithms=["HS256"])
    cluster = yaml.safe_load(content)["clusters"][0]["cluster"]
    assert base64.b64decode(cluster["certificate-authority-data"]) == b"PEM"


def test_what_is_signed_for_whom() -> None:
    before = {"mine": "x", "jws-kubeconfig-gone00": "y", "kubeconfig": "old"}
    assert set(cluster_info.wanted(before, "new", [secret()], 0)) == {"mine", "kubeconfig", "jws-kubeconfig-abcdef"}
    for none in (
        secret(usage_bootstrap_signing="false"),
        secret(expiration="2001-01-01T00:00:00Z"),
        secret(token_id="zzzzzz"),
        {**secret(), "type": "Opaque"},
    ):
        assert cluster_info.wanted(before, "new", [none], 1e9) == {"mine": "x", "kubeconfig": "new"}
