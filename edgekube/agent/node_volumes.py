"""The volumes of this node's pods, and the drivers that make some of them: how these parts are put together.

Enters: what agent.run has made by then.
Leaves: VolumeSetup; tasks in the agent's nursery.
Holds: nothing of its own.
Next: agent.run; volumes.setup, agent.csi.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import trio

from edgekube.agent.csi.drivers import CsiDrivers
from edgekube.agent.csi.expansion import Expansions
from edgekube.agent.csi.leaving import NOBODY
from edgekube.agent.csi.measuring import Measuring
from edgekube.agent.csi.options import in_use_key, unique_name, unique_name_of
from edgekube.agent.csi.places import Places
from edgekube.agent.csi.staging import recorded, staged_volumes
from edgekube.agent.csi.volumes import CsiVolumes
from edgekube.agent.kubelet_dir import provide
from edgekube.agent.local_volumes import Directories
from edgekube.agent.node import NodeReporter
from edgekube.agent.plugins_registry import PluginsRegistry
from edgekube.agent.references import References
from edgekube.agent.tokens import TokenSource
from edgekube.agent.volumes.image import snapshotter_of
from edgekube.agent.volumes.in_use import VolumesInUse
from edgekube.agent.volumes.setup import VolumeSetup
from edgekube.api.objects import Object
from edgekube.api.verbs import Verbs
from edgekube.containerd.protocol import Runtime
from edgekube.settings import Settings


def still_in_use(agent_dir: Path) -> VolumesInUse:
    """What a predecessor of this process mounted: nobody may detach it because it is not named for a moment. Those that nobody
    attaches are taken off when their pods are looked at."""
    in_use = VolumesInUse()
    for uid, source in recorded(agent_dir):
        in_use.take(unique_name(source), in_use_key(uid, source))
    # Until their driver comes and lets go of what no pod has any more.
    for folder in Places(agent_dir, agent_dir).plugin_dir.glob("*"):
        for _, handle in staged_volumes(folder):
            in_use.take(unique_name_of(folder.name, handle), NOBODY)
    return in_use


def start_volumes(
    nursery: trio.Nursery,
    settings: Settings,
    verbs: Verbs,
    references: References,
    tokens: TokenSource,
    directories: Directories,
    runtime: Runtime,
    reporter: NodeReporter,
    wake: Callable[[str], None],
    clock: Callable[[], float],
    tell: Callable[[Object, str, str, str], None],
) -> VolumeSetup:
    """``wake`` gets the uid of a pod whose volumes may get further now; ``tell`` records an event."""
    snapshotter = snapshotter_of(settings.containerd_root)
    in_use = still_in_use(settings.agent_dir)
    reporter.follow_volumes(in_use)
    shown_dir = provide(settings.kubelet_directory, settings.agent_dir)

    def driver_came(name: str) -> None:
        nursery.start_soon(csi.sweep, name)
        measuring.driver_came()
        volumes.poke_all()

    drivers = CsiDrivers(verbs, settings.node_name, driver_came)
    measuring = Measuring(verbs, drivers)
    reporter.on_registered(drivers.node_registered)
    expansions = Expansions(verbs, settings.node_name, clock)
    csi = CsiVolumes(
        verbs,
        settings.node_name,
        drivers,
        tokens,
        in_use,
        places=Places(settings.agent_dir, shown_dir),
        clock=clock,
        expansions=expansions,
        tell=tell,
    )
    volumes = VolumeSetup(verbs, reporter.node_object, references, tokens, directories, csi, runtime, snapshotter, wake, clock)
    # By the name that plugins know, too: the kernel takes no socket whose name has more than 107 bytes, as below a long data_dir.
    registry = PluginsRegistry(shown_dir / "plugins_registry", {"CSIPlugin": drivers})
    nursery.start_soon(csi.run)
    nursery.start_soon(drivers.run)
    nursery.start_soon(registry.run)
    nursery.start_soon(expansions.run)
    nursery.start_soon(measuring.run)
    return volumes
