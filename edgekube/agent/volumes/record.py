"""What a pod's volumes were found to be, kept beside them.

Enters: the sources of a pod's volumes that are more than directories: claims, CSI, images.
Leaves: a file in the pod's directory, and what it says after a restart.
Holds: written before anything is mounted by it, so that whatever was mounted can be undone without the API. Private: it may name
where data lives.
Next: volumes.setup.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import orjson
from msgspec.structs import asdict

from edgekube.agent.volumes.source import VolumeSource
from edgekube.pki.files import PRIVATE, replace_whole

log = logging.getLogger("edgekube.agent")

NAME = "volumes.json"


def read_record(root: Path) -> dict[str, VolumeSource]:
    """By the volume's name; {} when there is none, or none that can be read."""
    try:
        rows = orjson.loads((root / NAME).read_bytes())
        return {row["name"]: _source(row) for row in rows}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("record of volumes is not readable path=%s error=%s", root / NAME, error)
        return {}


def with_records(agent_dir: Path) -> list[str]:
    """Uids of pods that left a record."""
    return [found.parent.name for found in (agent_dir / "pods").glob(f"*/{NAME}")]


def _source(row: dict[str, object]) -> VolumeSource:
    for name in ("mount_options", "access_modes"):
        row[name] = tuple(row[name])  # type: ignore[arg-type]
    return VolumeSource(**row)  # type: ignore[arg-type]


def write_record(root: Path, sources: Mapping[str, VolumeSource]) -> None:
    """Whole or not at all."""
    data = orjson.dumps([asdict(source) for _, source in sorted(sources.items())])
    path = root / NAME
    try:
        if path.read_bytes() == data:
            return
    except OSError:
        pass
    root.mkdir(parents=True, exist_ok=True)
    replace_whole(path, data, PRIVATE)
