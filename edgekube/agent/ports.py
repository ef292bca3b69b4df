"""A port by number or by the name that the container gives it.

Enters: a container and an IntOrString.
Leaves: a port number; ValueError when there is none.
Holds: pure.
Next: agent.lifecycle, agent.probes.
"""

from __future__ import annotations

from edgekube.api.objects import Object


def port_number(container: Object, port: object) -> int:
    if isinstance(port, str) and not port.isdigit():
        for declared in container.get("ports") or []:
            if declared.get("name") == port:
                return int(declared["containerPort"])
        raise ValueError(f"couldn't find port: {port}")
    number = int(str(port or 0))
    if not 0 < number < 65536:
        raise ValueError(f"invalid port number: {number}")
    return number
