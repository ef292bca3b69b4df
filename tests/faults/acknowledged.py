"""Compare what a store_writer was told with what its store still knows.

Enters: acknowledgements (name -> last step), a database file.
Leaves: the names whose acknowledged state is gone.
Holds: at most the step after an acknowledged one may be there too: it was under way.
Next: tests.faults.test_power_cut, tests.faults.test_disk_errors.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import orjson

from edgekube.store.sqlite import open_store
from tests.faults.store_writer import STEPS, steps_of


def acknowledged(lines: Iterable[str]) -> dict[str, int]:
    steps: dict[str, int] = {}
    for line in lines:
        if line.startswith("ack "):
            _, name, step = line.split()
            assert int(step) == steps.get(name, -1) + 1, f"{line}: steps come one by one"
            steps[name] = int(step)
    return steps


async def lost(path: Path, steps: dict[str, int]) -> list[str]:
    """Opens the store as a server would after the cut; a store that cannot be opened raises."""
    async with open_store(path) as store:
        found = {r.key.name: int(orjson.loads(r.value)["step"]) for r in (await store.list("configmaps")).records}
        revisions = [r.revision for r in (await store.list("configmaps")).records]
        gone = [] if store.revision() >= max(revisions, default=0) else ["the revision, which ran backwards"]
    for name, step in steps.items():
        kept = found.pop(name, None)
        if kept is None:  # deleted, or never there
            if steps_of(name) < STEPS or step < STEPS - 2:
                gone.append(name)
        elif not step <= kept <= step + 1:
            gone.append(name)
    assert all(step == 0 for step in found.values()), "only creations under way may be there without acknowledgement"
    return gone
