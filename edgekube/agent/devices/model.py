"""Devices as values.

Enters: nothing.
Leaves: what is offered, what a container was given, and the problem with it.
Holds: nothing.
Next: agent.devices.ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct, field

from edgekube.containerd.model import Device, Mount


class DeviceProblem(Exception):
    """The text is the kubelet's."""


class Given(Struct, frozen=True):
    """What a container gets with its devices."""

    env: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    cdi_devices: tuple[str, ...] = ()

    def joined(self, other: Given) -> Given:
        """Both; what both name is the first one's."""
        return Given(
            {**other.env, **self.env},
            tuple({mount.container_path: mount for mount in (*other.mounts, *self.mounts)}.values()),
            tuple({device.container_path: device for device in (*other.devices, *self.devices)}.values()),
            {**other.annotations, **self.annotations},
            tuple(dict.fromkeys((*self.cdi_devices, *other.cdi_devices))),
        )


NOTHING = Given()


class Holding(Struct, frozen=True):
    """The devices of one resource that one container has."""

    ids: frozenset[str]
    given: Given


class Source(Protocol):
    """Whoever has the devices of one resource: a plugin, or this board."""

    pre_start_required: bool
    preference_available: bool
    #: What a container gets is asked for anew each time it starts, not remembered.
    changes: bool

    async def allocate(self, ids: Sequence[str]) -> Given:
        """Raises DeviceProblem."""
        ...

    async def preferred(self, available: Sequence[str], included: Sequence[str], size: int) -> frozenset[str]:
        """Raises DeviceProblem."""
        ...

    async def pre_start(self, ids: Sequence[str]) -> None:
        """Raises DeviceProblem."""
        ...
