"""Runtimes beside runc that this host has: the handlers that a RuntimeClass may name.

Enters: the programs on the host's search path.
Leaves: handlers, by the names under which people know them.
Holds: a program that is not there is no handler, so that a pod which asks for it waits instead of running with less protection.
Source: Kubernetes documentation, "Runtime Class"; containerd docs/cri/config.md (runtimes).
Next: containerd.config.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Final

from msgspec import Struct

_RUNC: Final = "io.containerd.runc.v2"
#: Handler -> runtime type, and the program that must be there: for runc's own type the program that is called instead of runc.
_KNOWN: Final = {
    "crun": (_RUNC, "crun"),
    "youki": (_RUNC, "youki"),
    "nvidia": (_RUNC, "nvidia-container-runtime"),
    "runsc": ("io.containerd.runsc.v1", "containerd-shim-runsc-v1"),
    "kata": ("io.containerd.kata.v2", "containerd-shim-kata-v2"),
    "spin": ("io.containerd.spin.v2", "containerd-shim-spin-v2"),
    "wasmtime": ("io.containerd.wasmtime.v1", "containerd-shim-wasmtime-v1"),
    "wasmedge": ("io.containerd.wasmedge.v1", "containerd-shim-wasmedge-v1"),
}


class Handler(Struct, frozen=True):
    name: str
    runtime_type: str
    #: Called instead of runc; "" where the runtime has a shim of its own.
    binary: str = ""


def handlers(which: Callable[[str], str | None] = shutil.which) -> tuple[Handler, ...]:
    found = ((name, kind, which(program)) for name, (kind, program) in sorted(_KNOWN.items()))
    return tuple(Handler(name, kind, path if kind == _RUNC else "") for name, kind, path in found if path)
