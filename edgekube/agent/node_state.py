"""What this node knows of itself and everybody asks for: pressures, and whether it is going down.

Enters: agent.eviction, agent.shutdown.
Leaves: the same to agent.node (conditions) and agent.entry (who may come in).
Holds: a change is told at once to whoever listens.
Next: agent.node, agent.entry.
"""

from __future__ import annotations

from collections.abc import Callable


class NodeState:
    def __init__(self) -> None:
        self._listeners: list[Callable[[], None]] = []
        #: MemoryPressure, DiskPressure, PIDPressure: those that hold.
        self.pressures: frozenset[str] = frozenset()
        self.shutting_down = False

    def listen(self, changed: Callable[[], None]) -> None:
        self._listeners.append(changed)

    def press(self, pressures: frozenset[str]) -> None:
        if pressures != self.pressures:
            self.pressures = pressures
            self._tell()

    def shut_down(self, going: bool) -> None:
        if going != self.shutting_down:
            self.shutting_down = going
            self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
