"""Everything that gives devices to this node, as one task.

Enters: NodeDevices, the directory of plugins' sockets, what the operator declared of the board.
Leaves: plugins kept for as long as they live, the board's devices as they come and go.
Holds: without a socket for plugins (its path is too long, say) the board's devices are there all the same.
Next: agent.devices.registration, agent.devices.board.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import trio

from edgekube.agent.devices.allotment import NodeDevices
from edgekube.agent.devices.board import Board, follow_board
from edgekube.agent.devices.registration import serve_registrations
from edgekube.settings import BoardDevice

log = logging.getLogger("edgekube.agent")


async def run_devices(
    devices: NodeDevices,
    directory: Path,
    declared: Sequence[BoardDevice],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """For ever; started once plugins can register."""
    async with trio.open_nursery() as nursery:

        async def take(resource: str, socket: Path) -> None:
            plugin = devices.plugin_for(resource, socket)
            try:
                await plugin.connect()
            except BaseException:
                plugin.close()
                raise
            nursery.start_soon(devices.keep_plugin, plugin)

        nursery.start_soon(devices.run)
        nursery.start_soon(follow_board, [Board(item) for item in declared], devices.ledger.in_use, devices.offered)
        try:
            await nursery.start(serve_registrations, directory, take)
        except OSError as error:
            log.warning("device plugins cannot register directory=%s error=%s", directory, error)
        task_status.started()
