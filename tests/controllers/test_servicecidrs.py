"""A ServiceCIDR becomes Ready once, and what others say of it stays."""

from __future__ import annotations

from edgekube.api.kinds import SERVICECIDR
from edgekube.controllers.servicecidrs import SERVICECIDR_CONTROLLER
from tests.controllers.world import World


def test_a_service_cidr_is_ready_and_told_so_once() -> None:
    world = World()
    others = {"type": "Noted", "status": "True", "reason": "Seen", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    world.put(
        SERVICECIDR, {"metadata": {"name": "more"}, "spec": {"cidrs": ["203.0.113.0/24"]}, "status": {"conditions": [others]}}
    )
    world.step(SERVICECIDR_CONTROLLER, "", "more")
    found = world.get(SERVICECIDR, "", "more")
    assert found is not None
    conditions = found["status"]["conditions"]
    assert [(each["type"], each["status"]) for each in conditions] == [("Noted", "True"), ("Ready", "True")]
    assert world.step(SERVICECIDR_CONTROLLER, "", "more") == []
    assert world.step(SERVICECIDR_CONTROLLER, "", "gone") == []
