"""Devices by the names of the Container Device Interface, where the runtime knows it.

Enters: what a container was given, the runtime.
Leaves: DeviceProblem when the runtime would start the container without its devices: one before containerd 1.7 says nothing.
Holds: the runtime is asked only when there are such names.
Next: agent.execute.
"""

from __future__ import annotations

import re
from typing import Final

from edgekube.agent.devices.model import DeviceProblem, Given
from edgekube.containerd.protocol import Runtime

_CONTAINERD: Final = re.compile(r"containerd://(\d+)\.(\d+)")
_SINCE: Final = (1, 7)


def refusal(runtime_version: str, given: Given) -> str:
    match = _CONTAINERD.match(runtime_version)
    if not given.cdi_devices or match is None or (int(match[1]), int(match[2])) >= _SINCE:
        return ""
    names = ", ".join(given.cdi_devices)
    return f"CDI devices {names} need containerd {_SINCE[0]}.{_SINCE[1]} or newer, this node has {match[1]}.{match[2]}"


async def check_cdi(runtime: Runtime, given: Given) -> None:
    """Raises DeviceProblem, RuntimeFailure."""
    if given.cdi_devices and (why := refusal(await runtime.version(), given)):
        raise DeviceProblem(why)
