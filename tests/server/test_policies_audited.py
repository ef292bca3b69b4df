"""What policies say ends up in the audit event of the request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from edgekube.admission.audit_policy import parse_policy
from edgekube.server.audit_file import AuditFile, Rotation
from edgekube.server.auditing import Auditing
from tests.registry.cluster import deployment
from tests.server.policies import DEPLOYMENTS, binding, put, validating
from tests.server.running import running_api

AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "resources": [{"group": "apps", "resources": ["deployments"]}]}],
}


async def test_annotations_of_policies(tmp_path: Path) -> None:
    file = AuditFile(str(tmp_path / "audit.log"), Rotation())

    def auditing(registry: Any) -> Auditing:
        return Auditing(parse_policy(AUDIT), {"log": file}, registry.metrics)

    policy = validating(
        {"expression": "object.spec.replicas <= 5", "message": "many"},
        auditAnnotations=[
            {"key": "high", "valueExpression": "'replicas: ' + string(object.spec.replicas)"},
            {"key": "none", "valueExpression": "null"},
        ],
    )
    async with running_api(tmp_path, auditing=auditing) as api:
        await put(api, policy, binding(actions=("Audit",)))
        assert (await api.ask("POST", DEPLOYMENTS, deployment("web", 6))).status == 201
        await file.flush()
    (event,) = [orjson.loads(line) for line in Path(file.path).read_bytes().splitlines()]
    assert event["annotations"]["p.example.com/high"] == "replicas: 6"
    assert "p.example.com/none" not in event["annotations"]
    (failure,) = orjson.loads(event["annotations"]["validation.policy.admission.k8s.io/validation_failure"])
    assert failure == {
        "message": "many",
        "policy": "p.example.com",
        "binding": "b.example.com",
        "expressionIndex": 0,
        "validationActions": ["Audit"],
    }
