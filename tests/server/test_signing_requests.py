"""CertificateSigningRequests over HTTP, as kubectl certificate approve and deny drive them."""

from __future__ import annotations

import base64
from pathlib import Path

import orjson
import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from edgekube.api.kinds import CERTIFICATESIGNINGREQUEST, KINDS
from edgekube.api.objects import Object
from edgekube.pki.authority import Subject
from edgekube.pki.requests import request_pem
from tests.server.joining import Cluster, joinable_cluster
from tests.server.secured import admin

PATH = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
CLIENT = ["digital signature", "client auth"]
JANE = Subject("jane", ("developers",))
APPROVER = Subject("approver")


def request(name: str, subject: Subject, signer: str = "kubernetes.io/kube-apiserver-client") -> Object:
    pem = request_pem(ec.generate_private_key(ec.SECP256R1()), subject)
    spec = {"request": base64.b64encode(pem.encode()).decode(), "signerName": signer, "usages": CLIENT}
    return {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name}, "spec": spec}


def with_condition(obj: Object, kind: str, reason: str = "Test") -> Object:
    condition = {"type": kind, "status": "True", "reason": reason, "message": "so it is"}
    return {**obj, "status": {**obj.get("status", {}), "conditions": [condition]}}


async def signed(cluster: Cluster, name: str) -> Object:
    with trio.fail_after(60):
        while True:
            found = await cluster.verbs.get(CERTIFICATESIGNINGREQUEST, "", name)
            status = found.get("status") or {}
            types = [each["type"] for each in status.get("conditions") or ()]
            if "certificate" in status or "Failed" in types:
                return found
            await trio.lowlevel.checkpoint()


async def test_a_person_gets_a_certificate_that_the_api_knows_him_by(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path) as cluster:
        created = await cluster.secured.ask(admin(), "POST", PATH, request("jane", JANE))
        assert created.status == 201 and created.json["spec"]["username"] == "system:admin"
        assert created.json.get("status", {}).get("conditions") is None
        approved = await cluster.secured.ask(admin(), "PUT", f"{PATH}/jane/approval", with_condition(created.json, "Approved"))
        assert approved.status == 200, approved.body
        condition = approved.json["status"]["conditions"][0]
        assert condition["lastUpdateTime"] and condition["lastTransitionTime"]
        certificate = base64.b64decode((await signed(cluster, "jane"))["status"]["certificate"])
        assert x509.load_pem_x509_certificate(certificate).subject.rfc4514_string() == "CN=jane,O=developers"


async def test_denied_is_for_good(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path) as cluster:
        created = (await cluster.secured.ask(admin(), "POST", PATH, request("jane", JANE))).json
        denied = await cluster.secured.ask(admin(), "PUT", f"{PATH}/jane/approval", with_condition(created, "Denied"))
        assert denied.status == 200
        conditions = [*denied.json["status"]["conditions"], {"type": "Approved", "status": "True"}]
        both = {**denied.json, "status": {"conditions": conditions}}
        assert (await cluster.secured.ask(admin(), "PUT", f"{PATH}/jane/approval", both)).status == 422
        without = {**denied.json, "status": {}}
        gone = await cluster.secured.ask(admin(), "PUT", f"{PATH}/jane/approval", {**without, "status": {"conditions": []}})
        assert gone.status == 422 and "may not remove a condition" in gone.json["message"]


async def test_approval_comes_by_its_own_path_only(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path) as cluster:
        born = await cluster.secured.ask(admin(), "POST", PATH, with_condition(request("jane", JANE), "Approved"))
        assert born.status == 201 and not born.json.get("status", {}).get("conditions")
        for path in (f"{PATH}/jane", f"{PATH}/jane/status"):
            answer = await cluster.secured.ask(admin(), "PUT", path, with_condition(born.json, "Approved"))
            stored = await cluster.verbs.get(CERTIFICATESIGNINGREQUEST, "", "jane")
            assert not (stored.get("status") or {}).get("conditions"), (path, answer.body)


async def test_what_its_signer_does_not_sign_fails(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path) as cluster:
        wrong = request("jane", JANE, "kubernetes.io/kube-apiserver-client-kubelet")
        created = (await cluster.secured.ask(admin(), "POST", PATH, wrong)).json
        await cluster.secured.ask(admin(), "PUT", f"{PATH}/jane/approval", with_condition(created, "Approved"))
        failed = (await signed(cluster, "jane"))["status"]["conditions"][-1]
        assert (failed["type"], failed["reason"]) == ("Failed", "SignerValidationFailure")


async def test_nobody_asks_for_the_all_powerful_group(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path) as cluster:
        root = request("root", Subject("root", ("system:masters",)))
        refused = await cluster.secured.ask(admin(), "POST", PATH, root)
        assert refused.status == 403
        why = "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"
        assert why in refused.json["message"]


async def test_approving_needs_the_permission_for_the_signer(tmp_path: Path) -> None:
    async with joinable_cluster(tmp_path) as cluster:
        written = [f"certificatesigningrequests/{below}" for below in ("approval", "status")]
        rules: list[Object] = [{"apiGroups": ["certificates.k8s.io"], "resources": written, "verbs": ["update"]}]
        await _bind(cluster, rules)
        created = (await cluster.secured.ask(admin(), "POST", PATH, request("jane", JANE))).json
        approval = with_condition(created, "Approved")
        refused = await cluster.secured.ask(APPROVER, "PUT", f"{PATH}/jane/approval", approval)
        why = 'user not permitted to approve requests with signerName "kubernetes.io/kube-apiserver-client"'
        assert refused.status == 403 and why in refused.json["message"]
        refused = await cluster.secured.ask(APPROVER, "PUT", f"{PATH}/jane/status", created)
        assert refused.status == 403 and "user not permitted to sign" in refused.json["message"]

        signers = {"resources": ["signers"], "verbs": ["approve"], "resourceNames": ["kubernetes.io/*"]}
        rules.append({"apiGroups": ["certificates.k8s.io"], **signers})
        await _bind(cluster, rules)
        assert (await cluster.secured.ask(APPROVER, "PUT", f"{PATH}/jane/approval", approval)).status == 200


async def _bind(cluster: Cluster, rules: list[Object]) -> None:
    """The role and its binding, also in the index that these tests are decided by."""
    meta = {"name": "approver"}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": meta, "rules": rules}
    binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": meta,
               "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "approver"},
               "subjects": [{"kind": "User", "name": "approver"}]}  # fmt: skip
    for obj in (role, binding):
        assert KINDS.by_kind("rbac.authorization.k8s.io/v1", str(obj["kind"])) is not None
        cluster.secured.roles.put(orjson.loads(orjson.dumps(obj)))
