"""/version: which API this is.

Enters: edgekube.version.
Leaves: the JSON of version.Info.
Holds: clients parse gitVersion as a semantic version; its build metadata says that this is edgekube.
Next: server.app.
"""

from __future__ import annotations

import platform
from typing import Final

import orjson

from edgekube.version import GIT_VERSION, KUBERNETES_MAJOR, KUBERNETES_MINOR

_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}

VERSION_BODY: Final = orjson.dumps({
    "major": KUBERNETES_MAJOR,
    "minor": KUBERNETES_MINOR,
    "emulationMajor": KUBERNETES_MAJOR,
    "emulationMinor": KUBERNETES_MINOR,
    "minCompatibilityMajor": KUBERNETES_MAJOR,
    "minCompatibilityMinor": str(int(KUBERNETES_MINOR) - 1),
    "gitVersion": GIT_VERSION,
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": f"python{platform.python_version()}",
    "compiler": platform.python_implementation().lower(),
    "platform": f"linux/{_MACHINES.get(platform.machine(), platform.machine())}",
})  # fmt: skip
