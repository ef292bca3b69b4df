"""What webhooks change ends up in the audit event of the request, the patch itself only where bodies are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from edgekube.admission.audit_policy import parse_policy
from edgekube.server.audit_file import AuditFile, Rotation
from edgekube.server.auditing import Auditing
from tests.registry.cluster import config_map
from tests.registry.hooks import patching, serving_hooks
from tests.server.running import running_api

MAPS = "/api/v1/namespaces/default/configmaps"
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
OPERATION = {"op": "add", "path": "/data/mutated", "value": "yes"}


@pytest.mark.parametrize(("level", "told"), [("Metadata", False), ("Request", True)])
async def test_patches_are_annotated(tmp_path: Path, level: str, told: bool) -> None:
    file = AuditFile(str(tmp_path / "audit.log"), Rotation())
    rules = [{"level": level, "resources": [{"resources": ["configmaps"]}]}]
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": rules}

    def auditing(registry: Any) -> Auditing:
        return Auditing(parse_policy(policy), {"log": file}, registry.metrics)

    with serving_hooks(tmp_path, "hook.default.svc") as hooks:
        hooks.answers["/m"] = patching(OPERATION)
        webhook = {
            "name": "check.example.com",
            "clientConfig": hooks.config("/m"),
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        async with running_api(tmp_path, auditing=auditing, reachable=lambda _: True) as api:
            configured = await api.ask("POST", CONFIGURATIONS, {"metadata": {"name": "hooks"}, "webhooks": [webhook]})
            assert configured.status == 201, configured.text
            assert (await api.ask("POST", MAPS, config_map("web"))).json["data"]["mutated"] == "yes"
            await file.flush()
    (event,) = [orjson.loads(line) for line in Path(file.path).read_bytes().splitlines()]
    place = "webhook.admission.k8s.io/round_0_index_0"
    said = {"configuration": "hooks", "webhook": "check.example.com"}
    assert orjson.loads(event["annotations"][f"mutation.{place}"]) == {**said, "mutated": True}
    patch = event["annotations"].get(f"patch.{place}")
    assert (patch is not None) is told
    if told:
        assert orjson.loads(patch) == {**said, "patch": [OPERATION], "patchType": "JSONPatch"}
