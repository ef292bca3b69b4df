"""Files of a cgroup that have a name and a number on each line.

Enters: a path below /sys/fs/cgroup.
Leaves: the numbers by name; {} when there is no such file.
Holds: lines of another shape are passed over.
Source: Linux Documentation/admin-guide/cgroup-v2.rst, "flat keyed".
Next: agent.cgroups, agent.statistics.readings.
"""

from __future__ import annotations

from pathlib import Path


def flat(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
