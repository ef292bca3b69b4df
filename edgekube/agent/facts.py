"""What this machine is: processors, memory, disk, names, versions.

Enters: /proc, /etc/os-release, statvfs, uname.
Leaves: Facts.
Holds: reads only; a file that is missing gives an empty or zero value.
Next: agent.node.
"""

from __future__ import annotations

import os
import platform
import socket
from pathlib import Path

from msgspec import Struct

from edgekube.settings import Settings

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "i686": "386", "riscv64": "riscv64"}


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def meminfo(path: str = "/proc/meminfo") -> dict[str, int]:
    """Bytes by the kernel's names, and counts where it tells no unit."""
    found: dict[str, int] = {}
    for line in _read(path).splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[name] = int(words[0]) * (1024 if len(words) > 1 else 1)
    return found


def _os_image() -> str:
    for line in _read("/etc/os-release").splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return value.strip().strip('"')
    return platform.system()


class Facts(Struct, frozen=True):
    architecture: str
    cpus: int
    memory_bytes: int
    swap_bytes: int
    disk_bytes: int
    hostname: str
    machine_id: str
    system_uuid: str
    boot_id: str
    kernel: str
    os_image: str
    #: ("hugepages-2Mi", bytes) of those that were set apart.
    hugepages: tuple[tuple[str, int], ...] = ()
    #: Processes at most, of the whole machine.
    pids: int = 0


def gather(data_dir: Path) -> Facts:
    memory = meminfo()
    try:
        disk = os.statvfs(data_dir)
        disk_bytes = disk.f_frsize * disk.f_blocks
    except OSError:
        disk_bytes = 0
    machine_id = _read("/etc/machine-id")
    return Facts(
        architecture=_ARCHITECTURES.get(platform.machine(), platform.machine()),
        cpus=os.cpu_count() or 1,
        memory_bytes=memory.get("MemTotal", 0),
        swap_bytes=memory.get("SwapTotal", 0),
        disk_bytes=disk_bytes,
        hostname=socket.gethostname(),
        machine_id=machine_id,
        system_uuid=_read("/sys/class/dmi/id/product_uuid")
        or _read("/proc/device-tree/serial-number").rstrip("\0")
        or machine_id,
        boot_id=_read("/proc/sys/kernel/random/boot_id"),
        kernel=platform.release(),
        os_image=_os_image(),
        pids=int(_read("/proc/sys/kernel/pid_max") or 0),
    )


def node_addresses(settings: Settings) -> tuple[str, ...]:
    """settings.node_ip, else the address that the default route would send from, else loopback. Nothing is sent."""
    if settings.node_ip:
        return tuple(part.strip() for part in settings.node_ip.split(",") if part.strip())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # documentation range (RFC 5737): only the route is looked up
            return (str(probe.getsockname()[0]),)
        except OSError:
            return ("127.0.0.1",)
