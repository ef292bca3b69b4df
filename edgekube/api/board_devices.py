"""Devices of a board as an operator declares them: GPIO, I2C, serial lines, cameras.

Enters: text such as ``edgekube.io/serial=/dev/serial/by-id/usb-FTDI*;share=2``, or the same as a mapping of the config file.
Leaves: BoardDevice, or ValueError that says what is wrong.
Holds: pure. Paths stay below /dev; what would give a container the whole machine is refused by name.
Bound: limits.BOARD_DEVICE_SHARES_MAX, limits.BOARD_DEVICE_PATHS_MAX.
Next: agent.devices.board.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any, Final

from edgekube import limits
from edgekube.api.validation.resources import is_extended
from edgekube.settings import BoardDevice

EXAMPLE: Final = "edgekube.io/serial=/dev/serial/by-id/usb-FTDI*"
_KEYS: Final = ("share", "permissions", "together", "as")
#: With these a container reads and writes whatever the machine has in memory.
_NEVER: Final = frozenset({"/dev/mem", "/dev/kmem", "/dev/port", "/dev/kcore", "/dev/core"})
_WILD: Final = re.compile(r"[*?\[]")


def variable(device: BoardDevice) -> str:
    """What tells a container the paths of its devices."""
    return "EDGEKUBE_DEVICE_" + re.sub(r"[^A-Z0-9]", "_", device.resource.partition("/")[2].upper())


def is_pattern(path: str) -> bool:
    return bool(_WILD.search(path))


def parse(text: str) -> BoardDevice:
    resource, equals, rest = text.partition("=")
    parts = [part.strip() for part in rest.split(";") if part.strip()]
    if not equals or not parts:
        raise ValueError(f"give RESOURCE=PATH, for example {EXAMPLE}")
    values: dict[str, Any] = {"resource": resource.strip(), "paths": [part for part in parts if part.startswith("/")]}
    for part in parts:
        if part.startswith("/"):
            continue
        key, _, value = part.partition("=")
        if key not in _KEYS or key in values:
            raise ValueError(f"{part!r} is not understood; after the paths come {', '.join(_KEYS)}, each once")
        values[key] = value if key != "together" else value in ("", "true", "yes")
    return from_mapping(values)


def from_mapping(values: Mapping[str, Any]) -> BoardDevice:
    unknown = [str(key) for key in values if key not in ("resource", "paths", *_KEYS)]
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}; the keys are resource, paths, {', '.join(_KEYS)}")
    resource = str(values.get("resource") or "")
    if not is_extended(resource):
        raise ValueError(f"{resource!r} is not the name of an extended resource: give one such as edgekube.io/serial")
    given = values.get("paths")
    paths = [given] if isinstance(given, str) else list(given or [])
    if not 0 < len(paths) <= limits.BOARD_DEVICE_PATHS_MAX:
        raise ValueError(f"give from 1 to {limits.BOARD_DEVICE_PATHS_MAX} paths, for example {EXAMPLE}")
    together = values.get("together", False)
    if not isinstance(together, bool):
        raise ValueError("together is true or false")
    made = BoardDevice(
        resource,
        tuple(_device_path(str(path)) for path in paths),
        _share(values.get("share", 1)),
        _permissions(str(values.get("permissions", "rw"))),
        together,
        str(values.get("as") or ""),
    )
    if made.container_path:
        _device_path(made.container_path)
        if len(made.paths) != 1 or is_pattern(made.paths[0]) or is_pattern(made.container_path):
            raise ValueError("as goes with one path that is no pattern: two devices cannot have one name")
    return made


def _device_path(path: str) -> str:
    if not path.startswith("/dev/") or posixpath.normpath(path) != path:
        raise ValueError(f"{path!r} is not a path below /dev")
    if path in _NEVER:
        raise ValueError(f"{path} is never given to a container: it is the whole machine's memory")
    return path


def _share(value: Any) -> int:
    text = str(value)
    if not text.isdecimal() or not 1 <= int(text) <= limits.BOARD_DEVICE_SHARES_MAX:
        raise ValueError(f"share is a number from 1 to {limits.BOARD_DEVICE_SHARES_MAX}")
    return int(text)


def _permissions(text: str) -> str:
    if not text or len(set(text)) != len(text) or not set(text) <= set("rwm"):
        raise ValueError("permissions are some of r (read), w (write) and m (make the node)")
    return text
