"""The condition Dangling of a FlowSchema: whether the priority level that it names is there.

Enters: the schema, whether there is its level, the time.
Leaves: the status to write; None where it says so already.
Holds: pure; reasons are upstream's.
Source: k8s.io/apiserver pkg/util/flowcontrol, apf_controller (syncFlowSchemaStatus).
Next: server.fairness.fairness writes it.
"""

from __future__ import annotations

from edgekube.api.objects import Object


def changed_status(schema: Object, has_level: bool, now: str) -> Object | None:
    level = ((schema.get("spec") or {}).get("priorityLevelConfiguration") or {}).get("name")
    if has_level:
        told = {"type": "Dangling", "status": "False", "reason": "Found"}
        told["message"] = f"This FlowSchema references the PriorityLevelConfiguration object named {level} and it exists"
    else:
        told = {"type": "Dangling", "status": "True", "reason": "NotFound"}
        named = f"This FlowSchema references the PriorityLevelConfiguration object named {level}"
        told["message"] = f"{named} but there is no such object"
    conditions = (schema.get("status") or {}).get("conditions") or []
    before = next((each for each in conditions if each.get("type") == "Dangling"), None)
    if before is not None and before.get("status") == told["status"] and before.get("message") == told["message"]:
        return None
    since = before["lastTransitionTime"] if before and before.get("status") == told["status"] else now
    return {"conditions": [*(c for c in conditions if c.get("type") != "Dangling"), {**told, "lastTransitionTime": since}]}
