"""The board's own devices as extended resources: no plugin, and no privileged pod.

Enters: what the operator declared, what there is in /dev.
Leaves: which devices there are, each time that changes; the nodes that a container gets, and a variable that names them.
Holds: a stable path (/dev/serial/by-id/...) is looked up anew for each container that starts, so that it may lead to another node
after a cable was pulled. Only character devices below /dev are offered. Nothing is polled: the kernel tells of changes.
Bound: limits.BOARD_DEVICES_MAX devices of one resource.
Source: docs/adr/0063.
Next: agent.devices.allotment.
"""

from __future__ import annotations

import glob
import logging
import os
import re
import stat
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import trio

from edgekube.agent.devices.ledger import Offer
from edgekube.agent.devices.model import DeviceProblem, Given
from edgekube.agent.inotify import DirectoryWatch
from edgekube.api.board_devices import is_pattern, variable
from edgekube.containerd.model import Device
from edgekube.limits import BOARD_DEVICE_SETTLE_SECONDS, BOARD_DEVICES_MAX, BOARD_DEVICES_RETRY_SECONDS
from edgekube.settings import BoardDevice

log = logging.getLogger("edgekube.agent")

_SHARE: Final = re.compile(r"#\d+$")


class Board:
    """The devices of one resource. ``root`` stands in for / in tests."""

    pre_start_required = False
    preference_available = False
    changes = True

    def __init__(self, declared: BoardDevice, root: Path = Path("/")) -> None:
        self.declared = declared
        self._root = root

    def _on_host(self, path: str) -> str:
        return str(self._root / path.lstrip("/"))

    def _node(self, path: str) -> str:
        """The character device that a path leads to; "" when there is none, or when it leads out of /dev."""
        real = os.path.realpath(self._on_host(path))
        try:
            is_device = stat.S_ISCHR(os.stat(real).st_mode)
        except OSError:
            return ""
        return real if is_device and Path(real).is_relative_to(self._on_host("/dev")) else ""

    def _matches(self, pattern: str) -> list[str]:
        if not is_pattern(pattern):
            return [pattern] if self._node(pattern) else []
        prefix = str(self._root).rstrip("/")
        found = sorted(path.removeprefix(prefix) for path in glob.glob(self._on_host(pattern)))
        return [path for path in found if self._node(path)]

    def present(self) -> frozenset[str]:
        """Ids of what is there now: the path, and a number for each share of it."""
        groups = [self._matches(pattern) for pattern in self.declared.paths]
        if self.declared.together:
            names = [self.declared.resource] if all(groups) else []
        else:
            names = sorted({path for group in groups for path in group})
        ids = [f"{name}#{share}" for name in names for share in range(self.declared.share)]
        if len(ids) > BOARD_DEVICES_MAX:
            log.warning("more devices than a resource may have resource=%s count=%d", self.declared.resource, len(ids))
        return frozenset(ids[:BOARD_DEVICES_MAX])

    def offer(self, in_use: Iterable[str]) -> Offer:
        present = self.present()
        return Offer(present, frozenset(in_use) - present)

    def _paths(self, ids: Sequence[str]) -> list[str]:
        if self.declared.together:
            return [path for pattern in self.declared.paths for path in self._matches(pattern)]
        return sorted({_SHARE.sub("", name) for name in ids})

    async def allocate(self, ids: Sequence[str]) -> Given:
        return await trio.to_thread.run_sync(self.given, ids)

    def given(self, ids: Sequence[str]) -> Given:
        devices = []
        for path in self._paths(ids):
            node = self._node(path)
            if not node:
                raise DeviceProblem(f"device {path} of {self.declared.resource} is not there any more")
            devices.append(Device(self.declared.container_path or path, node, self.declared.permissions))
        return Given(env={variable(self.declared): ":".join(device.container_path for device in devices)}, devices=tuple(devices))

    async def preferred(self, available: Sequence[str], included: Sequence[str], size: int) -> frozenset[str]:
        return frozenset()

    async def pre_start(self, ids: Sequence[str]) -> None:
        return

    def directories(self) -> set[Path]:
        """Where something may come or go: of each path the directories that are there."""
        found: set[Path] = set()
        for pattern in self.declared.paths:
            parts = Path(pattern).parts[1:-1]
            folder = self._root
            for part in parts:
                if is_pattern(part) or not (folder / part).is_dir():
                    break
                folder = folder / part
                found.add(folder)
        return found


async def follow_board(
    boards: Sequence[Board], in_use: Callable[[str], Iterable[str]], offered: Callable[[str, Board, Offer], Awaitable[None]]
) -> None:
    """For ever, also where the kernel gives no inotify instance for a while: others may have taken all there are."""
    while boards:
        try:
            await _follow(boards, in_use, offered)
        except OSError as error:
            log.warning("devices of this board are not followed error=%s", error)
        await trio.sleep(BOARD_DEVICES_RETRY_SECONDS)


async def _follow(
    boards: Sequence[Board], in_use: Callable[[str], Iterable[str]], offered: Callable[[str, Board, Offer], Awaitable[None]]
) -> None:
    with DirectoryWatch() as watch:
        while True:
            # Asked here: the ledger belongs to this thread.
            used = {board.declared.resource: frozenset(in_use(board.declared.resource)) for board in boards}
            offers = await trio.to_thread.run_sync(_look, boards, used, watch)
            for board, offer in offers:
                await offered(board.declared.resource, board, offer)
            await watch.changed()
            # A device brings several changes: its node, its mode, the links that udev makes to it.
            await trio.sleep(BOARD_DEVICE_SETTLE_SECONDS)


def _look(boards: Sequence[Board], used: Mapping[str, Iterable[str]], watch: DirectoryWatch) -> list[tuple[Board, Offer]]:
    for folder in {folder for board in boards for folder in board.directories()}:
        try:
            watch.add(folder)
        except OSError as error:
            log.warning("directory of devices cannot be watched path=%s error=%s", folder, error)
    return [(board, board.offer(used[board.declared.resource])) for board in boards]
